// A person at Chromium, by a chromedriver that listens at a port (W3C WebDriver).

const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf';
const ARGUMENTS = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** A browser that has never been anywhere; it has to be closed. */
export async function open(port, chromium) {
  const call = async (method, path, body) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, body: body && JSON.stringify(body) });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`the browser: ${value.error}: ${value.message}`);
    return value;
  };
  const options = { binary: chromium, args: ARGUMENTS };
  const capabilities = { alwaysMatch: { 'goog:chromeOptions': options } };
  const { sessionId } = await call('POST', '/session', { capabilities });
  const path = `/session/${sessionId}`;
  const find = async (selector) => {
    const found = await call('POST', `${path}/element`, { using: 'css selector', value: selector });
    return `${path}/element/${found[ELEMENT]}`;
  };
  return {
    go: (url) => call('POST', `${path}/url`, { url }),
    run: (script, ...args) => call('POST', `${path}/execute/sync`, { script, args }),
    click: async (selector) => call('POST', `${await find(selector)}/click`, {}),
    type: async (selector, text) => call('POST', `${await find(selector)}/value`, { text }),
    close: () => call('DELETE', path),
  };
}
