//! `GET /jwks`: our public keys, RFC 7517 §5.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;

use crate::app::App;

/// The keys, to be kept for an hour.
pub(crate) async fn jwks(State(app): State<App>) -> Response {
    (
        [(header::CACHE_CONTROL, "public, max-age=3600")],
        Json(app.keys.published()),
    )
        .into_response()
}
