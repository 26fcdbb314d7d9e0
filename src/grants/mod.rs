//! What may a client redeem? [`ALL`] is the list: adding a grant is one file and one line, and discovery reads it.

pub mod approval;
mod authorization_code;
mod client_credentials;
mod refresh_token;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::{
    app::App,
    clients::{AuthenticatedClient, refused},
    policy::client_rules::Standing,
    protocol::{
        error::{ErrorCode, OAuthError},
        params::Params,
    },
    store::StoreError,
    time::UnixTime,
    tokens::TokenResponse,
};

/// A token request of a client that has proven itself, RFC 6749 §3.2.
#[derive(Debug)]
pub struct Request<'a> {
    pub app: &'a App,
    pub client: &'a AuthenticatedClient,
    pub params: &'a Params,
    /// The key of the request's proof of possession, RFC 9449 §6.1.
    pub jkt: Option<&'a str>,
    pub now: UnixTime,
}

/// A grant: its wire name, and how it is redeemed.
pub struct Grant {
    pub name: &'static str,
    redeem: for<'a> fn(Request<'a>) -> BoxFuture<'a, Result<TokenResponse, OAuthError>>,
}

/// Every grant that works.
pub static ALL: &[Grant] = &[
    Grant {
        name: "authorization_code",
        redeem: |request| Box::pin(authorization_code::redeem(request)),
    },
    Grant {
        name: "client_credentials",
        redeem: |request| Box::pin(client_credentials::redeem(request)),
    },
    Grant {
        name: "refresh_token",
        redeem: |request| Box::pin(refresh_token::redeem(request)),
    },
];

/// Redeems whatever grant the request names.
///
/// # Errors
///
/// RFC 6749 §5.2.
pub async fn redeem(request: Request<'_>) -> Result<TokenResponse, OAuthError> {
    let name = request.params.require("grant_type")?;
    let Some(grant) = ALL.iter().find(|grant| grant.name == name) else {
        return Err(OAuthError::new(
            ErrorCode::UnsupportedGrantType,
            "this server does not have this grant_type",
        ));
    };
    (grant.redeem)(request).await
}

/// What the client is to us now: a rule that came after its grant counts, too, and one about a key that it publishes.
async fn standing(
    app: &App,
    client: &AuthenticatedClient,
    now: UnixTime,
) -> Result<Standing, OAuthError> {
    let known = match client.known() {
        Some(known) => Some(Arc::clone(known)),
        None => app
            .clients
            .last_known(client.id(), now)
            .await
            .map_err(|refusal| refused(&refusal))?,
    };
    let keys = known.map_or_else(Vec::new, |client| client.metadata.thumbprints());
    let standing = app
        .clients
        .standing(client.id(), &keys)
        .map_err(|refusal| refused(&refusal))?;
    if !standing.allows_method(client.method()) {
        let told = "the administrator does not let this client authenticate in this way";
        return Err(OAuthError::new(ErrorCode::UnauthorizedClient, told));
    }
    Ok(standing)
}

/// How long what this client is granted lives: access tokens, refresh tokens without use, and the grant. Seconds.
fn lifetimes(app: &App, client: &AuthenticatedClient, standing: &Standing) -> (u32, u32, u32) {
    let tokens = &app.config.tokens;
    let (idle, absolute) = match client.is_confidential() {
        true => (
            tokens.confidential_refresh_idle,
            tokens.confidential_refresh_absolute,
        ),
        false => (tokens.refresh_idle, tokens.refresh_absolute),
    };
    standing.lifetimes(tokens.access.get(), idle.get(), absolute.get())
}

/// What a failed store means to a client.
pub(crate) fn store_failed(error: StoreError) -> OAuthError {
    if error.is_temporary() {
        OAuthError::unavailable(error)
    } else {
        OAuthError::internal(error)
    }
}
