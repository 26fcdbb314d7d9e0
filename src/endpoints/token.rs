//! `POST /token`: RFC 6749 §3.2.

use axum::{
    Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Uri, header};

use crate::{
    app::App,
    clients::authenticate,
    grants::{self, Request},
    protocol::error::OAuthError,
    tokens::TokenResponse,
    web::{error::TokenError, forms},
};

/// Redeems a grant for tokens.
pub(crate) async fn token(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, TokenError> {
    let tried_header = headers.contains_key(header::AUTHORIZATION);
    let response = redeem(&app, &uri, &headers, &body)
        .await
        .map_err(|error| TokenError::new(error, tried_header))?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(response)).into_response())
}

async fn redeem(
    app: &App,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<TokenResponse, OAuthError> {
    let now = app.clock.now();
    if uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(OAuthError::invalid_request(
            "parameters belong in the body, not in the query",
        ));
    }
    let params = forms::read(headers, body)?;
    let client = authenticate(&params, headers.contains_key(header::AUTHORIZATION))?;
    grants::redeem(Request {
        app,
        client: &client,
        params: &params,
        now,
    })
    .await
}
