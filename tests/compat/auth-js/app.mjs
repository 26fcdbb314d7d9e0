// Auth.js for Express with a provider of type oidc, and nothing set but what it needs.
import { readFileSync } from 'node:fs';
import { ExpressAuth, getSession } from '@auth/express';
import express from 'express';

const { ISSUER, CLIENT_ID, CLIENT_SECRET, PORT } = process.env;
const { version } = JSON.parse(readFileSync('node_modules/@auth/core/package.json'));

const config = {
  secret: 'a secret of the tests, which signs nothing of worth',
  trustHost: true,
  providers: [
    { id: 'wayleave', name: 'Wayleave', type: 'oidc', issuer: ISSUER, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET },
  ],
  callbacks: {
    // Auth.js keeps a name and an address unless it is told to keep more.
    jwt: ({ token, profile }) => (profile ? { ...token, profile } : token),
    session: ({ session, token }) => ({ ...session, profile: token.profile }),
  },
};

const app = express();
app.use('/auth', ExpressAuth(config));
app.get('/', async (request, response) => {
  const session = await getSession(request, config);
  if (!session) return response.redirect('/auth/signin?callbackUrl=/');
  const { user, profile } = session;
  return response.json({ program: `@auth/core ${version}`, session: user, id_token: profile });
});
app.listen(PORT);
