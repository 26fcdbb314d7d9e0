//! Spans for a collector: one for each request, and within it what takes time. They cost nothing where nobody collects.
//! Named as OpenTelemetry's conventions for HTTP servers have it.

use http::{HeaderMap, Method};
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator},
    trace::TraceContextExt,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The target of every span: the log does not show it.
pub const TARGET: &str = "wayleave::spans";

/// A span within the request's.
macro_rules! span {
    ($name:literal) => {
        tracing::info_span!(target: "wayleave::spans", $name)
    };
}
pub(crate) use span;

/// The span of a request. `follow`: go on with the trace that its `traceparent` names (W3C Trace Context §3.2).
pub(crate) fn of_request(
    method: &Method,
    route: Option<&str>,
    headers: &HeaderMap,
    follow: bool,
) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "request",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = Empty,
        http.route = route,
        http.response.status_code = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    let method = name_of(method);
    span.record("http.request.method", method);
    let name = match route {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    };
    span.record("otel.name", name);
    if follow {
        let parent = TraceContextPropagator::new().extract(&Parent(headers));
        if parent.span().span_context().is_valid() {
            _ = span.set_parent(parent);
        }
    }
    span
}

/// A method of HTTP's own; `_OTHER` for every other one, which is a stranger's text.
pub(crate) fn name_of(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("_OTHER")
}

/// How it was answered.
pub(crate) fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

struct Parent<'a>(&'a HeaderMap);

impl Extractor for Parent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_is_not_of_http_is_not_told() {
        for (method, told) in [
            ("GET", "GET"),
            ("PATCH", "PATCH"),
            ("FOO", "_OTHER"),
            ("get", "_OTHER"),
            ("A-LONG-ONE", "_OTHER"),
        ] {
            assert_eq!(name_of(&method.parse().unwrap()), told);
        }
    }
}
