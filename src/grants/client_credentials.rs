//! The client credentials grant: RFC 6749 §4.4. A client acts for itself: no person, no consent, nothing to refresh.

use super::{Request, implied_resources, lifetimes, standing};
use crate::{
    policy::catalog::is_of_people,
    protocol::{
        client_metadata::GrantType,
        error::{ErrorCode, OAuthError},
        scope::Scope,
    },
    tokens::{Granted, TokenResponse, issue},
};

pub(super) async fn redeem(request: Request<'_>) -> Result<TokenResponse, OAuthError> {
    let Request {
        app,
        client,
        params,
        jkt,
        now,
    } = request;
    let refuse = |told: String| Err(OAuthError::new(ErrorCode::UnauthorizedClient, told));
    // RFC 6749 §4.4: only confidential clients. Whoever has proven itself has been looked up.
    let Some(known) = client.known().filter(|_| client.is_confidential()) else {
        return refuse("client_credentials is for clients that authenticate".to_owned());
    };
    if !known.may_use(GrantType::ClientCredentials) {
        return refuse(known.does_not_list(GrantType::ClientCredentials));
    }
    let standing = standing(app, client, now).await?;
    standing.check_grant(GrantType::ClientCredentials, true)?;
    if known.metadata.dpop_bound_access_tokens && jkt.is_none() {
        let description = known.description();
        let told =
            format!("a DPoP proof is required: the client's {description} asks for bound tokens");
        return Err(OAuthError::new(ErrorCode::InvalidDpopProof, told));
    }
    let asked: Option<Scope> = params.optional("scope").map(str::parse).transpose()?;
    if asked
        .as_ref()
        .is_some_and(|asked| asked.tokens().any(is_of_people))
    {
        let told = "scopes about a person need one: client_credentials has none";
        return Err(OAuthError::new(ErrorCode::InvalidScope, told));
    }
    let mut resources = app.config.resources.asked(params)?;
    let catalog = &app.config.resources;
    catalog.check(&resources, &app.config.issuer, &standing)?;
    let listed = known.metadata.scope.as_deref();
    let scope = catalog.grantable(asked.as_ref(), listed, &resources, false, &standing)?;
    if resources.0.is_empty() {
        resources = implied_resources(app, &scope);
    }
    let (access, ..) = lifetimes(app, client.is_confidential(), &standing);
    app.clients.used(client.id(), now);
    let granted = Granted {
        grant_id: None,
        client_id: client.id().clone(),
        // RFC 9068 §2.2: where no person is involved, the client.
        subject: client.id().as_str().to_owned(),
        scope,
        resources,
        jkt: jkt.map(str::to_owned),
        signed_in: None,
        ends_at: now + i64::from(access),
    };
    tracing::info!(
        client = granted.client_id.as_str(),
        scope = %granted.scope,
        "tokens granted"
    );
    issue(app, &granted, access, None, now).await
}
