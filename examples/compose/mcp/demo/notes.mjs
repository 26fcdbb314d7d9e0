// A protected resource: an MCP server by the official SDK. It knows the issuer's URL, and nothing else of the server.
import { createMcpExpressApp } from '@modelcontextprotocol/sdk/server/express.js';
import { InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { z } from 'zod';

const issuer = 'http://127.0.0.1:8080';
const resource = 'http://127.0.0.1:8082/mcp';
const notes = ['Water the ferns.', 'The gate by the brook sticks.'];

function server() {
  const server = new McpServer({ name: 'Notes', version: '1.0.0' });
  const tool = (name, description, inputSchema, scope, answer) =>
    server.registerTool(name, { description, inputSchema }, (input, { authInfo }) =>
      authInfo.scopes.includes(scope)
        ? { content: [{ type: 'text', text: answer(input) }] }
        : { content: [{ type: 'text', text: `the token does not have ${scope}` }], isError: true },
    );
  tool('read_notes', 'All notes', {}, 'notes.read', () => notes.join(' '));
  tool('add_note', 'A new note', { text: z.string().max(200) }, 'notes.write', ({ text }) => {
    notes.splice(2, 1, text);
    return `noted: ${text}`;
  });
  return server;
}

// RFC 9068 §4: type, signature by a published key, issuer, audience, time.
const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`));
const verifier = {
  async verifyAccessToken(token) {
    try {
      const { payload } = await jwtVerify(token, keys, { issuer, audience: resource, typ: 'at+jwt' });
      const { client_id: clientId, exp: expiresAt, aud } = payload;
      return { token, clientId, scopes: (payload.scope ?? '').split(' '), expiresAt, resource: new URL(aud) };
    } catch (error) {
      throw new InvalidTokenError(error.message.replaceAll('"', "'"));
    }
  },
};

const app = createMcpExpressApp();
const metadata = '/.well-known/oauth-protected-resource/mcp';
app.get(metadata, (_, response) => {
  response.json({ resource, resource_name: 'Notes', authorization_servers: [issuer], scopes_supported: ['notes.read', 'notes.write'] });
});
const guard = requireBearerAuth({ verifier, expectedResource: resource, resourceMetadataUrl: new URL(metadata, resource).href });
app.post('/mcp', guard, async (request, response) => {
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  await server().connect(transport);
  await transport.handleRequest(request, response, request.body);
});
app.all('/mcp', guard, (_, response) => response.status(405).set('allow', 'POST').end());
app.listen(8082);

process.on('SIGTERM', () => process.exit());
