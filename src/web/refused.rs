//! What is written down of a refusal: one line in the log, and a row for the administrator, both under its reference. Who
//! asks, and for whom, is noted while a request is worked on, by whichever part finds it out.

use std::{cell::RefCell, net::IpAddr};

use axum::extract::MatchedPath;
use http::{Extensions, HeaderMap, HeaderName};

use super::client_ip::client_ip;
use crate::{
    app::App,
    protocol::{client_id::ClientId, error::OAuthError},
    refusals::new_reference,
    store::NewRefusal,
};

/// The header that brings a program the reference of its refusal.
pub(crate) const REFERENCE: HeaderName = HeaderName::from_static("wayleave-reference");
/// Characters of a text that are written down.
const LONGEST: usize = 1_000;
/// The same of a client identifier.
const LONGEST_ID: usize = 500;

tokio::task_local! {
    static ABOUT: RefCell<About>;
}

/// What is known of the request that is worked on.
pub(crate) struct About {
    app: App,
    endpoint: Option<MatchedPath>,
    source: IpAddr,
    client: Option<String>,
    /// Subject and user name.
    person: Option<(String, String)>,
}

/// How much an administrator has to do with it.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Weight {
    /// It happens all the time, and says nothing about anybody.
    Usual,
    /// It is in the log, and not kept.
    Logged,
    /// The client's, or the person's, matter.
    Refused,
    /// Something is wrong with the request, and its cause is known here alone.
    Caused,
    /// Something of ours failed.
    Failed,
}

/// A refusal.
pub(crate) struct Refused<'a> {
    /// The rule, by its stable name.
    pub(crate) rule: &'a str,
    /// The `error` of the answer, or its status.
    pub(crate) code: &'a str,
    pub(crate) told: &'a str,
    /// What the answer does not say.
    pub(crate) cause: &'a str,
    pub(crate) weight: Weight,
}

impl About {
    /// What is known of a request before it is looked at.
    pub(crate) fn new(app: &App, extensions: &Extensions, headers: &HeaderMap) -> Self {
        Self {
            app: app.clone(),
            endpoint: extensions.get().cloned(),
            source: client_ip(extensions, headers, &app.config.server.trusted_proxies),
            client: None,
            person: None,
        }
    }

    /// Works on the request.
    pub(crate) async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        ABOUT.scope(RefCell::new(self), work).await
    }
}

fn note(noted: impl FnOnce(&mut About)) {
    _ = ABOUT.try_with(|about| noted(&mut about.borrow_mut()));
}

/// The request is of this client, or says so in its address.
pub(crate) fn of_client(text: &str) {
    note(|about| about.client = Some(shortened(text, LONGEST_ID)));
}

/// The request of a program says to be of this client. A name that nobody registered may be a secret in the wrong place.
pub(crate) fn of_claimed_client(text: &str) {
    let Ok(id) = text.parse::<ClientId>() else {
        return;
    };
    note(|about| {
        let rules = about.app.clients.rules();
        if id.url().is_some() || rules.registered(&id).is_some() {
            about.client = Some(shortened(text, LONGEST_ID));
        }
    });
}

/// The request is of this person.
pub(crate) fn of_person(subject: &str, username: &str) {
    note(|about| about.person = Some((subject.to_owned(), username.to_owned())));
}

/// Writes a refusal down, and gives it its reference. `None`: it is a usual one.
pub(crate) fn refused(message: &'static str, refused: &Refused<'_>) -> Option<String> {
    let reference = new_reference();
    let kept = ABOUT.try_with(|about| {
        let about = about.borrow();
        logged(message, refused, &reference, Some(&about));
        if refused.weight >= Weight::Refused {
            keep(refused, &reference, &about);
        }
    });
    if kept.is_err() {
        logged(message, refused, &reference, None);
    }
    (refused.weight >= Weight::Logged).then_some(reference)
}

/// The line of the log about something that a person did: signed in, allowed something, or denied it.
pub(crate) fn happened(message: &'static str, decision: Option<&str>, scope: Option<&str>) {
    _ = ABOUT.try_with(|about| {
        let about = about.borrow();
        let client = about.client.as_deref().map(str::escape_debug);
        let client = client.map(|client| client.to_string());
        let person = about.person.as_ref();
        let (subject, person) = person.map(|(subject, name)| (&**subject, &**name)).unzip();
        let address = about.source.to_string();
        tracing::info!(
            client,
            person,
            subject,
            address,
            decision,
            scope,
            "{message}"
        );
    });
}

fn logged(message: &str, refused: &Refused<'_>, reference: &str, about: Option<&About>) {
    let Refused {
        rule, code, weight, ..
    } = *refused;
    let reference = (weight >= Weight::Logged).then_some(reference);
    let client = about.and_then(|about| about.client.as_deref());
    let client = client.map(|client| client.escape_debug().to_string());
    let person = about.and_then(|about| about.person.as_ref());
    let person = person.map(|(_, username)| username.as_str());
    let address = about.map(|about| about.source.to_string());
    let told = shortened(refused.told, LONGEST);
    let cause = shortened(refused.cause, LONGEST);
    let cause = (!cause.is_empty()).then(|| cause.escape_debug().to_string());
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                code,
                rule,
                reference,
                client,
                person,
                address,
                told,
                cause,
                "{message}"
            )
        };
    }
    match weight {
        Weight::Usual => line!(debug),
        Weight::Logged | Weight::Refused => line!(info),
        Weight::Caused => line!(warn),
        Weight::Failed => line!(error),
    }
}

fn keep(refused: &Refused<'_>, reference: &str, about: &About) {
    let endpoint = about.endpoint.as_ref();
    let refusal = NewRefusal {
        reference: reference.to_owned(),
        at: about.app.clock.now(),
        endpoint: endpoint.map_or_else(String::new, |path| path.as_str().to_owned()),
        rule: refused.rule.to_owned(),
        client_id: about.client.clone(),
        subject: about.person.as_ref().map(|(subject, _)| subject.clone()),
        address: about.source.to_string(),
        told: shortened(refused.told, LONGEST),
        cause: shortened(refused.cause, LONGEST),
    };
    about.app.refusals.keep(refusal, about.source);
}

/// Without control characters, and not endless. Neither database keeps NUL.
fn shortened(text: &str, longest: usize) -> String {
    let plain = text.chars().filter(|c| !c.is_control());
    plain.take(longest).collect()
}

impl Weight {
    /// Of what a program is told.
    pub(crate) fn of(error: &OAuthError) -> Self {
        use crate::protocol::error::ErrorCode;
        match (error.code, &error.cause) {
            // Every device that waits hears this every few seconds, and every client the first time: its request's line
            // says enough.
            (
                ErrorCode::AuthorizationPending | ErrorCode::SlowDown | ErrorCode::UseDpopNonce,
                _,
            ) => Self::Usual,
            // Whoever asks that no page is shown expects these.
            (
                ErrorCode::LoginRequired
                | ErrorCode::ConsentRequired
                | ErrorCode::InteractionRequired,
                None,
            ) => Self::Logged,
            (ErrorCode::ServerError, Some(_)) => Self::Failed,
            (_, Some(_)) => Self::Caused,
            (_, None) => Self::Refused,
        }
    }
}
