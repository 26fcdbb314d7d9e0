//! The client's pages: what the resource said, and each HTTP step on the way there.

use axum::response::Html;
use serde_json::Value;

/// One request and its answer.
#[derive(Clone)]
pub(crate) struct Step {
    title: String,
    request: String,
    response: String,
}

impl Step {
    pub(crate) fn new(title: &str, request: String, response: String) -> Self {
        Self {
            title: title.to_owned(),
            request,
            response,
        }
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#eef1f4;--card:#fff;--ink:#1c2530;--soft:#566270;--line:#d5dbe2;--accent:#2b4f81;--on:#fff}\
@media(prefers-color-scheme:dark){:root{--paper:#12171d;--card:#1a2129;--ink:#e6eaef;--soft:#a7b2be;--line:#303a45;--accent:#9dbdea;--on:#101a28}}\
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:17px/1.55 system-ui,sans-serif;padding:1rem;overflow-wrap:anywhere}\
main{max-width:44rem;margin:4vh auto;background:var(--card);border:1px solid var(--line);border-radius:14px;padding:clamp(1.2rem,5vw,2.2rem)}\
h1{margin:.1rem 0 .6rem;font-size:1.6rem;line-height:1.2}h2{font-size:1.05rem;margin:1.8rem 0 .4rem}h3{font-size:1rem;margin:0 0 .3rem}p{margin:.5rem 0}\
.soft{color:var(--soft)}a.button{display:inline-block;background:var(--accent);color:var(--on);font-weight:650;text-decoration:none;padding:.7rem 1.3rem;border-radius:10px;margin:.6rem .6rem 0 0}\
a{color:var(--accent)}:focus-visible{outline:3px solid var(--accent);outline-offset:3px}\
pre{margin:.3rem 0;padding:.7rem .9rem;background:var(--paper);border-radius:8px;font:14px/1.45 ui-monospace,monospace;white-space:pre-wrap}\
ol{padding-left:1.4rem}li{margin:1.1rem 0}#error{border-left:5px solid #b3452c;padding-left:.9rem}";

/// The first page.
pub(crate) fn home(client_id: &str, issuer: &str) -> Html<String> {
    page(
        "Demo notebook",
        &format!(
            "<h1>Demo notebook</h1><p>A client that nobody registered. All the server knows of it is the document at \
             <code>{}</code>, which it reads when somebody signs in.</p><p class=\"soft\">The server is at <code>{}</code>.</p>\
             <p><a class=\"button\" id=\"start\" href=\"/start\">Sign in with Wayleave</a>\
             <a id=\"desk\" href=\"/desk\">A client that has keys and no user</a></p>",
            escape(client_id),
            escape(issuer)
        ),
    )
}

/// What the ledger told the desk, which acts for itself.
pub(crate) fn desk(answer: &Value, kid: &str, steps: &[Step]) -> Html<String> {
    page(
        "The desk",
        &format!(
            "<h1>The desk acts for itself</h1><p>It proves who it is with a key of its own, now <code id=\"kid\">{}</code>. \
             The ledger asks the server about every token it is shown.</p><pre id=\"resource-answer\">{}</pre>\
             <p><a class=\"button\" id=\"rotate\" href=\"/desk/rotate\">Change the key, and ask again</a><a href=\"/\">Back</a></p>{}",
            escape(kid),
            escape(&pretty(answer)),
            list(steps)
        ),
    )
}

/// What the resource answered, and how the client got there.
pub(crate) fn answered(answer: &Value, steps: &[Step], refresh: Option<&str>) -> Html<String> {
    let again = refresh.map_or_else(String::new, |state| {
        format!(
            "<a class=\"button\" id=\"refresh\" href=\"/refresh?state={}\">Refresh the token</a>",
            escape(state)
        )
    });
    page(
        "Your notes",
        &format!(
            "<h1>The resource answered</h1><pre id=\"resource-answer\">{}</pre><p>{again}<a href=\"/\">Start again</a></p>{}",
            escape(&pretty(answer)),
            list(steps)
        ),
    )
}

/// A refusal.
pub(crate) fn failed(told: &str, steps: &[Step]) -> Html<String> {
    page(
        "No access",
        &format!(
            "<h1>No access</h1><p id=\"error\">{}</p><p><a class=\"button\" href=\"/\">Start again</a></p>{}",
            escape(told),
            list(steps)
        ),
    )
}

fn list(steps: &[Step]) -> String {
    let items = steps.iter().map(|step| {
        let response = if step.response.is_empty() {
            String::new()
        } else {
            format!("<pre>{}</pre>", escape(&step.response))
        };
        format!(
            "<li><h3>{}</h3><pre>{}</pre>{response}</li>",
            escape(&step.title),
            escape(&step.request)
        )
    });
    format!(
        "<h2>Each step of the flow</h2><ol id=\"steps\">{}</ol>",
        items.collect::<String>()
    )
}

fn page(title: &str, body: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\"><title>{}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>",
        escape(title)
    ))
}

/// JSON to read, long strings cut.
pub(crate) fn pretty(json: &Value) -> String {
    let mut json = json.clone();
    if let Some(members) = json.as_object_mut() {
        for (name, value) in members {
            if name.ends_with("_token")
                && let Some(text) = value.as_str()
            {
                *value = cut(text).into();
            }
        }
    }
    serde_json::to_string_pretty(&json).unwrap_or_default()
}

/// The beginning of a long value.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(32) {
        Some((at, _)) if text.len() > 80 || text.starts_with("wl_") => format!("{}…", &text[..at]),
        _ => text.to_owned(),
    }
}

/// A form, a parameter a line.
pub(crate) fn lines(form: &[(&str, &str)]) -> String {
    let lines = form
        .iter()
        .map(|(name, value)| format!("{name}={}", cut(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// An OAuth error: its code, plain words, and what was sent with it.
pub(crate) fn refusal(error: &str, told: &str) -> String {
    let plain = match error {
        "access_denied" => "access was not allowed, so there are no notes to show.",
        "invalid_grant" => "this sign-in has ended, start again.",
        "server_error" | "temporarily_unavailable" => "the server cannot do this at the moment.",
        _ => "the server refused the request.",
    };
    format!("{error}: {plain} ({told})")
}

/// An address with a code in it, the code cut.
pub(crate) fn shortened(address: &str) -> String {
    address
        .split('&')
        .map(|part| {
            if part.contains("code=") {
                format!("{}…", part.get(..34).unwrap_or(part))
            } else {
                part.to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join("&")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
