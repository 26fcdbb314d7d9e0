//! What holds for every request and every answer of a kind. One function each: layers within layers cost more than what
//! they do.

use std::{
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, MatchedPath, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{HeaderValue, Method, StatusCode, Version, header};
use tokio::time::Instant;
use tracing::Instrument;

use super::{admission::Admission, bodies::Bodies, metrics::Requests};
use crate::{
    app::App,
    protocol::{
        error::{ErrorCode, OAuthError},
        host,
    },
    spans,
    web::{
        client_ip::Source,
        headers,
        page_error::{BadRequest, PageError, is_unrendered, rendered},
        refused::About,
        token_error::TokenError,
    },
};

/// Longest request target, in bytes.
pub(super) const URI: usize = 8 * 1_024;
/// Largest block of headers, in bytes: with the target it fits the read buffer.
pub(super) const HEADERS: usize = 16 * 1_024;
/// Most headers.
pub(super) const HEADER_FIELDS: usize = 64;
/// Around all routes.
pub(super) fn around(app: &App, requests: &Arc<Requests>, routes: Router) -> Router {
    let (app, requests) = (app.clone(), requests.clone());
    routes.layer(middleware::from_fn(move |request, next| {
        every(app.clone(), requests.clone(), request, next)
    }))
}

/// Every answer comes, in time, whatever its handler does; with the headers that keep browsers safe. What the HTTP library
/// lets through is refused here: requests for nobody in particular (RFC 9112 §3.2), bodies whose end is not clear (§6.3),
/// and heads that are too large.
async fn every(app: App, requests: Arc<Requests>, mut request: Request, next: Next) -> Response {
    let trusted = &app.config.server.trusted_proxies;
    let source = Source::of(request.extensions(), request.headers(), trusted);
    request.extensions_mut().insert(source);
    let open = Open::new(requests, &request);
    let is_http_1 = request.version() < Version::HTTP_2;
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let follow = app.config.traces.follow;
    let span = spans::of_request(&open.method, open.route(), request.headers(), follow);
    let refused = refused(&request);
    let about = About::new(&app, request.extensions(), request.headers());
    let answer = async {
        match refused {
            None => {
                let answer = answered(&app, request, next).instrument(span.clone());
                rendered(&app, answer.await)
            }
            Some((status, told)) => {
                let mut page = PageError::from(BadRequest::new("request", told)).page(&app);
                *page.status_mut() = status;
                page
            }
        }
    };
    let mut response = about.scope(answer).await;
    // What follows a request that is refused, or a chunked body, is not read as a request.
    if is_http_1 && (refused.is_some() || is_chunked) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    headers::secure(&app.config, response.headers_mut());
    let base = app.config.issuer.path();
    let page = open.route().and_then(|route| route.strip_prefix(base));
    headers::isolate(page, response.headers_mut());
    spans::answered(&span, response.status().as_u16());
    open.answered(response.status());
    response
}

/// A request that is not answered yet. When it ends it is counted and noted, also where the HTTP library ends it because its
/// peer has left: with the status 499, as others have it.
struct Open {
    requests: Arc<Requests>,
    method: Method,
    route: Option<MatchedPath>,
    began: Instant,
    /// Not one of our own, who asks once at the start.
    is_of_somebody: bool,
    status: StatusCode,
}

impl Open {
    fn new(requests: Arc<Requests>, request: &Request) -> Self {
        let extensions = request.extensions();
        Self {
            requests,
            method: request.method().clone(),
            route: extensions.get().cloned(),
            began: Instant::now(),
            is_of_somebody: extensions.get::<ConnectInfo<SocketAddr>>().is_some(),
            status: StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        }
    }

    fn route(&self) -> Option<&str> {
        self.route.as_ref().map(MatchedPath::as_str)
    }

    fn answered(mut self, status: StatusCode) {
        self.status = status;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.requests.answered(self.route(), self.status, took);
        if self.is_of_somebody {
            note(&self.method, self.route(), self.status, took);
        }
    }
}

/// The one line of a request: the template of its route, never its address, which may hold secrets.
pub(super) fn note(method: &Method, route: Option<&str>, status: StatusCode, took: Duration) {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let (method, status) = (spans::name_of(method), status.as_u16());
    match route {
        Some("/healthz" | "/readyz") => tracing::debug!(method, route, status, us, "request"),
        _ => tracing::info!(method, route, status, us, "request"),
    }
}

async fn answered(app: &App, request: Request, next: Next) -> Response {
    let longest = Duration::from_secs(app.config.server.request_timeout.get().into());
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let error = match tokio::time::timeout(longest, answer).await {
        Ok(Ok(response)) => return response,
        Ok(Err(_)) => OAuthError::internal("a handler panicked"),
        Err(_) => OAuthError::unavailable("a request took too long"),
    };
    TokenError::new(error, false).into_response()
}

/// Around the endpoints of programs. Without `places` everybody is let in.
pub(super) async fn machine(
    places: Option<Arc<Admission>>,
    bodies: Arc<Bodies>,
    request: Request,
    next: Next,
) -> Response {
    let source = counted(&request);
    let request = match bodies.read(request).await {
        Ok(request) => request,
        Err(StatusCode::SERVICE_UNAVAILABLE) => return busy(),
        Err(status) => return machine_shape(status.into_response()),
    };
    let place = match &places {
        None => None,
        Some(places) => match places.enter(source).await {
            None => return busy(),
            place => place,
        },
    };
    let response = next.run(request).await;
    drop(place);
    machine_shape(response)
}

/// Around what anybody may ask for that is neither: files of ours, and whether we are ready.
pub(super) async fn anybody(places: Arc<Admission>, request: Request, next: Next) -> Response {
    match places.enter(counted(&request)).await {
        Some(_place) => next.run(request).await,
        None => busy(),
    }
}

/// The address by which a request counts.
fn counted(request: &Request) -> Option<IpAddr> {
    let source = request.extensions().get::<Source>();
    source.copied().and_then(Source::counted)
}

/// Sends a program away.
fn busy() -> Response {
    let error = OAuthError::unavailable("too many requests at a time");
    TokenError::new(error.retry_after(1), false).into_response()
}

/// Around the pages of people.
pub(super) async fn person(
    places: Arc<Admission>,
    bodies: Arc<Bodies>,
    request: Request,
    next: Next,
) -> Response {
    let busy = || PageError::Busy("too many requests at a time".to_owned()).into_response();
    let source = counted(&request);
    let request = match bodies.read(request).await {
        Ok(request) => request,
        Err(StatusCode::SERVICE_UNAVAILABLE) => return busy(),
        Err(status) => return page_shape(status.into_response()),
    };
    let Some(_place) = places.enter(source).await else {
        return busy();
    };
    page_shape(next.run(request).await)
}

/// Why a request is not even looked at.
pub(super) fn refused<B>(request: &http::Request<B>) -> Option<(StatusCode, &'static str)> {
    let (uri, headers) = (request.uri(), request.headers());
    let target = uri.path_and_query().map_or(0, |it| it.as_str().len());
    if target > URI {
        let told = "the address is longer than 8192 bytes";
        return Some((StatusCode::URI_TOO_LONG, told));
    }
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    if sizes.sum::<usize>() > HEADERS || headers.len() > HEADER_FIELDS {
        let told = "there are more than 64 headers, or more than 16384 bytes of them";
        return Some((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, told));
    }
    let hosts = headers.get_all(header::HOST).iter();
    let authority = uri.authority().map(|it| it.as_str());
    let may_be_absent = request.version() < Version::HTTP_11;
    if let Err(told) = host::check(hosts.map(|it| it.as_bytes()), authority, may_be_absent) {
        return Some((StatusCode::BAD_REQUEST, told));
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_plain = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    let told = "the transfer-encoding is not chunked";
    (!is_plain).then_some((StatusCode::BAD_REQUEST, told))
}

/// Whatever the framework refuses by itself leaves in the RFC's shape.
fn machine_shape(response: Response) -> Response {
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value == "application/json");
    if !status.is_client_error() || is_json {
        return response;
    }
    let told = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than 64 KiB",
        StatusCode::METHOD_NOT_ALLOWED => "this endpoint does not have this method",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "the body must not have a content-encoding",
        StatusCode::REQUEST_TIMEOUT => "the body did not arrive in time",
        _ => "the request cannot be read",
    };
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut shaped =
        TokenError::new(OAuthError::new(ErrorCode::InvalidRequest, told), false).into_response();
    *shaped.status_mut() = status;
    if let Some(allow) = allow {
        shaped.headers_mut().insert(header::ALLOW, allow);
    }
    shaped
}

/// The same for people: a page.
fn page_shape(response: Response) -> Response {
    let is_page = response
        .headers()
        .contains_key(header::CONTENT_SECURITY_POLICY);
    if !response.status().is_client_error() || is_page || is_unrendered(&response) {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut page = PageError::Unreadable(response.status()).into_response();
    page.headers_mut()
        .extend(allow.map(|allow| (header::ALLOW, allow)));
    page
}
