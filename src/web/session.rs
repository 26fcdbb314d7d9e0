//! The session of the browser that sends a request.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue};

use super::{cookies, refused};
use crate::{
    app::App,
    grants::approval::Person,
    protocol::client_id::ClientId,
    secret::{Secret, Session},
    store::{Account, Consent, SessionRow, StoreError},
    time::UnixTime,
};

/// Seconds of idleness that are not written down: a busy session costs one write in so long.
const COARSE: i64 = 600;

/// A live session and the secret that its browser holds.
#[derive(Debug)]
pub(crate) struct CurrentSession {
    pub(crate) secret: Secret<Session>,
    pub(crate) row: SessionRow,
}

impl CurrentSession {
    /// Who is signed in.
    pub(crate) fn person(&self, app: &App) -> Person<'_> {
        // One session has one name, from which nobody gets its secret.
        let mac = app
            .form_key
            .sign(&[b"sid", self.secret.hash().as_str().as_bytes()]);
        Person {
            subject: &self.row.subject,
            signed_in_at: self.row.signed_in_at,
            sid: BASE64_URL_SAFE_NO_PAD.encode(&mac[..16]),
            session: self.secret.hash(),
        }
    }
}

/// The session, if the browser has a live one. Puts off its end.
pub(crate) async fn current(
    app: &App,
    headers: &HeaderMap,
    now: UnixTime,
) -> Result<Option<CurrentSession>, StoreError> {
    let Some(secret) = cookies::read::<Session>(app, headers, cookies::SESSION) else {
        return Ok(None);
    };
    let Some(row) = app.store.session(&secret.hash(), now).await? else {
        return Ok(None);
    };
    touched(app, CurrentSession { secret, row }, now)
        .await
        .map(Some)
}

/// The same, with what its person allowed this client before.
pub(crate) async fn current_for(
    app: &App,
    headers: &HeaderMap,
    client_id: &ClientId,
    now: UnixTime,
) -> Result<Option<(CurrentSession, Vec<Consent>)>, StoreError> {
    let Some(secret) = cookies::read::<Session>(app, headers, cookies::SESSION) else {
        return Ok(None);
    };
    let found = app
        .store
        .session_for(&secret.hash(), client_id, now)
        .await?;
    let Some((row, consents)) = found else {
        return Ok(None);
    };
    let session = touched(app, CurrentSession { secret, row }, now).await?;
    Ok(Some((session, consents)))
}

async fn touched(
    app: &App,
    session: CurrentSession,
    now: UnixTime,
) -> Result<CurrentSession, StoreError> {
    refused::of_person(&session.row.subject, &session.row.username);
    let idle_until = now + i64::from(app.config.login.session_idle.get());
    if idle_until - session.row.idle_until >= COARSE {
        let hash = session.secret.hash();
        app.store.touch_session(hash, idle_until).await?;
    }
    Ok(session)
}

/// Starts a session in place of the one that the browser may have; returns its cookie. `None`: the account has been
/// disabled, or got another password, since it was looked up.
pub(crate) async fn start(
    app: &App,
    headers: &HeaderMap,
    account: Account,
    now: UnixTime,
) -> Result<Option<HeaderValue>, StoreError> {
    let replaced =
        cookies::read::<Session>(app, headers, cookies::SESSION).map(|secret| secret.hash());
    let secret = Secret::<Session>::generate();
    let login = &app.config.login;
    let ends = (
        now + i64::from(login.session_idle.get()),
        now + i64::from(login.session_absolute.get()),
    );
    let started = app
        .store
        .start_session(secret.hash(), account, now, ends, replaced)
        .await?;
    Ok(started.then(|| cookies::set(app, cookies::SESSION, &secret)))
}
