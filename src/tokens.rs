//! What a client gets: RFC 6749 §5.1.

use serde::Serialize;

use crate::{
    app::App,
    protocol::{
        access_token, client_id::ClientId, error::OAuthError, id_token::SigningAlg,
        resource::Resources, scope::Scope,
    },
    time::UnixTime,
};

/// A successful token response: no null members, RFC 6749 §5.1.
#[derive(Debug, Serialize)]
pub struct TokenResponse {
    pub access_token: String,
    pub token_type: &'static str,
    /// Seconds.
    pub expires_in: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

/// What a grant allows, and what of it this token is for.
#[derive(Debug)]
pub struct Granted {
    /// `None`: no person granted it.
    pub grant_id: Option<String>,
    pub client_id: ClientId,
    pub subject: String,
    pub scope: Scope,
    pub resources: Resources,
    /// The thumbprint of the key that the token is bound to, RFC 9449 §6.
    pub jkt: Option<String>,
    /// `None`: no person is involved.
    pub signed_in: Option<SignedIn>,
    /// No token outlives its grant.
    pub ends_at: UnixTime,
}

/// How the person signed in, for those who are told.
#[derive(Debug)]
pub struct SignedIn {
    pub at: UnixTime,
    pub sid: Option<String>,
    /// What the ID token repeats, OpenID Connect Core §2.
    pub nonce: Option<String>,
}

/// Issues an access token for what is granted, valid for `lifetime` seconds at most. The grant is durable already.
///
/// # Errors
///
/// `server_error` when signing fails.
pub async fn issue(
    app: &App,
    granted: &Granted,
    lifetime: u32,
    refresh_token: Option<String>,
    now: UnixTime,
) -> Result<TokenResponse, OAuthError> {
    let lifetime = i64::from(lifetime).min(granted.ends_at - now);
    let about = access_token::Subject {
        subject: &granted.subject,
        client_id: &granted.client_id,
        grant_id: granted.grant_id.as_deref(),
        scope: &granted.scope,
        resources: &granted.resources,
        auth_time: granted.signed_in.as_ref().map(|signed_in| signed_in.at),
        jkt: granted.jkt.as_deref(),
    };
    let claims = access_token::claims(&app.config.issuer, &about, now, now + lifetime);
    let access_token = app
        .keys
        .sign(SigningAlg::Es256, access_token::TYP, &claims)
        .map_err(OAuthError::internal)?;
    Ok(TokenResponse {
        access_token,
        token_type: match granted.jkt {
            Some(_) => "DPoP",
            None => "Bearer",
        },
        expires_in: lifetime,
        scope: granted.scope.to_string(),
        refresh_token,
    })
}
