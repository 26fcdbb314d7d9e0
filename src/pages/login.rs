//! `/login`: a person signs in, and goes on to the request that sent them here.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::State,
    response::{AppendHeaders, IntoResponse, Response},
};
use http::{Extensions, HeaderMap, StatusCode, Uri, header};

use crate::{
    app::App,
    protocol::{client_id::ClientId, params::Params, pushed},
    secret::Visitor,
    time::roughly,
    web::{
        callback::see_other,
        client_ip::client_ip,
        cookies, forms, html, known_browser,
        page_error::PageError,
        refused::{self, Refused, Weight},
        session,
        sign_in::{self, Attempt, Outcome},
        views::Login,
    },
};

const FORM: &str = "login";
/// Characters of the longest name that is shown again: that of an e-mail address.
const NAME: usize = 254;
/// When to come again while there are too many passwords to hash.
const BUSY: Duration = Duration::from_secs(2);

/// The sign-in page. The request that sent the person here stands in the query.
pub(crate) async fn show(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let request = request(uri.query().unwrap_or_default())?;
    Ok(page(&app, &headers, &request, None).await)
}

/// Signs in.
pub(crate) async fn submit(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let params = forms::read(&headers, &body)?;
    let request = request(params.optional("request").unwrap_or_default())?;
    let visitor = cookies::read::<Visitor>(&app, &headers, cookies::VISITOR);
    if !forms::is_ours(&app, FORM, visitor.as_ref(), &params) {
        return Err(PageError::Forbidden);
    }
    if let Some(client_id) = request.optional("client_id") {
        refused::of_client(client_id);
    }
    let username = params.optional("username").unwrap_or_default();
    let password = params.optional("password").unwrap_or_default();
    let attempt = Attempt {
        username,
        password,
        headers: &headers,
        source: client_ip(&extensions, &headers, &app.config.server.trusted_proxies),
    };
    let outcome = sign_in::attempt(&app, attempt, now).await?;
    app.store.counts.sign_ins.add(outcome.as_str());
    let outcome = match outcome {
        Outcome::SignedIn(account) => {
            refused::of_person(&account.subject, &account.username);
            let known = known_browser::remember(&app, &account, now);
            let cookie = session::start(&app, &headers, account, now).await?;
            if let Some(cookie) = cookie {
                let cookies = [(header::SET_COOKIE, cookie), (header::SET_COOKIE, known)];
                let next = see_other(&next(&app, &request));
                refused::happened("signed in", None, None);
                return Ok((AppendHeaders(cookies), next).into_response());
            }
            // It was right when it was looked at, and is no longer.
            Outcome::Wrong
        }
        refused => refused,
    };
    let name: String = username.chars().take(NAME).collect();
    // What nobody is called may be a password that was typed into the wrong field.
    if let Some(known) = app.accounts.named(username).await.ok().flatten() {
        refused::of_person(&known.subject, &known.username);
    }
    let reference = refused::refused(
        "sign-in refused",
        &Refused {
            rule: outcome.rule(),
            code: "sign_in",
            told: &told(&outcome).0,
            cause: outcome.as_str(),
            weight: Weight::Refused,
        },
    );
    let failed = Failed {
        name: &name,
        outcome: &outcome,
        reference,
    };
    Ok(page(&app, &headers, &request, Some(&failed)).await)
}

/// Where the person goes on.
fn next(app: &App, request: &Params) -> String {
    let base = app.config.issuer.path();
    if let Some((_, path)) = landing(request) {
        let rest = request.without(&[forms::TO]).encode();
        let mark = if rest.is_empty() { "" } else { "?" };
        return format!("{base}{path}{mark}{rest}");
    }
    match request.encode() {
        request if request.is_empty() => format!("{base}/"),
        request => format!("{base}/authorize?{request}"),
    }
}

/// The page of ours that sent the person here, if no client did.
fn landing(request: &Params) -> Option<&'static (&'static str, &'static str)> {
    let to = request.optional(forms::TO)?;
    let mut known = forms::LANDINGS.iter();
    known.find(|(name, _)| *name == to && request.optional("client_id").is_none())
}

/// The request that waits; `/authorize` judges it, here it is only carried.
fn request(encoded: &str) -> Result<Params, PageError> {
    Ok(Params::parse(encoded.as_bytes())?)
}

/// What the request asks for, also where it was pushed. Only for showing it: `/authorize` judges.
async fn meant(app: &App, request: &Params, client_id: Option<&ClientId>) -> Option<Params> {
    let secret = pushed::secret(request.optional("request_uri")?)?;
    let row = app.store.pushed(&secret.hash(), client_id?).await.ok()??;
    Params::parse(row.request.as_bytes()).ok()
}

/// What somebody who is not signed in reads, and after how many seconds they may try again.
fn told(outcome: &Outcome) -> (String, Option<u64>) {
    let again = |what: &str, wait: Duration| {
        let seconds = wait.as_secs().max(1);
        let told = format!("{what} Wait {}, and try again.", roughly(seconds));
        (told, Some(seconds))
    };
    match outcome {
        Outcome::NameWaits(wait) => again("Too many passwords were wrong for this name.", *wait),
        Outcome::NameLocked => {
            let told = "Too many passwords were wrong for this name, so it is locked. Ask the administrator of this server to unlock it.";
            (told.to_owned(), None)
        }
        Outcome::NetworkWaits(wait) => {
            again("Too many sign-ins from your network went wrong.", *wait)
        }
        Outcome::Busy => again(
            "This is not about your password: the server is overloaded.",
            BUSY,
        ),
        Outcome::SignedIn(_) | Outcome::Wrong | Outcome::Disabled => (
            "The user name or the password is not right.".to_owned(),
            None,
        ),
    }
}

/// What the person knows the client by: its host, or the name that the administrator gave it.
fn asking(app: &App, client_id: &ClientId) -> String {
    let registered = app.clients.rules().registered(client_id);
    let name = registered.and_then(|registered| registered.client.metadata.client_name.clone());
    name.unwrap_or_else(|| client_id.host_or_name().to_owned())
}

/// An attempt that failed.
struct Failed<'a> {
    name: &'a str,
    outcome: &'a Outcome,
    reference: Option<String>,
}

/// The page.
async fn page(
    app: &App,
    headers: &HeaderMap,
    request: &Params,
    failed: Option<&Failed<'_>>,
) -> Response {
    let (visitor, cookie) = cookies::visitor(app, headers);
    let client_id = request
        .optional("client_id")
        .and_then(|text| text.parse::<ClientId>().ok());
    let meant = meant(app, request, client_id.as_ref()).await;
    let asked = meant.as_ref().unwrap_or(request);
    let login = Login {
        frame: html::frame(app, None),
        csrf: forms::token(app, FORM, &visitor),
        action: format!("{}/login", app.config.issuer.path()),
        request: request.encode(),
        client_host: client_id.map(|id| asking(app, &id)),
        username: failed
            .map(|failed| failed.name)
            .or_else(|| asked.optional("login_hint"))
            .unwrap_or_default()
            .chars()
            .take(NAME)
            .collect(),
        failed: failed.map(|failed| told(failed.outcome).0),
        reference: failed.and_then(|failed| failed.reference.clone()),
        notice: landing(request)
            .filter(|(to, _)| *to == forms::TO_DEVICE)
            .map(|_| "After that you compare the code that your device shows.".to_owned()),
    };
    let status = match failed.map(|failed| failed.outcome) {
        None => StatusCode::OK,
        Some(Outcome::Wrong | Outcome::Disabled) => StatusCode::UNPROCESSABLE_ENTITY,
        Some(Outcome::Busy) => StatusCode::SERVICE_UNAVAILABLE,
        Some(_) => StatusCode::TOO_MANY_REQUESTS,
    };
    let mut response = html::page_before_client(status, &login);
    if let Some(seconds) = failed.and_then(|failed| told(failed.outcome).1) {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    let cookie = cookie.map(|cookie| (header::SET_COOKIE, cookie));
    response.headers_mut().extend(cookie);
    response
}
