//! A page as a response, with the headers that keep it ours.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::{assets, views::Frame};
use crate::app::App;

/// What every page of this server carries.
pub(crate) fn frame(app: &App, signed_in_as: Option<&str>) -> Frame {
    let issuer = &app.config.issuer;
    Frame {
        stylesheet: format!("{}{}", issuer.path(), assets::stylesheet_path()),
        icon: format!("{}{}", issuer.path(), assets::icon_path()),
        issuer_host: issuer.host().to_owned(),
        base: issuer.path().to_owned(),
        signed_in_as: signed_in_as.map(str::to_owned),
    }
}

/// A page whose forms lead to pages of ours only.
pub(crate) fn page(status: StatusCode, template: &impl Template) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    rendered(status, template, POLICY)
}

/// A page whose form may lead on to a client. It carries no `form-action`: Chromium holds every redirect after the POST
/// against it, also those of the client's own pages, which nobody here knows. The form's token, SameSite cookies and
/// `Sec-Fetch-Site` protect such a form.
pub(crate) fn page_before_client(status: StatusCode, template: &impl Template) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'";
    rendered(status, template, POLICY)
}

fn rendered(status: StatusCode, template: &impl Template, policy: &'static str) -> Response {
    let Ok(body) = template.render() else {
        tracing::error!("a page could not be rendered");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(policy),
        ),
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
