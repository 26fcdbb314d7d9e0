//! What is counted, and its own listener: Prometheus text over HTTP. Labels are names of ours, never a stranger's text.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use tokio::{net::TcpListener, time::Instant};

use crate::{app::App, time::UnixTime};

/// Seconds; the largest is what a request may take.
const BUCKETS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];
/// Counting live grants looks at all of them: once in so many seconds at most.
const GRANTS_EVERY: Duration = Duration::from_secs(30);
/// For the head of a question, and for a peer to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests that no route matched.
const OTHER: &str = "other";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Respondent {
    endpoint: Arc<str>,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct At {
    endpoint: Arc<str>,
}

/// Requests, by the route that matched and the class of the answer.
#[derive(Debug)]
pub(super) struct Requests {
    count: Family<Respondent, Counter>,
    seconds: Family<At, Histogram, fn() -> Histogram>,
    known: RwLock<HashMap<Arc<str>, Arc<Endpoint>>>,
}

/// What is counted of one route: looked up once, then only added to.
#[derive(Debug)]
struct Endpoint {
    by_status: [Counter; 5],
    seconds: Histogram,
}

impl Requests {
    pub(super) fn new() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        Self {
            count: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            known: RwLock::default(),
        }
    }

    /// One more, of the route of this template, if one matched.
    pub(super) fn answered(&self, route: Option<&str>, status: StatusCode, took: Duration) {
        let endpoint = self.endpoint(route.unwrap_or(OTHER));
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        endpoint.by_status[class].inc();
        endpoint.seconds.observe(took.as_secs_f64());
    }

    /// How many of a route were answered with a status like this one.
    #[cfg(test)]
    pub(super) fn count_of(&self, route: &str, class: usize) -> u64 {
        self.endpoint(route).by_status[class - 1].get()
    }

    fn endpoint(&self, route: &str) -> Arc<Endpoint> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = known.get(route) {
            return Arc::clone(endpoint);
        }
        drop(known);
        let name: Arc<str> = route.into();
        let count = |status| {
            self.count.get_or_create_owned(&Respondent {
                endpoint: Arc::clone(&name),
                status,
            })
        };
        let endpoint = Arc::new(Endpoint {
            by_status: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(count),
            seconds: self.seconds.get_or_create_owned(&At {
                endpoint: Arc::clone(&name),
            }),
        });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(name).or_insert(endpoint))
    }
}

/// Everything that is told, and how it stands.
pub(super) struct Metrics {
    app: App,
    registry: Registry,
    gauges: Gauges,
    grants_counted: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Gauges {
    clients_in_memory: Gauge,
    fetches_under_way: Gauge,
    hosts_given_time: Gauge,
    writes_waiting: Gauge,
    hashes_waiting: Gauge,
    live_grants: Gauge,
    signing_keys: Gauge,
    log_lines_lost: Gauge,
}

impl Metrics {
    pub(super) fn new(app: &App, requests: &Requests) -> Self {
        let mut registry = Registry::with_prefix("wayleave");
        let build = Info::new([("version", env!("VERSION_AND_COMMIT"))]);
        registry.register("build", "The version that runs", build);
        let started: Gauge = Gauge::default();
        started.set(app.clock.now().0);
        registry.register_with_unit(
            "start_time",
            "When the process began, since 1970",
            Unit::Seconds,
            started,
        );
        registry.register(
            "requests",
            "Requests by route and class of the answer",
            requests.count.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "From the head of a request to its answer",
            Unit::Seconds,
            requests.seconds.clone(),
        );
        app.store.counts.register(&mut registry);
        let gauges = Gauges::default();
        let table = [
            (
                "clients_in_memory",
                "Documents of clients in memory",
                &gauges.clients_in_memory,
            ),
            (
                "fetches_under_way",
                "Documents that are being read",
                &gauges.fetches_under_way,
            ),
            (
                "hosts_given_time",
                "Clients whose hosts are not asked for a while, because they failed",
                &gauges.hosts_given_time,
            ),
            (
                "writes_waiting",
                "Units of work that wait for SQLite's one writer",
                &gauges.writes_waiting,
            ),
            (
                "hashes_waiting",
                "Sign-ins that wait for a core or are hashing on one",
                &gauges.hashes_waiting,
            ),
            (
                "live_grants",
                "Grants that have not ended, as of half a minute ago at most",
                &gauges.live_grants,
            ),
            (
                "log_lines_lost",
                "Lines of the log that nobody took in time, since the start",
                &gauges.log_lines_lost,
            ),
            (
                "signing_keys",
                "Signing keys that are published",
                &gauges.signing_keys,
            ),
        ];
        for (name, help, gauge) in table {
            registry.register(name, help, gauge.clone());
        }
        Self {
            app: app.clone(),
            registry,
            gauges,
            grants_counted: Mutex::default(),
        }
    }

    /// All of it, as text.
    async fn text(&self) -> String {
        let (app, gauges, now) = (&self.app, &self.gauges, self.app.clock.now());
        let set = |gauge: &Gauge, count: u64| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&gauges.clients_in_memory, app.clients.in_memory());
        set(&gauges.fetches_under_way, app.clients.flights() as u64);
        set(
            &gauges.hosts_given_time,
            app.clients.backed_off(now).len() as u64,
        );
        set(&gauges.writes_waiting, app.store.writes_waiting() as u64);
        set(&gauges.hashes_waiting, app.accounts.hashes_waiting() as u64);
        set(&gauges.signing_keys, app.keys.count() as u64);
        set(&gauges.log_lines_lost, app.store.counts.log_lines_lost());
        self.count_grants(now).await;
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }

    async fn count_grants(&self, now: UnixTime) {
        {
            let mut counted = self
                .grants_counted
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if counted.is_some_and(|at| at.elapsed() < GRANTS_EVERY) {
                return;
            }
            *counted = Some(Instant::now());
        }
        match self.app.store.live_grants(now).await {
            Ok(count) => _ = self.gauges.live_grants.set(count),
            Err(error) => tracing::warn!(%error, "live grants could not be counted"),
        }
    }
}

/// Answers whoever asks on this listener, until the process ends.
pub(super) async fn serve(metrics: Arc<Metrics>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request: http::Request<Incoming>| {
                let metrics = metrics.clone();
                async move { Ok::<_, Infallible>(answer(&metrics, &request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            _ = tokio::time::timeout(PATIENCE * 2, connection).await;
        });
    }
}

async fn answer(metrics: &Metrics, request: &http::Request<Incoming>) -> Response<Body> {
    let text = match request.uri().path() {
        "/metrics" => metrics.text().await,
        _ => String::new(),
    };
    let mut response = Response::new(Body::from(text));
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
