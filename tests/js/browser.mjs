// A person at a browser: cookies, redirects and forms, no scripts.

// Ends where the browser leaves the server.
export async function signInAndAllow(address, person) {
  return walk(address, person, {});
}

// Signs in a device by its code: ends at the page that says so.
export async function signInDevice(address, person, userCode) {
  return walk(address, person, { user_code: userCode }, 'You can return to your device');
}

async function walk(address, { origin, username, password }, filled, end) {
  const cookies = new Map();
  const go = async (url, options = {}) => {
    const headers = { ...options.headers, cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') };
    const response = await fetch(url, { ...options, headers, redirect: 'manual' });
    for (const cookie of response.headers.getSetCookie()) {
      const [name, value] = cookie.split(';')[0].split(/=(.*)/s);
      cookies.set(name, value);
    }
    return response;
  };
  let url = new URL(address);
  let response = await go(url);
  for (let page = 0; page < 10; page += 1) {
    if (response.status === 303) {
      url = new URL(response.headers.get('location'), url);
      if (url.origin !== origin) return url;
      response = await go(url);
      continue;
    }
    const html = await response.text();
    if (end && html.includes(end)) return url;
    if (response.status !== 200) throw new Error(`${url}: ${response.status} ${html}`);
    const fields = new URLSearchParams();
    for (const [, name, value] of html.matchAll(/<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"/g)) {
      fields.set(name, unescape(value));
    }
    if (html.includes('name="password"')) {
      fields.set('username', username);
      fields.set('password', password);
    } else if (html.includes('name="user_code"') && !html.includes('value="allow"')) {
      fields.set('user_code', filled.user_code);
    } else {
      fields.set('decision', 'allow');
    }
    url = new URL(unescape(html.match(/<form[^>]*action="([^"]+)"/)[1]), url);
    response = await go(url, { method: 'POST', headers: { origin }, body: fields });
  }
  throw new Error(`still not back at the client: ${url}`);
}

function unescape(text) {
  return text.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(code)).replaceAll('&lt;', '<').replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"').replaceAll('&amp;', '&');
}
