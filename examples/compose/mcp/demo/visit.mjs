// What every client that got a token does with it: reads the notes, and tries to add one.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

export const issuer = 'http://127.0.0.1:8080';
export const resource = 'http://127.0.0.1:8082/mcp';

export async function visit(name, authProvider) {
  const client = new Client({ name, version: '1.0.0' });
  await client.connect(new StreamableHTTPClientTransport(new URL(resource), { authProvider }));
  const call = async (tool, input = {}) => {
    const { content, isError = false } = await client.callTool({ name: tool, arguments: input });
    return { what: `calls ${tool}`, ok: !isError, told: content[0].text };
  };
  const { scope } = await authProvider.tokens();
  const steps = [
    { what: 'has a token', ok: true, told: `scope: ${scope}` },
    await call('read_notes'),
    await call('add_note', { text: `${name} was here.` }),
  ];
  await client.close();
  return steps;
}
