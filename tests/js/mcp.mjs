// The MCP SDK's own client: from a protected server's 401 to tokens, its client_id the URL of its document.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { auth } from '@modelcontextprotocol/sdk/client/auth.js';
import { signInAndAllow } from './browser.mjs';

const { issuer, clientId, redirectUri, username, password } = JSON.parse(process.argv[2]);

const server = createServer((request, response) => {
  const origin = `http://127.0.0.1:${server.address().port}`;
  if (request.url.startsWith('/.well-known/oauth-protected-resource')) {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ resource: `${origin}/mcp`, authorization_servers: [issuer] }));
  } else {
    response.statusCode = 401;
    response.end();
  }
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const serverUrl = `http://127.0.0.1:${server.address().port}/mcp`;

const kept = {};
const provider = {
  redirectUrl: redirectUri,
  clientMetadataUrl: clientId,
  clientMetadata: { client_name: 'MCP', redirect_uris: [redirectUri], grant_types: ['authorization_code', 'refresh_token'] },
  state: () => 'a/b+c==',
  clientInformation: () => kept.client,
  saveClientInformation: (client) => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { kept.tokens = tokens; },
  redirectToAuthorization: (address) => { kept.address = address; },
  saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  codeVerifier: () => kept.verifier,
  invalidateCredentials: (what) => {
    assert.equal(what, 'tokens', 'only the tokens are dead, not the client');
    kept.tokens = undefined;
  },
};

assert.equal(await auth(provider, { serverUrl }), 'REDIRECT');
assert.equal(kept.client.client_id, clientId, 'the client used its URL, and registered nowhere');
const back = await signInAndAllow(kept.address, { origin: new URL(issuer).origin, username, password });
assert.equal(back.searchParams.get('state'), 'a/b+c==');
assert.equal(back.searchParams.get('iss'), issuer);
assert.equal(await auth(provider, { serverUrl, authorizationCode: back.searchParams.get('code') }), 'AUTHORIZED');
const first = kept.tokens;
const claims = JSON.parse(Buffer.from(first.access_token.split('.')[1], 'base64url'));
assert.equal(claims.aud, serverUrl);

// With a refresh token in hand the SDK refreshes instead of asking again.
assert.equal(await auth(provider, { serverUrl }), 'AUTHORIZED');
assert.notEqual(kept.tokens.refresh_token, first.refresh_token);

// A dead one makes it start over, and keep its client.
kept.tokens = { ...kept.tokens, refresh_token: 'wl_rt_dead' };
assert.equal(await auth(provider, { serverUrl }), 'REDIRECT');
assert.equal(kept.client.client_id, clientId);

console.log(JSON.stringify({ token_type: first.token_type, scope: first.scope ?? null, expires_in: first.expires_in }));
server.close();
