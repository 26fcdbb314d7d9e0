// express-openid-connect with the code flow; every page wants a person who is signed in.
import { readFileSync } from 'node:fs';
import express from 'express';
import { auth } from 'express-openid-connect';

const { ISSUER, CLIENT_ID, CLIENT_SECRET, PORT } = process.env;
const { version } = JSON.parse(readFileSync('node_modules/express-openid-connect/package.json'));

const app = express();
app.use(
  auth({
    issuerBaseURL: ISSUER,
    baseURL: `http://localhost:${PORT}`,
    clientID: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    secret: 'a secret of the tests, which signs nothing of worth',
    // Its default is an ID token from /authorize, by the implicit flow, which OAuth 2.1 has no more.
    authorizationParams: { response_type: 'code' },
  }),
);
app.get('/', async (request, response) => {
  const { idTokenClaims, user } = request.oidc;
  const userinfo = await request.oidc.fetchUserInfo();
  response.json({ program: `express-openid-connect ${version}`, id_token: idTokenClaims, user, userinfo });
});
app.listen(PORT);
