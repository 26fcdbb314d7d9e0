//! What may a client redeem? [`ALL`] is the list: adding a grant is one file and one line, and discovery reads it.

pub mod approval;
mod authorization_code;
mod client_credentials;
pub mod device_code;
mod refresh_token;

use std::sync::Arc;

use futures_util::future::BoxFuture;

pub(crate) use crate::tokens::store_failed;
use crate::{
    app::App,
    clients::{AuthenticatedClient, LookUp, Need, refused, unproven},
    config::Config,
    policy::client_rules::TrustDecision,
    protocol::{
        client_metadata::{AuthMethod, GrantType},
        error::{ErrorCode, OAuthError},
        params::Params,
        refresh::RefreshToken,
        resource::Resources,
        scope::Scope,
    },
    store::{Approved, NewGrant},
    time::UnixTime,
    tokens::{Granted, SignedIn, TokenResponse, issue},
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

/// A grant, and how it is redeemed.
pub struct Grant {
    pub kind: GrantType,
    /// Has the administrator switched it on?
    is_on: fn(&Config) -> bool,
    /// May the document of a client be read that has no grant yet?
    look_up: LookUp,
    redeem: for<'a> fn(Request<'a>) -> BoxFuture<'a, Result<TokenResponse, OAuthError>>,
}

/// Every grant that works.
pub static ALL: &[Grant] = &[
    Grant {
        kind: GrantType::AuthorizationCode,
        is_on: |_| true,
        look_up: LookUp::Never,
        redeem: |request| Box::pin(authorization_code::redeem(request)),
    },
    Grant {
        kind: GrantType::ClientCredentials,
        is_on: |_| true,
        // It acts for itself: there was no sign-in at which it was read.
        look_up: LookUp::Listed,
        redeem: |request| Box::pin(client_credentials::redeem(request)),
    },
    Grant {
        kind: GrantType::RefreshToken,
        is_on: |_| true,
        look_up: LookUp::Never,
        redeem: |request| Box::pin(refresh_token::redeem(request)),
    },
    Grant {
        kind: GrantType::DeviceCode,
        is_on: |config| config.policy.devices,
        look_up: LookUp::Never,
        redeem: |request| Box::pin(device_code::redeem(request)),
    },
];

/// Those of them that this server has.
pub fn offered(config: &Config) -> impl Iterator<Item = &'static Grant> {
    ALL.iter().filter(|grant| (grant.is_on)(config))
}

/// Whose document a request for tokens may have read.
pub fn look_up(params: &Params) -> LookUp {
    let name = params.optional("grant_type").unwrap_or_default();
    let grant = ALL.iter().find(|grant| grant.kind.as_str() == name);
    grant.map_or(LookUp::Never, |grant| grant.look_up)
}

/// Redeems whatever grant the request names.
///
/// # Errors
///
/// RFC 6749 §5.2.
pub async fn redeem(request: Request<'_>) -> Result<TokenResponse, OAuthError> {
    let name = request.params.require("grant_type")?;
    let mut offered = offered(&request.app.config);
    let Some(grant) = offered.find(|grant| grant.kind.as_str() == name) else {
        return Err(OAuthError::new(
            ErrorCode::UnsupportedGrantType,
            "this server does not have this grant_type",
        ));
    };
    let Request {
        app, client, now, ..
    } = request;
    match (grant.redeem)(request).await {
        Ok(response) => {
            app.store.counts.tokens.add(grant.kind.as_str());
            Ok(response)
        }
        Err(error)
            if matches!(
                error.code,
                ErrorCode::InvalidGrant | ErrorCode::InvalidClient
            ) =>
        {
            Err(missing_proof(app, client, now).await.unwrap_or(error))
        }
        Err(error) => Err(error),
    }
}

/// What is wrong first with a request that gives nothing: its client has to prove itself, and shows nothing.
async fn missing_proof(
    app: &App,
    client: &AuthenticatedClient,
    now: UnixTime,
) -> Option<OAuthError> {
    if client.is_confidential() {
        return None;
    }
    let known = app.clients.client(client.id(), Need::LastKnown, now);
    let known = known.await.ok()??;
    (!known.may_show_nothing()).then(|| unproven(&known))
}

/// What the client is to us now: a rule that came after its grant counts, too, and one about a key that it publishes.
async fn standing(
    app: &App,
    client: &AuthenticatedClient,
    now: UnixTime,
) -> Result<TrustDecision, OAuthError> {
    let known = match client.known() {
        Some(known) => Some(Arc::clone(known)),
        None => app
            .clients
            .client(client.id(), Need::LastKnown, now)
            .await
            .map_err(|refusal| refused(&refusal))?,
    };
    let standing = match known {
        Some(known) => app.clients.admit(&known),
        None => app.clients.standing(client.id(), &[]),
    };
    let standing = standing.map_err(|refusal| refused(&refusal))?;
    standing.check_method(client.method())?;
    Ok(standing)
}

/// What a grant of this scope is for, where its request names no resource.
fn implied_resources(app: &App, scope: &Scope) -> Resources {
    let default = app.config.policy.default_resource.as_deref();
    let catalog = &app.config.resources;
    catalog.implied(scope, default, &app.config.issuer)
}

/// How long what a client is granted lives, if it authenticates and if not: access tokens, refresh tokens without use, and
/// the grant. Seconds.
pub(crate) fn lifetimes(
    app: &App,
    is_confidential: bool,
    standing: &TrustDecision,
) -> (u32, u32, u32) {
    let tokens = &app.config.tokens;
    let (idle, absolute) = match is_confidential {
        true => (
            tokens.confidential_refresh_idle,
            tokens.confidential_refresh_absolute,
        ),
        false => (tokens.refresh_idle, tokens.refresh_absolute),
    };
    standing.lifetimes(tokens.access.get(), idle.get(), absolute.get())
}

/// On what terms an approval becomes a grant and its first tokens: what a code and a device code have in common.
#[derive(Clone)]
struct Terms {
    app: App,
    standing: TrustDecision,
    /// The resources that the first token is for.
    asked: Resources,
    /// The root of the refresh tokens.
    family: RefreshToken,
    method: AuthMethod,
    jkt: Option<String>,
    /// Access tokens, refresh tokens without use, and the grant.
    lifetimes: (u32, u32, u32),
    now: UnixTime,
}

impl Terms {
    fn new(request: &Request<'_>, standing: TrustDecision) -> Result<Self, OAuthError> {
        Ok(Self {
            app: request.app.clone(),
            asked: request.app.config.resources.asked(request.params)?,
            family: RefreshToken::new_family(),
            method: request.client.method(),
            jkt: request.jkt.map(str::to_owned),
            lifetimes: lifetimes(request.app, request.client.is_confidential(), &standing),
            now: request.now,
            standing,
        })
    }

    /// The grant of what was approved: none of it outlives the last token.
    fn grant(
        &self,
        scope: &Scope,
        resources: &Resources,
        may_refresh: bool,
    ) -> Result<NewGrant, OAuthError> {
        self.narrowed(scope, resources)?;
        let (access, idle, absolute) = self.lifetimes;
        let (idle, absolute) = match may_refresh {
            true => (idle, absolute),
            false => (access, access),
        };
        Ok(NewGrant {
            ends_at: self.now + i64::from(absolute),
            idle_until: self.now + i64::from(idle),
            family: may_refresh.then(|| self.family.family()),
            auth_method: self.method,
            jkt: self.jkt.clone(),
        })
    }

    /// RFC 8707 §2.2, and what the administrator's rules still allow.
    fn narrowed(
        &self,
        scope: &Scope,
        resources: &Resources,
    ) -> Result<(Scope, Resources), OAuthError> {
        let asked = resources.narrow(self.asked.clone())?;
        let catalog = &self.app.config.resources;
        let issuer = &self.app.config.issuer;
        let scope = catalog.still_granted(scope, resources, &asked, issuer, &self.standing)?;
        Ok((scope, asked))
    }

    /// The first tokens. The grant is durable already.
    async fn tokens(self, approved: Approved) -> Result<TokenResponse, OAuthError> {
        let (scope, resources) = self.narrowed(&approved.scope, &approved.resources)?;
        let (app, now) = (&self.app, self.now);
        let (access, _, absolute) = self.lifetimes;
        let lifetime = if approved.may_refresh {
            absolute
        } else {
            access
        };
        let granted = Granted {
            grant_id: Some(approved.grant_id),
            client_id: approved.client_id,
            subject: approved.subject,
            scope,
            resources,
            jkt: self.jkt,
            signed_in: Some(SignedIn {
                at: approved.signed_in_at,
                sid: approved.sid,
                nonce: approved.nonce,
            }),
            ends_at: now + i64::from(lifetime),
        };
        tracing::info!(
            client = granted.client_id.as_str(),
            subject = granted.subject,
            grant = granted.grant_id,
            scope = %granted.scope,
            "tokens granted"
        );
        let refresh_token = approved
            .may_refresh
            .then(|| self.family.seal(&app.refresh_key));
        issue(app, &granted, access, refresh_token, now).await
    }
}
