//! What a client gets: RFC 6749 §5.1, OpenID Connect Core §3.1.3.3; and whether it is still good.

mod live;

use serde::Serialize;

pub use self::live::{Live, live};
use crate::{
    app::App,
    clients::{Need, refused},
    keys::KeyError,
    protocol::{
        access_token,
        client::Client,
        client_id::ClientId,
        error::OAuthError,
        id_token::{self, SigningAlg},
        jws::Jws,
        resource::Resources,
        scope::{OPENID, Scope},
        userinfo::{self, Person, PersonClaims},
    },
    store::{Profile, StoreError},
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
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

/// Issues an access token for what is granted, valid for `lifetime` seconds at most, and an ID token where a person
/// granted the scope `openid`. The grant is durable already.
///
/// # Errors
///
/// `server_error` when signing fails, `temporarily_unavailable` when the database does.
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
    let alg = app.config.resources.token_alg(&granted.resources);
    app.keys.have(alg, now).await.map_err(key_failed)?;
    let access_token = app
        .keys
        .sign(alg, access_token::TYP, &claims, now)
        .map_err(key_failed)?;
    let id_token = match &granted.signed_in {
        Some(signed_in) if granted.scope.contains(OPENID) => {
            Some(id_token(app, granted, signed_in, &access_token, now).await?)
        }
        _ => None,
    };
    Ok(TokenResponse {
        access_token,
        token_type: access_token::token_type(granted.jkt.is_some()),
        expires_in: lifetime,
        scope: granted.scope.to_string(),
        refresh_token,
        id_token,
    })
}

/// The ID token beside an access token, signed as the client's document says now.
async fn id_token(
    app: &App,
    granted: &Granted,
    signed_in: &SignedIn,
    access_token: &str,
    now: UnixTime,
) -> Result<String, OAuthError> {
    let client = app
        .clients
        .client(&granted.client_id, Need::LastKnown, now)
        .await;
    let client = client.map_err(|refusal| refused(&refusal))?;
    let alg = client
        .as_ref()
        .map_or_else(SigningAlg::default, |client| client.metadata.id_token_alg);
    app.keys.have(alg, now).await.map_err(key_failed)?;
    let profile = match &granted.grant_id {
        Some(grant_id) if tells_of_person(app, client.as_deref(), &granted.scope) => {
            let person = app.store.person_of_grant(grant_id, now).await;
            person.map_err(store_failed)?
        }
        _ => None,
    };
    let person = profile.as_ref().map(person);
    let about = id_token::About {
        issuer: &app.config.issuer,
        subject: &granted.subject,
        client_id: &granted.client_id,
        signed_in_at: signed_in.at,
        nonce: signed_in.nonce.as_deref(),
        sid: signed_in.sid.as_deref(),
        person: person.map_or_else(PersonClaims::default, |person| {
            userinfo::of_scope(&person, &granted.scope)
        }),
        access_token,
        alg,
    };
    let claims = id_token::claims(&about, now);
    app.keys
        .sign(alg, id_token::TYP, &claims, now)
        .map_err(key_failed)
}

/// Does the client's ID token carry claims of this scope? Its rule or registration says so, else the configuration.
fn tells_of_person(app: &App, client: Option<&Client>, scope: &Scope) -> bool {
    let chosen = || client.and_then(|client| app.clients.id_token_claims(client));
    userinfo::asks_for_more(scope) && chosen().unwrap_or(app.config.tokens.id_token_claims)
}

/// A person, as claims tell of it.
pub fn person(profile: &Profile) -> Person<'_> {
    Person {
        subject: &profile.subject,
        username: &profile.username,
        name: profile.name.as_deref(),
        email: profile.email.as_deref(),
        email_verified: profile.email_verified,
        updated_at: profile.updated_at,
    }
}

/// Whom an ID token of ours is about, whether its time is over or not (OpenID Connect Core §3.1.2.1 `id_token_hint`).
/// `None`: it is none of ours.
pub fn subject_of(app: &App, id_token: &str) -> Option<String> {
    let token = Jws::parse(id_token).ok()?;
    let typ = token.header().typ.as_deref();
    let is_id_token = typ.is_some_and(|typ| typ.eq_ignore_ascii_case(id_token::TYP));
    let claim = |name| token.claims().string(name).ok().flatten();
    let is_ours = is_id_token
        && app.keys.signed(&token) == Some(true)
        && claim("iss") == Some(app.config.issuer.as_str());
    claim("sub").filter(|_| is_ours).map(str::to_owned)
}

/// What failing keys mean to a client.
fn key_failed(error: KeyError) -> OAuthError {
    match error {
        KeyError::Store(error) => store_failed(error),
        error => OAuthError::internal(error),
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
