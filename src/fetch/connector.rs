//! Resolves, checks every address, and dials exactly the checked ones.

use std::{
    collections::HashMap,
    error::Error,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::ClientConfig;

use super::FetchError;
use crate::{
    config::Fetch,
    protocol::{client_id::is_special_name, special_address::is_public},
};

/// Where names are looked up.
#[derive(Clone, Debug)]
pub enum Resolver {
    /// The system's, for absolute names: its search list is never used.
    System,
    /// A fixed table, for tests; names that it lacks do not exist.
    Table(Arc<HashMap<String, Vec<IpAddr>>>),
}

/// All addresses of a host, once, each allowed to be dialled. One that is not refuses them all.
pub(super) async fn resolve(
    resolver: &Resolver,
    host: &str,
    limit: Duration,
    loopback: bool,
) -> Result<Vec<IpAddr>, FetchError> {
    let mut addresses: Vec<IpAddr> = match resolver {
        Resolver::System => {
            // Names of this machine stand in its hosts file, without the dot.
            let name = if loopback && is_special_name(host) {
                host.to_owned()
            } else {
                format!("{host}.")
            };
            let looked_up = tokio::time::timeout(limit, tokio::net::lookup_host((name, 0))).await;
            let looked_up =
                looked_up.map_err(|_| FetchError::Dns("no answer in time".to_owned()))?;
            looked_up
                .map_err(|error| FetchError::Dns(error.to_string()))?
                .map(|address| address.ip())
                .collect()
        }
        Resolver::Table(table) => table.get(host).cloned().unwrap_or_default(),
    };
    addresses.sort();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(FetchError::Dns("no address".to_owned()));
    }
    // Development opens this machine: its addresses, and the special names that mean it.
    let special = is_special_name(host);
    let allowed = |address: &IpAddr| match loopback && address.is_loopback() {
        true => true,
        false => is_public(*address) && !special,
    };
    match addresses.iter().find(|address| !allowed(address)) {
        Some(refused) => Err(FetchError::NotPublic(*refused)),
        None => Ok(addresses),
    }
}

/// A client for one request: it knows one name, and only the checked addresses of it.
#[expect(
    clippy::disallowed_methods,
    reason = "fetch/ is the one place that opens outbound connections"
)]
pub(super) fn client(
    tls: &ClientConfig,
    host: &str,
    addresses: &[IpAddr],
    limits: &Fetch,
    user_agent: &str,
) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .dns_resolver(Pinned {
            host: host.to_owned(),
            addresses: addresses.to_vec(),
        })
        .tls_backend_preconfigured(tls.clone())
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .https_only(true)
        .http1_only()
        .http1_max_headers(64)
        .pool_max_idle_per_host(0)
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .connect_timeout(Duration::from_secs(limits.connect_timeout.get().into()))
        .user_agent(user_agent)
        .build()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_that_is_not_public_refuses_the_host() {
        let table = [
            (vec!["1.1.1.1"], false, true),
            (vec!["1.1.1.1", "2606:4700:4700::1111"], false, true),
            (vec!["1.1.1.1", "10.0.0.5"], false, false),
            (vec!["10.0.0.5", "1.1.1.1"], true, false),
            (vec!["127.0.0.1"], false, false),
            (vec!["127.0.0.1"], true, true),
            (vec!["::1"], true, true),
            (vec!["::ffff:127.0.0.1"], true, false),
            (vec!["169.254.169.254"], true, false),
            (vec![], true, false),
        ];
        for (addresses, loopback, accepted) in table {
            let ips = addresses.iter().map(|text| text.parse().unwrap()).collect();
            let resolver = Resolver::Table(Arc::new([("a.example.com".to_owned(), ips)].into()));
            let got = resolve(&resolver, "a.example.com", Duration::from_secs(1), loopback).await;
            assert_eq!(got.is_ok(), accepted, "{addresses:?} loopback={loopback}");
        }
    }

    #[tokio::test]
    async fn a_special_name_means_this_machine_or_nothing() {
        for (address, loopback, accepted) in [
            ("127.0.0.1", true, true),
            ("1.1.1.1", true, false),
            ("127.0.0.1", false, false),
        ] {
            let table = [("app.internal".to_owned(), vec![address.parse().unwrap()])];
            let resolver = Resolver::Table(Arc::new(table.into()));
            let got = resolve(&resolver, "app.internal", Duration::from_secs(1), loopback).await;
            assert_eq!(got.is_ok(), accepted, "{address} loopback={loopback}");
        }
    }
}
