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
    clients::LookUp,
    grants::{self, Request},
    web::{
        error::TokenError,
        machine::{Call, Endpoint},
    },
};

/// At the token endpoint only a client that acts for itself may have to be looked up: every other one has a grant.
const TOKEN: Endpoint = Endpoint {
    path: "/token",
    takes_proofs: true,
    look_up: |params| match params.optional("grant_type") {
        Some("client_credentials") => LookUp::Listed,
        _ => LookUp::Never,
    },
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
    let incoming = TOKEN.read(&app, &call).await?;
    let request = Request {
        app: &app,
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
