// One authorization code flow, refresh and, where the library has it, revocation, by a client of another make.
//
// The only argument is JSON: { library, issuer, clientId, redirectUri, resource, scope, username, password }.
// On success one line of JSON is printed; whatever a library dislikes ends the process with its error.
import { webcrypto } from "node:crypto";

// Node 18 keeps it from the global scope, where the libraries look for it.
globalThis.crypto ??= webcrypto;

/** A browser: cookies, redirects and forms. */
class Browser {
  #cookies = new Map();
  #origin;

  constructor(origin) {
    this.#origin = origin;
  }

  /** Goes where it is sent, until a page is shown or it is sent to another origin; that address or the page. */
  async open(address, form) {
    let request = form && { method: "POST", body: new URLSearchParams(form), headers: { origin: this.#origin } };
    for (let hops = 0; hops < 10; hops += 1) {
      const cookie = [...this.#cookies].map((pair) => pair.join("=")).join("; ");
      const headers = { ...request?.headers, ...(cookie && { cookie }) };
      const response = await fetch(address, { ...request, headers, redirect: "manual" });
      this.#keep(response.headers.getSetCookie());
      const body = await response.text();
      const location = response.headers.get("location");
      if (!location) {
        if (!response.ok) throw new Error(`${response.status} at ${address}: ${body}`);
        return { address, body };
      }
      address = new URL(location, address).href;
      if (new URL(address).origin !== this.#origin) return { address };
      request = undefined;
    }
    throw new Error(`sent in circles at ${address}`);
  }

  /** Fills the form of a page and sends it. */
  submit(page, filled) {
    const [, action] = page.body?.match(/<form[^>]* action="([^"]*)"/) ?? [];
    if (action === undefined) throw new Error(`no form at ${page.address}`);
    const hidden = page.body.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g);
    const fields = [...hidden].map(([, name, value]) => [name, unescape(value)]);
    return this.open(new URL(unescape(action), page.address).href, [...fields, ...Object.entries(filled)]);
  }

  #keep(lines) {
    for (const line of lines) {
      const [, name, value] = line.match(/^([^=]*)=([^;]*)/);
      if (/; *max-age=0/i.test(line)) this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
  }
}

function unescape(text) {
  return text.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(code)).replace(/&amp;/g, "&");
}

/** What a person does between the client's request and its answer; the answer's address. */
async function person(config, address) {
  const browser = new Browser(new URL(config.issuer).origin);
  const login = await browser.open(address);
  const { username, password } = config;
  const consent = await browser.submit(login, { username, password });
  const answer = await browser.submit(consent, { decision: "allow" });
  if (answer.body !== undefined) throw new Error(`still at ${answer.address}`);
  return new URL(answer.address);
}

/** https://github.com/panva/oauth4webapi */
async function oauth4webapi(config) {
  const oauth = await import("oauth4webapi");
  const insecure = { [oauth.allowInsecureRequests]: true };
  const issuer = new URL(config.issuer);
  const options = { ...insecure, algorithm: "oauth2" };
  const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options));
  const client = { client_id: config.clientId };
  const authentication = oauth.None();

  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const request = new URL(server.authorization_endpoint);
  request.search = new URLSearchParams({
    client_id: config.clientId,
    redirect_uri: config.redirectUri,
    response_type: "code",
    scope: config.scope,
    resource: config.resource,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  });
  const answer = await person(config, request.href);
  // Checks state and iss.
  const params = oauth.validateAuthResponse(server, client, answer, state);

  const resource = { ...insecure, additionalParameters: { resource: config.resource } };
  const tokens = await oauth.processAuthorizationCodeResponse(
    server,
    client,
    await oauth.authorizationCodeGrantRequest(
      server, client, authentication, params, config.redirectUri, verifier, resource,
    ),
  );
  const refresh = (token) => oauth.refreshTokenGrantRequest(server, client, authentication, token, resource);
  const refreshed = await oauth.processRefreshTokenResponse(server, client, await refresh(tokens.refresh_token));

  await oauth.processRevocationResponse(
    await oauth.revocationRequest(server, client, authentication, refreshed.refresh_token, insecure),
  );
  const after = await oauth
    .processRefreshTokenResponse(server, client, await refresh(refreshed.refresh_token))
    .then(() => "still works", (error) => error.error ?? String(error));
  return { answer: Object.fromEntries(answer.searchParams), tokens, refreshed, after_revocation: after };
}

/** https://github.com/modelcontextprotocol/typescript-sdk */
async function mcp(config) {
  const sdk = await import("@modelcontextprotocol/sdk/client/auth.js");
  const metadata = await sdk.discoverAuthorizationServerMetadata(config.issuer);
  if (!metadata) throw new Error("no metadata found");
  const clientInformation = { client_id: config.clientId };
  const resource = new URL(config.resource);

  const state = webcrypto.randomUUID();
  const { authorizationUrl, codeVerifier } = await sdk.startAuthorization(config.issuer, {
    metadata, clientInformation, redirectUrl: config.redirectUri, scope: config.scope, state, resource,
  });
  const answer = await person(config, authorizationUrl.href);
  if (answer.searchParams.get("state") !== state) throw new Error(`another state: ${answer}`);

  const tokens = await sdk.exchangeAuthorization(config.issuer, {
    metadata,
    clientInformation,
    authorizationCode: answer.searchParams.get("code"),
    codeVerifier,
    redirectUri: config.redirectUri,
    resource,
  });
  const refreshed = await sdk.refreshAuthorization(config.issuer, {
    metadata, clientInformation, refreshToken: tokens.refresh_token, resource,
  });
  return { answer: Object.fromEntries(answer.searchParams), tokens, refreshed };
}

const config = JSON.parse(process.argv[2]);
const result = await { oauth4webapi, mcp }[config.library](config);
console.log(JSON.stringify(result));
