//! `/device`: a person types the code of a device, and answers for it. RFC 8628 §3.3, RFC 10027.
//!
//! Nobody's code is looked at before they have signed in: a guess has a name. Whoever opens a code first has it.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode, Uri, header};

use super::client_summary::{ago, asker, wanted};
use crate::{
    app::App,
    clients::{Need, found},
    grants::{device_code::check_client, lifetimes},
    limits::network,
    policy::client_rules::TrustDecision,
    protocol::{
        client::Client, client_metadata::GrantType, error::OAuthError, params::Params,
        scope::Scope, user_code::UserCode,
    },
    secret::{Secret, Visitor},
    store::{ClaimedDevice, DeviceAnswer, Respondent, StoreError},
    time::UnixTime,
    web::{
        callback::see_other,
        client_ip::client_ip,
        cookies, forms, html,
        page_error::{BadRequest, PageError, RefusedClient},
        refused,
        session::{self, CurrentSession},
        views::{Device, DeviceConfirm, DeviceDone},
    },
};

const ENTRY: &str = "device";
const ANSWER: &str = "device answer";
/// Longest text that is carried as a code, in characters.
const TYPED: usize = 64;

/// The form for the code. That of a link is filled in, and looked at only when the person sends it: RFC 8628 §3.3.1.
pub(crate) async fn show(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let params = query(&uri)?;
    let typed = typed(&params);
    match visit(&app, &headers).await? {
        Some(visit) => Ok(visit.entry(&app, typed, false)),
        None => Ok(send_to_login(&app, typed)),
    }
}

/// Opens the device for this person in this browser.
pub(crate) async fn claim(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Result<Response, PageError> {
    let params = forms::read(&headers, &body)?;
    let typed = typed(&params);
    let Some(visit) = visit(&app, &headers).await? else {
        return Ok(send_to_login(&app, typed));
    };
    visit.check_form(&app, ENTRY, &params)?;
    // What cannot be a code is no guess at one, and told alike.
    let Ok(code) = typed.parse::<UserCode>() else {
        return Ok(visit.entry(&app, typed, true));
    };
    let source = client_ip(&extensions, &headers, &app.config.server.trusted_proxies);
    let guess = app
        .limits
        .user_codes
        .begin(source, &visit.asked.subject)
        .map_err(PageError::TooManyCodes)?;
    let asked = visit.asked.clone();
    match app.store.claim_device(code.clone(), asked, visit.now).await {
        Ok(true) => {
            guess.was_right();
            Ok(to(&app, "/device/confirm", &code))
        }
        Ok(false) => Ok(visit.entry(&app, typed, true)),
        Err(error) => {
            guess.was_right();
            Err(error.into())
        }
    }
}

/// The question, for the browser that has opened the device: always, and also for our own clients.
pub(crate) async fn confirm(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, PageError> {
    let params = query(&uri)?;
    let (visit, code, device) = match opened(&app, &headers, &params).await? {
        Ok(open) => open,
        Err(response) => return Ok(response),
    };
    let judged = Judged::new(&app, &device, visit.now).await?;
    let source = client_ip(&extensions, &headers, &app.config.server.trusted_proxies);
    let same_network = device
        .source
        .parse()
        .is_ok_and(|asked| network(asked) == network(source));
    let base = app.config.issuer.path();
    let user = &visit.session.row.username;
    let lifetime = device.may_refresh.then(|| judged.lifetime(&app, &device));
    let page = DeviceConfirm {
        frame: html::frame(&app, Some(user)),
        csrf: forms::token(&app, ANSWER, &visit.visitor),
        action: format!("{base}/device/confirm"),
        user_code: code.to_string(),
        asker: asker(&app, &judged.client, &judged.standing, visit.now).await?,
        wanted: wanted(&app, user, &judged.scope, &device.resources, lifetime),
        source: device.source.clone(),
        same_network,
        age: ago(visit.now - device.created_at),
        switch_account_url: format!("{base}/logout"),
    };
    Ok(html::page(StatusCode::OK, &page))
}

/// The answer: once, by the person and the browser that have opened the device.
pub(crate) async fn answer(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, PageError> {
    let params = forms::read(&headers, &body)?;
    let (visit, code, device) = match opened(&app, &headers, &params).await? {
        Ok(open) => open,
        Err(response) => return Ok(response),
    };
    visit.check_form(&app, ANSWER, &params)?;
    let answer = match params.optional("decision") {
        Some("deny") => DeviceAnswer::Deny,
        Some("allow") => {
            let judged = Judged::new(&app, &device, visit.now).await?;
            let person = visit.session.person(&app);
            DeviceAnswer::Allow {
                signed_in_at: person.signed_in_at,
                sid: person.sid,
                session: person.session,
                revision: judged.revision,
            }
        }
        _ => {
            let told = "the parameter decision must be allow or deny";
            return Err(BadRequest::new("decision", told).into());
        }
    };
    let asked = visit.asked.clone();
    let decided = app
        .store
        .decide_device(code.clone(), asked, answer, visit.now)
        .await;
    match decided {
        Ok(true) => {
            let scope = device.scope.to_string();
            refused::happened("consent", params.optional("decision"), Some(&scope));
            Ok(to(&app, "/device/done", &code))
        }
        Ok(false) => Ok(visit.entry(&app, &code.to_string(), true)),
        Err(StoreError::RulesMoved) => {
            // Judged by rules or in a session that are no more: the question is put again, as it is now.
            let noticed = app.clients.notice_changes().await;
            noticed?;
            Ok(to(&app, "/device/confirm", &code))
        }
        Err(error) => Err(error.into()),
    }
}

/// What the person has answered.
pub(crate) async fn done(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let params = query(&uri)?;
    let typed = typed(&params);
    let Some(visit) = visit(&app, &headers).await? else {
        return Ok(send_to_login(&app, ""));
    };
    let decided = match typed.parse() {
        Ok(code) => app.store.decided_device(&code, &visit.asked).await,
        Err(_) => Ok(None),
    };
    let decided = decided?;
    let Some(allowed) = decided else {
        return Ok(visit.entry(&app, typed, true));
    };
    let frame = html::frame(&app, Some(&visit.session.row.username));
    let page = DeviceDone { frame, allowed };
    Ok(html::page(StatusCode::OK, &page))
}

/// A person who is signed in, in one browser.
struct Visit {
    session: CurrentSession,
    visitor: Secret<Visitor>,
    /// The cookie that the browser does not have yet.
    cookie: Option<HeaderValue>,
    asked: Respondent,
    now: UnixTime,
}

/// Who is there; `None` when nobody is signed in.
async fn visit(app: &App, headers: &HeaderMap) -> Result<Option<Visit>, PageError> {
    if !app.config.policy.devices {
        return Err(PageError::NothingHere);
    }
    let now = app.clock.now();
    let session = session::current(app, headers, now).await?;
    let Some(session) = session else {
        return Ok(None);
    };
    let (visitor, cookie) = cookies::visitor(app, headers);
    Ok(Some(Visit {
        asked: Respondent {
            browser: visitor.hash(),
            subject: session.row.subject.clone(),
        },
        session,
        visitor,
        cookie,
        now,
    }))
}

impl Visit {
    /// The form for the code. Whatever is wrong with a code, it `failed` in the same words.
    fn entry(&self, app: &App, typed: &str, failed: bool) -> Response {
        let page = Device {
            frame: html::frame(app, Some(&self.session.row.username)),
            csrf: forms::token(app, ENTRY, &self.visitor),
            action: format!("{}/device", app.config.issuer.path()),
            user_code: typed.to_owned(),
            failed,
        };
        let status = match failed {
            true => StatusCode::UNPROCESSABLE_ENTITY,
            false => StatusCode::OK,
        };
        let mut response = html::page(status, &page);
        let cookie = self.cookie.clone();
        let cookie = cookie.map(|cookie| (header::SET_COOKIE, cookie));
        response.headers_mut().extend(cookie);
        response
    }

    fn check_form(&self, app: &App, form: &str, params: &Params) -> Result<(), PageError> {
        match forms::is_ours(app, form, Some(&self.visitor), params) {
            true => Ok(()),
            false => Err(PageError::Forbidden),
        }
    }
}

/// The device that the request is about, if this person has opened it in this browser; else the page to show.
async fn opened(
    app: &App,
    headers: &HeaderMap,
    params: &Params,
) -> Result<Result<(Visit, UserCode, ClaimedDevice), Response>, PageError> {
    let typed = typed(params);
    let Some(visit) = visit(app, headers).await? else {
        return Ok(Err(send_to_login(app, typed)));
    };
    let Ok(code) = typed.parse::<UserCode>() else {
        return Ok(Err(visit.entry(app, typed, true)));
    };
    let device = app
        .store
        .claimed_device(&code, &visit.asked, visit.now)
        .await?;
    Ok(match device {
        Some(device) => {
            refused::of_client(device.client_id.as_str());
            Ok((visit, code, device))
        }
        None => Err(visit.entry(app, typed, true)),
    })
}

/// A device, judged once more by the rules of now.
struct Judged {
    client: Arc<Client>,
    standing: TrustDecision,
    /// What is left of its scope.
    scope: Scope,
    revision: i64,
}

impl Judged {
    async fn new(app: &App, device: &ClaimedDevice, now: UnixTime) -> Result<Self, PageError> {
        // The revision first: rules that come with a later one are judged by again.
        let revision = app.clients.rules().revision();
        let id = &device.client_id;
        let refused = |refusal| RefusedClient::new(id, refusal);
        let told = |error: OAuthError| {
            BadRequest::new(error.code.as_str(), error.description).detail("client_id", id.as_str())
        };
        let version = app
            .clients
            .client(id, Need::Version(&device.digest, device.fetched_at), now);
        let client = version.await.and_then(found).map_err(refused)?;
        let standing = app.clients.admit(&client).map_err(refused)?;
        check_client(&client, &standing, device.auth_method).map_err(told)?;
        // A newer version of the document that is at hand may have taken the grant away. One that cannot be looked up
        // now takes nothing away.
        let newest = app.clients.client(id, Need::CachedFresh, now);
        let newest = newest.await.ok().flatten();
        if let Some(newest) = newest.filter(|newest| !newest.may_use(GrantType::DeviceCode)) {
            let description = newest.description();
            let gone =
                format!("the client's {description} does not list the device grant any more");
            return Err(told(OAuthError::invalid_request(gone)).into());
        }
        let resources = &device.resources;
        let catalog = &app.config.resources;
        let scope = catalog
            .still_granted(
                &device.scope,
                resources,
                resources,
                &app.config.issuer,
                &standing,
            )
            .map_err(told)?;
        Ok(Self {
            client,
            standing,
            scope,
            revision,
        })
    }

    /// How long what it gets lives, in seconds.
    fn lifetime(&self, app: &App, device: &ClaimedDevice) -> u32 {
        let (.., absolute) = lifetimes(app, device.auth_method.is_confidential(), &self.standing);
        absolute
    }
}

fn query(uri: &Uri) -> Result<Params, OAuthError> {
    Params::parse(uri.query().unwrap_or_default().as_bytes())
}

/// What the person typed as a code, or followed a link with; nothing where it is longer than any code could be typed.
fn typed(params: &Params) -> &str {
    let typed = params.optional("user_code").unwrap_or_default();
    match typed.chars().count() {
        ..=TYPED => typed,
        _ => "",
    }
}

fn to(app: &App, page: &str, code: &UserCode) -> Response {
    see_other(&format!(
        "{}{page}?user_code={code}",
        app.config.issuer.path()
    ))
}

/// The sign-in page, and back to the code afterwards.
fn send_to_login(app: &App, typed: &str) -> Response {
    let mut back = url::form_urlencoded::Serializer::new(String::new());
    back.append_pair(forms::TO, forms::TO_DEVICE);
    if !typed.is_empty() {
        back.append_pair("user_code", typed);
    }
    let base = app.config.issuer.path();
    see_other(&format!("{base}/login?{}", back.finish())).into_response()
}
