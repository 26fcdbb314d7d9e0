//! What the endpoints for machines share: a form, a client that has proven itself, and perhaps a proof of possession.
//! RFC 6749 §3.2, RFC 9449 §4.

use std::net::IpAddr;

use axum::body::Bytes;
use http::{Extensions, HeaderMap, Method, Uri, header};

use super::{client_ip::client_ip, forms, refused, token_error::TokenError};
use crate::{
    app::App,
    clients::{Attempt, AuthenticatedClient, LookUp, claimed},
    limits::Rate,
    protocol::{
        dpop::Proof,
        error::{ErrorCode, OAuthError},
        params::Params,
    },
    store::{Once, OnceKind},
    time::UnixTime,
};

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) extensions: Extensions,
    pub(crate) body: Bytes,
}

/// A request of a client that has proven itself.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) client: AuthenticatedClient,
    pub(crate) params: Params,
    /// The network that asks.
    pub(crate) source: IpAddr,
    /// The key that the request is signed with, by its thumbprint (RFC 9449 §6.1).
    pub(crate) jkt: Option<String>,
    pub(crate) now: UnixTime,
}

/// What an endpoint makes of a request before it looks at what is asked.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Its path below the issuer.
    pub(crate) path: &'static str,
    /// Is a proof of possession read here?
    pub(crate) takes_proofs: bool,
    pub(crate) look_up: fn(&Params) -> LookUp,
}

impl Endpoint {
    /// Reads and authenticates a request.
    ///
    /// # Errors
    ///
    /// RFC 6749 §5.2, RFC 9449 §5 and §8.
    pub(crate) async fn read(&self, app: &App, call: &Call) -> Result<Incoming, TokenError> {
        let tried_header = call.headers.contains_key(header::AUTHORIZATION);
        let opened = self.open(app, call).await;
        match &opened {
            Ok(incoming) => refused::of_client(incoming.client.id().as_str()),
            Err(_) => {
                let params = forms::read(&call.headers, &call.body).ok();
                let client = params.and_then(|params| claimed(&params, &call.headers));
                refused::of_claimed_client(client.as_deref().unwrap_or_default());
            }
        }
        opened.map_err(|error| TokenError::new(error, tried_header).with_nonce(app))
    }

    async fn open(&self, app: &App, call: &Call) -> Result<Incoming, OAuthError> {
        let now = app.clock.now();
        if call.uri.query().is_some_and(|query| !query.is_empty()) {
            let told = "parameters belong in the body, not in the query";
            return Err(OAuthError::invalid_request(told));
        }
        let params = forms::read(&call.headers, &call.body)?;
        let trusted = &app.config.server.trusted_proxies;
        let source = client_ip(&call.extensions, &call.headers, trusted);
        let url = app.config.issuer.join(self.path);
        let proven = match self.takes_proofs {
            true => proof(app, &call.headers, &Method::POST, &url, None, now)?,
            false => None,
        };
        let (jkt, once) = proven.unzip();
        let attempt = Attempt {
            issuer: &app.config.issuer,
            endpoint: self.path,
            params: &params,
            headers: &call.headers,
            source,
            look_up: (self.look_up)(&params),
            now,
            once,
        };
        let client = app.clients.authenticate(attempt).await?;
        Ok(Incoming {
            client,
            params,
            source,
            jkt,
            now,
        })
    }
}

/// Charges a request that is kept here to the network that asks. `slow_down` is for devices that wait (RFC 8628 §3.5): who
/// sends too many hears `temporarily_unavailable`, and when to come again.
///
/// # Errors
///
/// When it has sent too many.
pub(crate) fn charge(rate: &Rate, source: IpAddr) -> Result<(), OAuthError> {
    rate.charge(source).map_err(|wait| {
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
        OAuthError::unavailable("too many requests of one network")
            .retry_after(seconds.saturating_add(1))
    })
}

/// The key of a request's proof of possession, and what of it is to be spent; `None` where there is no proof. Its nonce
/// is checked here, before anything is spent: whoever is told to use one may send the same assertion again.
///
/// # Errors
///
/// RFC 9449 §5 and §8.
pub(crate) fn proof(
    app: &App,
    headers: &HeaderMap,
    method: &Method,
    url: &str,
    access_token: Option<&str>,
    now: UnixTime,
) -> Result<Option<(String, Once)>, OAuthError> {
    let refuse = |error: &dyn std::fmt::Display| {
        OAuthError::new(ErrorCode::InvalidDpopProof, error.to_string())
    };
    let values = headers.get_all("dpop").iter();
    let values: Vec<&str> = values
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    if values.is_empty() {
        return Ok(None);
    }
    let proof = Proof::parse(&values).map_err(|error| refuse(&error))?;
    let claims = proof
        .check(method.as_str(), url, now, access_token)
        .map_err(|error| refuse(&error))?;
    let is_fresh = |nonce: &str| app.nonces.is_fresh(nonce, now);
    let fresh = claims.nonce.as_deref().map(is_fresh);
    if fresh == Some(false) || (fresh.is_none() && app.config.tokens.dpop_nonce_required) {
        let told = "the DPoP proof needs the nonce of the DPoP-Nonce header";
        return Err(OAuthError::new(ErrorCode::UseDpopNonce, told));
    }
    let once = Once::new(OnceKind::Proof, &claims.jkt, &claims.jti, claims.until);
    Ok(Some((claims.jkt, once)))
}
