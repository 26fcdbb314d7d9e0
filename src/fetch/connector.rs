//! The HTTP client of one fetch: it knows one name, and only the checked addresses of it.

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::ClientConfig;

use super::FetchError;
use crate::config::Fetch;

/// A client for one request to a stranger.
pub(super) fn client(
    tls: ClientConfig,
    host: &str,
    addresses: &[IpAddr],
    limits: &Fetch,
    user_agent: &str,
) -> reqwest::Result<reqwest::Client> {
    builder(tls, host, addresses, limits, user_agent)
        .https_only(true)
        .build()
}

/// The same, as far as it holds for our own issuer, too, which may be http on this machine.
#[expect(
    clippy::disallowed_methods,
    reason = "fetch/ is the one place that opens outbound connections"
)]
pub(super) fn builder(
    tls: ClientConfig,
    host: &str,
    addresses: &[IpAddr],
    limits: &Fetch,
    user_agent: &str,
) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .dns_resolver(Pinned {
            host: host.to_owned(),
            addresses: addresses.to_vec(),
        })
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .http1_max_headers(64)
        .pool_max_idle_per_host(0)
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .connect_timeout(Duration::from_secs(limits.connect_timeout.get().into()))
        .user_agent(user_agent)
}

#[derive(Debug)]
struct Pinned {
    host: String,
    addresses: Vec<IpAddr>,
}

impl Resolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let known = name.as_str() == self.host;
        // Port 0: the URL's port counts.
        let addresses: Vec<SocketAddr> = self
            .addresses
            .iter()
            .map(|ip| SocketAddr::new(*ip, 0))
            .collect();
        Box::pin(async move {
            if known {
                Ok(Box::new(addresses.into_iter()) as Addrs)
            } else {
                Err("a name that was not checked".into())
            }
        })
    }
}

/// Why a request got no answer: TLS, the connection below it, or HTTP above it.
pub(super) fn no_answer(error: &reqwest::Error) -> FetchError {
    let text = chain(error);
    if has_cause::<rustls::Error>(error) {
        FetchError::Tls(text)
    } else if error.is_connect() || error.is_timeout() {
        FetchError::Connect(text)
    } else {
        FetchError::Head(text)
    }
}

/// Is there such an error among the causes, also inside an `io::Error`, or in one inside another?
fn has_cause<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<T>() {
            return true;
        }
        // What an `io::Error` wraps is not its source: its source is that of what it wraps.
        let wrapped = cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    false
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
