//! `GET /jwks`: our public keys, RFC 7517 §5.

use std::time::Duration;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;

use crate::{app::App, web::headers::FOR_EVERYBODY};

/// Longest wait for the database: the keys at hand are good, and whoever has to read them cannot wait.
const PATIENCE: Duration = Duration::from_millis(500);

/// The keys, to be kept for an hour: also those that another process has just made.
pub(crate) async fn jwks(State(app): State<App>) -> Response {
    // A task, so that a database that is slow still brings the news, to those who ask later.
    let noticing = tokio::spawn({
        let app = app.clone();
        async move {
            if let Err(error) = app.keys.notice_at_times(app.clock.now()).await {
                tracing::warn!(%error, "the keys in the database could not be read; those at hand are published");
            }
        }
    });
    _ = tokio::time::timeout(PATIENCE, noticing).await;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        FOR_EVERYBODY,
    ];
    let (published, etag) = app.keys.published();
    (headers, [(header::ETAG, &*etag)], published).into_response()
}
