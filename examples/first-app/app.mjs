// The smallest app that signs people in: Node 18 or newer, and nothing else (RFC 6749 §4.1, RFC 7636, RFC 9207).
//
//   wayleave client add first-app --redirect-uri http://localhost:3000/callback --json > first-app.json
//   node examples/first-app/app.mjs http://127.0.0.1:8080 first-app.json
//
// PORT chooses another port than 3000. A real app takes a library: docs/apps has some.
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const [issuer, file] = process.argv.slice(2);
if (!file) {
  console.error('usage: app.mjs ISSUER FILE   (FILE: what `wayleave client add … --json` printed)');
  process.exit(2);
}
const { client_id, client_secret } = JSON.parse(readFileSync(file, 'utf8'));
const port = process.env.PORT ?? 3000;
const redirect_uri = `http://localhost:${port}/callback`;

const metadata = await getJson(`${issuer}/.well-known/openid-configuration`);
if (metadata.issuer !== issuer) throw new Error(`the server at ${issuer} calls itself ${metadata.issuer}`);

/** A JSON document; what is refused is an error with the server's own words. */
async function getJson(url, options) {
  const response = await fetch(url, options);
  const text = await response.text();
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text}`);
  return JSON.parse(text);
}

const random = () => randomBytes(32).toString('base64url');

/** Sends the browser to the server, and leaves with it what the answer is compared with. */
function begin(response) {
  const [state, verifier] = [random(), random()];
  const query = new URLSearchParams({
    response_type: 'code',
    client_id,
    redirect_uri,
    scope: 'openid profile email',
    state,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  });
  response.writeHead(303, {
    location: `${metadata.authorization_endpoint}?${query}`,
    'set-cookie': `begun=${state}.${verifier}; HttpOnly; SameSite=Lax; Path=/; Max-Age=600`,
  });
  response.end();
}

/** Exchanges the code for tokens, and asks who signed in. */
async function whoIs(query, cookie) {
  const [, state, verifier] = cookie.match(/(?:^|; )begun=([\w-]+)\.([\w-]+)/) ?? [];
  if (!state || query.get('state') !== state) throw new Error('this browser began no sign-in, or another one');
  if (query.get('iss') !== issuer) throw new Error('the answer is of another server');
  if (query.has('error')) throw new Error(`the server refused: ${query.get('error')} ${query.get('error_description') ?? ''}`);
  const credentials = [client_id, client_secret].map(encodeURIComponent).join(':');
  const tokens = await getJson(metadata.token_endpoint, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(credentials)}` },
    body: new URLSearchParams({ grant_type: 'authorization_code', code: query.get('code'), redirect_uri, code_verifier: verifier }),
  });
  return getJson(metadata.userinfo_endpoint, { headers: { authorization: `Bearer ${tokens.access_token}` } });
}

async function answer(request, response) {
  const url = new URL(request.url, redirect_uri);
  if (url.pathname === '/') return begin(response);
  if (url.pathname !== '/callback') return response.writeHead(404).end();
  // Text, not HTML: what others wrote stays text.
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  try {
    const person = await whoIs(url.searchParams, request.headers.cookie ?? '');
    return response.end(`You are signed in.\n\n${JSON.stringify(person, null, 2)}\n`);
  } catch (error) {
    console.error(error.message);
    return response.writeHead(400).end(`You are not signed in: ${error.message}\n`);
  }
}

createServer(answer).listen(port, 'localhost', () => console.log(`Open http://localhost:${port}/`));
