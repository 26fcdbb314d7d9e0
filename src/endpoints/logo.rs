//! `GET /logos/NAME.png`: the logos of clients, as we encoded them. CIMD §8.8.

use axum::{
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};

use crate::{app::App, clients::Picture, web::assets};

/// A picture of ours: its address names its content, so it never changes.
pub(crate) async fn logo(State(app): State<App>, Path(name): Path<String>) -> Response {
    let Some(hash) = assets::hash_in(&app, &name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let png = match app.clients.picture(hash).await {
        Ok(Picture::Png(png)) => png,
        Ok(Picture::Unknown) => return StatusCode::NOT_FOUND.into_response(),
        Ok(Picture::NoRoom) => return come_again(),
        Err(error) => {
            tracing::error!(%error, "a logo could not be read");
            return come_again();
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "image/png"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
    ];
    (headers, Body::from(png)).into_response()
}

fn come_again() -> Response {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::RETRY_AFTER, "2")],
    )
        .into_response()
}
