//! How a refusal leaves to a person: a page that says what happened, what to do, and what the client's developer needs. Each
//! is logged once, here.
//!
//! A handler returns a [`PageError`], which knows nothing of the server. [`rendered`], around all routes, makes the page.

use std::{sync::Arc, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::{
    html,
    refused::{Refused, Weight, refused},
    views::ErrorPage,
};
use crate::{
    accounts::AccountsError,
    app::App,
    clients::{BLOCKED, Refusal, RefusalKind},
    protocol::{client_id::ClientId, error::OAuthError},
    store::StoreError,
};

/// Characters of a value that a page shows.
const LONGEST: usize = 2_048;
/// Where an app sent the person wrongly.
const BACK: &str = "Go back to the app and start again.";

/// Why a person gets no answer.
#[derive(Debug)]
pub(crate) enum PageError {
    /// A request that its client made wrongly, before its redirect URI is proven.
    BadRequest(Box<BadRequest>),
    /// A client that is not known, or not now.
    Client(Box<RefusedClient>),
    /// Something of ours failed: what, for the log.
    Internal(String),
    /// The server has no time for this request: why, for the log.
    Busy(String),
    /// A form that did not come from a page of ours in this browser, or an old one.
    Forbidden,
    /// Nothing is served at this address.
    NothingHere,
    /// A page for administrators, asked for by another person.
    AdministratorsOnly { username: String },
    /// Too many user codes were wrong, RFC 8628 §5.1: right ones wait, too.
    TooManyCodes(Duration),
    /// A question that is answered already, or was put to another person.
    Gone,
    /// A set-up link that was used or has expired, or that is not needed any more.
    SetupLink,
    /// What the framework refuses by itself, with its status.
    Unreadable(StatusCode),
}

/// What is wrong with a request.
#[derive(Debug)]
pub(crate) struct BadRequest {
    /// By its stable name.
    rule: &'static str,
    description: String,
    details: Vec<(&'static str, String)>,
}

/// A client that a rule refuses.
#[derive(Debug)]
pub(crate) struct RefusedClient {
    client_id: String,
    refusal: Refusal,
    /// Who is signed in.
    username: Option<String>,
}

impl BadRequest {
    pub(crate) fn new(rule: &'static str, description: impl Into<String>) -> Self {
        Self {
            rule,
            description: description.into(),
            details: Vec::new(),
        }
    }

    /// Adds a line for the client's developer.
    #[must_use]
    pub(crate) fn detail(mut self, label: &'static str, value: &str) -> Self {
        self.details.push((label, value.to_owned()));
        self
    }
}

impl RefusedClient {
    pub(crate) fn new(client_id: &ClientId, refusal: Refusal) -> Self {
        Self {
            client_id: client_id.as_str().to_owned(),
            refusal,
            username: None,
        }
    }

    /// Says who is signed in.
    #[must_use]
    pub(crate) fn signed_in_as(self, username: Option<&str>) -> Self {
        Self {
            username: username.map(str::to_owned),
            ..self
        }
    }
}

impl From<BadRequest> for PageError {
    fn from(wrong: BadRequest) -> Self {
        Self::BadRequest(Box::new(wrong))
    }
}

impl From<RefusedClient> for PageError {
    fn from(refused: RefusedClient) -> Self {
        Self::Client(Box::new(refused))
    }
}

/// What cannot be read as a request at all.
impl From<OAuthError> for PageError {
    fn from(error: OAuthError) -> Self {
        BadRequest::new("request", error.description).into()
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        match error.is_temporary() {
            true => Self::Busy(error.to_string()),
            false => Self::Internal(error.to_string()),
        }
    }
}

impl From<AccountsError> for PageError {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::Store(error) => error.into(),
            AccountsError::Busy => Self::Busy(error.to_string()),
            AccountsError::Hash(_) => Self::Internal(error.to_string()),
        }
    }
}

/// What a page says.
#[derive(Clone, Copy)]
struct Words {
    status: StatusCode,
    title: &'static str,
    happened: &'static str,
    advice: &'static str,
}

/// A mistake of the app's.
const BAD_REQUEST: Words = Words {
    status: StatusCode::BAD_REQUEST,
    title: "This request cannot be answered",
    happened: "The app that sent you here made a mistake, so you cannot sign in to it now.",
    advice: "Go back to the app. If it happens again, tell its developer what is written below.",
};
/// A mistake of ours.
const INTERNAL: Words = Words {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    title: "Something went wrong here",
    happened: "The server could not answer. It is not your fault, nor the app's.",
    advice: "Try again. If it happens again, tell the administrator the reference below.",
};

impl PageError {
    fn words(&self) -> Words {
        let (status, title, happened, advice) = match self {
            Self::BadRequest(_) => return BAD_REQUEST,
            Self::Client(refused) => return refused.words(),
            Self::Internal(_) => return INTERNAL,
            Self::Busy(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The server is busy",
                "The server is overloaded at the moment.",
                "Wait a moment and try again. Nothing is lost.",
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "This form cannot be accepted",
                "This form was not sent from a page that this server made for this browser, or the page was old.",
                "Go back to the app and start again. Your browser must accept cookies from this server.",
            ),
            Self::NothingHere => (
                StatusCode::NOT_FOUND,
                "Nothing here",
                "There is no page at this address.",
                "Check the address, or go back to the app that sent you here.",
            ),
            Self::AdministratorsOnly { .. } => (
                StatusCode::FORBIDDEN,
                "Not for this account",
                "This page is for administrators of this server.",
                "Sign in with an administrator's account, and open the page again.",
            ),
            Self::TooManyCodes(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many wrong codes",
                "Too many codes were wrong. For a while no code is accepted, not even a right one.",
                "Wait a few minutes, and start again on your device.",
            ),
            Self::Gone => (
                StatusCode::BAD_REQUEST,
                "This page is no longer valid",
                "This request has been answered already, has expired, or belongs to another browser or account.",
                BACK,
            ),
            Self::SetupLink => (
                StatusCode::BAD_REQUEST,
                "This link does not work",
                "This set-up link was used, has expired, or the server has an account already.",
                "If there is no account yet, restart the server: it prints a new link. Or make one with: wayleave user add NAME --admin",
            ),
            Self::Unreadable(StatusCode::PAYLOAD_TOO_LARGE) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "Too large",
                "What was sent here is larger than 64 KiB.",
                BACK,
            ),
            Self::Unreadable(StatusCode::METHOD_NOT_ALLOWED) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "Not this way",
                "This page cannot be asked for in this way.",
                BACK,
            ),
            Self::Unreadable(status) => (
                *status,
                "This cannot be read",
                "What was sent here could not be read.",
                BACK,
            ),
        };
        Words {
            status,
            title,
            happened,
            advice,
        }
    }

    /// The rule that refuses, as administrators know it, and what the log says of it.
    fn rule_and_cause(&self) -> (&'static str, &str) {
        match self {
            Self::BadRequest(wrong) => (wrong.rule, ""),
            Self::Client(refused) => (refused.refusal.rule, &refused.refusal.cause),
            Self::Internal(cause) => ("server", cause),
            Self::Busy(cause) => ("server.busy", cause),
            Self::Forbidden => ("form", ""),
            Self::NothingHere => ("address", ""),
            Self::AdministratorsOnly { .. } => ("administrators_only", ""),
            Self::TooManyCodes(_) => ("user_code.limit", "too many wrong user codes"),
            Self::Gone => ("question.gone", ""),
            Self::SetupLink => ("setup_link", ""),
            Self::Unreadable(_) => ("request", ""),
        }
    }

    /// What the client's developer needs: label and value.
    fn details(&self) -> Vec<(&'static str, &str)> {
        let (rule, description, more) = match self {
            Self::BadRequest(wrong) => {
                let more = wrong.details.iter().map(|(label, text)| (*label, &**text));
                (wrong.rule, &*wrong.description, more.collect())
            }
            Self::Client(refused) => {
                let client_id = vec![("client_id", &*refused.client_id)];
                if refused.refusal.kind == RefusalKind::Internal {
                    return client_id;
                }
                (
                    refused.refusal.told_rule(),
                    &*refused.refusal.told,
                    client_id,
                )
            }
            _ => return Vec::new(),
        };
        [vec![("Rule", rule), ("Problem", description)], more].concat()
    }

    /// Seconds until the same request may succeed.
    fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Busy(_) => Some(2),
            Self::TooManyCodes(wait) => {
                let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
                Some(seconds.saturating_add(1))
            }
            Self::Client(refused) => match refused.refusal.kind {
                RefusalKind::Temporary(seconds) | RefusalKind::TooMany(seconds) => Some(seconds),
                RefusalKind::Invalid | RefusalKind::Internal => None,
            },
            _ => None,
        }
    }

    /// Who is signed in, for the top of the page.
    fn username(&self) -> Option<&str> {
        match self {
            Self::AdministratorsOnly { username } => Some(username),
            Self::Client(refused) => refused.username.as_deref(),
            _ => None,
        }
    }

    fn weight(&self, status: StatusCode) -> Weight {
        match status {
            StatusCode::SERVICE_UNAVAILABLE => Weight::Caused,
            status if status.is_server_error() => Weight::Failed,
            // Those who try addresses would fill the list.
            _ if matches!(self, Self::NothingHere) => Weight::Logged,
            _ => Weight::Refused,
        }
    }

    /// The page, written down once.
    pub(crate) fn page(&self, app: &App) -> Response {
        let Words {
            status,
            title,
            happened,
            advice,
        } = self.words();
        let shown = |text: &str| -> String {
            let plain = text.chars().filter(|c| !c.is_control());
            plain.take(LONGEST).collect()
        };
        let details = self.details().into_iter();
        let detail: Vec<_> = details
            .map(|(label, value)| (label.to_owned(), shown(value)))
            .collect();
        let in_log: Vec<String> = detail
            .iter()
            .map(|(label, value)| format!("{label}={}", printable(value)))
            .collect();
        let (rule, cause) = self.rule_and_cause();
        let reference = refused(
            "page of refusal",
            &Refused {
                rule,
                code: status.as_str(),
                told: &match in_log.is_empty() {
                    true => happened.to_owned(),
                    false => in_log.join(" "),
                },
                cause,
                weight: self.weight(status),
            },
        );
        let page = ErrorPage {
            frame: html::frame(app, self.username()),
            title: title.to_owned(),
            happened: happened.to_owned(),
            advice: advice.to_owned(),
            status: status.as_u16(),
            detail,
            reference,
            retry: matches!(self, Self::Busy(_) | Self::Client(_)) && self.retry_after().is_some(),
        };
        let mut response = html::page(status, &page);
        if let Some(seconds) = self.retry_after() {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

impl RefusedClient {
    fn words(&self) -> Words {
        match self.refusal.kind {
            // No mistake of the app's.
            RefusalKind::Invalid if self.refusal.rule == BLOCKED => Words {
                status: StatusCode::BAD_REQUEST,
                title: "This app is blocked here",
                happened: "The administrator of this server blocks this app, so you cannot sign in to it here. It is not your fault.",
                advice: "If you need the app, ask the administrator of this server, with the reference below.",
            },
            RefusalKind::Invalid => BAD_REQUEST,
            RefusalKind::Temporary(_) | RefusalKind::TooMany(_) => Words {
                status: match self.refusal.kind {
                    RefusalKind::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                },
                title: "The app cannot be checked",
                happened: "The description of the app that sent you here could not be read just now.",
                advice: "Wait a moment and reload this page. You stay signed in here.",
            },
            RefusalKind::Internal => INTERNAL,
        }
    }
}

/// As the log has it: escaped, but for apostrophes, which are in many sentences and close nothing.
fn printable(text: &str) -> String {
    let escaped = text.split('\'').map(|part| part.escape_debug().to_string());
    escaped.collect::<Vec<_>>().join("'")
}

/// A refusal on its way to [`rendered`].
#[derive(Clone)]
struct Unrendered(Arc<PageError>);

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let mut response = self.words().status.into_response();
        response.extensions_mut().insert(Unrendered(Arc::new(self)));
        response
    }
}

/// Makes the page of a refusal, with the headers that came with it; anything else stays as it is.
pub(crate) fn rendered(app: &App, mut response: Response) -> Response {
    let Some(Unrendered(error)) = response.extensions_mut().remove() else {
        return response;
    };
    let mut page = error.page(app);
    page.headers_mut()
        .extend(std::mem::take(response.headers_mut()));
    page
}

/// Is it a refusal that [`rendered`] has yet to make a page of?
pub(crate) fn is_unrendered(response: &Response) -> bool {
    response.extensions().get::<Unrendered>().is_some()
}
