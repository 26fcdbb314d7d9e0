//! `POST /revoke`: RFC 7009 §2.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{Extensions, HeaderMap, StatusCode, Uri, header};

use crate::{
    app::App,
    clients::LookUp,
    grants::store_failed,
    protocol::{
        error::{ErrorCode, OAuthError},
        refresh::RefreshToken,
    },
    web::{
        client_request::{Call, Endpoint, Incoming},
        token_error::TokenError,
    },
};

const REVOCATION: Endpoint = Endpoint {
    path: "/revoke",
    takes_proofs: false,
    look_up: |_| LookUp::Never,
};

/// Ends the grant of a refresh token. A token that is unknown, or another client's, is answered alike (§2.2).
pub(crate) async fn revoke(
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
    let incoming = REVOCATION.read(&app, &call).await?;
    end(&app, incoming)
        .await
        .map_err(|error| TokenError::new(error, false))?;
    Ok((StatusCode::OK, [(header::CACHE_CONTROL, "no-store")]).into_response())
}

async fn end(app: &App, incoming: Incoming) -> Result<(), OAuthError> {
    let Incoming {
        client,
        params,
        now,
        ..
    } = incoming;
    let token = params.require("token")?;
    if !RefreshToken::is_like(token) && token.matches('.').count() == 2 {
        let told = "access tokens are not stored and expire by themselves; revoke the refresh token to end the grant";
        return Err(OAuthError::new(ErrorCode::UnsupportedTokenType, told));
    }
    let Some(token) = RefreshToken::open(token, &app.refresh_key) else {
        return Ok(());
    };
    app.store
        .revoke_family(token.family(), client.id().clone(), client.method(), now)
        .await
        .map_err(store_failed)
}
