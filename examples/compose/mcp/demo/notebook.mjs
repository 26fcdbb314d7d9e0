// A public client that nobody registered: the SDK's own flow, for a person at a browser. Its client_id is the URL of its
// document.
import { randomUUID } from 'node:crypto';
import { auth } from '@modelcontextprotocol/sdk/client/auth.js';
import { issuer, resource, visit } from './visit.mjs';

export const clientId = 'https://app.example.com:8443/client.json';
export const document = {
  client_id: clientId,
  client_name: 'Notebook',
  client_uri: 'https://app.example.com:8443/',
  // RFC 8252 §7.3: a program on this machine may come back at any port.
  redirect_uris: ['http://127.0.0.1/callback'],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
};

const redirectUrl = 'http://127.0.0.1:8081/callback';
const begun = new Map();

// Where the browser has to go.
export async function start() {
  const kept = {};
  const state = randomUUID();
  const provider = {
    redirectUrl,
    clientMetadataUrl: clientId,
    clientMetadata: document,
    state: () => state,
    clientInformation: () => kept.client,
    saveClientInformation: (client) => { kept.client = client; },
    tokens: () => kept.tokens,
    saveTokens: (tokens) => { kept.tokens = tokens; },
    redirectToAuthorization: (address) => { kept.address = address; },
    saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
    codeVerifier: () => kept.verifier,
  };
  await auth(provider, { serverUrl: resource });
  begun.set(state, provider);
  return { state, address: kept.address };
}

// The browser is back: with a code, or with a no.
export async function finish(answer) {
  const provider = begun.get(answer.state);
  if (!begun.delete(answer.state)) throw new Error('nobody began this: start again');
  if (answer.iss !== issuer) throw new Error('the answer is of another issuer (RFC 9207)');
  if (answer.error) throw new Error(`${answer.error}: ${answer.error_description}`);
  await auth(provider, { serverUrl: resource, authorizationCode: answer.code });
  return visit('Notebook', provider);
}
