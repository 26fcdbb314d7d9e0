//! Browsers in which somebody has signed in before: a cookie that the server authenticates and keeps no list of. It ends
//! after a year, and with the password.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;

use super::cookies;
use crate::{app::App, secret::random, store::Account, time::UnixTime};

/// Seconds for which a browser stays known.
const KNOWN_FOR: i64 = 365 * 86_400;

/// The cookie by which this browser is known from now on as one in which the account has signed in.
pub(crate) fn remember(app: &App, account: &Account, now: UnixTime) -> HeaderValue {
    let browser = BASE64_URL_SAFE_NO_PAD.encode(random::<16>());
    let until = (now + KNOWN_FOR).0.to_string();
    let mark = mark(app, &browser, &until, account);
    let text = format!("{browser}.{until}.{mark}");
    cookies::keep(app, cookies::KNOWN, &text, KNOWN_FOR)
}

/// What the browser is called, if the account has signed in with it, with the password that it still has.
pub(crate) fn known<'h>(
    app: &App,
    headers: &'h HeaderMap,
    account: Option<&Account>,
    now: UnixTime,
) -> Option<&'h str> {
    let (browser, rest) = cookies::text(app, headers, cookies::KNOWN)?.split_once('.')?;
    let (until, claimed) = rest.split_once('.')?;
    let mark = mark(app, browser, until, account?);
    let is_ours = bool::from(mark.as_bytes().ct_eq(claimed.as_bytes()));
    (is_ours && now.0 < until.parse().ok()?).then_some(browser)
}

fn mark(app: &App, browser: &str, until: &str, account: &Account) -> String {
    let parts = [
        "known",
        browser,
        until,
        &account.subject,
        &account.password_hash,
    ];
    let mac = app.form_key.sign(&parts.map(str::as_bytes));
    BASE64_URL_SAFE_NO_PAD.encode(&mac[..24])
}
