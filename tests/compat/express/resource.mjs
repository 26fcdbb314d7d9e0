// An API of Express that is a protected resource; jose checks the access tokens.
import { readFileSync } from 'node:fs';
import express from 'express';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const { ISSUER, RESOURCE, PORT } = process.env;
const { version } = JSON.parse(readFileSync('node_modules/express/package.json'));

const metadata = await fetch(`${ISSUER}/.well-known/oauth-authorization-server`).then((response) => response.json());
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));
// RFC 9728 §3.1: the well-known path stands before the resource's own.
const { origin, pathname } = new URL(RESOURCE);
const wellKnown = `/.well-known/oauth-protected-resource${pathname === '/' ? '' : pathname}`;
const challenge = `Bearer resource_metadata="${origin}${wellKnown}", scope="notes.read"`;

/** Lets requests pass whose access token is for this resource and has the scope. */
const needs = (scope) => async (request, response, next) => {
  const [, token] = request.get('authorization')?.match(/^Bearer (.+)$/i) ?? [];
  if (!token) return response.set('www-authenticate', challenge).sendStatus(401);
  try {
    const { payload } = await jwtVerify(token, keys, { issuer: ISSUER, audience: RESOURCE, typ: 'at+jwt' });
    request.token = payload;
  } catch (error) {
    console.error(error.message);
    return response.set('www-authenticate', `${challenge}, error="invalid_token"`).sendStatus(401);
  }
  if (request.token.scope?.split(' ').includes(scope)) return next();
  return response.set('www-authenticate', `${challenge}, error="insufficient_scope"`).sendStatus(403);
};

const app = express();
app.get(wellKnown, (request, response) => {
  response.set('access-control-allow-origin', '*');
  response.json({ resource: RESOURCE, authorization_servers: [ISSUER], scopes_supported: ['notes.read'] });
});
app.post('/mcp', needs('notes.read'), (request, response) => {
  const { sub, scope } = request.token;
  response.json({ program: `Express ${version}`, sub, scope });
});
app.listen(PORT, 'localhost');
