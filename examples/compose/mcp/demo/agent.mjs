// A confidential client, which acts for itself: private_key_jwt and client_credentials by the SDK. Its document carries its
// public key (site.mjs puts it there), and no secret was ever exchanged.
import { readFileSync } from 'node:fs';
import { PrivateKeyJwtProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { issuer, visit } from './visit.mjs';

export const clientId = 'https://agent.example.com:8443/client.json';
export const document = {
  client_id: clientId,
  client_name: 'Agent',
  grant_types: ['client_credentials'],
  token_endpoint_auth_method: 'private_key_jwt',
};

export async function run() {
  const privateKey = readFileSync('/pki/agent/key.pem', 'utf8');
  return visit('Agent', new PrivateKeyJwtProvider({ clientId, privateKey, algorithm: 'ES256', expectedIssuer: issuer }));
}
