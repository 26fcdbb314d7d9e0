//! The only folder that opens outbound connections: documents of strangers, under a guard. CIMD §5, §8.6, §8.7.
//!
//! A fetch resolves the host once, refuses it if any of its addresses is not public, dials exactly a checked one,
//! follows nothing, decodes nothing, and reads no more than the limit.

mod budget;
mod collector;
mod connector;
mod issuer_probe;
mod resolve;
mod wire;

use std::{net::IpAddr, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, pem::PemObject},
};
use tracing::Instrument;
use url::Url;

use self::{
    budget::Place,
    resolve::Guard,
    wire::{Observer, Running, Stopwatch},
};
pub use self::{
    budget::{Budgets, Charge, OverBudget},
    collector::Collector,
    issuer_probe::{IssuerProbe, Observed},
    resolve::Resolver,
    wire::{Step, Tls, Wire},
};
use crate::{config::Config, limits::Taken, spans::span, time::Clock};

/// Sent with every request: who sees it twice fetches from itself. RFC 8586.
pub const LOOP_MARKER: &str = "wayleave";

/// Largest head of an answer, in bytes.
const HEAD: usize = 16 * 1_024;
/// Bytes of a body that are kept to recognise what it is.
const BEGINNING: usize = 2_048;

/// What to ask for, and how much of it to take.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub accept: &'static str,
    pub max_bytes: usize,
}

/// A client's document, CIMD §4.
pub const DOCUMENT_ACCEPT: &str =
    "application/cimd+json, application/json;q=0.9, application/ld+json;q=0.8";

/// An answer with status 200, whole.
#[derive(Debug)]
pub struct Fetched {
    pub body: Vec<u8>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Fetched {
    /// All values of a header.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// Why nothing was fetched.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Budget(OverBudget),
    #[error("too many fetches are under way")]
    Busy,
    #[error("the URL has an IP address for a host")]
    Literal,
    #[error("resolving the host failed: {0}")]
    Dns(String),
    #[error("the host resolves to {0}, which is not to be dialled: {1}")]
    NotPublic(IpAddr, &'static str),
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no TLS connection: {0}")]
    Tls(String),
    #[error("no answer that HTTP/1.1 knows: {0}")]
    Head(String),
    #[error("status {status}")]
    Status {
        status: u16,
        retry_after: Option<u32>,
    },
    #[error("the answer is encoded although it was asked not to be")]
    Encoded,
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the answer broke off: {0}")]
    Broken(String),
    #[error("the time limit of {1} s was reached while waiting for the step {step}", step = .0.as_str())]
    Timeout(Step, u32),
}

/// The rules of fetching, in the order in which they are met, and what each asks for.
pub const RULES: &[(&str, &str)] = &[
    ("fetch.dns", "the host has an address in the DNS"),
    ("fetch.address", "every address of the host is public"),
    ("fetch.connect", "the host accepts connections in time"),
    (
        "fetch.tls",
        "it shows a certificate for its name from a known authority, over TLS 1.2 or 1.3",
    ),
    (
        "fetch.head",
        "it answers over HTTP/1.1 with a head of at most 16 KiB and 64 lines",
    ),
    ("fetch.status", "it answers with status 200"),
    ("fetch.encoding", "the answer has no content-encoding"),
    ("fetch.size", "the answer is not too large"),
    ("fetch.body", "the answer is complete and comes in time"),
];

/// The rule that refuses when we have no time to ask: it says nothing of the host.
pub const OURS: &str = "fetch.budget";

impl FetchError {
    /// The rule that refused, by its stable name: one of [`RULES`], or [`OURS`].
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Budget(_) | Self::Busy => OURS,
            Self::Dns(_) | Self::Timeout(Step::Resolve, _) => "fetch.dns",
            Self::Literal | Self::NotPublic(..) => "fetch.address",
            Self::Connect(_) | Self::Timeout(Step::Connect, _) => "fetch.connect",
            Self::Tls(_) => "fetch.tls",
            Self::Head(_) | Self::Timeout(Step::Head, _) => "fetch.head",
            Self::Status { .. } => "fetch.status",
            Self::Encoded => "fetch.encoding",
            Self::TooLarge(_) => "fetch.size",
            Self::Broken(_) | Self::Timeout(Step::Body, _) => "fetch.body",
        }
    }
}

/// Fetches; holds no state of its own but budgets.
#[derive(Debug)]
pub struct Fetcher {
    tls: ClientConfig,
    verifier: Arc<dyn ServerCertVerifier>,
    guard: Guard,
    budgets: Arc<Budgets>,
    limits: crate::config::Fetch,
    user_agent: String,
}

/// Why no fetcher could be made.
#[derive(Debug, thiserror::Error)]
pub enum FetcherError {
    #[error("fetch.extra_ca_file: expected a readable PEM file with certificates: {0}")]
    ExtraRoots(String),
    #[error("no certificate authorities were found on this machine: {0}")]
    NoRoots(String),
}

impl Fetcher {
    /// A fetcher with the system's roots and those of `fetch.extra_ca_file`.
    ///
    /// # Errors
    ///
    /// When that file cannot be read, or there are no roots at all.
    pub fn new(config: &Config, resolver: Resolver, clock: &Clock) -> Result<Self, FetcherError> {
        let roots = Arc::new(roots(config)?);
        let verifier: Arc<dyn ServerCertVerifier> =
            WebPkiServerVerifier::builder(Arc::clone(&roots))
                .build()
                .map_err(|error| FetcherError::NoRoots(error.to_string()))?;
        let mut tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        tls.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            tls,
            verifier,
            guard: Guard::new(config, resolver, clock),
            budgets: Arc::new(Budgets::new(config, clock)),
            limits: config.fetch.clone(),
            user_agent: format!(
                "Wayleave/{} (+{})",
                env!("CARGO_PKG_VERSION"),
                config.issuer
            ),
        })
    }

    /// The budgets that fetches are charged to.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// `GET`, guarded, and what was seen on the way. It waits for a place no longer than `fetch.timeout`, and with one the
    /// whole of it takes no longer than that: the host has all of its time, however long we kept it waiting.
    ///
    /// It fails with whatever stands between us and a whole answer with status 200.
    pub async fn get(
        &self,
        url: &Url,
        wanted: Wanted,
        charge: Charge,
    ) -> (Wire, Result<Fetched, FetchError>) {
        let seconds = self.limits.timeout.get();
        let mut wire = Wire::default();
        let Some(url::Host::Domain(host)) = url.host() else {
            return (wire, Err(FetchError::Literal));
        };
        let whole = Duration::from_secs(seconds.into());
        let _place = match self.enter(host, charge, whole).await {
            Ok(place) => place,
            Err(error) => return (wire, Err(error)),
        };
        let asked = self.ask(url, host, wanted, charge, &mut wire);
        let asked = asked.instrument(span!("fetch"));
        let result = tokio::time::timeout(whole, asked).await;
        let result = result.unwrap_or_else(|_| Err(cut_off(&wire, seconds)));
        (wire, result)
    }

    /// A place, charged for. Who gets none is not charged.
    async fn enter(
        &self,
        host: &str,
        charge: Charge,
        longest: Duration,
    ) -> Result<Place, FetchError> {
        let taken = self.budgets.take(charge, host);
        let taken = taken.map_err(FetchError::Budget)?;
        let place = tokio::time::timeout(longest, self.budgets.place(host, charge)).await;
        if let Ok(Some(place)) = place {
            return Ok(place);
        }
        taken.give_back();
        Err(FetchError::Busy)
    }

    /// Charges every address that may be dialled. From here on what is charged stays so: the name was looked up.
    fn charge_addresses(
        &self,
        charge: Charge,
        addresses: &[IpAddr],
    ) -> Result<Vec<Taken>, FetchError> {
        let taken = |address: &IpAddr| self.budgets.take_address(charge, *address);
        let all: Result<_, _> = addresses.iter().map(taken).collect();
        all.map_err(FetchError::Budget)
    }

    async fn ask(
        &self,
        url: &Url,
        host: &str,
        wanted: Wanted,
        charge: Charge,
        wire: &mut Wire,
    ) -> Result<Fetched, FetchError> {
        let seen = Arc::default();
        let mut running = Running {
            watch: Stopwatch::new(wire),
            seen: &seen,
        };
        let watch = &mut running.watch;
        watch.begin(Step::Resolve);
        let addresses = self.guard.resolve(host, &mut watch.wire.addresses).await?;
        let mut charged = self.charge_addresses(charge, &addresses)?;
        watch.begin(Step::Connect);
        let tls = Observer::attach(&self.tls, &self.verifier, &seen);
        let client = connector::client(tls, host, &addresses, &self.limits, &self.user_agent)
            .map_err(|error| FetchError::Connect(connector::chain(&error)))?;
        let request = client
            .get(url.clone())
            .header("accept", wanted.accept)
            .header("accept-encoding", "identity")
            .header("cdn-loop", LOOP_MARKER);
        let mut response = request
            .send()
            .await
            .map_err(|error| connector::no_answer(&error))?;
        watch.tls(&seen);
        watch.wire.dialled = response.remote_addr();
        watch.wire.status = Some(response.status().as_u16());
        watch.wire.headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let peer = response.remote_addr().map(|peer| peer.ip());
        let Some(dialled) = addresses.iter().position(|address| Some(*address) == peer) else {
            return Err(FetchError::Connect(
                "the connection went to an address that was not checked".to_owned(),
            ));
        };
        // They are dialled in their order: those after it were not, or for a moment only.
        let not_dialled = charged.drain(dialled + 1..);
        not_dialled.for_each(Taken::give_back);
        watch.begin(Step::Body);
        check_head(&response, wanted)?;
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| FetchError::Broken(connector::chain(&error)))?
        {
            let room = BEGINNING.saturating_sub(watch.wire.beginning.len());
            watch
                .wire
                .beginning
                .extend_from_slice(&chunk[..chunk.len().min(room)]);
            watch.wire.bytes += chunk.len();
            if body.len() + chunk.len() > wanted.max_bytes {
                return Err(FetchError::TooLarge(wanted.max_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched {
            body,
            headers: watch.wire.headers.clone(),
        })
    }
}

/// The time of a fetch is over: whose fault that is.
fn cut_off(wire: &Wire, seconds: u32) -> FetchError {
    match wire.last_step() {
        Some(step) => FetchError::Timeout(step, seconds),
        // It was not begun.
        None => FetchError::Busy,
    }
}

/// How many authorities are known: of this machine, and of `fetch.extra_ca_file`.
///
/// # Errors
///
/// When that file cannot be read, or there are none at all.
pub fn authorities(config: &Config) -> Result<(usize, usize), FetcherError> {
    let all = roots(config)?.len();
    let mut system = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    system.add_parsable_certificates(native.certs);
    if all == 0 {
        let why = native.errors.iter().map(ToString::to_string).next();
        return Err(FetcherError::NoRoots(
            why.unwrap_or_else(|| "there are none".to_owned()),
        ));
    }
    Ok((system.len(), all - system.len()))
}

fn roots(config: &Config) -> Result<RootCertStore, FetcherError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &config.fetch.extra_ca_file {
        let wrong =
            |error: String| FetcherError::ExtraRoots(format!("{}: {error}", path.display()));
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))?;
        let before = roots.len();
        for certificate in certificates {
            roots
                .add(certificate.map_err(|e| wrong(e.to_string()))?)
                .map_err(|e| wrong(e.to_string()))?;
        }
        if roots.len() == before {
            return Err(wrong("it has none".to_owned()));
        }
    }
    Ok(roots)
}

/// CIMD §5: only 200 counts. Nothing is decoded, and what announces itself as too large is not read.
fn check_head(response: &reqwest::Response, wanted: Wanted) -> Result<(), FetchError> {
    let headers = response.headers();
    let lines = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    let reason = response.extensions().get::<hyper::ext::ReasonPhrase>();
    let length = lines.sum::<usize>() + reason.map_or(0, |reason| reason.as_bytes().len());
    if length > HEAD {
        return Err(FetchError::Head(format!("the head has {length} bytes")));
    }
    // RFC 9112 §6.3: the same number twice may be taken for one, or refused.
    let lengths = headers.get_all("content-length");
    let is_list = |value: &http::HeaderValue| value.as_bytes().contains(&b',');
    if lengths.iter().count() > 1 || lengths.iter().any(is_list) {
        let told = "more than one Content-Length".to_owned();
        return Err(FetchError::Head(told));
    }
    if headers.contains_key("transfer-encoding") && headers.contains_key("content-length") {
        return Err(FetchError::Head(
            "both Transfer-Encoding and Content-Length".to_owned(),
        ));
    }
    if response.status() != 200 {
        let retry_after = headers
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        return Err(FetchError::Status {
            status: response.status().as_u16(),
            retry_after,
        });
    }
    if headers
        .get_all("content-encoding")
        .iter()
        .any(|value| value != "identity")
    {
        return Err(FetchError::Encoded);
    }
    let limit = u64::try_from(wanted.max_bytes).unwrap_or(u64::MAX);
    if response
        .content_length()
        .is_some_and(|length| length > limit)
    {
        return Err(FetchError::TooLarge(wanted.max_bytes));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_that_never_began_is_no_fault_of_its_host() {
        let mut wire = Wire::default();
        assert_eq!(cut_off(&wire, 5).rule(), "fetch.budget");
        for (step, rule) in [(Step::Resolve, "fetch.dns"), (Step::Body, "fetch.body")] {
            wire.steps.push((step, Duration::ZERO));
            assert_eq!(cut_off(&wire, 5).rule(), rule);
        }
    }
}
