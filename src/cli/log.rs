//! What the server says while it runs: the log, and spans for a collector.

mod line;
mod sampled;

use std::io::{self, IsTerminal};

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tokio::runtime::Handle;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use self::{
    line::{Escaped, Kind},
    sampled::{Lines, Sampled},
};
use super::{Usage, VERSION};
use crate::{
    config::{Config, LogFormat, Traces},
    fetch::Collector,
    spans,
};

/// Lines of the log that may wait to be written.
const LINES: usize = 10_000;

/// When it goes, what is still to be written or sent is.
pub(super) struct Guard {
    _log: WorkerGuard,
    sampled: Sampled,
    /// Lines that are lost, because nobody takes them in time.
    pub(super) lost: ErrorCounter,
    traces: Option<SdkTracerProvider>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.sampled.tell_all();
        if let Some(Err(error)) = self.traces.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Logs from a thread of its own: a reader that is slow, or gone, costs lines and holds up no request. Spans go to the
/// collector, if there is one, in the same way.
pub(super) fn begin(config: &Config, runtime: &Handle) -> anyhow::Result<Guard> {
    let filter = filter(config)?;
    let (writer, log) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES)
        .finish(io::stderr());
    let lost = writer.error_counter();
    let sampled = Sampled::new();
    runtime.spawn(sampled.clone().tell_in_time());
    let Some(traces) = provider(config, runtime)? else {
        // Nobody collects spans: they are not made, and the log does not show them.
        let no_spans = format!("{}=off", spans::TARGET).parse()?;
        let (lines, filter) = (
            lines(config, writer, sampled.clone()),
            filter.add_directive(no_spans),
        );
        tracing_subscriber::registry()
            .with(lines)
            .with(filter)
            .init();
        return Ok(Guard {
            _log: log,
            sampled,
            lost,
            traces: None,
        });
    };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer("wayleave"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| metadata.target() == spans::TARGET));
    // Spans are for the collector alone: no line of the log repeats them.
    let is_no_span = filter_fn(|metadata| metadata.target() != spans::TARGET);
    let lines = lines(config, writer, sampled.clone()).with_filter(filter.and(is_no_span));
    tracing_subscriber::registry()
        .with(lines)
        .with(spans)
        .init();
    Ok(Guard {
        _log: log,
        sampled,
        lost,
        traces: Some(traces),
    })
}

/// Which events are logged.
pub(super) fn filter(config: &Config) -> Result<EnvFilter, Usage> {
    // PostgreSQL's notices ("relation exists, skipping") are for those who ask for them.
    let filter = format!("sqlx::postgres::notice=warn,{}", config.log.filter);
    EnvFilter::builder().parse(filter).map_err(|_| {
        let found = &config.log.filter;
        Usage(format!(
            "log.filter: expected a filter such as info or wayleave=debug, found {found:?}"
        ))
    })
}

fn lines(
    config: &Config,
    lines: NonBlocking,
    sampled: Sampled,
) -> Box<dyn Layer<Registry> + Send + Sync> {
    let is_terminal = io::stderr().is_terminal();
    let kind = match config.log.format {
        LogFormat::Auto | LogFormat::Text if is_terminal => Kind::Coloured,
        LogFormat::Text => Kind::Text,
        LogFormat::Auto | LogFormat::Json => Kind::Json,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(Escaped { lines, kind });
    let lines = match kind {
        Kind::Json => layer.json().boxed(),
        Kind::Text | Kind::Coloured => layer.with_ansi(kind == Kind::Coloured).boxed(),
    };
    Lines { sampled, lines }.boxed()
}

/// Whoever gathers spans and sends them, if somebody is to have them.
fn provider(config: &Config, runtime: &Handle) -> anyhow::Result<Option<SdkTracerProvider>> {
    let Traces {
        endpoint,
        per_thousand,
        follow,
    } = &config.traces;
    let Some(endpoint) = endpoint else {
        return Ok(None);
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new(config, runtime.clone())?)
        .with_endpoint(endpoint.as_str())
        .with_protocol(Protocol::HttpBinary)
        .build()
        .map_err(|error| Usage(format!("traces.endpoint: {error}")))?;
    let some = Sampler::TraceIdRatioBased(f64::from(*per_thousand) / 1_000.0);
    let sampler = match follow {
        true => Sampler::ParentBased(Box::new(some)),
        false => some,
    };
    let resource = Resource::builder_empty()
        .with_service_name("wayleave")
        .with_attribute(KeyValue::new("service.version", VERSION))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler)
        .with_resource(resource)
        .build();
    Ok(Some(provider))
}
