//! The route table, and the layers around it.

mod admission;
mod fixed;
mod framing;
mod listener;
mod pace;
mod tls;

pub use self::{
    listener::{bind, serve},
    tls::{Tls, tls},
};

use std::{sync::Arc, time::Duration};

use self::admission::Admission;
use axum::{
    Router,
    body::{Body, HttpBody},
    extract::Request,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, Version, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, Any, CorsLayer},
    csrf::{CsrfLayer, ProtectionError},
};

use crate::{
    app::App,
    endpoints::{
        authorize::authorize, device_authorization::device_authorization, discovery, health,
        introspect::introspect, jwks::jwks, logo::logo, par::par, revoke::revoke, token::token,
        userinfo::userinfo,
    },
    pages::{admin, consent, development, device, home, login, logout, setup},
    protocol::{
        discovery::locations,
        error::{ErrorCode, OAuthError},
        host,
    },
    web::{
        assets,
        error::{PageError, TokenError},
        headers,
    },
};

/// Largest body, in bytes.
const BODY: usize = 64 * 1_024;
/// Longest request target, in bytes.
const URI: usize = 8 * 1_024;
/// Largest block of headers, in bytes: with the target it fits the read buffer.
const HEADERS: usize = 16 * 1_024;
/// Most headers.
const HEADER_FIELDS: usize = 64;
/// RFC 9449 §8.1: readable across origins.
const DPOP_NONCE: http::HeaderName = http::HeaderName::from_static("dpop-nonce");

/// Every route of the server, within its layers.
pub fn router(app: &App) -> Router {
    layered(app, routes(app))
}

fn routes(app: &App) -> Router {
    let base = app.config.issuer.path();
    let at = |path: &str| format!("{base}{path}");

    let most = app.config.server.max_requests.get();
    // People also wait for hosts of clients, which costs us nothing but a place.
    let (for_machines, for_people) = (admission(most), admission(most.saturating_mul(8)));
    let body_time = Duration::from_secs(app.config.server.body_timeout.get().into());
    let read_body = move |request, next| whole_body(body_time, request, next);

    let mut machines = Router::new()
        .route(&at("/token"), post(token))
        .route(&at("/par"), post(par))
        .route(&at("/revoke"), post(revoke))
        .route(&at("/device_authorization"), post(device_authorization))
        .route(&at("/userinfo"), get(userinfo).post(userinfo))
        .route(&at("/jwks"), get(jwks));
    let metadata = discovery::metadata(app);
    for location in locations(&app.config.issuer) {
        let metadata = metadata.clone();
        machines = machines.route(
            &location,
            get(move || discovery::discovery(metadata.clone())),
        );
    }
    // Servers ask here, never pages: no other origin is answered.
    let servers = Router::new().route(&at("/introspect"), post(introspect));
    let shaped = |machines: Router<App>| {
        machines
            .method_not_allowed_fallback(machine_method_not_allowed)
            .layer(middleware::from_fn(read_body))
            .layer(middleware::map_response(machine_shape))
            .layer(middleware::from_fn({
                let places = for_machines.clone();
                move |request, next| {
                    let sent_away = || {
                        let error = OAuthError::unavailable("too many requests at a time");
                        TokenError::new(error.retry_after(1), false).into_response()
                    };
                    admitted(places.clone(), sent_away, request, next)
                }
            }))
    };
    let machines = shaped(machines).layer(cors()).merge(shaped(servers));

    let people = Router::new()
        .route(&at("/"), get(home::home))
        .route(&at("/login"), get(login::show).post(login::submit))
        .route(&at("/consent"), get(consent::show).post(consent::submit))
        .route(&at("/device"), get(device::show).post(device::claim))
        .route(
            &at("/device/confirm"),
            get(device::confirm).post(device::answer),
        )
        .route(&at("/device/done"), get(device::done))
        .route(&at("/logout"), get(logout::show).post(logout::submit))
        .route(&at("/setup"), get(setup::show).post(setup::submit))
        .route(&at("/admin/clients"), get(admin::clients))
        .route(&at("/admin/explain"), get(admin::ask).post(admin::explain))
        .route(
            &at("/development"),
            get(development::show).post(development::submit),
        )
        .route(&at("/development/remove"), post(development::remove))
        .layer(same_site_forms(app))
        // Any site may start a request here; RFC 6749 §3.1 asks for GET and allows POST.
        .route(&at("/authorize"), get(authorize).post(authorize));
    let shape_app = app.clone();
    let shape = move |response| page_shape(shape_app.clone(), response);
    let people = people
        .layer(middleware::from_fn(read_body))
        .layer(middleware::map_response(shape))
        .layer(middleware::from_fn({
            let app = app.clone();
            move |request, next| {
                let app = app.clone();
                let sent_away =
                    move || PageError::busy(&app, &"too many requests at a time").into_response();
                admitted(for_people.clone(), sent_away, request, next)
            }
        }));
    let people = if base.is_empty() {
        people
    } else {
        people.route(base, get(home::home))
    };

    let page_app = app.clone();
    Router::new()
        .merge(machines)
        .merge(people)
        .route(&at(assets::stylesheet_path()), get(stylesheet))
        .route(&at("/logos/{name}"), get(logo))
        .route(&at("/dev-clients/{name}"), get(development::serve))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .fallback(move || not_found(page_app.clone()))
        .with_state(app.clone())
}

fn admission(most: u32) -> Arc<Admission> {
    Arc::new(Admission::new(most))
}

/// The answer to a request that got a place, or what it is sent away with.
async fn admitted(
    places: Arc<Admission>,
    sent_away: impl FnOnce() -> Response,
    request: Request,
    next: middleware::Next,
) -> Response {
    match places.enter().await {
        Some(_place) => next.run(request).await,
        None => sent_away(),
    }
}

/// What holds for every request and every answer.
fn layered(app: &App, routes: Router) -> Router {
    routes
        .layer(middleware::from_fn({
            let app = app.clone();
            move |request, next| bounded(app.clone(), request, next)
        }))
        .layer(middleware::from_fn({
            let longest = Duration::from_secs(app.config.server.request_timeout.get().into());
            move |request, next| in_time(longest, request, next)
        }))
        .layer(CatchPanicLayer::custom(
            |_: Box<dyn std::any::Any + Send>| {
                TokenError::new(OAuthError::internal("a handler panicked"), false).into_response()
            },
        ))
        .layer(middleware::from_fn({
            let is_https = app.config.issuer.is_https();
            move |request, next| headers::secure(is_https, request, next)
        }))
}

/// CORS for endpoints that no cookie reaches: any origin, never with credentials. RFC 10017.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([http::Method::GET, http::Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::WWW_AUTHENTICATE, header::RETRY_AFTER, DPOP_NONCE])
        .max_age(Duration::from_secs(3_600))
}

/// Forms of ours are sent by pages of ours: by `Sec-Fetch-Site` and `Origin`, beside the token in each form.
fn same_site_forms(app: &App) -> CsrfLayer<impl Fn(ProtectionError) -> Response + Clone + use<>> {
    let page_app = app.clone();
    let layer = CsrfLayer::new();
    // Behind a proxy the Host header may be another one than browsers see.
    let layer = match layer.clone().add_trusted_origin(app.config.issuer.origin()) {
        Ok(trusting) => trusting,
        Err(_) => layer,
    };
    layer.with_rejection_response(move |_: ProtectionError| {
        PageError::forbidden(&page_app).into_response()
    })
}

/// What the HTTP library lets through: requests for nobody in particular (RFC 9112 §3.2), bodies whose end is not clear
/// (§6.3), and heads that are too large.
async fn bounded(app: App, request: Request, next: middleware::Next) -> Response {
    let is_http_1 = request.version() < Version::HTTP_2;
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let refused = refused(&request);
    let mut response = match refused {
        None => next.run(request).await,
        Some((status, told)) => {
            let mut page = PageError::bad_request(&app, "request", told).into_response();
            *page.status_mut() = status;
            page
        }
    };
    // What follows a request that is refused, or a chunked body, is not read as a request.
    if is_http_1 && (refused.is_some() || is_chunked) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Why a request is not even looked at.
fn refused<B>(request: &http::Request<B>) -> Option<(StatusCode, &'static str)> {
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

/// No answer takes longer.
async fn in_time(longest: Duration, request: Request, next: middleware::Next) -> Response {
    match tokio::time::timeout(longest, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let error = OAuthError::unavailable("a request took too long");
            TokenError::new(error, false).into_response()
        }
    }
}

/// Bodies are read before anything looks at them: within their size, and in their time.
async fn whole_body(longest: Duration, request: Request, next: middleware::Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    if request.body().size_hint().lower() > BODY as u64 {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let (parts, body) = request.into_parts();
    let whole = Limited::new(body, BODY).collect();
    match tokio::time::timeout(longest, whole).await {
        Ok(Ok(body)) => {
            let request = Request::from_parts(parts, Body::from(body.to_bytes()));
            next.run(request).await
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            StatusCode::PAYLOAD_TOO_LARGE.into_response()
        }
        Ok(Err(_)) => StatusCode::BAD_REQUEST.into_response(),
        Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}

/// Whatever the framework refuses by itself leaves in the RFC's shape.
async fn machine_shape(response: Response) -> Response {
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
async fn page_shape(app: App, response: Response) -> Response {
    let status = response.status();
    if !status.is_client_error()
        || response
            .headers()
            .contains_key(header::CONTENT_SECURITY_POLICY)
    {
        return response;
    }
    let (title, happened) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ("Too large", "What was sent here is larger than 64 KiB."),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("Not this way", "This page cannot be asked for in this way.")
        }
        _ => (
            "This cannot be read",
            "What was sent here could not be read.",
        ),
    };
    let allow = response.headers().get(header::ALLOW).cloned();
    let advice = "Go back to the app and start again.";
    let mut page = PageError::new(&app, status, title, happened, advice).into_response();
    if let Some(allow) = allow {
        page.headers_mut().insert(header::ALLOW, allow);
    }
    page
}

async fn machine_method_not_allowed() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

async fn stylesheet() -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/css; charset=utf-8"),
        ),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        ),
    ];
    (headers, assets::STYLESHEET).into_response()
}

async fn not_found(app: App) -> Response {
    PageError::nothing_here(&app).into_response()
}

#[cfg(test)]
mod tests {
    use axum::extract::State;
    use tower::ServiceExt as _;

    use super::*;
    use crate::{
        config::{Config, DatabaseUrl},
        fetch::Resolver,
        store::Store,
        time::Clock,
    };

    async fn app(folder: &std::path::Path, request_timeout: u32) -> App {
        let mut config = Config::default();
        config.server.request_timeout = request_timeout.try_into().unwrap();
        let url = DatabaseUrl::Sqlite(folder.join("w.db"));
        let store = Store::open(&url, 2).await.unwrap();
        store.migrate().await.unwrap();
        let resolver = Resolver::Table(Arc::default());
        App::new(config, store, Clock::system(), resolver)
            .await
            .unwrap()
    }

    async fn ask(router: &Router, path: &str) -> (StatusCode, http::HeaderMap, String) {
        let request = http::Request::get(path).header(header::HOST, "127.0.0.1:8080");
        let request = request.body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        (parts.status, parts.headers, text)
    }

    #[tokio::test]
    async fn w_18_a_panic_is_one_answer_and_the_server_lives() {
        async fn panics(State(app): State<App>) {
            app.store.ping().await.unwrap();
            panic!("on purpose: secret-of-the-handler");
        }
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path(), 30).await;
        let bad = Router::new()
            .route("/bad", get(panics))
            .with_state(app.clone());
        let router = layered(&app, routes(&app).merge(bad));
        // More often than the database has connections.
        for _ in 0..20 {
            let (status, headers, body) = ask(&router, "/bad").await;
            assert_eq!(status, 500);
            assert!(headers.contains_key(header::X_CONTENT_TYPE_OPTIONS));
            let json: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(json["error"], "server_error");
            assert!(!body.contains("secret-of-the-handler"), "{body}");
        }
        assert_eq!(ask(&router, "/readyz").await.0, 200);
    }

    #[tokio::test]
    async fn w_01_a_request_is_answered_in_time_whatever_its_handler_does() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path(), 1).await;
        let never = Router::new().route("/never", get(std::future::pending::<()>));
        let router = layered(&app, routes(&app).merge(never));
        let (status, headers, body) = ask(&router, "/never").await;
        assert_eq!(status, 503);
        assert!(headers.contains_key(header::RETRY_AFTER));
        assert!(body.contains("temporarily_unavailable"), "{body}");
    }
}
