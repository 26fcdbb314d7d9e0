//! `POST /revoke`: RFC 7009 §2.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};

use crate::{
    app::App,
    grants::store_failed,
    protocol::{
        error::{ErrorCode, OAuthError},
        refresh::RefreshToken,
    },
    web::{
        client_request::{ClientRequest, Endpoint},
        token_error::TokenError,
    },
};

pub(crate) struct Revocation;

impl Endpoint for Revocation {
    const PATH: &'static str = "/revoke";
}

/// Ends the grant of a refresh token. A token that is unknown, or another client's, is answered alike (§2.2).
pub(crate) async fn revoke(
    State(app): State<App>,
    request: ClientRequest<Revocation>,
) -> Result<Response, TokenError> {
    end(&app, &request)
        .await
        .map_err(|error| request.failed(&app, error))?;
    Ok((StatusCode::OK, [(header::CACHE_CONTROL, "no-store")]).into_response())
}

async fn end(app: &App, request: &ClientRequest<Revocation>) -> Result<(), OAuthError> {
    let ClientRequest {
        client,
        params,
        now,
        ..
    } = request;
    let token = params.require("token")?;
    if !RefreshToken::is_like(token) && token.matches('.').count() == 2 {
        let told = "access tokens are not stored and expire by themselves; revoke the refresh token to end the grant";
        return Err(OAuthError::new(ErrorCode::UnsupportedTokenType, told));
    }
    let Some(token) = RefreshToken::open(token, &app.refresh_key) else {
        return Ok(());
    };
    app.store
        .revoke_family(token.family(), client.id().clone(), client.method(), *now)
        .await
        .map_err(store_failed)
}
