// oauth2-proxy before an application that shows the headers it is given.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const { BUILT, ISSUER, CLIENT_ID, CLIENT_SECRET, PORT } = process.env;
const binary = join(BUILT, 'bin/oauth2-proxy');
const [, version] = readFileSync('go.mod', 'utf8').match(/oauth2-proxy\/v7 (v\S+)/);

const application = createServer(({ headers }, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({
    program: `oauth2-proxy ${version}`,
    headers: {
      sub: headers['x-forwarded-user'],
      email: headers['x-forwarded-email'],
      preferred_username: headers['x-forwarded-preferred-username'],
    },
  }));
});

application.listen(0, '127.0.0.1', () => {
  const proxy = spawn(binary, [
    '--provider=oidc',
    `--oidc-issuer-url=${ISSUER}`,
    `--client-id=${CLIENT_ID}`,
    `--client-secret=${CLIENT_SECRET}`,
    `--redirect-url=http://localhost:${PORT}/oauth2/callback`,
    `--http-address=localhost:${PORT}`,
    `--upstream=http://127.0.0.1:${application.address().port}/`,
    '--email-domain=*',
    '--cookie-secret=a-secret-of-the-tests-32-bytes-l',
    // This test has no TLS.
    '--cookie-secure=false',
    // By itself it does no PKCE, and does not compare its nonce either.
    '--code-challenge-method=S256',
  ], { stdio: 'inherit' });
  proxy.once('exit', (status) => process.exit(status ?? 1));
});
