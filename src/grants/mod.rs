//! What may a client redeem? [`ALL`] is the list: adding a grant is one file and one line, and discovery reads it.

pub mod approval;
mod authorization_code;
mod refresh_token;

use futures_util::future::BoxFuture;

use crate::{
    app::App,
    clients::AuthenticatedClient,
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

/// What a failed store means to a client.
pub(crate) fn store_failed(error: StoreError) -> OAuthError {
    if error.is_temporary() {
        OAuthError::unavailable(error)
    } else {
        OAuthError::internal(error)
    }
}
