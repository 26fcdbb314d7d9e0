// A protected resource that checks access tokens with jose.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const { ISSUER, RESOURCE, PORT } = process.env;
const { version } = JSON.parse(readFileSync('node_modules/jose/package.json'));

const metadata = await fetch(`${ISSUER}/.well-known/oauth-authorization-server`).then((response) => response.json());
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));

createServer(async (request, response) => {
  const [, token] = request.headers.authorization?.match(/^Bearer (.+)$/) ?? [];
  try {
    const { payload } = await jwtVerify(token, keys, { issuer: ISSUER, audience: RESOURCE, typ: 'at+jwt' });
    const { sub, scope } = payload;
    if (!scope.split(' ').includes('notes.read')) return response.writeHead(403).end();
    return response.end(JSON.stringify({ program: `jose ${version}`, sub, scope }));
  } catch (error) {
    console.error(error.message);
    return response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end();
  }
}).listen(PORT, 'localhost');
