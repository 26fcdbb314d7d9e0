//! `GET /logos/HASH.png`: the logos of clients, as we encoded them. CIMD §8.8.

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{StatusCode, header};

use crate::app::App;

/// A picture of ours: its address names its content, so it never changes.
pub(crate) async fn logo(State(app): State<App>, Path(name): Path<String>) -> Response {
    let hash = name.strip_suffix(".png").unwrap_or_default();
    let is_hash = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let png = match is_hash {
        true => app.store.logo(hash).await,
        false => Ok(None),
    };
    let png = match png {
        Ok(png) => png.and_then(|text| BASE64_STANDARD.decode(text).ok()),
        Err(error) => {
            tracing::error!(%error, "a logo could not be read");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    let Some(png) = png else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, "image/png"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
    ];
    (headers, png).into_response()
}
