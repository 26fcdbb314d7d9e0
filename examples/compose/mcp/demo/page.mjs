// The desk's page.

const style = `
:root{color-scheme:light dark;--paper:#eef1f4;--card:#fff;--ink:#1c2530;--soft:#566270;--line:#d5dbe2;--accent:#2b4f81;--on:#fff;--yes:#1f6b3a;--no:#a33a22}
@media(prefers-color-scheme:dark){:root{--paper:#12171d;--card:#1a2129;--ink:#e6eaef;--soft:#a7b2be;--line:#303a45;--accent:#9dbdea;--on:#101a28;--yes:#7fd39b;--no:#f0957e}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;padding:1rem;overflow-wrap:anywhere}
main{max-width:76rem;margin:2vh auto}h1{margin:.2rem 0;font-size:1.6rem}h2{margin:0;font-size:1.2rem}p{margin:.5rem 0}.soft{color:var(--soft)}
.three{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:1rem;margin-top:1.2rem;align-items:start}
section{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.2rem}a{color:var(--accent)}form{margin:0}
.button{display:inline-block;border:0;background:var(--accent);color:var(--on);font:inherit;font-weight:650;text-decoration:none;padding:.6rem 1.1rem;border-radius:10px;margin:.6rem 0;cursor:pointer}
:focus-visible{outline:3px solid var(--accent);outline-offset:3px}ul{list-style:none;margin:.6rem 0 0;padding:0}li{border-top:1px solid var(--line);padding:.5rem 0}
.yes b{color:var(--yes)}.no b{color:var(--no)}li span{display:block}pre{margin:.5rem 0 0;padding:.7rem;background:var(--paper);border-radius:8px;font:13px/1.4 ui-monospace,monospace;white-space:pre-wrap}
summary{cursor:pointer;margin-top:.6rem}`;

const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`).replace(/[\u202a-\u202e]/g, '\ufffd');

const steps = (done = []) =>
  done.length === 0
    ? '<p class="soft">Not started yet.</p>'
    : `<ul>${done
        .map(({ what, ok, told }) => `<li class="${ok ? 'yes' : 'no'}"><b>${ok ? 'Succeeded' : 'Refused'}</b> ${escape(what)}<span class="soft">${escape(told)}</span></li>`)
        .join('')}</ul>`;

const about = ({ clientId, document }) =>
  `<details><summary>Its document</summary><p class="soft">at ${escape(clientId)}</p><pre>${escape(JSON.stringify(document, null, 2))}</pre></details>`;

export const page = ({ issuer, resource, last, notebook, agent, prize }) => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>The desk</title><style>${style}</style></head><body><main>
<h1>Three clients want your notes</h1>
<p>Notes is an MCP server at <code>${escape(resource)}</code>. It takes tokens of Wayleave at <code>${escape(issuer)}</code>. Nobody registered
any of these clients: each is known by the address of its document.</p>
<div class="three">
<section id="notebook"><h2>Notebook</h2>
<p>A public client. You sign in, see who is asking, and allow it or not.</p>
<a class="button" href="/notebook">Sign in with Wayleave</a>${steps(last.notebook)}${about(notebook)}</section>
<section id="agent"><h2>Agent</h2>
<p>A confidential client, which acts for itself: it signs with a key whose public half is in its document. The administrator lets it
read, and no more.</p>
<form method="post" action="/agent"><button class="button">Let it work</button></form>${steps(last.agent)}${about(agent)}</section>
<section id="prize"><h2>Prize draw</h2>
<p>A hostile client. It tries a document full of faults, an address inside, another client’s name, and forged tokens.</p>
<form method="post" action="/prize"><button class="button">Let it try</button></form>${steps(last.prize)}
<p>A machine is told little. With your own browser you see which rule refused it, once you are signed in:</p>
<ul>${prize.pages.map(({ what, address }) => `<li>It <a href="${escape(address)}">${escape(what)}</a></li>`).join('')}</ul>${about(prize)}</section>
</div></main></body></html>
`;
