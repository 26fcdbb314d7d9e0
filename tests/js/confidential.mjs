// oauth4webapi as a client with keys: pushed request, code flow, refresh, client_credentials, bound tokens. Prints what it
// got as JSON.
import assert from 'node:assert/strict';
import * as oauth from 'oauth4webapi';
import { signInAndAllow } from './browser.mjs';

const { issuer, clientId, redirectUri, username, password, privateKey, kid } = JSON.parse(process.argv[2]);
const resource = 'https://notes.example.com/mcp';
const insecure = { [oauth.allowInsecureRequests]: true };
const client = { client_id: clientId };
const key = await crypto.subtle.importKey(
  'pkcs8',
  Buffer.from(privateKey, 'base64'),
  { name: 'ECDSA', namedCurve: 'P-256' },
  false,
  ['sign'],
);
const proves = oauth.PrivateKeyJwt({ key, kid });

const discovery = await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...insecure });
const as = await oauth.processDiscoveryResponse(new URL(issuer), discovery);

// The library's own way to meet a nonce: once more, with the one that came back.
async function withNonce(DPoP, ask) {
  try {
    return await ask();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return ask();
  }
}

const told = {};
for (const bound of [false, true]) {
  const DPoP = bound ? oauth.DPoP(client, await oauth.generateKeyPair('ES256')) : undefined;
  const options = { ...insecure, ...(bound ? { DPoP } : {}) };
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const request = new URLSearchParams({
    client_id: clientId,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope: 'notes.read offline_access',
    resource,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  const pushed = await withNonce(DPoP, async () =>
    oauth.processPushedAuthorizationResponse(
      as,
      client,
      await oauth.pushedAuthorizationRequest(as, client, proves, request, options),
    ),
  );
  const address = new URL(as.authorization_endpoint);
  address.searchParams.set('client_id', clientId);
  address.searchParams.set('request_uri', pushed.request_uri);
  const back = await signInAndAllow(address, { origin: new URL(issuer).origin, username, password });
  const params = oauth.validateAuthResponse(as, client, back, state);
  const tokens = await withNonce(DPoP, async () =>
    oauth.processAuthorizationCodeResponse(
      as,
      client,
      await oauth.authorizationCodeGrantRequest(as, client, proves, params, redirectUri, verifier, options),
    ),
  );
  const refreshed = await withNonce(DPoP, async () =>
    oauth.processRefreshTokenResponse(
      as,
      client,
      await oauth.refreshTokenGrantRequest(as, client, proves, tokens.refresh_token, options),
    ),
  );
  assert.equal(refreshed.refresh_token, tokens.refresh_token, 'a token of a client with keys is not rotated');
  const own = await withNonce(DPoP, async () =>
    oauth.processClientCredentialsResponse(
      as,
      client,
      await oauth.clientCredentialsGrantRequest(as, client, proves, new URLSearchParams({ resource, scope: 'notes.read' }), options),
    ),
  );
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, proves, tokens.refresh_token, insecure));
  const dead = await withNonce(DPoP, async () => oauth.refreshTokenGrantRequest(as, client, proves, tokens.refresh_token, options));
  await assert.rejects(oauth.processRefreshTokenResponse(as, client, dead), { error: 'invalid_grant' });
  told[bound ? 'bound' : 'bearer'] = [tokens.token_type, tokens.scope, own.token_type, own.scope];
}
console.log(JSON.stringify(told));
