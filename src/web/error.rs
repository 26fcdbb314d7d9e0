//! How a refusal leaves: JSON for machines (RFC 6749 §5.2), a page for people. Each is logged once, here.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::{
    html,
    machine::proof_algs,
    refused::{REFERENCE, Refused, Weight, refused},
    views::ErrorPage,
};
use crate::{
    accounts::AccountsError,
    app::App,
    clients::{BLOCKED, Refusal, RefusalKind},
    protocol::{
        bearer::Scheme,
        error::{ErrorCode, OAuthError},
    },
    store::StoreError,
};

/// An error of the token or revocation endpoint.
#[derive(Debug)]
pub(crate) struct TokenError {
    error: OAuthError,
    /// RFC 6749 §5.2: who tried the `Authorization` header is told the scheme.
    tried_header: bool,
    /// RFC 9449 §8: for the next proof.
    nonce: Option<String>,
    /// RFC 6585 §4: it has failed too often, and should wait.
    too_often: bool,
}

impl TokenError {
    pub(crate) fn new(error: OAuthError, tried_header: bool) -> Self {
        Self {
            error,
            tried_header,
            nonce: None,
            too_often: false,
        }
    }

    /// What the client is told.
    pub(crate) fn code(&self) -> ErrorCode {
        self.error.code
    }

    /// The same, to one that has failed so often that it should wait.
    #[must_use]
    pub(crate) fn too_often(mut self, wait: Duration) -> Self {
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
        self.error.retry_after = Some(seconds.saturating_add(1));
        self.too_often = true;
        self
    }

    /// RFC 6585 §4, RFC 9126 §2.3: more requests than one may send.
    pub(crate) fn too_many(error: OAuthError) -> Self {
        Self {
            too_often: true,
            ..Self::new(error, false)
        }
    }

    /// Brings a nonce along, where that is what is missing.
    pub(crate) fn with_nonce(mut self, app: &App) -> Self {
        if self.error.code == ErrorCode::UseDpopNonce {
            self.nonce = Some(app.nonces.issue(app.clock.now()));
        }
        self
    }
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let error = self.error;
        let code = error.code.as_str();
        let reference = noted("request refused", &error);
        let status = match self.too_often {
            true => StatusCode::TOO_MANY_REQUESTS,
            false => StatusCode::from_u16(error.code.status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        };
        let body = Json(json!({ "error": code, "error_description": error.description }));
        let mut response = (status, [(header::CACHE_CONTROL, "no-store")], body).into_response();
        let reference = reference.and_then(|reference| HeaderValue::try_from(reference).ok());
        if let Some(reference) = reference {
            response.headers_mut().insert(REFERENCE, reference);
        }
        if let Some(seconds) = error.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(nonce) = self
            .nonce
            .and_then(|nonce| HeaderValue::try_from(nonce).ok())
        {
            response.headers_mut().insert("dpop-nonce", nonce);
        }
        if error.code == ErrorCode::InvalidClient && self.tried_header {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"token\""),
            );
        }
        response
    }
}

/// Writes down what a program, or its redirect URI, is told. Returns the reference.
pub(crate) fn noted(message: &'static str, error: &OAuthError) -> Option<String> {
    let code = error.code.as_str();
    let cause = error.cause.as_ref().map(ToString::to_string);
    let about = Refused {
        rule: error.rule.unwrap_or(code),
        code,
        told: &error.description,
        cause: cause.as_deref().unwrap_or_default(),
        weight: Weight::of(error),
    };
    refused(message, &about)
}

/// An error of an endpoint that takes access tokens: RFC 6750 §3, RFC 9449 §7.1.
#[derive(Debug)]
pub(crate) struct ResourceError {
    /// `None`: no token was shown, and RFC 6750 §3.1 says nothing more.
    error: Option<TokenError>,
    /// How the token was presented.
    scheme: Scheme,
}

impl ResourceError {
    /// No token was shown.
    pub(crate) fn no_token() -> Self {
        Self {
            error: None,
            scheme: Scheme::Bearer,
        }
    }

    /// What is wrong with the token, or with how it was presented.
    pub(crate) fn new(app: &App, scheme: Scheme, error: OAuthError) -> Self {
        Self {
            error: Some(TokenError::new(error, false).with_nonce(app)),
            scheme,
        }
    }

    /// One challenge for each scheme; that of the request says what is wrong.
    fn challenges(&self) -> [String; 2] {
        let error = self.error.as_ref().map(|it| &it.error);
        let told = error.map_or_else(String::new, |error| {
            let scope = match error.code {
                ErrorCode::InsufficientScope => ", scope=\"openid\"",
                _ => "",
            };
            let (code, told) = (error.code.as_str(), &error.description);
            format!(", error=\"{code}\", error_description=\"{told}\"{scope}")
        });
        let about = |scheme| match self.scheme == scheme {
            true => told.as_str(),
            false => "",
        };
        let algs = proof_algs().join(" ");
        [
            format!("Bearer realm=\"userinfo\"{}", about(Scheme::Bearer)),
            format!("DPoP algs=\"{algs}\"{}", about(Scheme::Dpop)),
        ]
    }
}

impl IntoResponse for ResourceError {
    fn into_response(self) -> Response {
        let challenges = self.challenges();
        let code = self.error.as_ref().map(|it| it.error.code);
        let mut response = match self.error {
            None => (
                StatusCode::UNAUTHORIZED,
                [(header::CACHE_CONTROL, "no-store")],
                Json(json!({})),
            )
                .into_response(),
            Some(error) => error.into_response(),
        };
        // RFC 9449 §7.1: what is wrong with a proof is a 400 at the token endpoint only.
        if let Some(ErrorCode::InvalidDpopProof | ErrorCode::UseDpopNonce) = code {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        if response.status().is_client_error() {
            let values = challenges.map(HeaderValue::try_from).into_iter().flatten();
            let challenge = |value| (header::WWW_AUTHENTICATE, value);
            response.headers_mut().extend(values.map(challenge));
        }
        response
    }
}

/// An error that a person sees: what happened, what to do, and what the client's developer needs.
pub(crate) struct PageError(Box<Content>);

struct Content {
    page: ErrorPage,
    retry_after: Option<u32>,
    /// The rule that refuses, as administrators know it.
    rule: &'static str,
    cause: String,
    is_kept: bool,
}

impl PageError {
    /// A page with its status, title, and two sentences.
    pub(crate) fn new(
        app: &App,
        status: StatusCode,
        title: &str,
        happened: &str,
        advice: &str,
    ) -> Self {
        let page = ErrorPage {
            frame: html::frame(app, None),
            title: title.to_owned(),
            happened: happened.to_owned(),
            advice: advice.to_owned(),
            status: status.as_u16(),
            detail: Vec::new(),
            reference: None,
            retry: false,
        };
        Self(Box::new(Content {
            page,
            retry_after: None,
            rule: "page",
            cause: String::new(),
            is_kept: true,
        }))
    }

    /// A request that its client made wrongly, before its redirect URI is proven.
    pub(crate) fn bad_request(app: &App, rule: &'static str, told: &str) -> Self {
        let happened =
            "The app that sent you here made a mistake, so you cannot sign in to it now.";
        let advice =
            "Go back to the app. If it happens again, tell its developer what is written below.";
        let status = StatusCode::BAD_REQUEST;
        Self::new(
            app,
            status,
            "This request cannot be answered",
            happened,
            advice,
        )
        .detail("Rule", rule)
        .detail("Problem", told)
        .rule(rule)
    }

    /// A client that is not known, or not now.
    pub(crate) fn client(app: &App, client_id: &str, refusal: &Refusal) -> Self {
        let page = match refusal.kind {
            RefusalKind::Invalid if refusal.rule == BLOCKED => Self::blocked(app, refusal),
            RefusalKind::Invalid => Self::bad_request(app, refusal.told_rule(), &refusal.told),
            RefusalKind::Temporary(seconds) | RefusalKind::TooMany(seconds) => {
                let happened =
                    "The description of the app that sent you here could not be read just now.";
                let advice = "Wait a moment and reload this page. You stay signed in here.";
                let status = match refusal.kind {
                    RefusalKind::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                let mut page =
                    Self::new(app, status, "The app cannot be checked", happened, advice);
                page.0.retry_after = Some(seconds);
                page.0.page.retry = true;
                page.detail("Rule", refusal.told_rule())
                    .detail("Problem", &refusal.told)
            }
            RefusalKind::Internal => Self::internal(app, &refusal.cause),
        };
        page.detail("client_id", client_id)
            .rule(refusal.rule)
            .because(&refusal.cause)
    }

    /// A client that the administrator blocks: no mistake of the app's.
    fn blocked(app: &App, refusal: &Refusal) -> Self {
        let happened = "The administrator of this server blocks this app, so you cannot sign in to it here. It is not your fault.";
        let advice =
            "If you need the app, ask the administrator of this server, with the reference below.";
        let status = StatusCode::BAD_REQUEST;
        Self::new(app, status, "This app is blocked here", happened, advice)
            .detail("Rule", refusal.told_rule())
            .detail("Problem", &refusal.told)
    }

    /// Something of ours failed.
    pub(crate) fn internal(app: &App, cause: &dyn std::fmt::Display) -> Self {
        let happened = "The server could not answer. It is not your fault, nor the app's.";
        let advice = "Try again. If it happens again, tell the administrator the reference below.";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(app, status, "Something went wrong here", happened, advice)
            .rule("server")
            .because(&cause.to_string())
    }

    /// The server is too busy for this request.
    pub(crate) fn busy(app: &App, cause: &dyn std::fmt::Display) -> Self {
        let happened = "The server is overloaded at the moment.";
        let advice = "Wait a moment and try again. Nothing is lost.";
        let mut page = Self::new(
            app,
            StatusCode::SERVICE_UNAVAILABLE,
            "The server is busy",
            happened,
            advice,
        );
        page.0.retry_after = Some(2);
        page.0.page.retry = true;
        page.rule("server.busy").because(&cause.to_string())
    }

    /// The store failed.
    pub(crate) fn store(app: &App, error: &StoreError) -> Self {
        if error.is_temporary() {
            Self::busy(app, error)
        } else {
            Self::internal(app, error)
        }
    }

    /// A person could not be signed in for a reason of ours.
    pub(crate) fn accounts(app: &App, error: &AccountsError) -> Self {
        match error {
            AccountsError::Store(error) => Self::store(app, error),
            AccountsError::Busy => Self::busy(app, error),
            AccountsError::Hash(_) => Self::internal(app, error),
        }
    }

    /// A form that did not come from a page of ours in this browser, or an old one.
    pub(crate) fn forbidden(app: &App) -> Self {
        let happened = "This form was not sent from a page that this server made for this browser, or the page was old.";
        let advice = "Go back to the app and start again. Your browser must accept cookies from this server.";
        Self::new(
            app,
            StatusCode::FORBIDDEN,
            "This form cannot be accepted",
            happened,
            advice,
        )
        .rule("form")
    }

    /// Nothing is served at this address.
    pub(crate) fn nothing_here(app: &App) -> Self {
        let happened = "There is no page at this address.";
        let advice = "Check the address, or go back to the app that sent you here.";
        let status = StatusCode::NOT_FOUND;
        let mut page = Self::new(app, status, "Nothing here", happened, advice).rule("address");
        // Those who try addresses would fill the list.
        page.0.is_kept = false;
        page
    }

    /// A page for administrators.
    pub(crate) fn administrators_only(app: &App) -> Self {
        let happened = "This page is for administrators of this server.";
        let advice = "Sign in with an administrator's account, and open the page again.";
        let status = StatusCode::FORBIDDEN;
        Self::new(app, status, "Not for this account", happened, advice).rule("administrators_only")
    }

    /// Too many user codes were wrong, RFC 8628 §5.1: right ones wait, too.
    pub(crate) fn too_many_codes(app: &App, wait: Duration) -> Self {
        let happened =
            "Too many codes were wrong. For a while no code is accepted, not even a right one.";
        let advice = "Wait a few minutes, and start again on your device.";
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut page = Self::new(app, status, "Too many wrong codes", happened, advice);
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
        page.0.retry_after = Some(seconds.saturating_add(1));
        page.rule("user_code.limit")
            .because("too many wrong user codes")
    }

    /// A question that is answered already, or was put to somebody else.
    pub(crate) fn gone(app: &App) -> Self {
        let happened = "This request has been answered already, has expired, or belongs to another browser or account.";
        let advice = "Go back to the app and start again.";
        Self::new(
            app,
            StatusCode::BAD_REQUEST,
            "This page is no longer valid",
            happened,
            advice,
        )
        .rule("question.gone")
    }

    /// Adds a line for the client's developer.
    #[must_use]
    pub(crate) fn detail(mut self, label: &str, value: &str) -> Self {
        let value: String = value
            .chars()
            .filter(|c| !c.is_control())
            .take(2_048)
            .collect();
        self.0.page.detail.push((label.to_owned(), value));
        self
    }

    /// The rule that refuses, as the log has it.
    #[must_use]
    pub(crate) fn rule(mut self, rule: &'static str) -> Self {
        self.0.rule = rule;
        self
    }

    /// What the log says of it.
    #[must_use]
    pub(crate) fn because(mut self, cause: &str) -> Self {
        cause.clone_into(&mut self.0.cause);
        self
    }

    /// Whose session it is, for the top of the page.
    #[must_use]
    pub(crate) fn signed_in_as(mut self, user: Option<&str>) -> Self {
        self.0.page.frame.signed_in_as = user.map(str::to_owned);
        self
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let Content {
            mut page,
            retry_after,
            rule,
            cause,
            is_kept,
        } = *self.0;
        let detail: Vec<String> = page
            .detail
            .iter()
            .map(|(label, value)| format!("{label}={}", value.escape_debug()))
            .collect();
        let told = match detail.is_empty() {
            true => page.happened.clone(),
            false => detail.join(" "),
        };
        let about = Refused {
            rule,
            code: &page.status.to_string(),
            told: &told,
            cause: &cause,
            weight: match page.status {
                503 => Weight::Caused,
                500.. => Weight::Failed,
                _ if is_kept => Weight::Refused,
                _ => Weight::Logged,
            },
        };
        page.reference = refused("page of refusal", &about);
        let code = StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = html::page(code, &page);
        if let Some(seconds) = retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
