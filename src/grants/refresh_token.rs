//! The refresh token grant: RFC 6749 §6, with rotation (RFC 9700 §4.14.2).

use super::{Request, refused, standing, store_failed};
use crate::{
    app::App,
    clients::{AuthenticatedClient, Footing},
    protocol::{
        client_metadata::GrantType,
        error::{ErrorCode, OAuthError},
        refresh::RefreshToken,
        resource::Resources,
        scope::Scope,
    },
    store::{GrantRow, RotateRequest, Rotated},
    time::UnixTime,
    tokens::{Granted, TokenResponse, issue},
};

pub(super) async fn redeem(request: Request<'_>) -> Result<TokenResponse, OAuthError> {
    let Request {
        app,
        client,
        params,
        now,
    } = request;
    let text = params.require("refresh_token")?;
    let asked_scope: Option<Scope> = params.optional("scope").map(str::parse).transpose()?;
    let asked_resources = Resources::from_params(params)?;
    let unknown = || {
        OAuthError::invalid_grant(
            "the refresh token is unknown, expired, revoked, or was used before",
        )
    };
    // A forged token ends here, and ends nobody's family.
    let token = RefreshToken::open(text, &app.refresh_key).ok_or_else(unknown)?;

    let standing = standing(app, client)?;
    if !standing.allows_grant(GrantType::RefreshToken) {
        let told = "the administrator does not let this client use refresh_token";
        return Err(OAuthError::new(ErrorCode::UnauthorizedClient, told));
    }
    check_footing(app, client, now).await?;

    // What may be asked for is known only from the grant: look first, so that a refusal spends nothing.
    let narrowed = standing.rule.is_some();
    if narrowed || asked_scope.is_some() || !asked_resources.0.is_empty() {
        let grant = app
            .store
            .grant(token.family(), client.id(), now)
            .await
            .map_err(store_failed)?
            .ok_or_else(unknown)?;
        let (scope, resources) = narrow(&grant, asked_scope.clone(), asked_resources.clone())?;
        app.config
            .resources
            .still_granted(&scope, &grant.resources, &resources, &standing)?;
    }
    let tokens = &app.config.tokens;
    let (access, idle, _) = standing.lifetimes(
        tokens.access.get(),
        tokens.refresh_idle.get(),
        tokens.refresh_absolute.get(),
    );
    let rotate = RotateRequest {
        family: token.family(),
        client_id: client.id().clone(),
        generation: token.generation(),
        now,
        idle_until: now + i64::from(idle),
        grace: tokens.refresh_grace.into(),
    };
    let grant = match app.store.rotate(rotate).await.map_err(store_failed)? {
        Rotated::Successor(grant) => grant,
        Rotated::Unknown => return Err(unknown()),
        Rotated::Reused { grant_id } => {
            return Err(unknown().because(format!(
                "refresh token used twice: grant {grant_id} is revoked"
            )));
        }
    };
    let (scope, resources) = narrow(&grant, asked_scope, asked_resources)?;
    let scope =
        app.config
            .resources
            .still_granted(&scope, &grant.resources, &resources, &standing)?;
    app.clients.used(client.id(), now);
    let granted = Granted {
        grant_id: grant.id,
        client_id: grant.client_id,
        subject: grant.subject,
        scope,
        resources,
        signed_in_at: grant.signed_in_at,
        ends_at: grant.ends_at,
    };
    issue(
        app,
        &granted,
        access,
        Some(token.successor().seal(&app.refresh_key)),
        now,
    )
}

/// A client whose host took its document away, or has been down for too long, gets nothing more.
async fn check_footing(
    app: &App,
    client: &AuthenticatedClient,
    now: UnixTime,
) -> Result<(), OAuthError> {
    match app.clients.footing(client.id(), now).await {
        Ok(Footing::Firm) => Ok(()),
        Ok(Footing::Withdrawn) => Err(OAuthError::invalid_grant(
            "the client's document is gone from its host",
        )),
        Ok(Footing::Lost(_)) => Err(OAuthError::unavailable(
            "the client's host has been down for too long",
        )),
        Err(refusal) => Err(refused(&refusal)),
    }
}

/// RFC 6749 §6, RFC 8707 §2.2: as much as was granted, or less.
fn narrow(
    grant: &GrantRow,
    scope: Option<Scope>,
    resources: Resources,
) -> Result<(Scope, Resources), OAuthError> {
    let resources = grant.resources.narrow(resources)?;
    match scope {
        Some(asked) if !grant.scope.covers(&asked) => Err(OAuthError::new(
            ErrorCode::InvalidScope,
            "scope is wider than what was granted",
        )),
        Some(asked) => Ok((asked, resources)),
        None => Ok((grant.scope.clone(), resources)),
    }
}
