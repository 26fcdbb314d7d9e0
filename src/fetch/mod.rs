//! The only folder that opens outbound connections: documents of strangers, under a guard. CIMD §5, §8.6, §8.7.
//!
//! A fetch resolves the host once, refuses it if any of its addresses is not public, dials exactly a checked one,
//! follows nothing, decodes nothing, and reads no more than the limit.

mod budget;
mod connector;

use std::{net::IpAddr, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use url::Url;

pub use self::{
    budget::{Budgets, OverBudget},
    connector::Resolver,
};
use crate::{config::Config, protocol::client_id::ClientId, time::Clock};

/// Sent with every request: who sees it twice fetches from itself. RFC 8586.
pub const LOOP_MARKER: &str = "wayleave";

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
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the URL has an IP address for a host")]
    Literal,
    #[error("resolving the host failed: {0}")]
    Dns(String),
    #[error("the host resolves to {0}, which is not a public address")]
    NotPublic(IpAddr),
    #[error("over the budget for {0}")]
    Budget(&'static str, Duration),
    #[error("too many fetches are under way")]
    Busy,
    #[error("no connection: {0}")]
    Connect(String),
    #[error("the time limit of {0} s was reached")]
    Timeout(u32),
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
}

/// Fetches; holds no state of its own but budgets.
#[derive(Debug)]
pub struct Fetcher {
    tls: ClientConfig,
    resolver: Resolver,
    budgets: Arc<Budgets>,
    /// Development: addresses of this machine are dialled too.
    loopback: bool,
    limits: crate::config::Fetch,
    user_agent: String,
}

/// Why no fetcher could be made.
#[derive(Debug, thiserror::Error)]
pub enum FetcherError {
    #[error("fetch.extra_ca_file: expected a readable PEM file with certificates: {0}")]
    ExtraRoots(String),
}

impl Fetcher {
    /// A fetcher with the system's roots and those of `fetch.extra_ca_file`.
    ///
    /// # Errors
    ///
    /// When that file cannot be read.
    pub fn new(config: &Config, resolver: Resolver, clock: &Clock) -> Result<Self, FetcherError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = &config.fetch.extra_ca_file {
            let wrong =
                |error: String| FetcherError::ExtraRoots(format!("{}: {error}", path.display()));
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))?;
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
        let mut tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        tls.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            tls,
            resolver,
            budgets: Arc::new(Budgets::new(config, clock)),
            loopback: config.danger.allow_loopback_clients,
            limits: config.fetch.clone(),
            user_agent: format!(
                "Wayleave/{} (+{})",
                env!("CARGO_PKG_VERSION"),
                config.issuer
            ),
        })
    }

    /// The budgets that every fetch is charged to.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Reads the document at a client identifier.
    ///
    /// # Errors
    ///
    /// Whatever stands between us and a whole answer with status 200.
    pub async fn document(&self, client_id: &ClientId) -> Result<Fetched, FetchError> {
        let url = Url::parse(client_id.as_str()).map_err(|_| FetchError::Literal)?;
        let max_bytes = usize::try_from(self.limits.max_bytes.get()).unwrap_or(usize::MAX);
        self.get(
            url,
            Wanted {
                accept: DOCUMENT_ACCEPT,
                max_bytes,
            },
        )
        .await
    }

    /// `GET`, guarded. The whole of it takes no longer than `fetch.timeout`.
    ///
    /// # Errors
    ///
    /// Whatever stands between us and a whole answer with status 200.
    pub async fn get(&self, url: Url, wanted: Wanted) -> Result<Fetched, FetchError> {
        let seconds = self.limits.timeout.get();
        let whole = Duration::from_secs(seconds.into());
        tokio::time::timeout(whole, self.get_unbounded(url, wanted))
            .await
            .unwrap_or(Err(FetchError::Timeout(seconds)))
    }

    async fn get_unbounded(&self, url: Url, wanted: Wanted) -> Result<Fetched, FetchError> {
        let Some(url::Host::Domain(host)) = url.host() else {
            return Err(FetchError::Literal);
        };
        let host = host.to_owned();
        let over = |over: OverBudget| FetchError::Budget(over.whose, over.wait);
        self.budgets.charge_host(&host).map_err(over)?;
        let _place = self.budgets.place(&host).await.ok_or(FetchError::Busy)?;

        let dns = Duration::from_secs(self.limits.dns_timeout.get().into());
        let addresses = connector::resolve(&self.resolver, &host, dns, self.loopback).await?;
        for address in &addresses {
            self.budgets.charge_address(*address).map_err(over)?;
        }
        let client =
            connector::client(&self.tls, &host, &addresses, &self.limits, &self.user_agent)
                .map_err(|error| FetchError::Connect(connector::chain(&error)))?;
        let request = client
            .get(url)
            .header("accept", wanted.accept)
            .header("accept-encoding", "identity")
            .header("cdn-loop", LOOP_MARKER);
        let mut response = request
            .send()
            .await
            .map_err(|error| FetchError::Connect(connector::chain(&error)))?;
        match response.remote_addr() {
            Some(peer) if addresses.contains(&peer.ip()) => {}
            _ => {
                return Err(FetchError::Connect(
                    "the connection went to an address that was not checked".to_owned(),
                ));
            }
        }
        check_head(&response, wanted)?;
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| FetchError::Broken(connector::chain(&error)))?
        {
            if body.len() + chunk.len() > wanted.max_bytes {
                return Err(FetchError::TooLarge(wanted.max_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { body, headers })
    }
}

/// CIMD §5: only 200 counts. Nothing is decoded, and what announces itself as too large is not read.
fn check_head(response: &reqwest::Response, wanted: Wanted) -> Result<(), FetchError> {
    let headers = response.headers();
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
