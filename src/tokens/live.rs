//! Is an access token of ours good now? RFC 9068 §4, and what only we know: its client, its grant, its person.

use super::{key_failed, store_failed};
use crate::{
    app::App,
    clients::{DocumentState, Need, Refusal, RefusalKind, refused},
    protocol::{
        access_token::{self, Claims},
        client_id::ClientId,
        error::OAuthError,
        jws::Jws,
    },
    store::Profile,
    time::UnixTime,
};

/// An access token that is good now. Only [`live`] makes one.
#[derive(Debug)]
pub struct Live {
    pub claims: Claims,
    /// `None`: the client acts for itself.
    pub person: Option<Profile>,
}

/// The token, if it is an access token that we issued, its time is not over, its client is still welcome, its grant has
/// not ended and its person is not disabled. Who it is meant for is left to the caller.
///
/// # Errors
///
/// When the database fails.
pub async fn live(app: &App, text: &str, now: UnixTime) -> Result<Option<Live>, OAuthError> {
    let Some(claims) = ours(app, text, now).await? else {
        return Ok(None);
    };
    if claims.iss != app.config.issuer.as_str() || claims.exp <= now.0 {
        return Ok(None);
    }
    let Ok(client_id) = claims.client_id.parse::<ClientId>() else {
        return Ok(None);
    };
    match is_welcome(app, &client_id, now).await {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(refusal) if refusal.kind == RefusalKind::Invalid => return Ok(None),
        Err(refusal) => return Err(refused(&refusal)),
    }
    let Some(grant_id) = &claims.grant_id else {
        return Ok(Some(Live {
            claims,
            person: None,
        }));
    };
    let person = app.store.person_of_grant(grant_id, now).await;
    Ok(person.map_err(store_failed)?.map(|person| Live {
        claims,
        person: Some(person),
    }))
}

/// The claims of an access token that we signed.
async fn ours(app: &App, text: &str, now: UnixTime) -> Result<Option<Claims>, OAuthError> {
    let token = match Jws::parse(text) {
        Ok(token) if token.header().typ.as_deref() == Some(access_token::TYP) => token,
        _ => return Ok(None),
    };
    let mut signed = app.keys.signed(&token);
    if signed.is_none() {
        // Another process may have made the key a moment ago.
        app.keys.notice(now).await.map_err(key_failed)?;
        signed = app.keys.signed(&token);
    }
    Ok(Claims::read(token.claims()).filter(|_| signed == Some(true)))
}

/// Would the client be served now: nobody blocks it or a key of it, its document is acceptable, and its host did not take its document away?
async fn is_welcome(app: &App, client_id: &ClientId, now: UnixTime) -> Result<bool, Refusal> {
    let known = app.clients.client(client_id, Need::LastKnown, now).await?;
    match known {
        Some(known) => app.clients.admit(&known)?,
        None => app.clients.standing(client_id, &[])?,
    };
    Ok(app.clients.footing(client_id, now).await? != DocumentState::Withdrawn)
}
