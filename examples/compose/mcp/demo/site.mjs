// The clients' web sites: one document each, over TLS. Before it answers it says who asked for what.
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import * as agent from './agent.mjs';
import * as notebook from './notebook.mjs';
import * as prize from './prize.mjs';

const { crv, kty, x, y } = createPublicKey(readFileSync('/pki/site/agent.pem')).export({ format: 'jwk' });
agent.document.jwks = { keys: [{ kty, crv, x, y, alg: 'ES256', use: 'sig' }] };

const documents = new Map([notebook, agent, prize].map(({ clientId, document }) => [clientId, document]));
const tls = { cert: readFileSync('/pki/site/cert.pem'), key: readFileSync('/pki/site/key.pem') };
createServer(tls, (request, response) => {
  const document = documents.get(`https://${request.headers.host}${request.url}`);
  console.log(`${request.headers['user-agent']} reads ${request.headers.host}${request.url}`);
  response.writeHead(document ? 200 : 404, { 'content-type': 'application/json', 'cache-control': 'max-age=60' });
  response.end(JSON.stringify(document ?? { error: 'nothing here' }));
}).listen(8443);

process.on('SIGTERM', () => process.exit());
