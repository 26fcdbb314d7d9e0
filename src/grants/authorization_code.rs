//! The authorization code grant: RFC 6749 §4.1.3.

use super::{Request, lifetimes, standing, store_failed};
use crate::{
    protocol::{
        authorization_code::{Binding, Presented, check},
        error::OAuthError,
        refresh::RefreshToken,
    },
    secret::{Code, Secret},
    store::{NewGrant, Redeemed},
    tokens::{Granted, SignedIn, TokenResponse, issue},
};

pub(super) async fn redeem(request: Request<'_>) -> Result<TokenResponse, OAuthError> {
    let Request {
        app,
        client,
        params,
        jkt,
        now,
    } = request;
    let code = params.require("code")?;
    let asked = app.config.resources.asked(params)?;
    let unknown = || OAuthError::invalid_grant("the code is unknown, expired, or was used before");
    let code: Secret<Code> = code.parse().map_err(|_| unknown())?;

    let presented = Presented {
        client_id: client.id().clone(),
        redirect_uri: params.optional("redirect_uri").map(str::to_owned),
        code_verifier: params.optional("code_verifier").map(str::to_owned),
        method: client.method(),
        jkt: jkt.map(str::to_owned),
    };
    let standing = standing(app, client, now).await?;
    let (access, idle, absolute) = lifetimes(app, client, &standing);
    let family = RefreshToken::new_family();
    let family_hash = family.family();
    let (rule_asked, rule_app, rule_standing) = (asked.clone(), app.clone(), standing.clone());
    let redeemed = app
        .store
        .redeem_code(code.hash(), now, move |issued| {
            let binding = Binding {
                client_id: issued.client_id.clone(),
                redirect_uri: issued.redirect_uri.clone(),
                code_challenge: issued.code_challenge.clone(),
                auth_methods: issued.auth_methods.0.clone(),
                jkt: issued.jkt.clone(),
                needs_dpop: issued.needs_dpop,
            };
            check(&binding, &presented)?;
            let resources = issued.resources.narrow(rule_asked)?;
            let catalog = &rule_app.config.resources;
            catalog.still_granted(&issued.scope, &issued.resources, &resources, &rule_standing)?;
            let lifetime = if issued.may_refresh { absolute } else { access };
            Ok(NewGrant {
                ends_at: now + i64::from(lifetime),
                idle_until: now + i64::from(if issued.may_refresh { idle } else { access }),
                family: issued.may_refresh.then_some(family_hash),
                auth_method: presented.method,
                jkt: presented.jkt,
            })
        })
        .await
        .map_err(store_failed)?;

    let issued = match redeemed {
        Redeemed::Granted(issued) => issued,
        Redeemed::Refused(refusal) => return Err(refusal),
        Redeemed::Unknown => return Err(unknown()),
        Redeemed::Reused { grant_id } => {
            return Err(unknown().because(format!("code used twice: grant {grant_id} is revoked")));
        }
    };
    let lifetime = i64::from(if issued.may_refresh { absolute } else { access });
    let resources = issued.resources.narrow(asked)?;
    let granted = Granted {
        grant_id: Some(issued.grant_id),
        client_id: issued.client_id,
        subject: issued.subject,
        scope: app.config.resources.still_granted(
            &issued.scope,
            &issued.resources,
            &resources,
            &standing,
        )?,
        resources,
        jkt: jkt.map(str::to_owned),
        signed_in: Some(SignedIn {
            at: issued.signed_in_at,
            sid: issued.sid,
            nonce: issued.nonce,
        }),
        ends_at: now + lifetime,
    };
    let refresh_token = issued.may_refresh.then(|| family.seal(&app.refresh_key));
    app.clients.used(&granted.client_id, now);
    issue(app, &granted, access, refresh_token, now).await
}
