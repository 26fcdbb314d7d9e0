//! The refresh token grant: RFC 6749 §6, with rotation (RFC 9700 §4.14.2).

use super::{Request, lifetimes, standing, store_failed};
use crate::{
    app::App,
    clients::{AuthenticatedClient, DocumentState, refused},
    protocol::{
        client_metadata::GrantType,
        error::{ErrorCode, OAuthError},
        refresh::RefreshToken,
        resource::Resources,
        scope::Scope,
    },
    store::{GrantRow, RotateRequest, Rotated},
    time::UnixTime,
    tokens::{Granted, SignedIn, TokenResponse, issue},
};

/// Seconds by which the end of an unused refresh token that is not rotated moves at least, when it moves.
const IDLE_STEP: i64 = 86_400;

pub(super) async fn redeem(request: Request<'_>) -> Result<TokenResponse, OAuthError> {
    let Request {
        app,
        client,
        params,
        jkt,
        now,
    } = request;
    let text = params.require("refresh_token")?;
    let asked_scope: Option<Scope> = params.optional("scope").map(str::parse).transpose()?;
    let asked_resources = app.config.resources.asked(params)?;
    let unknown = || {
        OAuthError::invalid_grant(
            "the refresh token is unknown, expired, revoked, or was used before",
        )
    };
    // A forged token ends here, and ends nobody's family.
    let token = RefreshToken::open(text, &app.refresh_key).ok_or_else(unknown)?;

    let standing = standing(app, client, now).await?;
    standing.check_grant(GrantType::RefreshToken, client.is_confidential())?;
    check_footing(app, client, now).await?;

    let (access, idle, _) = lifetimes(app, client.is_confidential(), &standing);
    // What may be asked for is known only from the grant: look first, so that a refusal spends nothing.
    let narrowed = standing.rule.is_some();
    let mut looked_at = None;
    if narrowed
        || client.is_confidential()
        || asked_scope.is_some()
        || !asked_resources.0.is_empty()
    {
        let grant = app
            .store
            .grant(token.family(), client.id(), now)
            .await
            .map_err(store_failed)?
            .filter(|grant| grant.fits(client.method(), jkt))
            .ok_or_else(unknown)?;
        let (scope, resources) = narrow(&grant, asked_scope.clone(), asked_resources.clone())?;
        app.config.resources.still_granted(
            &scope,
            &grant.resources,
            &resources,
            &app.config.issuer,
            &standing,
        )?;
        looked_at = Some(grant);
    }
    // A token that is not rotated need not be written at every use.
    let is_as_it_was = |grant: &GrantRow| {
        client.is_confidential()
            && grant.auth_method == client.method()
            && grant.generation == token.generation()
            && grant.idle_until - now > i64::from(idle) - IDLE_STEP
    };
    let rotate = RotateRequest {
        family: token.family(),
        client_id: client.id().clone(),
        generation: token.generation(),
        now,
        idle_until: now + i64::from(idle),
        grace: app.config.tokens.refresh_grace.into(),
        method: client.method(),
        jkt: jkt.map(str::to_owned),
    };
    let rotated = match looked_at.filter(is_as_it_was) {
        Some(grant) => Rotated::Successor(Box::new(grant)),
        None => app.store.rotate(rotate).await.map_err(store_failed)?,
    };
    let grant = match rotated {
        Rotated::Successor(grant) => grant,
        Rotated::Unknown => return Err(unknown()),
        Rotated::Reused { grant_id } => {
            return Err(unknown().because(format!(
                "refresh token used twice: grant {grant_id} is revoked"
            )));
        }
    };
    let (scope, resources) = narrow(&grant, asked_scope, asked_resources)?;
    let scope = app.config.resources.still_granted(
        &scope,
        &grant.resources,
        &resources,
        &app.config.issuer,
        &standing,
    )?;
    app.clients.used(client.id(), now);
    let generation = grant.generation;
    let granted = Granted {
        grant_id: Some(grant.id),
        client_id: grant.client_id,
        subject: grant.subject,
        scope,
        resources,
        // RFC 9449 §5: the key that the request is signed with.
        jkt: jkt.map(str::to_owned),
        signed_in: Some(SignedIn {
            at: grant.signed_in_at,
            sid: grant.sid,
            nonce: None,
        }),
        ends_at: grant.ends_at,
    };
    let next = match generation == token.generation() {
        true => token,
        false => token.successor(),
    };
    issue(
        app,
        &granted,
        access,
        Some(next.seal(&app.refresh_key)),
        now,
    )
    .await
}

/// A client whose host took its document away, or has been down for too long, gets nothing more.
async fn check_footing(
    app: &App,
    client: &AuthenticatedClient,
    now: UnixTime,
) -> Result<(), OAuthError> {
    match app.clients.footing(client.id(), now).await {
        Ok(DocumentState::Firm) => Ok(()),
        Ok(DocumentState::Withdrawn) => Err(OAuthError::invalid_grant(
            "the client's document is gone from its host",
        )),
        Ok(DocumentState::Lost(_)) => Err(OAuthError::unavailable(
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
