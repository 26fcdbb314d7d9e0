//! `GET /healthz` and `GET /readyz`: is the process alive, and can it answer?

use std::sync::atomic::Ordering;

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

/// The database answers, so that requests can be, and the server is not about to stop.
pub(crate) async fn readyz(State(app): State<App>) -> Response {
    let not_ready = |reason| {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({ "status": "not ready", "reason": reason }),
        )
    };
    let (status, body) = if app.stopping.load(Ordering::Relaxed) {
        not_ready("shutting down")
    } else if let Err(error) = app.store.ping().await {
        tracing::error!(%error, "not ready");
        not_ready("the database does not answer")
    } else {
        (StatusCode::OK, json!({ "status": "ready" }))
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
