//! `POST /token`: RFC 6749 §3.2.

use axum::{
    Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{Extensions, HeaderMap, Uri, header};

use crate::{
    app::App,
    clients::claimed,
    grants::{self, Request},
    protocol::error::ErrorCode,
    web::{
        client_ip::client_ip,
        client_request::{Call, Endpoint},
        forms,
        token_error::TokenError,
    },
};

const TOKEN: Endpoint = Endpoint {
    path: "/token",
    takes_proofs: true,
    look_up: grants::look_up,
};

/// Redeems a grant for tokens.
pub(crate) async fn token(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Result<Response, TokenError> {
    let call = Call {
        uri,
        headers,
        extensions,
        body,
    };
    redeem(&app, &call)
        .await
        .map_err(|error| counted(&app, &call, error))
}

async fn redeem(app: &App, call: &Call) -> Result<Response, TokenError> {
    let incoming = TOKEN.read(app, call).await?;
    let request = Request {
        app,
        client: &incoming.client,
        params: &incoming.params,
        jkt: incoming.jkt.as_deref(),
        now: incoming.now,
    };
    let tried_header = call.headers.contains_key(header::AUTHORIZATION);
    let response = grants::redeem(request)
        .await
        .map_err(|error| TokenError::new(error, tried_header))?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(response)).into_response())
}

/// A failure counts for the client, as it calls itself, and the network it asks from: one that never stops failing is
/// told to wait. What would succeed is never held up: secrets here are far too long to be guessed.
fn counted(app: &App, call: &Call, error: TokenError) -> TokenError {
    app.store.counts.token_errors.add(error.code().as_str());
    if !matches!(
        error.code(),
        ErrorCode::InvalidClient | ErrorCode::InvalidGrant
    ) {
        return error;
    }
    let params = forms::read(&call.headers, &call.body).ok();
    let client = params.and_then(|params| claimed(&params, &call.headers));
    let trusted = &app.config.server.trusted_proxies;
    let source = client_ip(&call.extensions, &call.headers, trusted);
    match app.limits.token_failures.failed(source, &client) {
        Ok(()) => error,
        Err(wait) => error.too_often(wait),
    }
}
