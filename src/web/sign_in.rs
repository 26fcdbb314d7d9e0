//! A person's attempt to sign in, and how often attempts may fail: for one name, from one network, and from a browser in
//! which that name has signed in before. Strangers who guess slow down each other, and not the account's own person.

use std::{net::IpAddr, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;

use super::cookies;
use crate::{
    accounts::AccountsError,
    app::App,
    policy::sign_in::{Trial, trial},
    secret::{SecretHash, TypedName, random},
    store::Account,
    time::UnixTime,
};

/// Seconds for which a browser stays known.
const KNOWN_FOR: i64 = 365 * 86_400;

/// What somebody typed, and from where.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) username: &'a str,
    pub(crate) password: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) source: IpAddr,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    SignedIn(Account),
    /// The name or the password.
    Wrong,
    /// Nothing was tried: too many were wrong for this name.
    NameWaits(Duration),
    /// The same, until an administrator unlocks it.
    NameLocked,
    /// Nothing was tried: too many from this network were wrong.
    NetworkWaits(Duration),
    /// Nothing was tried: too many passwords wait to be hashed.
    Busy,
}

impl Outcome {
    /// For the log.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::SignedIn(_) => "signed in",
            Self::Wrong => "wrong",
            Self::NameWaits(_) => "the name waits",
            Self::NameLocked => "the name is locked",
            Self::NetworkWaits(_) => "the network waits",
            Self::Busy => "too many wait",
        }
    }
}

/// Tries to sign somebody in.
///
/// # Errors
///
/// When the database fails.
pub(crate) async fn attempt(
    app: &App,
    attempt: Attempt<'_>,
    now: UnixTime,
) -> Result<Outcome, AccountsError> {
    let limits = &app.limits.sign_ins;
    let name = TypedName::hash(attempt.username);
    let failures = app.store.sign_in_failures(&name).await?;
    let browser = known_browser(app, attempt.headers, &name);
    let guess = match browser.and_then(|browser| limits.of_browser(browser).ok()) {
        Some(guess) => guess,
        None => {
            let scale = app.config.limits.scale.get();
            match failures.map_or(Trial::Now, |failures| trial(failures, scale, now)) {
                Trial::Now => {}
                Trial::In(seconds) => {
                    let seconds = u64::try_from(seconds).unwrap_or_default();
                    return Ok(Outcome::NameWaits(Duration::from_secs(seconds)));
                }
                Trial::Locked => return Ok(Outcome::NameLocked),
            }
            match limits.of_network(attempt.source) {
                Ok(guess) => guess,
                Err(wait) => return Ok(Outcome::NetworkWaits(wait)),
            }
        }
    };
    let account = app
        .accounts
        .sign_in(attempt.username, attempt.password)
        .await;
    match account {
        Ok(Some(account)) => {
            guess.was_right();
            if failures.is_some() {
                app.store.forget_sign_in_failures(name).await?;
            }
            Ok(Outcome::SignedIn(account))
        }
        Ok(None) => {
            limits.failed(attempt.source, attempt.username, attempt.password);
            app.store.count_sign_in_failure(name, now).await?;
            Ok(Outcome::Wrong)
        }
        Err(error) => {
            guess.was_right();
            match error {
                AccountsError::Busy => Ok(Outcome::Busy),
                error => Err(error),
            }
        }
    }
}

/// The cookie by which this browser is known as one in which `username` has signed in.
pub(crate) fn remember_browser(app: &App, username: &str) -> HeaderValue {
    let browser = BASE64_URL_SAFE_NO_PAD.encode(random::<16>());
    let mark = mark(app, &browser, &TypedName::hash(username));
    cookies::keep(app, cookies::KNOWN, &format!("{browser}.{mark}"), KNOWN_FOR)
}

/// The browser, if the name has signed in with it.
fn known_browser<'h>(
    app: &App,
    headers: &'h HeaderMap,
    name: &SecretHash<TypedName>,
) -> Option<&'h str> {
    let (browser, claimed) = cookies::text(app, headers, cookies::KNOWN)?.split_once('.')?;
    let is_ours = mark(app, browser, name)
        .as_bytes()
        .ct_eq(claimed.as_bytes());
    bool::from(is_ours).then_some(browser)
}

fn mark(app: &App, browser: &str, name: &SecretHash<TypedName>) -> String {
    let mac = app
        .form_key
        .sign(&[b"known", browser.as_bytes(), name.as_str().as_bytes()]);
    BASE64_URL_SAFE_NO_PAD.encode(&mac[..24])
}
