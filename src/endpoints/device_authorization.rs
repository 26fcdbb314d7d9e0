//! `POST /device_authorization`: RFC 8628 §3.1 and §3.2.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use serde::Serialize;

use crate::{
    app::App,
    clients::{Asker, LookUp, Need, found, refused},
    config::Config,
    grants::{
        device_code::{Proposal, check_allowed},
        store_failed,
    },
    policy::client_rules::{Tier, TrustDecision},
    protocol::{
        client::Client,
        error::{ErrorCode, OAuthError},
        params::Params,
        user_code::UserCode,
    },
    secret::{DeviceCode, Secret},
    store::NewDevice,
    time::UnixTime,
    web::{
        client_request::{ClientRequest, Endpoint, charge},
        token_error::TokenError,
    },
};

pub(crate) struct DeviceAuthorization;

impl Endpoint for DeviceAuthorization {
    const PATH: &'static str = "/device_authorization";
    const TAKES_PROOFS: bool = true;

    fn check_switch(config: &Config) -> Result<(), OAuthError> {
        match config.policy.devices {
            true => Ok(()),
            false => Err(OAuthError::new(
                ErrorCode::UnauthorizedClient,
                "the administrator of this server does not let devices sign in: policy.devices is false",
            )),
        }
    }

    fn look_up(_: &Params) -> LookUp {
        LookUp::Always
    }
}

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
    request: ClientRequest<DeviceAuthorization>,
) -> Result<Response, TokenError> {
    let started = start(&app, &request).await;
    let started = started.map_err(|error| request.failed(&app, error))?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(started)).into_response())
}

async fn start(
    app: &App,
    request: &ClientRequest<DeviceAuthorization>,
) -> Result<Started, OAuthError> {
    let method = request.client.method();
    let (client, standing) = judged(app, request).await?;
    let proposal = Proposal::new(app, &request.params, &client, &standing, method)?;
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
        jkt: request.jkt.clone(),
        needs_dpop: client.metadata.dpop_bound_access_tokens,
        source: request.sender.source.to_string(),
        created_at: request.now,
        expires_at: request.now + i64::from(lifetime),
        wait: i64::from(interval),
    };
    let user_codes = std::iter::repeat_with(UserCode::generate).take(TRIES);
    check_room(app, request.now).await?;
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
    request: &ClientRequest<DeviceAuthorization>,
) -> Result<(Arc<Client>, TrustDecision), OAuthError> {
    let asking = &request.client;
    let known = app.clients.standing(asking.id(), &[]);
    let known = known.map_err(|refusal| refused(&refusal))?;
    check_allowed(&known, asking.method())?;
    // Anybody can publish a key: who authenticates is no stranger only where a rule lists it, too.
    if !asking.is_confidential() || known.tier < Tier::Listed {
        charge(&app.limits.device_requests, request.sender.source)?;
    }
    let client = match asking.known() {
        Some(client) => Arc::clone(client),
        None => app
            .clients
            .client(
                asking.id(),
                Need::Fetch(Asker::Anonymous(request.sender.source)),
                request.now,
            )
            .await
            .and_then(found)
            .map_err(|refusal| refused(&refusal))?,
    };
    let standing = app.clients.admit(&client);
    let standing = standing.map_err(|refusal| refused(&refusal))?;
    Ok((client, standing))
}
