// oauth4webapi as a device without a browser: RFC 8628. Prints what it got as JSON.
import assert from 'node:assert/strict';
import * as oauth from 'oauth4webapi';
import { signInDevice } from './browser.mjs';

const { issuer, clientId, username, password, privateKey, kid } = JSON.parse(process.argv[2]);
const insecure = { [oauth.allowInsecureRequests]: true };
const client = { client_id: clientId };
const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
const key = await crypto.subtle.importKey('pkcs8', Buffer.from(privateKey, 'base64'), algorithm, false, ['sign']);
const proves = oauth.PrivateKeyJwt({ key, kid });

const discovery = await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...insecure });
const as = await oauth.processDiscoveryResponse(new URL(issuer), discovery);
const asked = new URLSearchParams({ scope: 'notes.read offline_access', resource: 'https://notes.example.com/mcp' });
const device = await oauth.processDeviceAuthorizationResponse(
  as,
  client,
  await oauth.deviceAuthorizationRequest(as, client, proves, asked, insecure),
);
assert.equal(device.verification_uri, `${issuer}/device`);
assert.equal(device.interval, 1);
const poll = async () =>
  oauth.processDeviceCodeResponse(
    as,
    client,
    await oauth.deviceCodeGrantRequest(as, client, proves, device.device_code, insecure),
  );
await assert.rejects(poll(), { error: 'authorization_pending' });

// As a person types it: small letters, no dash.
const typed = device.user_code.toLowerCase().replace('-', '');
await signInDevice(device.verification_uri, { origin: new URL(issuer).origin, username, password }, typed);
const tokens = await poll();
await assert.rejects(poll(), { error: 'invalid_grant' });
console.log(JSON.stringify({ token_type: tokens.token_type, scope: tokens.scope, refreshes: Boolean(tokens.refresh_token) }));
