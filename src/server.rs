//! The route table.

mod admission;
mod answer;
mod bodies;
mod connection_limits;
mod deadlines;
mod fixed;
mod framing;
mod layers;
mod listener;
mod metrics;
mod tls;

pub use self::{
    listener::{bind, serve},
    tls::{Tls, tls},
};

use std::{sync::Arc, time::Duration};

use self::{admission::Admission, bodies::Bodies, metrics::Requests};
use axum::{
    Router,
    extract::State,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, header};
use tower_http::{
    cors::{AllowHeaders, Any, CorsLayer},
    csrf::{CsrfLayer, ProtectionError},
};

use crate::{
    app::App,
    endpoints::{
        authorize::authorize, device_authorization::device_authorization, discovery, health,
        introspect::introspect, jwks::jwks, logo::logo, par::par, revoke::revoke, token::token,
        userinfo::userinfo, webfinger::webfinger,
    },
    pages::{admin, consent, development, device, home, login, logout, refusals, setup},
    protocol::discovery::locations,
    web::{assets, page_error::PageError, refused::REFERENCE},
};

/// RFC 9449 §8.1: readable across origins.
const DPOP_NONCE: http::HeaderName = http::HeaderName::from_static("dpop-nonce");

/// Every route of the server, within its layers.
pub fn router(app: &App) -> Router {
    counted(app, &Arc::new(Requests::new()))
}

/// The same, whose requests are counted.
fn counted(app: &App, requests: &Arc<Requests>) -> Router {
    layers::around(app, requests, routes(app))
}

fn routes(app: &App) -> Router {
    let base = app.config.issuer.path();
    let at = |path: &str| format!("{base}{path}");

    let most = app.config.server.max_requests.get();
    let places = |most, class| Arc::new(Admission::new(most, class, &app.store.counts));
    // Whoever may send us to a client's host has places apart, and people, who wait for hosts too, have more of them: all
    // that costs us is the place.
    let (for_machines, for_new_requests, for_people, for_files, for_probes) = (
        places(most, "programs"),
        places((most / 2).max(1), "new requests"),
        places(most.saturating_mul(8), "browsers"),
        places(most, "files"),
        // Apart: whoever balances load must not take us to be down because files are in demand.
        places(most, "probes"),
    );
    let bodies = Arc::new(Bodies::new(&app.config.server, &app.store.counts));

    let machines = Router::new()
        .route(&at("/token"), post(token))
        .route(&at("/revoke"), post(revoke))
        .route(&at("/userinfo"), get(userinfo).post(userinfo));
    let new_requests = Router::new()
        .route(&at("/par"), post(par))
        .route(&at("/device_authorization"), post(device_authorization));
    let mut published = Router::new().route(&at("/jwks"), get(jwks));
    let metadata = discovery::metadata(app);
    for location in locations(&app.config.issuer) {
        let metadata = metadata.clone();
        published = published.route(
            &location,
            get(move || discovery::discovery(metadata.clone())),
        );
    }
    // Of the host, whatever the issuer's path is.
    if !app.config.webfinger.domains.is_empty() {
        published = published.route("/.well-known/webfinger", get(webfinger));
    }
    // Servers ask here, never pages: no other origin is answered.
    let servers = Router::new().route(&at("/introspect"), post(introspect));
    let shaped = |machines: Router<App>, places: Option<&Arc<Admission>>| {
        let (places, bodies) = (places.cloned(), bodies.clone());
        machines
            .method_not_allowed_fallback(machine_method_not_allowed)
            .layer(middleware::from_fn(move |request, next| {
                layers::machine(places.clone(), bodies.clone(), request, next)
            }))
    };
    let machines = shaped(machines, Some(&for_machines))
        .merge(shaped(new_requests, Some(&for_new_requests)))
        .merge(shaped(published, None))
        .layer(cors())
        .merge(shaped(servers, Some(&for_machines)));

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
        .route(&at("/admin/refusals"), get(refusals::refusals))
        .route(
            &at("/development"),
            get(development::show).post(development::submit),
        )
        .route(&at("/development/remove"), post(development::remove))
        .layer(same_site_forms(app))
        // Any site may start a request here; RFC 6749 §3.1 asks for GET and allows POST.
        .route(&at("/authorize"), get(authorize).post(authorize));
    let people = people.layer(middleware::from_fn(move |request, next| {
        layers::person(for_people.clone(), bodies.clone(), request, next)
    }));
    let people = if base.is_empty() {
        people
    } else {
        people.route(base, get(home::home))
    };

    Router::new()
        .merge(machines)
        .merge(people)
        .route(&at(assets::ROUTE), get(assets::asset))
        .route("/favicon.ico", get(assets::old_icon))
        .merge(for_anybody(app, for_files, for_probes))
        .route("/healthz", get(health::healthz))
        .fallback(async || PageError::NothingHere)
        .with_state(app.clone())
}

/// What is neither for programs nor for people in particular.
fn for_anybody(app: &App, for_files: Arc<Admission>, for_probes: Arc<Admission>) -> Router<App> {
    let at = |path: &str| format!("{}{path}", app.config.issuer.path());
    let within = |places: Arc<Admission>, routes: Router<App>| {
        routes.layer(middleware::from_fn(move |request, next| {
            layers::anybody(places.clone(), request, next)
        }))
    };
    let files = Router::new()
        .route(&at("/logos/{name}"), get(logo))
        .route(&at("/dev-clients/{name}"), get(development::serve));
    let readiness = Arc::<health::Readiness>::default();
    let probes = Router::new().route(
        "/readyz",
        get(move |State(app): State<App>| health::readyz(app, readiness.clone())),
    );
    within(for_files, files).merge(within(for_probes, probes))
}

/// CORS for endpoints that no cookie reaches: any origin, never with credentials. RFC 10017.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([http::Method::GET, http::Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            header::WWW_AUTHENTICATE,
            header::RETRY_AFTER,
            DPOP_NONCE,
            REFERENCE,
        ])
        .max_age(Duration::from_secs(3_600))
}

/// Forms of ours are sent by pages of ours: by `Sec-Fetch-Site` and `Origin`, beside the token in each form.
fn same_site_forms(app: &App) -> CsrfLayer<impl Fn(ProtectionError) -> Response + Clone + use<>> {
    let layer = CsrfLayer::new();
    // Behind a proxy the Host header may be another one than browsers see.
    let layer = match layer.clone().add_trusted_origin(app.config.issuer.origin()) {
        Ok(trusting) => trusting,
        Err(_) => layer,
    };
    layer.with_rejection_response(|_: ProtectionError| PageError::Forbidden.into_response())
}

async fn machine_method_not_allowed() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt;
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
        let router = layers::around(&app, &Arc::new(Requests::new()), routes(&app).merge(bad));
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
        let router = layers::around(&app, &Arc::new(Requests::new()), routes(&app).merge(never));
        let (status, headers, body) = ask(&router, "/never").await;
        assert_eq!(status, 503);
        assert!(headers.contains_key(header::RETRY_AFTER));
        assert!(body.contains("temporarily_unavailable"), "{body}");
    }

    #[tokio::test]
    async fn a_request_whose_peer_leaves_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path(), 30).await;
        let never = Router::new().route("/never", get(std::future::pending::<()>));
        let requests = Arc::new(Requests::new());
        let router = layers::around(&app, &requests, routes(&app).merge(never));
        {
            let mut asked = Box::pin(ask(&router, "/never"));
            assert!(futures_util::poll!(&mut asked).is_pending());
            assert_eq!(requests.count_of("/never", 4), 0);
        }
        assert_eq!(requests.count_of("/never", 4), 1);
        ask(&router, "/jwks").await;
        assert_eq!(
            (requests.count_of("/jwks", 2), requests.count_of("/jwks", 4)),
            (1, 0)
        );
    }
}
