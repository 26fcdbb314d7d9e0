// A web app that signs in as the README of openid-client 5 has it, and shows what it learned.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Issuer, generators } from 'openid-client';

const { ISSUER, CLIENT_ID, CLIENT_SECRET, PORT } = process.env;
const { version } = JSON.parse(readFileSync('node_modules/openid-client/package.json'));
const redirectUri = `http://localhost:${PORT}/callback`;

const issuer = await Issuer.discover(ISSUER);
const client = new issuer.Client({
  client_id: CLIENT_ID,
  client_secret: CLIENT_SECRET,
  redirect_uris: [redirectUri],
  response_types: ['code'],
});

// Of each browser: the verifier while it is away, and what is known of its person afterwards.
const sessions = new Map();

async function answer(request, response) {
  const id = request.headers.cookie?.match(/session=([^;]+)/)?.[1];
  const session = sessions.get(id);
  if (request.url.startsWith('/callback?') && session) {
    const tokens = await client.callback(redirectUri, client.callbackParams(request), { code_verifier: session.verifier });
    sessions.set(id, { id_token: tokens.claims(), userinfo: await client.userinfo(tokens) });
    response.writeHead(302, { location: '/' }).end();
  } else if (session?.id_token) {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ program: `openid-client ${version}`, ...session }));
  } else {
    const verifier = generators.codeVerifier();
    const fresh = randomUUID();
    sessions.set(fresh, { verifier });
    const location = client.authorizationUrl({
      scope: 'openid profile email',
      code_challenge: generators.codeChallenge(verifier),
      code_challenge_method: 'S256',
    });
    response.writeHead(302, { location, 'set-cookie': `session=${fresh}; HttpOnly; SameSite=Lax` }).end();
  }
}

createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    response.writeHead(500).end(String(error));
  });
}).listen(PORT);
