//! The route table, the layers around it, and the listener.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, Request},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, header};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::{Layer, ServiceExt};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, Any, CorsLayer},
    csrf::{CsrfLayer, ProtectionError},
    timeout::RequestBodyTimeoutLayer,
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
/// RFC 9449 §8.1: readable across origins.
const DPOP_NONCE: http::HeaderName = http::HeaderName::from_static("dpop-nonce");
/// Time to send the head of a request, and its body.
const READ: Duration = Duration::from_secs(10);
/// Time for requests under way when the server is told to stop.
const DRAIN: Duration = Duration::from_secs(25);

/// Every route of the server.
pub fn router(app: &App) -> Router {
    let base = app.config.issuer.path();
    let at = |path: &str| format!("{base}{path}");

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
            .layer(middleware::map_response(machine_shape))
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
    let people = people.layer(middleware::map_response(move |response| {
        page_shape(shape_app.clone(), response)
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
        .layer(middleware::from_fn({
            let app = app.clone();
            move |request, next| bounded(app.clone(), request, next)
        }))
        .layer(DefaultBodyLimit::max(BODY))
        .layer(RequestBodyTimeoutLayer::new(READ))
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

/// Limits that the HTTP library does not keep.
async fn bounded(app: App, request: Request, next: middleware::Next) -> Response {
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let headers: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    let (status, told) = if target > URI {
        (
            StatusCode::URI_TOO_LONG,
            "the address is longer than 8192 bytes",
        )
    } else if headers > HEADERS {
        (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the headers are longer than 16384 bytes",
        )
    } else {
        return next.run(request).await;
    };
    let mut response = PageError::bad_request(&app, "request", told).into_response();
    *response.status_mut() = status;
    response
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
        StatusCode::REQUEST_TIMEOUT => "the body did not arrive within 10 seconds",
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

/// Accepts connections until `stop` is ready, then lets the requests under way finish.
///
/// # Errors
///
/// When accepting fails for good.
pub async fn serve(
    app: App,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let router = router(&app);
    let graceful = GracefulShutdown::new();
    let tls = tls.map(Arc::new);
    tokio::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or a peer that left: others still want to be served.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let watcher = graceful.watcher();
        let (router, tls) = (router.clone(), tls.clone());
        tokio::spawn(async move {
            _ = stream.set_nodelay(true);
            match tls {
                None => connection(stream, peer, router, watcher).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(READ, tls.accept(stream)).await {
                        connection(stream, peer, router, watcher).await;
                    }
                }
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not finish in time");
    }
    Ok(())
}

async fn connection<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = tower::util::MapRequestLayer::new(
        move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.map(axum::body::Body::new)
        },
    );
    let service = TowerToHyperService::new(service.layer(router.into_service().boxed_clone()));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ)
        .max_headers(64)
        .max_buf_size(URI + HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    // A peer that breaks off is its own problem.
    _ = watcher.watch(connection).await;
}

/// The listener of a configuration.
///
/// # Errors
///
/// When the address cannot be bound.
pub async fn bind(listen: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(listen).await
}

/// TLS in process, if it is configured.
///
/// # Errors
///
/// A message that names the key, the file and what was expected.
pub fn tls(config: &crate::config::Server) -> Result<Option<TlsAcceptor>, String> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let Some(tls) = &config.tls else {
        return Ok(None);
    };
    let wrong =
        |key: &str, path: &std::path::Path, expected: &str, error: &dyn std::fmt::Display| {
            format!(
                "server.tls.{key}: expected {expected} at {}: {error}",
                path.display()
            )
        };
    let bad_chain = |error: &dyn std::fmt::Display| {
        wrong(
            "cert_file",
            &tls.cert_file,
            "a PEM certificate chain",
            error,
        )
    };
    let bad_key = |error: &dyn std::fmt::Display| {
        wrong(
            "key_file",
            &tls.key_file,
            "a PEM private key of the certificate",
            error,
        )
    };
    let chain = CertificateDer::pem_file_iter(&tls.cert_file).map_err(|e| bad_chain(&e))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|e| bad_chain(&e))?;
    if chain.is_empty() {
        return Err(bad_chain(&"it has no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key_file).map_err(|e| bad_key(&e))?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| bad_key(&e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
