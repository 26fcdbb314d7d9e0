// Signs in to each program by a browser, and calls each resource server with tokens; see `run` beside this.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { open } from './browser.mjs';

const { WAYLEAVE, BUILT, CHROMIUM, CHROMEDRIVER } = process.env;
const PASSWORD = 'correct horse battery staple';
const NOTES = 'https://notes.example.com/mcp';
const OTHER = 'https://other.example.com/mcp';

const node = (file) => ['node', file];
const python = (name) => [join(BUILT, name, 'bin/python'), 'app.py'];

// What everybody is to know of ada; `session` and `user` are what the program keeps of her by itself.
const ADA = { name: 'Ada Lovelace', preferred_username: 'ada', email: 'ada@example.com' };
const only = (...names) => Object.fromEntries(names.map((name) => [name, ADA[name]]));

// Each is registered by `wayleave client add NAME --redirect-uri ORIGIN/CALLBACK …REGISTER`, and shows at `/` what it knows.
const PROGRAMS = {
  'openid-client-5': { start: node('app.mjs'), callback: '/callback', knows: { id_token: ADA, userinfo: ADA } },
  'openid-client-6': { start: node('app.mjs'), callback: '/callback', knows: { id_token: ADA, userinfo: ADA } },
  'auth-js': {
    start: node('app.mjs'),
    callback: '/auth/callback/wayleave',
    button: 'form[action*="/signin/wayleave"] button',
    knows: { session: only('name', 'email'), id_token: ADA },
  },
  'express-openid-connect': {
    start: node('app.mjs'),
    callback: '/callback',
    knows: { id_token: ADA, user: ADA, userinfo: ADA },
  },
  authlib: {
    start: python('authlib'),
    callback: '/callback',
    register: ['--pkce', 'nonce'],
    knows: { id_token: ADA, userinfo: ADA },
  },
  'mozilla-django-oidc': {
    start: python('mozilla-django-oidc'),
    callback: '/oidc/callback/',
    register: ['--pkce', 'nonce'],
    knows: { user: only('email'), userinfo: ADA },
  },
  'go-oidc': { start: [join(BUILT, 'bin/client')], callback: '/callback', knows: { id_token: ADA, userinfo: ADA } },
  // Tries Basic with an empty secret first.
  'go-oidc-public': {
    start: [join(BUILT, 'bin/client')],
    callback: '/callback',
    register: ['--method', 'none'],
    knows: { id_token: ADA, userinfo: ADA },
  },
  'oauth2-proxy': {
    start: node('start.mjs'),
    callback: '/oauth2/callback',
    button: 'form[action="/oauth2/start"] button',
    knows: { headers: only('preferred_username', 'email') },
  },
  // It has no page that shows JSON; the button that signs out names who is signed in.
  miniflux: {
    start: ['./start'],
    callback: '/oauth2/oidc/callback',
    button: 'a[href="/oauth2/oidc/redirect"]',
    names: '.logout-button[title]',
    knows: { user: only('preferred_username') },
  },
};

// Each answers at `/mcp` to a bearer token for NOTES with scope notes.read.
const RESOURCES = {
  'spring-resource': { start: ['java', '-jar', 'target/resource.jar'] },
  'fastmcp-resource': { start: python('fastmcp') },
  'go-oidc-resource': { start: [join(BUILT, 'bin/resource')] },
  'jose-resource': { start: node('resource.mjs') },
  'express-resource': { start: node('resource.mjs') },
};

const folder = mkdtempSync(join(tmpdir(), 'wayleave-compat.'));
// PostgreSQL's user goes through it.
chmodSync(folder, 0o711);
const running = new Set();
let stopped = false;

/** Ends a process with all that it started: chromedriver leaves its browsers behind. */
const end = (child) => process.kill(-child.pid, 'SIGKILL');

/** Polls until `check` is true; fails when the process ends before, or after a minute and a half. */
async function until(check, child) {
  for (let tries = 0; tries < 900; tries += 1) {
    if (!running.has(child)) throw new Error('it ended');
    if (await check().catch(() => false)) return;
    await sleep(100);
  }
  throw new Error('it did not start');
}

/** A port that nobody listens on, below those that outgoing connections take. */
async function freePort() {
  for (;;) {
    const port = 20000 + Math.floor(Math.random() * 12000);
    if (!(await listens(port))) return port;
  }
}

function listens(port) {
  return new Promise((done) => {
    const socket = connect({ port, host: 'localhost' });
    socket.on('connect', () => { socket.destroy(); done(true); }).on('error', () => done(false));
  });
}

/** Starts a process that listens at `port`; its output goes to NAME.log. */
async function start(name, [command, ...args], options, port) {
  if (stopped) throw new Error('stopped');
  const log = openSync(join(folder, `${name}.log`), 'a');
  // A process group of its own.
  const child = spawn(command, args, { ...options, detached: true, stdio: ['ignore', log, log] });
  await once(child, 'spawn');
  running.add(child);
  const ended = once(child, 'exit').then(() => running.delete(child));
  await until(() => listens(port), child);
  return () => {
    end(child);
    return ended;
  };
}

const logOf = (name) => readFileSync(join(folder, `${name}.log`), 'utf8').trim().split('\n').slice(-12).join('\n');

function expect(what, found, expected) {
  if (found !== expected) throw new Error(`${what}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`);
}

/** Looks at a page once it is there, and once only: `null` until then. */
const LOOK = `
  if (document.readyState !== 'complete' || window.lookedAt) return null;
  window.lookedAt = true;
  const has = (selector) => selector && document.querySelector(selector) !== null;
  const [button, issuer, names] = arguments;
  return {
    named: location.origin !== issuer && has(names) && document.querySelector(names).title,
    url: location.href,
    text: document.body.innerText,
    told: document.querySelector('pre')?.textContent.startsWith('{') && document.querySelector('pre').textContent,
    password: location.origin === issuer && has('[name=password]'),
    allow: location.origin === issuer && has('button[value=allow]'),
    button: location.origin !== issuer && has(button),
  };`;

/** Goes where the program leads until it shows, as JSON, who is there. */
async function signIn(driver, origin, issuer, { button, names }) {
  const browser = await open(driver, CHROMIUM);
  try {
    await browser.go(`${origin}/`);
    for (let page = 0; page < 8; page += 1) {
      let found;
      for (let tries = 0; tries < 200 && !found; tries += 1) {
        found = await browser.run(LOOK, button, issuer, names ?? null);
        if (!found) await sleep(50);
      }
      if (found?.told) return JSON.parse(found.told);
      if (found?.named) return { user: { preferred_username: found.named.split(' ').at(-1) } };
      if (found?.password) {
        await browser.type('[name=username]', 'ada');
        await browser.type('[name=password]', PASSWORD);
        await browser.click('form [type=submit]');
      } else if (found?.allow) {
        await browser.click('button[value=allow]');
      } else if (found?.button) {
        await browser.click(button);
      } else {
        throw new Error(found ? `the browser ended at ${found.url}: ${found.text.slice(0, 400)}` : 'the browser stayed where it was');
      }
    }
    throw new Error('the browser went round and round');
  } finally {
    await browser.close();
  }
}

/** The documentation has the version that was tried. */
function checkVersion(program) {
  const version = program.split(' ').at(-1).replace('v', '');
  const folder = join(import.meta.dirname, '../../docs');
  const pages = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.md'));
  const has = pages.some((name) => readFileSync(join(folder, name), 'utf8').includes(` ${version}`));
  expect(`a page of docs has ${program}`, has, true);
}

/** What a program that does not say its version is built of. */
function versionIn(name) {
  const [, version] = readFileSync(join(import.meta.dirname, name, 'go.mod'), 'utf8').match(/miniflux\.app\/v2 v(\S+)/);
  return `Miniflux ${version}`;
}

function checkWho(told, knows, subject) {
  for (const [source, expected] of Object.entries(knows)) {
    for (const [claim, value] of Object.entries(expected)) expect(`${source}: ${claim}`, told[source]?.[claim], value);
    if (told[source].sub !== undefined || ['id_token', 'userinfo', 'headers'].includes(source)) expect(`${source}: sub`, told[source].sub, subject);
  }
}

async function token(issuer, secret, resource) {
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`robot:${secret}`)}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource }),
  });
  const answer = await response.json();
  expect('a token', response.status, 200);
  return answer.access_token;
}

/** The Model Context Protocol's first request; those that are no MCP servers look at the token alone. */
async function call(port, bearer) {
  const initialize = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'compat', version: '1' } };
  const response = await fetch(`http://localhost:${port}/mcp`, {
    method: 'POST',
    headers: {
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      ...(bearer && { authorization: `Bearer ${bearer}` }),
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: initialize }),
  });
  const why = response.headers.get('www-authenticate');
  return { status: response.status, text: await response.text(), why };
}

async function checkResource(port, issuer, secret) {
  const right = await token(issuer, secret, NOTES);
  const other = await token(issuer, secret, OTHER);
  const [head, payload, signature] = right.split('.');
  const forged = `${head}.${payload}.${signature.replace(/^./, (c) => (c === 'A' ? 'B' : 'A'))}`;
  const answer = await call(port, right);
  expect(`the right token (${answer.why})`, answer.status, 200);
  expect('no token', (await call(port)).status, 401);
  expect('a token for another resource', (await call(port, other)).status, 401);
  expect('a forged token', (await call(port, forged)).status, 401);
  return answer.text.match(/"program":"([^"]+)"|"name":"([^"]+)"/)?.slice(1).find(Boolean);
}

async function main() {
  const names = process.argv.slice(2);
  const known = [...Object.keys(PROGRAMS), ...Object.keys(RESOURCES)];
  const unknown = names.find((name) => !known.includes(name));
  if (unknown) throw new Error(`there is no ${unknown}; there are ${known.join(' ')}`);
  const chosen = known.filter((name) => names.length === 0 || names.includes(name));

  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  // Of both the scope has the same name, so that the audience alone keeps their tokens apart.
  const resource = (id) => `{ id = '${id}', open = true, scopes = { 'notes.read' = 'Read' } }`;
  const settings = {
    WAYLEAVE_ISSUER: issuer,
    WAYLEAVE_LOG__FORMAT: 'text',
    WAYLEAVE_SERVER__LISTEN: `127.0.0.1:${port}`,
    WAYLEAVE_RESOURCES: `[${resource(NOTES)}, ${resource(OTHER)}]`,
  };
  const wayleave = (args, input) => {
    const options = { cwd: folder, env: settings, input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'inherit'] };
    return JSON.parse(execFileSync(WAYLEAVE, [...args, '--json'], options));
  };
  wayleave(['user', 'add', 'ada', '--password-stdin', '--name', ADA.name, '--email', ADA.email, '--email-verified'], PASSWORD);
  const [{ subject }] = wayleave(['user', 'list']);
  const programs = {};
  for (const name of chosen.filter((name) => name in PROGRAMS)) {
    const { callback, register = [] } = PROGRAMS[name];
    const own = await freePort();
    const origin = `http://localhost:${own}`;
    const added = wayleave(['client', 'add', name, '--redirect-uri', `${origin}${callback}`, ...register]);
    programs[name] = { own, origin, secret: added.client_secret };
  }
  const robot = wayleave(['client', 'add', 'robot', '--grant', 'client_credentials']);
  await start('wayleave', [WAYLEAVE, 'serve'], { cwd: folder, env: settings }, port);
  const driver = await freePort();
  const itsFiles = { env: { ...process.env, TMPDIR: folder } };
  if (Object.keys(programs).length > 0) await start('chromedriver', [CHROMEDRIVER, `--port=${driver}`], itsFiles, driver);

  let failed = 0;
  for (const name of chosen) {
    if (stopped) return 130;
    const work = join(folder, name);
    mkdirSync(work);
    const isProgram = name in PROGRAMS;
    const { start: command, knows, ...page } = PROGRAMS[name] ?? RESOURCES[name];
    const { own, origin, secret } = programs[name] ?? { own: await freePort() };
    const env = { PATH: process.env.PATH, BUILT, FOLDER: work, ISSUER: issuer, PORT: own, RESOURCE: NOTES, CLIENT_ID: name, CLIENT_SECRET: secret ?? '' };
    let stop;
    try {
      stop = await start(name, command, { cwd: join(import.meta.dirname, name.replace(/-(resource|public)$/, '')), env }, own);
      if (isProgram) {
        const told = await signIn(driver, origin, issuer, page);
        told.program ??= versionIn(name);
        checkWho(told, knows, subject);
        checkVersion(told.program);
        console.log(`ok      ${name}: ${told.program}: ${Object.keys(knows).join(', ')}`);
      } else {
        const program = await checkResource(own, issuer, robot.client_secret);
        checkVersion(program);
        console.log(`ok      ${name}: ${program}: its own token alone`);
      }
    } catch (error) {
      failed += 1;
      if (!stopped) console.log(`FAILED  ${name}: ${error.message}\n${logOf(name)}\n-- of the server:\n${logOf('wayleave')}`);
    } finally {
      await stop?.();
    }
  }
  console.log(`${chosen.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    stopped = true;
    running.forEach(end);
  });
}
try {
  process.exitCode = await main();
} catch (error) {
  console.log(`FAILED  ${error.message}`);
  process.exitCode = 1;
} finally {
  running.forEach(end);
  rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
}
