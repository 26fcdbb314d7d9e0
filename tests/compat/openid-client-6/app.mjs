// A web app that signs in as the README of openid-client 6 has it, and shows what it learned.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import * as client from 'openid-client';

const { ISSUER, CLIENT_ID, CLIENT_SECRET, PORT } = process.env;
const { version } = JSON.parse(readFileSync('node_modules/openid-client/package.json'));
const origin = `http://localhost:${PORT}`;

// allowInsecureRequests: the server of this test speaks http on loopback.
const config = await client.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, undefined, {
  execute: [client.allowInsecureRequests],
});

// Of each browser: the verifier while it is away, and what is known of its person afterwards.
const sessions = new Map();

async function answer(request, response) {
  const id = request.headers.cookie?.match(/session=([^;]+)/)?.[1];
  const session = sessions.get(id);
  if (request.url.startsWith('/callback?') && session) {
    const tokens = await client.authorizationCodeGrant(config, new URL(request.url, origin), {
      pkceCodeVerifier: session.verifier,
    });
    const claims = tokens.claims();
    const userinfo = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
    sessions.set(id, { id_token: claims, userinfo });
    response.writeHead(302, { location: '/' }).end();
  } else if (session?.id_token) {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ program: `openid-client ${version}`, ...session }));
  } else {
    const verifier = client.randomPKCECodeVerifier();
    const fresh = randomUUID();
    sessions.set(fresh, { verifier });
    const location = client.buildAuthorizationUrl(config, {
      redirect_uri: `${origin}/callback`,
      scope: 'openid profile email',
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    });
    response.writeHead(302, { location: location.href, 'set-cookie': `session=${fresh}; HttpOnly; SameSite=Lax` }).end();
  }
}

createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    response.writeHead(500).end(String(error));
  });
}).listen(PORT);
