// One page with the three clients: start each, and see what became of it. What they said last is kept in memory.
import { createServer } from 'node:http';
import * as agent from './agent.mjs';
import * as notebook from './notebook.mjs';
import { page } from './page.mjs';
import * as prize from './prize.mjs';
import { issuer, resource } from './visit.mjs';

const last = {};

// What a client did, or why it could not.
async function keep(name, run) {
  try {
    last[name] = await run();
  } catch (error) {
    last[name] = [{ what: 'was stopped', ok: false, told: error.message }];
  }
}

const to = (response, address, headers = {}) => response.writeHead(303, { location: address, ...headers }).end();

const routes = {
  'GET /': async (_, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'" });
    response.end(page({ issuer, resource, last, notebook, agent, prize }));
  },
  'GET /last.json': async (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(last));
  },
  'GET /notebook': async (_, response) => {
    const { state, address } = await notebook.start();
    to(response, address, { 'set-cookie': `state=${state}; Path=/callback; HttpOnly; SameSite=Lax` });
  },
  'GET /callback': async (request, response) => {
    const answer = Object.fromEntries(new URL(request.url, 'http://desk').searchParams);
    await keep('notebook', () => {
      if (request.headers.cookie !== `state=${answer.state}`) throw new Error('another browser began this');
      return notebook.finish(answer);
    });
    to(response, '/#notebook');
  },
  'POST /agent': async (_, response) => {
    await keep('agent', agent.run);
    to(response, '/#agent');
  },
  'POST /prize': async (_, response) => {
    await keep('prize', prize.run);
    to(response, '/#prize');
  },
};

createServer((request, response) => {
  const route = routes[`${request.method} ${request.url.split('?')[0]}`];
  if (!route) return response.writeHead(404).end();
  route(request, response).catch((error) => response.writeHead(502).end(`${error.message}\n`));
}).listen(8081);

process.on('SIGTERM', () => process.exit());
