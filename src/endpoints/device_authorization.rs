//! `POST /device_authorization`: RFC 8628 §3.1 and §3.2.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{Extensions, HeaderMap, Uri, header};
use serde::Serialize;

use crate::{
    app::App,
    clients::{Asker, LookUp, Need, found, refused},
    grants::{
        device_code::{Proposal, check_allowed},
        store_failed,
    },
    policy::client_rules::{Tier, TrustDecision},
    protocol::{
        client::Client,
        error::{ErrorCode, OAuthError},
        user_code::UserCode,
    },
    secret::{DeviceCode, Secret},
    store::NewDevice,
    time::UnixTime,
    web::{
        client_request::{Call, Endpoint, Incoming, charge},
        token_error::TokenError,
    },
};

const DEVICE_AUTHORIZATION: Endpoint = Endpoint {
    path: "/device_authorization",
    takes_proofs: true,
    look_up: |_| LookUp::Always,
};

/// User codes that are tried before a device is refused.
const TRIES: usize = 5;

/// RFC 8628 §3.2.
#[derive(Debug, Serialize)]
struct Started {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: String,
    expires_in: u32,
    interval: u32,
}

/// Starts the sign-in of a device.
pub(crate) async fn device_authorization(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
) -> Result<Response, TokenError> {
    let call = Call {
        uri,
        headers,
        extensions,
        body,
    };
    let tried_header = call.headers.contains_key(header::AUTHORIZATION);
    let failed = |error| TokenError::new(error, tried_header);
    check_switch(&app).map_err(failed)?;
    let incoming = DEVICE_AUTHORIZATION.read(&app, &call).await?;
    let started = start(&app, incoming).await.map_err(failed)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(started)).into_response())
}

fn check_switch(app: &App) -> Result<(), OAuthError> {
    match app.config.policy.devices {
        true => Ok(()),
        false => Err(OAuthError::new(
            ErrorCode::UnauthorizedClient,
            "the administrator of this server does not let devices sign in: policy.devices is false",
        )),
    }
}

async fn start(app: &App, incoming: Incoming) -> Result<Started, OAuthError> {
    let method = incoming.client.method();
    let (client, standing) = judged(app, &incoming).await?;
    let proposal = Proposal::new(app, &incoming.params, &client, &standing, method)?;
    let code = Secret::<DeviceCode>::generate();
    let tokens = &app.config.tokens;
    let (lifetime, interval) = (tokens.device_code.get(), tokens.device_interval.get());
    let device = NewDevice {
        hash: code.hash(),
        client_id: client.id().clone(),
        digest: client.digest.clone(),
        fetched_at: client.fetched_at,
        scope: proposal.scope,
        resources: proposal.resources,
        may_refresh: proposal.may_refresh,
        auth_method: method,
        jkt: incoming.jkt,
        needs_dpop: client.metadata.dpop_bound_access_tokens,
        source: incoming.source.to_string(),
        created_at: incoming.now,
        expires_at: incoming.now + i64::from(lifetime),
        wait: i64::from(interval),
    };
    let user_codes = std::iter::repeat_with(UserCode::generate).take(TRIES);
    check_room(app, incoming.now).await?;
    let kept = app.store.insert_device(device, user_codes).await;
    let user_code = kept.map_err(store_failed)?;
    let page = app.config.issuer.join("/device");
    Ok(Started {
        device_code: code.expose().to_owned(),
        verification_uri_complete: format!("{page}?user_code={user_code}"),
        user_code: user_code.to_string(),
        verification_uri: page,
        expires_in: lifetime,
        interval,
    })
}

/// May another device wait?
async fn check_room(app: &App, now: UnixTime) -> Result<(), OAuthError> {
    let waiting = app.store.waiting_devices(now);
    let may = app.limits.devices.may_wait(now, waiting).await;
    match may.map_err(store_failed)? {
        true => Ok(()),
        false => Err(OAuthError::unavailable("too many devices are waiting").retry_after(60)),
    }
}

/// The client with its document, and what it is to us. What costs nothing is asked first: a public client that nobody
/// lists causes no fetch, and strangers start ten devices a minute from one network.
async fn judged(
    app: &App,
    incoming: &Incoming,
) -> Result<(Arc<Client>, TrustDecision), OAuthError> {
    let asking = &incoming.client;
    let known = app.clients.standing(asking.id(), &[]);
    let known = known.map_err(|refusal| refused(&refusal))?;
    check_allowed(&known, asking.method())?;
    // Anybody can publish a key: who authenticates is no stranger only where a rule lists it, too.
    if !asking.is_confidential() || known.tier < Tier::Listed {
        charge(&app.limits.device_requests, incoming.source)?;
    }
    let client = match asking.known() {
        Some(client) => Arc::clone(client),
        None => app
            .clients
            .client(
                asking.id(),
                Need::Fetch(Asker::Anonymous(incoming.source)),
                incoming.now,
            )
            .await
            .and_then(found)
            .map_err(|refusal| refused(&refusal))?,
    };
    let standing = app.clients.admit(&client);
    let standing = standing.map_err(|refusal| refused(&refusal))?;
    Ok((client, standing))
}
