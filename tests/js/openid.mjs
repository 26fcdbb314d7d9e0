// oauth4webapi as an OpenID Connect client: ID token with nonce and max_age, userinfo, introspection by an API; once with
// tokens that anybody may carry and once with tokens bound to a key. Prints what it got as JSON.
import assert from 'node:assert/strict';
import * as oauth from 'oauth4webapi';
import { signInAndAllow } from './browser.mjs';

const { issuer, clientId, redirectUri, username, password, api } = JSON.parse(process.argv[2]);
const resource = 'https://notes.example.com/mcp';
const insecure = { [oauth.allowInsecureRequests]: true };
const client = { client_id: clientId };
const none = oauth.None();

const discovery = await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oidc', ...insecure });
const as = await oauth.processDiscoveryResponse(new URL(issuer), discovery);

// Again with the nonce that the server asks for.
async function twice(request) {
  let response = await request();
  if (response.headers.has('dpop-nonce')) response = await request();
  return response;
}

async function signIn(DPoP) {
  const verifier = oauth.generateRandomCodeVerifier();
  const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
  const address = new URL(as.authorization_endpoint);
  for (const [name, value] of Object.entries({
    client_id: clientId,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope: 'openid profile email notes.read',
    state,
    nonce,
    max_age: '300',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  })) address.searchParams.set(name, value);

  const back = await signInAndAllow(address, { origin: new URL(issuer).origin, username, password });
  const params = oauth.validateAuthResponse(as, client, back, state);
  const response = await twice(() => oauth.authorizationCodeGrantRequest(as, client, none, params, redirectUri, verifier, { DPoP, ...insecure }));
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, response, {
    expectedNonce: nonce, maxAge: 300, requireIdToken: true,
  });
  await oauth.validateApplicationLevelSignature(as, response, insecure);
  const claims = oauth.getValidatedIdTokenClaims(tokens);

  const info = await twice(() => oauth.userInfoRequest(as, client, tokens.access_token, { DPoP, ...insecure }));
  const person = await oauth.processUserInfoResponse(as, client, claims.sub, info);

  const asker = { client_id: api.id };
  const told = await oauth.processIntrospectionResponse(as, asker, await oauth.introspectionRequest(
    as, asker, oauth.ClientSecretBasic(api.secret), tokens.access_token, insecure,
  ));
  // The scopes say that it is for the resource, and with openid it is for the server, too.
  assert.deepEqual(told.aud, [resource, issuer]);
  assert.equal(told.sub, claims.sub);
  assert.equal(told.token_type.toLowerCase(), tokens.token_type);

  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, none, tokens.refresh_token, insecure));
  const dead = await oauth.processIntrospectionResponse(as, asker, await oauth.introspectionRequest(
    as, asker, oauth.ClientSecretBasic(api.secret), tokens.access_token, insecure,
  ));
  assert.deepEqual(dead, { active: false });
  return { token_type: tokens.token_type, person, username: told.username, bound: told.cnf !== undefined };
}

const bearer = await signIn();
const key = await oauth.generateKeyPair('ES256');
const bound = await signIn(oauth.DPoP(client, key));
assert.equal(bound.person.sub, bearer.person.sub);
delete bearer.person.sub;
delete bound.person.sub;
delete bearer.person.updated_at;
delete bound.person.updated_at;
console.log(JSON.stringify({ bearer, bound }));
