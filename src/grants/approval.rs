//! One approval by one person: from an authorization request to the code that carries it.

use std::sync::Arc;

use super::{implied_resources, lifetimes};
use crate::{
    app::App,
    clients::Need,
    policy::{
        client_rules::{OTHER_METHOD, Tier, TrustDecision},
        metadata_change,
    },
    protocol::{
        authorize::{self, AuthorizationRequest},
        client::Client,
        client_metadata::{AuthMethod, AuthMethods, GrantType},
        error::{ErrorCode, OAuthError},
        params::Params,
        pkce::Pkce,
        redirect_uri::RedirectUri,
        scope::Scope,
    },
    secret::{Code, PushedRequest, Secret, SecretHash, Session},
    store::{Consent, NewCode},
    time::UnixTime,
};

/// A request that this client may make, and what it would be granted.
#[derive(Debug)]
pub struct Proposal {
    pub request: AuthorizationRequest,
    pub client: Arc<Client>,
    pub standing: TrustDecision,
    pub scope: Scope,
    pub may_refresh: bool,
    /// How it may prove itself at the token endpoint.
    auth_methods: AuthMethods,
    pushed: Option<PushedAs>,
    /// Of the rules about clients that this was judged by.
    revision: i64,
}

/// The pushed request that a proposal comes from.
#[derive(Clone, Debug)]
pub struct PushedAs {
    pub hash: SecretHash<PushedRequest>,
    /// How its client proved itself.
    pub method: AuthMethod,
}

/// Who approves: a person, as they signed in.
#[derive(Debug)]
pub struct Person<'a> {
    pub subject: &'a str,
    pub signed_in_at: UnixTime,
    /// The session, as ID tokens name it.
    pub sid: String,
    pub session: SecretHash<Session>,
}

/// What a person agreed to before.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Does it cover the proposal?
    pub covers: bool,
    /// What changed about the client since, as sentences.
    pub changed: Vec<&'static str>,
}

impl Proposal {
    /// Judges a request of a client whose redirect URI is proven.
    ///
    /// # Errors
    ///
    /// The error that goes back to the client.
    pub fn new(
        app: &App,
        params: &Params,
        client: Arc<Client>,
        redirect_uri: RedirectUri,
        pushed: Option<PushedAs>,
    ) -> Result<Self, OAuthError> {
        let registered = app.clients.rules().registered(client.id());
        let pkce = registered.map_or(Pkce::Required, |registered| registered.written().pkce);
        let mut request = authorize::parse(params, client.id().clone(), redirect_uri, pkce)?;
        request.resources = app.config.resources.named(request.resources);
        request.max_age = request.max_age.or(client.metadata.default_max_age);
        // The revision first: rules that come with a later one are judged by again.
        let revision = app.clients.rules().revision();
        let standing = app
            .clients
            .rules()
            .of(client.id(), &client.metadata.thumbprints());
        client.check_code_flow()?;
        let must_push = client.metadata.require_pushed_authorization_requests
            || app.config.policy.require_pushed_authorization_requests;
        if must_push && pushed.is_none() {
            let told = "this client, or this server, takes authorization requests only by way of the pushed_authorization_request_endpoint";
            return Err(OAuthError::invalid_request(told));
        }
        let refuse = |told| Err(OAuthError::new(ErrorCode::UnauthorizedClient, told));
        if standing.tier == Tier::Blocked {
            return refuse("the administrator of this server does not accept this client");
        }
        standing.check_grant(GrantType::AuthorizationCode, false)?;
        let auth_methods: Vec<AuthMethod> = client
            .metadata
            .auth_methods
            .iter()
            .copied()
            .filter(|method| standing.allows_method(*method))
            // Whoever began a grant with a proof goes on with one.
            .filter(|method| {
                pushed
                    .as_ref()
                    .is_none_or(|pushed| *method >= pushed.method)
            })
            .collect();
        if auth_methods.is_empty() {
            return refuse(OTHER_METHOD);
        }
        let catalog = &app.config.resources;
        catalog.check(&request.resources, &app.config.issuer, &standing)?;
        let may_refresh = client.may_use(GrantType::RefreshToken)
            && standing.allows_grant(GrantType::RefreshToken, false);
        let scope = catalog.grantable(
            request.scope.as_ref(),
            client.metadata.scope.as_deref(),
            &request.resources,
            may_refresh,
            &standing,
        )?;
        if request.resources.0.is_empty() {
            request.resources = implied_resources(app, &scope);
        }
        Ok(Self {
            request,
            client,
            standing,
            scope,
            may_refresh,
            auth_methods: AuthMethods(auth_methods),
            pushed,
            revision,
        })
    }

    /// What the client asks for; where it leaves the choice to us, what it gets.
    pub fn asked(&self) -> &Scope {
        self.request.scope.as_ref().unwrap_or(&self.scope)
    }

    /// Does the client ask in vain for more than it has? One that a resource sent here for a scope which it cannot get
    /// would be sent again for ever, if it were answered without.
    ///
    /// # Errors
    ///
    /// `invalid_scope`, naming what cannot be granted.
    pub fn check_step_up(&self, app: &App, consents: &[Consent]) -> Result<(), OAuthError> {
        let catalog = &app.config.resources;
        let before = consents.iter().map(|consent| consent.asked.as_ref());
        match catalog.refused_in_vain(self.asked(), &self.scope, before) {
            Some(refused) => {
                let told = format!(
                    "this client cannot be granted what it asks for beyond what it has: {refused}"
                );
                Err(OAuthError::new(ErrorCode::InvalidScope, told))
            }
            None => Ok(()),
        }
    }

    /// What the person agreed to before, as far as it concerns this; of their consents to this client the newest first.
    pub async fn remembered(&self, app: &App, consents: &[Consent], now: UnixTime) -> Remembered {
        let mut remembered = Remembered::default();
        let covering = consents
            .iter()
            .find(|c| c.scope.covers(&self.scope) && c.resources.covers(&self.request.resources));
        let Some(latest) = covering.or_else(|| consents.first()) else {
            return remembered;
        };
        if latest.digest != self.client.digest {
            // A version that cannot be read any more counts as changed.
            remembered.changed = match app
                .clients
                .client(self.client.id(), Need::Version(&latest.digest, now), now)
                .await
            {
                Ok(Some(then)) => {
                    metadata_change::since_consent(&then.metadata, &self.client.metadata)
                }
                Ok(None) | Err(_) => vec!["Its description changed."],
            };
        }
        remembered.covers = covering.is_some() && remembered.changed.is_empty();
        remembered
    }

    /// How long the grant would live, in seconds; `None` where nothing outlives the first access token.
    pub fn lifetime(&self, app: &App) -> Option<u32> {
        // A client that may choose shows at the token endpoint what it chose: the shorter life is told.
        let proves = self.auth_methods.0.iter().all(|it| it.is_confidential());
        let (.., absolute) = lifetimes(app, proves, &self.standing);
        self.may_refresh.then_some(absolute)
    }

    /// The code for this proposal, and the row that keeps it.
    pub fn code(&self, app: &App, person: Person<'_>, now: UnixTime) -> (Secret<Code>, NewCode) {
        let code = Secret::generate();
        let row = NewCode {
            hash: code.hash(),
            client_id: self.client.id().clone(),
            digest: self.client.digest.clone(),
            subject: person.subject.to_owned(),
            redirect_uri: self.request.redirect_uri.as_str().to_owned(),
            code_challenge: self.request.code_challenge.clone(),
            scope: self.scope.clone(),
            resources: self.request.resources.clone(),
            signed_in_at: person.signed_in_at,
            may_refresh: self.may_refresh,
            expires_at: now + i64::from(app.config.tokens.code.get()),
            auth_methods: self.auth_methods.clone(),
            jkt: self.request.dpop_jkt.clone(),
            needs_dpop: self.client.metadata.dpop_bound_access_tokens,
            nonce: self.request.nonce.clone(),
            sid: Some(person.sid),
            session: person.session,
            pushed: self.pushed.as_ref().map(|pushed| pushed.hash.clone()),
            now,
            revision: self.revision,
        };
        (code, row)
    }
}
