//! An address that we may send the browser back to: proven to be the client's.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::{refused::Weight, token_error::noted};
use crate::{
    app::App,
    protocol::{
        error::{ErrorCode, OAuthError},
        params::Params,
        redirect_uri::RedirectUri,
        response,
    },
};

/// Where answers to one authorization request go. From here on, errors are the client's to show.
#[derive(Debug)]
pub(crate) struct Callback<'a> {
    app: &'a App,
    redirect_uri: RedirectUri,
    state: Option<String>,
}

impl<'a> Callback<'a> {
    /// Made of a redirect URI that its client's document lists. The request's `state` is in every answer, byte for byte, also
    /// where it is what is refused.
    pub(crate) fn new(app: &'a App, redirect_uri: RedirectUri, params: &Params) -> Self {
        let state = params.optional("state").map(str::to_owned);
        Self {
            app,
            redirect_uri,
            state,
        }
    }

    /// Sends a code.
    pub(crate) fn code(&self, code: &str) -> Response {
        see_other(&response::code(
            &self.redirect_uri,
            &self.app.config.issuer,
            self.state.as_deref(),
            code,
        ))
    }

    /// Sends a refusal, with the reference under which the log has its cause.
    pub(crate) fn error(&self, error: &OAuthError) -> Response {
        let reference = noted("authorization refused", error);
        let reference = reference.filter(|_| Weight::of(error) >= Weight::Refused);
        match reference {
            None => self.answer(error),
            Some(reference) => {
                let told = format!("{} (reference {reference})", error.description);
                self.answer(&OAuthError::new(error.code, told))
            }
        }
    }

    /// Sends what the person decided.
    pub(crate) fn denied(&self) -> Response {
        let told = "the user did not allow it";
        self.answer(&OAuthError::new(ErrorCode::AccessDenied, told))
    }

    fn answer(&self, error: &OAuthError) -> Response {
        see_other(&response::error(
            &self.redirect_uri,
            &self.app.config.issuer,
            self.state.as_deref(),
            error,
        ))
    }
}

/// 303: the browser goes there with GET (RFC 9700 §4.12), and remembers nothing of it.
pub(crate) fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}
