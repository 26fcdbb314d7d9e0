//! `GET /healthz` and `GET /readyz`: is the process alive, and can it answer?

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde_json::json;

use crate::app::App;

/// The process runs.
pub(crate) async fn healthz() -> Response {
    (
        [(header::CACHE_CONTROL, "no-store")],
        Json(json!({ "status": "alive" })),
    )
        .into_response()
}

/// The database answers, so that requests can be.
pub(crate) async fn readyz(State(app): State<App>) -> Response {
    let (status, body) = match app.store.ping().await {
        Ok(()) => (StatusCode::OK, json!({ "status": "ready" })),
        Err(error) => {
            tracing::error!(%error, "not ready");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({ "status": "not ready", "reason": "the database does not answer" }),
            )
        }
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
