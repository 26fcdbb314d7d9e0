//! How a refusal leaves to a program: JSON, RFC 6749 §5.2, and for a token that was shown RFC 6750 §3. Each is logged once,
//! here.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::refused::{REFERENCE, Refused, Weight, refused};
use crate::{
    app::App,
    protocol::{
        bearer::Scheme,
        dpop,
        error::{ErrorCode, OAuthError},
    },
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
        let algs = dpop::algs().join(" ");
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
