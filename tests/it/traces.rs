//! What a collector is told: OTLP over HTTP, from the real program to a collector of the test's.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{ResourceSpans, Span},
};
use prost::Message;

use crate::process::{Running, run, wayleave};

/// Takes what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Bytes>>>);

impl Collector {
    /// And where it listens.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let taken = collector.clone();
        let route = post(move |headers: HeaderMap, body: Bytes| async move {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            taken.0.lock().unwrap().push(body);
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", route);
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, url)
    }

    fn batches(&self) -> Vec<ResourceSpans> {
        let bodies = self.0.lock().unwrap();
        let read = |body: &Bytes| ExportTraceServiceRequest::decode(body.clone()).unwrap();
        bodies
            .iter()
            .flat_map(|body| read(body).resource_spans)
            .collect()
    }

    fn spans(&self) -> Vec<Span> {
        let batches = self.batches().into_iter();
        let scopes = batches.flat_map(|batch| batch.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

fn attribute(span: &Span, key: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|it| it.key == key)?;
    found.value.clone()?.value
}

/// Runs a server that tells the collector, asks it, and stops it: what was gathered is sent by then.
async fn gathered(
    variables: &'static [(&'static str, &'static str)],
    traceparent: &'static str,
) -> Collector {
    let (collector, url) = Collector::start().await;
    let asked = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let mut user = wayleave(folder.path());
        user.args(["user", "add", "ada", "--password-stdin"]);
        assert!(run(user, Some("correct horse battery")).status.success());
        let mut command = wayleave(folder.path());
        command
            .env("WAYLEAVE_TRACES__ENDPOINT", url)
            .envs(variables.iter().copied())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap());
        let server = Running::start(command, 1);
        let at = server.address;
        let parent = format!("traceparent: {traceparent}\r\n");
        assert_eq!(server.sign_in(&parent, "correct horse battery"), 303);
        let head = format!("Host: {at}\r\nConnection: close\r\n{parent}");
        let secret = "GET /nowhere?code=secret-of-the-query HTTP/1.1\r\n";
        assert_eq!(
            crate::process::request(at, &format!("{secret}{head}\r\n")).0,
            404
        );
        assert_eq!(server.stop(), Some(0));
        std::fs::read_to_string(folder.path().join("log")).unwrap()
    });
    let log = asked.await.unwrap();
    assert!(!log.contains("\"span\""), "the log repeats no span: {log}");
    collector
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_told_of_requests_and_what_took_time_in_them_and_of_no_secret() {
    let collector = gathered(&[], PARENT).await;
    let resource = collector.batches()[0].resource.clone().unwrap().attributes;
    let named = |key: &str| {
        let found = resource.iter().find(|it| it.key == key).unwrap();
        found.value.clone().unwrap().value.unwrap()
    };
    assert_eq!(
        named("service.name"),
        Value::StringValue("wayleave".to_owned())
    );
    assert!(
        matches!(named("service.version"), Value::StringValue(it) if it.starts_with(env!("CARGO_PKG_VERSION")))
    );

    let spans = collector.spans();
    let of = |name: &str| {
        let found = spans.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("{name} is not among {spans:#?}"))
    };
    let login = of("POST /login");
    assert_eq!(
        attribute(login, "http.response.status_code"),
        Some(Value::IntValue(303))
    );
    assert_eq!(
        attribute(login, "http.route"),
        Some(Value::StringValue("/login".to_owned()))
    );
    assert_eq!(
        attribute(of("GET"), "http.response.status_code"),
        Some(Value::IntValue(404))
    );
    for name in ["hash password", "store read", "store write"] {
        let within = |span: &&Span| span.name == name && span.parent_span_id == login.span_id;
        assert!(
            spans.iter().any(|span| within(&span)),
            "{name} in {spans:#?}"
        );
    }
    // Strangers do not say which trace it is.
    assert!(login.parent_span_id.is_empty());
    let all = format!("{spans:?}");
    for secret in [
        "secret-of-the-query",
        "correct",
        "csrf",
        "wl_vi_",
        "wl_se_",
        "0af7651916cd43dd",
    ] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_where_the_configuration_says_so() {
    let collector = gathered(&[("WAYLEAVE_TRACES__FOLLOW", "true")], PARENT).await;
    let spans = collector.spans();
    let login = spans
        .iter()
        .find(|span| span.name == "POST /login")
        .unwrap();
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(
        (
            hex(&login.trace_id).as_str(),
            hex(&login.parent_span_id).as_str()
        ),
        ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    );
    // As the parent says: this one is not sampled.
    let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let collector = gathered(&[("WAYLEAVE_TRACES__FOLLOW", "true")], unsampled).await;
    assert!(
        collector
            .spans()
            .iter()
            .all(|span| span.name != "POST /login")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_no_request_in_a_thousand_nothing_is_told() {
    let collector = gathered(&[("WAYLEAVE_TRACES__PER_THOUSAND", "0")], PARENT).await;
    assert!(collector.spans().is_empty());
}
