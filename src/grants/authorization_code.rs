//! The authorization code grant: RFC 6749 §4.1.3.

use super::{Request, Terms, standing, store_failed};
use crate::{
    protocol::{
        authorization_code::{Binding, Presented, check},
        error::OAuthError,
    },
    secret::{Code, Secret},
    store::{Approved, Redeemed},
    tokens::TokenResponse,
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
    let terms = Terms::new(&request, standing)?;
    let rule_terms = terms.clone();
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
            rule_terms.grant(&issued.scope, &issued.resources, issued.may_refresh)
        })
        .await
        .map_err(store_failed)?;
    match redeemed {
        Redeemed::Granted(issued) => {
            app.clients.used(client.id(), now);
            terms.tokens(Approved::from(&*issued)).await
        }
        Redeemed::Refused(refusal) => Err(refusal),
        Redeemed::Unknown => Err(unknown()),
        Redeemed::Reused { grant_id } => {
            Err(unknown().because(format!("code used twice: grant {grant_id} is revoked")))
        }
    }
}
