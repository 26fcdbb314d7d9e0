//! `POST /par`: RFC 9126 §2.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde_json::json;

use crate::{
    app::App,
    clients::{Asker, LookUp, Need, found, refused},
    grants::{
        approval::{Proposal, PushedAs},
        store_failed,
    },
    protocol::{
        client::Client,
        error::{ErrorCode, OAuthError},
        params::Params,
        pushed,
    },
    secret::{PushedRequest, Secret},
    store::{NewPushed, Space},
    web::{
        client_request::{ClientRequest, Endpoint, charge},
        token_error::TokenError,
    },
};

pub(crate) struct Par;

impl Endpoint for Par {
    const PATH: &'static str = "/par";
    const TAKES_PROOFS: bool = true;

    fn look_up(_: &Params) -> LookUp {
        LookUp::Always
    }
}

/// Keeps an authorization request and answers with its `request_uri`.
pub(crate) async fn par(
    State(app): State<App>,
    request: ClientRequest<Par>,
) -> Result<Response, TokenError> {
    let failed = |error| request.failed(&app, error);
    let client_id = request.client.id().as_str();
    let pushed = pushed::request(&request.params, client_id, request.jkt.as_deref());
    let pushed = pushed.map_err(failed)?;
    let is_proven_and_listed = charged(&app, &request).map_err(TokenError::too_many)?;
    let judged = judged(&app, &request, &pushed).await;
    let (new, secret) = judged.map_err(failed)?;
    let store = &app.store;
    let space = store
        .room_for_pushed(
            &new.client_id,
            &new.request,
            is_proven_and_listed,
            request.now,
        )
        .await;
    room(space.map_err(store_failed).map_err(failed)?)?;
    let kept = store.push(new).await;
    kept.map_err(store_failed).map_err(failed)?;
    let answer = json!({
        "request_uri": pushed::request_uri(&secret),
        "expires_in": app.config.tokens.pushed_request.get(),
    });
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, Json(answer)).into_response())
}

/// Charges a request to the network that asks, unless its client has proven itself and the administrator lists it: says
/// whether that is so. Anybody can publish a key, and push in the name of a client that proves nothing.
fn charged(app: &App, request: &ClientRequest<Par>) -> Result<bool, OAuthError> {
    let asking = &request.client;
    let keys = asking.known().map(|client| client.metadata.thumbprints());
    let standing = app
        .clients
        .rules()
        .of(asking.id(), &keys.unwrap_or_default());
    let rate = match (standing.is_listed(), asking.is_confidential()) {
        (true, true) => return Ok(true),
        (true, false) => &app.limits.pushed_for_listed,
        (false, _) => &app.limits.pushed_requests,
    };
    charge(rate, request.sender.source).map(|()| false)
}

/// The request as it is to be kept: judged now, for its developer, and again when somebody comes with it.
async fn judged(
    app: &App,
    request: &ClientRequest<Par>,
    params: &Params,
) -> Result<(NewPushed, Secret<PushedRequest>), OAuthError> {
    let (client_id, method, now) = (request.client.id(), request.client.method(), request.now);
    let client = client(app, request).await?;
    if !client.metadata.auth_methods.contains(&method) {
        let description = client.description();
        let cause = format!("the client's {description} does not allow it to show nothing");
        return Err(OAuthError::invalid_client().because(cause));
    }
    let requested = params.require("redirect_uri")?;
    let redirect_uri = app
        .clients
        .redirect_uri(&client, requested)
        .map_err(|error| OAuthError::invalid_request(error.to_string()))?;
    let secret = Secret::generate();
    let pushed = PushedAs {
        hash: secret.hash(),
        method,
    };
    Proposal::new(app, params, Arc::clone(&client), redirect_uri, Some(pushed))?;
    let new = NewPushed {
        hash: secret.hash(),
        client_id: client_id.clone(),
        digest: client.digest.clone(),
        fetched_at: client.fetched_at,
        request: params.encode(),
        auth_method: method,
        expires_at: now + i64::from(app.config.tokens.pushed_request.get()),
    };
    Ok((new, secret))
}

/// RFC 9126 §2.3: is there room for one more?
fn room(space: Space) -> Result<(), TokenError> {
    let full = |told: &'static str| {
        OAuthError::new(ErrorCode::TemporarilyUnavailable, told).retry_after(60)
    };
    match space {
        Space::Left => Ok(()),
        Space::ClientIsFull => Err(TokenError::too_many(full(
            "the client has pushed as many authorization requests as are kept of one client; people finish them, or they expire",
        ))),
        Space::Full => Err(TokenError::new(
            full(
                "the server keeps as many pushed authorization requests as it may; try again in a minute",
            ),
            false,
        )),
    }
}

/// The client: one that authenticates was looked up already, a public one is now.
async fn client(app: &App, request: &ClientRequest<Par>) -> Result<Arc<Client>, OAuthError> {
    if let Some(known) = request.client.known() {
        return Ok(Arc::clone(known));
    }
    let asker = Asker::Anonymous(request.sender.source);
    let resolved = app
        .clients
        .client(request.client.id(), Need::Fetch(asker), request.now);
    let client = resolved.await.and_then(found);
    client.map_err(|refusal| refused(&refusal))
}
