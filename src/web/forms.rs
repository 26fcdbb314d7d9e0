//! Forms that only our own pages can send: read strictly, with a token bound to the browser and the form.

use axum::response::Response;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, header};

use super::callback::see_other;
use crate::{
    app::App,
    protocol::{error::OAuthError, params::Params},
    secret::{Kind, Secret, Visitor, constant_time_eq},
    time::UnixTime,
};

/// Reads the body of a form.
///
/// # Errors
///
/// `invalid_request` unless it is `application/x-www-form-urlencoded` and well-formed.
pub(crate) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Params, OAuthError> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let is_form = match (
        types.next().and_then(|value| value.to_str().ok()),
        types.next(),
    ) {
        (Some(value), None) => {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        }
        _ => false,
    };
    if !is_form {
        return Err(OAuthError::invalid_request(
            "the body must be application/x-www-form-urlencoded",
        ));
    }
    Params::parse(body)
}

/// The token of one form in one browser.
pub(crate) fn token<K: Kind>(app: &App, form: &str, browser: &Secret<K>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(app.form_key.sign(&[
        b"form",
        form.as_bytes(),
        browser.expose().as_bytes(),
    ]))
}

/// Was the form sent from a page that we made for this browser?
pub(crate) fn is_ours<K: Kind>(
    app: &App,
    form: &str,
    browser: Option<&Secret<K>>,
    params: &Params,
) -> bool {
    let Some(browser) = browser else { return false };
    let sent = params.optional("csrf").unwrap_or_default();
    constant_time_eq(sent.as_bytes(), token(app, form, browser).as_bytes())
}

/// The parameter of the sign-in page that says where it leads, where that is not an authorization request.
pub(crate) const TO: &str = "to";
/// Its values, and the pages that they stand for.
pub(crate) const LANDINGS: &[(&str, &str)] = &[
    (TO_DEVICE, "/device"),
    ("development", "/development"),
    ("clients", "/admin/clients"),
    ("explain", "/admin/explain"),
    ("refusals", "/admin/refusals"),
];
/// The page where devices are signed in.
pub(crate) const TO_DEVICE: &str = "device";

/// Sends somebody to sign in, and then to that page of [`LANDINGS`].
pub(crate) fn sign_in_for(app: &App, to: &str) -> Response {
    let base = app.config.issuer.path();
    see_other(&format!("{base}/login?{TO}={to}"))
}

/// The parameter that marks a request as one that its person was sent to sign in for.
pub(crate) const SENT_TO_LOGIN: &str = "wayleave_sent";

/// Marks an authorization request with the time its person was sent to sign in, in this browser.
pub(crate) fn mark_sent(
    app: &App,
    params: &Params,
    browser: &Secret<Visitor>,
    now: UnixTime,
) -> String {
    let request = params.encode();
    let mark = format!("{}.{}", now.0, sent_mac(app, &request, browser, now.0));
    format!("{request}&{SENT_TO_LOGIN}={mark}")
}

/// Takes the mark off; its time, if it was made for this browser and no longer ago than `login.interaction`.
pub(crate) fn take_sent(
    app: &App,
    params: &Params,
    browser: Option<&Secret<Visitor>>,
    now: UnixTime,
) -> (Params, Option<UnixTime>) {
    let request = params.without(&[SENT_TO_LOGIN]);
    let sent = params.optional(SENT_TO_LOGIN).and_then(|mark| {
        let (time, mac) = mark.split_once('.')?;
        let time: i64 = time.parse().ok()?;
        let genuine = sent_mac(app, &request.encode(), browser?, time);
        let is_ours = constant_time_eq(mac.as_bytes(), genuine.as_bytes());
        let is_open = now - UnixTime(time) <= i64::from(app.config.login.interaction.get());
        (is_ours && is_open).then_some(UnixTime(time))
    });
    (request, sent)
}

fn sent_mac(app: &App, request: &str, browser: &Secret<Visitor>, time: i64) -> String {
    let parts: [&[u8]; 4] = [
        b"sent",
        request.as_bytes(),
        browser.expose().as_bytes(),
        &time.to_be_bytes(),
    ];
    BASE64_URL_SAFE_NO_PAD.encode(&app.form_key.sign(&parts)[..16])
}
