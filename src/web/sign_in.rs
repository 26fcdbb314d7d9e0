//! A person's attempt to sign in, and how often attempts may fail: for one name, from one network, and from a browser in
//! which that name has signed in before. Strangers who guess slow down each other, and not the account's own person.

use std::{net::IpAddr, time::Duration};

use http::HeaderMap;

use super::known_browser;
use crate::{
    accounts::{AccountsError, Checked, signs_in_as},
    app::App,
    limits::Guess,
    policy::sign_in::{Failures, Trial, trial},
    secret::{SecretHash, TypedName},
    store::{Account, StoreError},
    time::UnixTime,
};

/// How often an attempt looks again when others for the same name came in between.
const LOOKS: u32 = 8;

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
    /// Both are right, and the account is disabled. The page says the same as for wrong ones.
    Disabled,
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
            Self::Disabled => "disabled",
            Self::NameWaits(_) => "the name waits",
            Self::NameLocked => "the name is locked",
            Self::NetworkWaits(_) => "the network waits",
            Self::Busy => "too many wait",
        }
    }
}

impl Outcome {
    /// The rule that refuses.
    pub(crate) fn rule(&self) -> &'static str {
        match self {
            Self::SignedIn(_) => "sign_in",
            Self::Wrong => "sign_in.wrong",
            Self::Disabled => "sign_in.disabled",
            Self::NameWaits(_) => "sign_in.name_waits",
            Self::NameLocked => "sign_in.name_locked",
            Self::NetworkWaits(_) => "sign_in.network_waits",
            Self::Busy => "sign_in.busy",
        }
    }
}

/// An attempt that may be made.
struct Admitted {
    guess: Guess,
    /// The wrong passwords for the name until now.
    failures: Option<Failures>,
    /// Does the name count this attempt as wrong already, until it is known to be right?
    is_charged: bool,
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
    let account = app.accounts.named(attempt.username).await?;
    // Whichever of its names is typed, an account has one count of wrong passwords.
    let username = match &account {
        Some(account) => account.username.clone(),
        None => signs_in_as(attempt.username).unwrap_or_else(|| attempt.username.to_owned()),
    };
    let name = TypedName::hash(&username);
    let browser = known_browser::known(app, attempt.headers, account.as_ref(), now);
    let admitted = match admit(app, browser, attempt.source, &name, now).await? {
        Ok(admitted) => admitted,
        Err(refused) => return Ok(refused),
    };
    let Admitted {
        guess,
        failures,
        is_charged,
    } = admitted;
    match app.accounts.check(account, attempt.password).await {
        Ok(Checked::Right(account)) => {
            guess.was_right();
            if is_charged || failures.is_some() {
                app.store.forget_sign_in_failures(name).await?;
            }
            Ok(Outcome::SignedIn(account))
        }
        Ok(refused) => {
            let limits = &app.limits.sign_ins;
            limits.failed(attempt.source, &username, attempt.password);
            if !is_charged {
                app.store.count_sign_in_failure(name, now).await?;
            }
            Ok(match refused {
                Checked::Disabled => Outcome::Disabled,
                _ => Outcome::Wrong,
            })
        }
        Err(error) => {
            guess.was_right();
            if is_charged {
                app.store.uncount_sign_in_failure(name, failures).await?;
            }
            match error {
                AccountsError::Busy => Ok(Outcome::Busy),
                error => Err(error),
            }
        }
    }
}

/// May this attempt be made? Its name counts it as wrong before it is made: of many at once no more pass than one after the
/// other would.
async fn admit(
    app: &App,
    browser: Option<&str>,
    source: IpAddr,
    name: &SecretHash<TypedName>,
    now: UnixTime,
) -> Result<Result<Admitted, Outcome>, StoreError> {
    let limits = &app.limits.sign_ins;
    if let Some(guess) = browser.and_then(|browser| limits.of_browser(browser).ok()) {
        let failures = app.store.sign_in_failures(name).await?;
        let is_charged = false;
        return Ok(Ok(Admitted {
            guess,
            failures,
            is_charged,
        }));
    }
    let scale = app.config.limits.scale.get();
    for _ in 0..LOOKS {
        let failures = app.store.sign_in_failures(name).await?;
        match failures.map_or(Trial::Now, |failures| trial(failures, scale, now)) {
            Trial::Now => {}
            Trial::In(seconds) => {
                let seconds = u64::try_from(seconds).unwrap_or_default();
                return Ok(Err(Outcome::NameWaits(Duration::from_secs(seconds))));
            }
            Trial::Locked => return Ok(Err(Outcome::NameLocked)),
        }
        let guess = match limits.of_network(source) {
            Ok(guess) => guess,
            Err(wait) => return Ok(Err(Outcome::NetworkWaits(wait))),
        };
        let charged = app.store.charge_sign_in(name.clone(), failures, now).await;
        if let Ok(true) = charged {
            let is_charged = true;
            return Ok(Ok(Admitted {
                guess,
                failures,
                is_charged,
            }));
        }
        guess.was_right();
        charged?;
    }
    Ok(Err(Outcome::Busy))
}
