// oauth4webapi: discovery, code flow with PKCE and a resource, refresh, revocation. Prints what it got as JSON.
import assert from 'node:assert/strict';
import * as oauth from 'oauth4webapi';
import { signInAndAllow } from './browser.mjs';

const { issuer, clientId, redirectUri, username, password } = JSON.parse(process.argv[2]);
const resource = 'https://notes.example.com/mcp';
const insecure = { [oauth.allowInsecureRequests]: true };
const client = { client_id: clientId };
const none = oauth.None();

const discovery = await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...insecure });
const as = await oauth.processDiscoveryResponse(new URL(issuer), discovery);
assert.equal(as.client_id_metadata_document_supported, true);

const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const address = new URL(as.authorization_endpoint);
for (const [name, value] of Object.entries({
  client_id: clientId,
  redirect_uri: redirectUri,
  response_type: 'code',
  scope: 'notes.read offline_access',
  resource,
  state,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
})) address.searchParams.set(name, value);

const back = await signInAndAllow(address, { origin: new URL(issuer).origin, username, password });
const params = oauth.validateAuthResponse(as, client, back, state);
const grant = await oauth.authorizationCodeGrantRequest(as, client, none, params, redirectUri, verifier, {
  additionalParameters: { resource },
  ...insecure,
});
const tokens = await oauth.processAuthorizationCodeResponse(as, client, grant);

const refreshed = await oauth.processRefreshTokenResponse(
  as,
  client,
  await oauth.refreshTokenGrantRequest(as, client, none, tokens.refresh_token, { additionalParameters: { resource }, ...insecure }),
);
assert.notEqual(refreshed.refresh_token, tokens.refresh_token);
await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, none, refreshed.refresh_token, insecure));
const dead = await oauth.refreshTokenGrantRequest(as, client, none, refreshed.refresh_token, insecure);
await assert.rejects(oauth.processRefreshTokenResponse(as, client, dead), { error: 'invalid_grant' });

console.log(JSON.stringify({ token_type: tokens.token_type, scope: tokens.scope, expires_in: tokens.expires_in }));
