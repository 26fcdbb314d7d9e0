//! What the endpoints for programs share: a form, a client that has proven itself, and perhaps a proof of possession.
//! RFC 6749 §3.2, RFC 9449 §4.

use std::{marker::PhantomData, net::IpAddr};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, header};

use super::{client_ip::client_ip, forms, refused, token_error::TokenError};
use crate::{
    app::App,
    clients::{Attempt, AuthenticatedClient, LookUp, claimed as claimed_by},
    config::Config,
    limits::Rate,
    protocol::{
        dpop::Proof,
        error::{ErrorCode, OAuthError},
        params::Params,
    },
    store::{Once, OnceKind},
    time::UnixTime,
};

/// An endpoint that clients ask by a form, after they have proven who they are.
pub(crate) trait Endpoint: Send + Sync + 'static {
    /// Its path below the issuer.
    const PATH: &'static str;
    /// Is a proof of possession read here?
    const TAKES_PROOFS: bool = false;

    /// Has the administrator switched it on?
    ///
    /// # Errors
    ///
    /// What says so.
    fn check_switch(_: &Config) -> Result<(), OAuthError> {
        Ok(())
    }

    /// Whose document a request may have read.
    fn look_up(_: &Params) -> LookUp {
        LookUp::Never
    }

    /// What becomes of an error that leaves here.
    fn refused(_: &App, _: &Sender, error: TokenError) -> TokenError {
        error
    }
}

/// Who sends a request, as far as is known before anything is proven.
#[derive(Debug)]
pub(crate) struct Sender {
    /// The network that asks.
    pub(crate) source: IpAddr,
    /// The client that it says to be: a stranger's text.
    pub(crate) claimed: Option<String>,
    /// Did it try the `Authorization` header? RFC 6749 §5.2.
    tried_header: bool,
}

/// A request of a client that has proven itself, at one endpoint.
#[derive(Debug)]
pub(crate) struct ClientRequest<E> {
    pub(crate) client: AuthenticatedClient,
    pub(crate) params: Params,
    pub(crate) sender: Sender,
    /// The key that the request is signed with, by its thumbprint (RFC 9449 §6.1).
    pub(crate) jkt: Option<String>,
    pub(crate) now: UnixTime,
    endpoint: PhantomData<E>,
}

impl<E: Endpoint> FromRequest<App> for ClientRequest<E> {
    type Rejection = Response;

    /// Reads and authenticates a request. What it is refused for: RFC 6749 §5.2, RFC 9449 §5 and §8.
    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let body = Bytes::from_request(Request::new(body), app)
            .await
            .map_err(IntoResponse::into_response)?;
        let form = match parts.uri.query() {
            Some(query) if !query.is_empty() => {
                let told = "parameters belong in the body, not in the query";
                Err(OAuthError::invalid_request(told))
            }
            _ => forms::read(&parts.headers, &body),
        };
        let claimed = form.as_ref().ok();
        let trusted = &app.config.server.trusted_proxies;
        let sender = Sender {
            source: client_ip(&parts.extensions, &parts.headers, trusted),
            claimed: claimed.and_then(|params| claimed_by(params, &parts.headers)),
            tried_header: parts.headers.contains_key(header::AUTHORIZATION),
        };
        match open::<E>(app, &parts.headers, form, sender.source).await {
            Ok(Opened {
                client,
                params,
                jkt,
                now,
            }) => {
                refused::of_client(client.id().as_str());
                Ok(Self {
                    client,
                    params,
                    sender,
                    jkt,
                    now,
                    endpoint: PhantomData,
                })
            }
            Err(error) => {
                refused::of_claimed_client(sender.claimed.as_deref().unwrap_or_default());
                let error = TokenError::new(error, sender.tried_header).with_nonce(app);
                Err(E::refused(app, &sender, error).into_response())
            }
        }
    }
}

impl<E: Endpoint> ClientRequest<E> {
    /// An error after the client has proven itself.
    pub(crate) fn failed(&self, app: &App, error: OAuthError) -> TokenError {
        let error = TokenError::new(error, self.sender.tried_header);
        E::refused(app, &self.sender, error)
    }
}

struct Opened {
    client: AuthenticatedClient,
    params: Params,
    jkt: Option<String>,
    now: UnixTime,
}

async fn open<E: Endpoint>(
    app: &App,
    headers: &HeaderMap,
    form: Result<Params, OAuthError>,
    source: IpAddr,
) -> Result<Opened, OAuthError> {
    let now = app.clock.now();
    E::check_switch(&app.config)?;
    let params = form?;
    let url = app.config.issuer.join(E::PATH);
    let proven = match E::TAKES_PROOFS {
        true => proof(app, headers, &Method::POST, &url, None, now)?,
        false => None,
    };
    let (jkt, once) = proven.unzip();
    let attempt = Attempt {
        issuer: &app.config.issuer,
        endpoint: E::PATH,
        params: &params,
        headers,
        source,
        look_up: E::look_up(&params),
        now,
        once,
    };
    let client = app.clients.authenticate(attempt).await?;
    Ok(Opened {
        client,
        params,
        jkt,
        now,
    })
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
/// is checked here, before anything is spent: a client that has to use one may send the same assertion again.
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
