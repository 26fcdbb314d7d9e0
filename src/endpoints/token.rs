//! `POST /token`: RFC 6749 §3.2.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;

use crate::{
    app::App,
    clients::LookUp,
    grants::{self, Request},
    protocol::{error::ErrorCode, params::Params},
    web::{
        client_request::{ClientRequest, Endpoint, Sender},
        token_error::TokenError,
    },
};

pub(crate) struct Token;

impl Endpoint for Token {
    const PATH: &'static str = "/token";
    const TAKES_PROOFS: bool = true;

    fn look_up(params: &Params) -> LookUp {
        grants::look_up(params)
    }

    /// A failure counts for the client, as it calls itself, and the network it asks from: one that never stops failing is
    /// told to wait. What would succeed is never held up: secrets here are far too long to be guessed.
    fn refused(app: &App, sender: &Sender, error: TokenError) -> TokenError {
        app.store.counts.token_errors.add(error.code().as_str());
        if !matches!(
            error.code(),
            ErrorCode::InvalidClient | ErrorCode::InvalidGrant
        ) {
            return error;
        }
        let failures = &app.limits.token_failures;
        match failures.failed(sender.source, &sender.claimed) {
            Ok(()) => error,
            Err(wait) => error.too_often(wait),
        }
    }
}

/// Redeems a grant for tokens.
pub(crate) async fn token(
    State(app): State<App>,
    request: ClientRequest<Token>,
) -> Result<Response, TokenError> {
    let asked = Request {
        app: &app,
        client: &request.client,
        params: &request.params,
        jkt: request.jkt.as_deref(),
        now: request.now,
    };
    let response = grants::redeem(asked)
        .await
        .map_err(|error| request.failed(&app, error))?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(response)).into_response())
}
