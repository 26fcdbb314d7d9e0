// oauth2-proxy before an application that shows the headers it is given.
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const { BUILT, FOLDER, ISSUER, CLIENT_SECRET, PORT } = process.env;
const binary = join(BUILT, 'bin/oauth2-proxy');
const [, version] = readFileSync('go.mod', 'utf8').match(/oauth2-proxy\/v7 (v\S+)/);

const secrets = { client: CLIENT_SECRET, cookie: 'a-secret-of-the-tests-32-bytes-l' };
for (const [name, text] of Object.entries(secrets)) writeFileSync(join(FOLDER, name), text);

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
    '--config=oauth2-proxy.cfg',
    // What differs here from the file that docs/apps/oauth2-proxy.md shows.
    `--oidc-issuer-url=${ISSUER}`,
    `--client-secret-file=${join(FOLDER, 'client')}`,
    `--redirect-url=http://localhost:${PORT}/oauth2/callback`,
    `--http-address=localhost:${PORT}`,
    `--upstream=http://127.0.0.1:${application.address().port}/`,
    `--cookie-secret-file=${join(FOLDER, 'cookie')}`,
    // This test has no TLS.
    '--cookie-secure=false',
  ], { stdio: 'inherit' });
  proxy.once('exit', (status) => process.exit(status ?? 1));
});
