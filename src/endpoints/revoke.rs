//! `POST /revoke`: RFC 7009 §2.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, Uri, header};

use crate::{
    app::App,
    clients::authenticate,
    protocol::{
        error::{ErrorCode, OAuthError},
        refresh::RefreshToken,
    },
    store::StoreError,
    web::{error::TokenError, forms},
};

/// Ends the grant of a refresh token. A token that is unknown, or another client's, is answered alike (§2.2).
pub(crate) async fn revoke(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, TokenError> {
    let tried_header = headers.contains_key(header::AUTHORIZATION);
    end(&app, &uri, &headers, &body)
        .await
        .map_err(|error| TokenError::new(error, tried_header))?;
    Ok((StatusCode::OK, [(header::CACHE_CONTROL, "no-store")]).into_response())
}

async fn end(app: &App, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<(), OAuthError> {
    let now = app.clock.now();
    if uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(OAuthError::invalid_request(
            "parameters belong in the body, not in the query",
        ));
    }
    let params = forms::read(headers, body)?;
    let client = authenticate(&params, headers.contains_key(header::AUTHORIZATION))?;
    let token = params.require("token")?;
    if !RefreshToken::is_like(token) && token.matches('.').count() == 2 {
        let told = "access tokens are not stored and expire by themselves; revoke the refresh token to end the grant";
        return Err(OAuthError::new(ErrorCode::UnsupportedTokenType, told));
    }
    let Some(token) = RefreshToken::open(token, &app.refresh_key) else {
        return Ok(());
    };
    let failed = |error: StoreError| {
        if error.is_temporary() {
            OAuthError::unavailable(error)
        } else {
            OAuthError::internal(error)
        }
    };
    app.store
        .revoke_family(token.family(), client.id().clone(), now)
        .await
        .map_err(failed)
}
