// A client that means no good. A machine is told little; the page that a person sees, and `wayleave explain`, name the rule.
import { createHash } from 'node:crypto';
import { clientId as notebook } from './notebook.mjs';
import { issuer, resource } from './visit.mjs';

export const clientId = 'https://prize.example.com:8443/client.json';
export const document = {
  // Somebody else's identity, a name that looks like theirs, a way back without TLS, and a secret that everybody can read.
  client_id: notebook,
  client_name: 'Notebook\u202e',
  redirect_uris: ['http://prize.example.com/callback', 'javascript:alert(1)'],
  grant_types: ['authorization_code'],
  token_endpoint_auth_method: 'client_secret_post',
  client_secret: 'hunter2',
};

const mine = 'https://prize.example.com:8443/callback';
const requests = {
  'comes with a document full of faults': { client_id: clientId, redirect_uri: mine },
  'names a host inside: 169.254.169.254': { client_id: 'https://trap.example.com:8443/latest/meta-data', redirect_uri: mine },
  'pretends to be the Notebook': { client_id: notebook, redirect_uri: mine },
  'uses the Notebook without PKCE': { client_id: notebook, redirect_uri: 'http://127.0.0.1:8081/callback', code_challenge: undefined },
};

function parameters(particular) {
  const code_challenge = createHash('sha256').update('v'.repeat(43)).digest('base64url');
  const all = { response_type: 'code', resource, scope: 'notes.write', code_challenge, code_challenge_method: 'S256', ...particular };
  return new URLSearchParams(Object.entries(all).filter(([, value]) => value !== undefined));
}

// Where a browser sees why. The last is left out: its way back is the Notebook's own, so the error would go there.
export const pages = Object.entries(requests).slice(0, 3).map(([what, particular]) => ({ what, address: `${issuer}/authorize?${parameters(particular)}` }));

export async function run() {
  const steps = [];
  for (const [what, particular] of Object.entries(requests)) {
    const response = await fetch(`${issuer}/par`, { method: 'POST', body: parameters(particular) });
    const { error, error_description } = await response.json();
    steps.push({ what, ok: response.ok, told: `${response.status} ${error}: ${error_description}` });
  }
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { iss: issuer, aud: resource, sub: 'ada', client_id: notebook, scope: 'notes.write', exp: 4102444800 };
  const forged = `${part({ alg: 'none', typ: 'at+jwt' })}.${part(claims)}.`;
  for (const [what, headers] of [['asks for the notes without a token', {}], ['asks with a token of its own making', { authorization: `Bearer ${forged}` }]]) {
    const response = await fetch(resource, { method: 'POST', headers });
    const { error, error_description } = await response.json();
    steps.push({ what, ok: response.ok, told: `${response.status} ${error}: ${error_description}` });
  }
  return steps;
}
