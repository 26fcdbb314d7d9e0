//! What may a client redeem? [`ALL`] is the list: adding a grant is one file and one line, and discovery reads it.

pub mod approval;
mod authorization_code;
mod refresh_token;

use futures_util::future::BoxFuture;

use crate::{
    app::App,
    clients::{AuthenticatedClient, Refusal, RefusalKind},
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

/// What the client is to us now: a rule that came after its grant counts, too.
fn standing(app: &App, client: &AuthenticatedClient) -> Result<Standing, OAuthError> {
    app.clients
        .standing(client.id(), &[])
        .map_err(|refusal| refused(&refusal))
}

/// What a refusal of a client means to one that wants tokens.
fn refused(refusal: &Refusal) -> OAuthError {
    match refusal.kind {
        RefusalKind::Invalid => OAuthError::invalid_client().because(refusal.cause.clone()),
        RefusalKind::Temporary(_) | RefusalKind::TooMany(_) => {
            OAuthError::unavailable(refusal.cause.clone())
        }
        RefusalKind::Internal => OAuthError::internal(refusal.cause.clone()),
    }
}

/// What a failed store means to a client.
pub(crate) fn store_failed(error: StoreError) -> OAuthError {
    if error.is_temporary() {
        OAuthError::unavailable(error)
    } else {
        OAuthError::internal(error)
    }
}
