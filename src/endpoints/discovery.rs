//! `GET /.well-known/oauth-authorization-server` and `/.well-known/openid-configuration`: RFC 8414 §3, OpenID Connect
//! Discovery §4.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;

use crate::{
    app::App,
    clients, grants,
    protocol::{
        discovery::{Offer, document},
        dpop,
        etag::etag,
    },
    web::headers::FOR_EVERYBODY,
};

/// The metadata as bytes: it does not change while the server runs.
pub(crate) fn metadata(app: &App) -> Bytes {
    let grants: Vec<&str> = grants::offered(&app.config)
        .map(|grant| grant.kind.as_str())
        .collect();
    let scopes: Vec<String> = app
        .config
        .resources
        .open_scopes()
        .tokens()
        .map(str::to_owned)
        .collect();
    let resources: Vec<String> = app
        .config
        .resources
        .0
        .iter()
        .map(|resource| resource.id.clone())
        .collect();
    let offer = Offer {
        issuer: &app.config.issuer,
        grants: &grants,
        devices: app.config.policy.devices,
        auth_methods: clients::METHODS,
        assertion_algs: &["ES256", "PS256", "EdDSA", "RS256"],
        proof_algs: &dpop::algs(),
        requires_pushing: app.config.policy.require_pushed_authorization_requests,
        scopes: &scopes,
        resources: &resources,
    };
    Bytes::from(document(&offer).to_string())
}

/// Answers with the metadata.
pub(crate) async fn discovery(metadata: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        FOR_EVERYBODY,
    ];
    (headers, [(header::ETAG, etag(&metadata))], metadata).into_response()
}
