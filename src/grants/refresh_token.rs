//! The refresh token grant: RFC 6749 §6, with rotation (RFC 9700 §4.14.2).

use super::{Request, store_failed};
use crate::{
    protocol::{
        error::{ErrorCode, OAuthError},
        refresh::RefreshToken,
        resource::Resources,
        scope::Scope,
    },
    store::{GrantRow, RotateRequest, Rotated},
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

    // What may be asked for is known only from the grant: look first, so that a refusal spends nothing.
    if asked_scope.is_some() || !asked_resources.0.is_empty() {
        let grant = app
            .store
            .grant(token.family(), client.id(), now)
            .await
            .map_err(store_failed)?
            .ok_or_else(unknown)?;
        narrow(&grant, asked_scope.clone(), asked_resources.clone())?;
    }
    let tokens = &app.config.tokens;
    let rotate = RotateRequest {
        family: token.family(),
        client_id: client.id().clone(),
        generation: token.generation(),
        now,
        idle_until: now + i64::from(tokens.refresh_idle.get()),
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
        Some(token.successor().seal(&app.refresh_key)),
        now,
    )
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
