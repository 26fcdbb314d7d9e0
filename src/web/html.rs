//! A page as a response, with the headers that keep it ours.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::{assets, views::Frame};
use crate::{app::App, protocol::redirect_uri::RedirectUri};

/// What every page of this server carries.
pub(crate) fn frame(app: &App, signed_in_as: Option<&str>) -> Frame {
    let issuer = &app.config.issuer;
    Frame {
        stylesheet: format!("{}{}", issuer.path(), assets::stylesheet_path()),
        issuer_host: issuer.host().to_owned(),
        base: issuer.path().to_owned(),
        signed_in_as: signed_in_as.map(str::to_owned),
    }
}

/// A page. Its forms may lead to `form_target`, too: Chromium holds redirects after a POST against `form-action`.
pub(crate) fn page(
    status: StatusCode,
    template: &impl Template,
    form_target: Option<&RedirectUri>,
) -> Response {
    let Ok(body) = template.render() else {
        tracing::error!("a page could not be rendered");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut form_action = "'self'".to_owned();
    if let Some(target) = form_target {
        form_action.push(' ');
        form_action.push_str(&source(target));
    }
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'"
    );
    let policy =
        HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // `no-referrer` would turn the Origin of our own forms into `null`.
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("same-origin"),
        ),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ];
    (status, headers, body).into_response()
}

/// A redirect URI as a source of CSP: its origin. CSP knows no IPv6 addresses, so there it is the scheme.
fn source(target: &RedirectUri) -> String {
    if target.host().contains([':', '[']) {
        "http:".to_owned()
    } else {
        target.origin()
    }
}
