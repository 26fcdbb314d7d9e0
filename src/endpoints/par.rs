//! `POST /par`: RFC 9126 §2.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{Extensions, HeaderMap, StatusCode, Uri, header};
use serde_json::json;

use crate::{
    app::App,
    clients::{LookUp, refused},
    grants::{
        approval::{Proposal, PushedAs},
        store_failed,
    },
    protocol::{client::Client, error::OAuthError, pushed},
    secret::{PushedRequest, Secret},
    store::NewPushed,
    web::{
        error::TokenError,
        machine::{Call, Endpoint, Incoming, charge},
    },
};

const PAR: Endpoint = Endpoint {
    path: "/par",
    takes_proofs: true,
    look_up: |_| LookUp::Always,
};

/// Keeps an authorization request and answers with its `request_uri`.
pub(crate) async fn par(
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
    let incoming = PAR.read(&app, &call).await?;
    let kept = keep(&app, &incoming).await;
    let secret = kept.map_err(|error| TokenError::new(error, false))?;
    let answer = json!({
        "request_uri": pushed::request_uri(&secret),
        "expires_in": app.config.tokens.pushed_request.get(),
    });
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, Json(answer)).into_response())
}

async fn keep(app: &App, incoming: &Incoming) -> Result<Secret<PushedRequest>, OAuthError> {
    let (client_id, method, now) = (incoming.client.id(), incoming.client.method(), incoming.now);
    let params = pushed::request(
        &incoming.params,
        client_id.as_str(),
        incoming.jkt.as_deref(),
    )?;
    let client = client(app, incoming).await?;
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
    // Judged now, for its developer, and again when somebody comes with it.
    Proposal::new(
        app,
        &params,
        Arc::clone(&client),
        redirect_uri,
        Some(pushed),
    )?;
    let new = NewPushed {
        hash: secret.hash(),
        client_id: client_id.clone(),
        digest: client.digest.clone(),
        fetched_at: client.fetched_at,
        request: params.encode(),
        auth_method: method,
        expires_at: now + i64::from(app.config.tokens.pushed_request.get()),
    };
    app.store.push(new).await.map_err(store_failed)?;
    Ok(secret)
}

/// The client: one that authenticates was looked up already, a public one is now, charged to the network that asks.
async fn client(app: &App, incoming: &Incoming) -> Result<Arc<Client>, OAuthError> {
    if let Some(known) = incoming.client.known() {
        return Ok(Arc::clone(known));
    }
    charge(&app.limits.pushed_requests, incoming.source)?;
    let resolved = app
        .clients
        .resolve(incoming.client.id(), incoming.source, incoming.now);
    resolved.await.map_err(|refusal| refused(&refusal))
}
