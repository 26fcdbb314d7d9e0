//! What the server needs to read clients' documents: name servers, certificate authorities, and a way out.

use std::time::Duration;

use super::Finding;
use crate::{
    config::Config,
    fetch::{Charge, DOCUMENT_ACCEPT, FetchError, Fetcher, Resolver, Wanted, Wire, authorities},
    protocol::{
        client_metadata,
        client_url::{ClientUrl, ClientUrlError},
        media_type,
    },
    time::Clock,
    words::counted,
};

/// A name that is there for examples, RFC 2606 §3.
const NAME: &str = "example.com";
/// Longest wait for it.
const MOST: Duration = Duration::from_secs(5);

pub(super) async fn check(config: &Config, client: Option<&str>, clock: &Clock) -> Vec<Finding> {
    vec![
        dns(config).await,
        roots(config),
        match client {
            Some(client_id) => document(config, client_id, clock).await,
            None => Finding::ok(
                "client",
                "not tried; `wayleave doctor --client URL` reads a client's document as the server would",
            ),
        },
    ]
}

async fn dns(config: &Config) -> Finding {
    const CHECK: &str = "dns";
    let resolver = Resolver::of(config);
    let servers = match resolver.servers() {
        Ok(servers) if servers.is_empty() => "no name server".to_owned(),
        Ok(servers) => servers.join(", "),
        Err(error) => format!("no name server ({error})"),
    };
    let of = match config.fetch.nameservers.as_slice() {
        [] => "the system",
        _ => "fetch.nameservers",
    };
    let limit = Duration::from_secs(config.fetch.dns_timeout.get().into()).min(MOST);
    let advice = "name servers that answer belong into fetch.nameservers, such as [\"9.9.9.9:53\"], or into \
                  /etc/resolv.conf; a firewall must let UDP and TCP to port 53 through";
    match resolver.addresses(NAME, limit).await {
        Ok(addresses) => {
            let count = i64::try_from(addresses.len()).unwrap_or(i64::MAX);
            let count = match count {
                1 => "1 address".to_owned(),
                many => format!("{many} addresses"),
            };
            Finding::ok(CHECK, format!("{servers} (of {of}): {count} for {NAME}"))
        }
        Err(error) => {
            let found = format!("{servers} (of {of}): no address for {NAME}: {error}");
            // Whose clients are all inside may have name servers that know nothing else.
            match config.fetch.allow_networks.is_empty() {
                true => Finding::failed(CHECK, found, advice),
                false => Finding::warning(
                    CHECK,
                    found,
                    format!(
                        "where no client is outside of fetch.allow_networks, nothing; else: {advice}"
                    ),
                ),
            }
        }
    }
}

fn roots(config: &Config) -> Finding {
    const CHECK: &str = "authorities";
    let extra = config.fetch.extra_ca_file.as_ref();
    match authorities(config) {
        Ok((system, of_file)) => {
            let count = |count: usize| {
                counted(i64::try_from(count).unwrap_or(i64::MAX), "root certificate")
            };
            let besides = extra.map_or_else(String::new, |path| {
                format!(", {of_file} more of fetch.extra_ca_file {}", path.display())
            });
            let found = format!("{} of this machine{besides}", count(system));
            match system {
                0 => Finding::warning(
                    CHECK,
                    found,
                    "install the package ca-certificates, unless all clients are of your own authority",
                ),
                _ => Finding::ok(CHECK, found),
            }
        }
        Err(error) => Finding::failed(
            CHECK,
            error.to_string(),
            "install the package ca-certificates (or set SSL_CERT_FILE); fetch.extra_ca_file must be a PEM file that this \
             user can read, or absent",
        ),
    }
}

async fn document(config: &Config, client_id: &str, clock: &Clock) -> Finding {
    const CHECK: &str = "client";
    let failed = |step: &str, found: &str, advice: &str| {
        let found = format!("{client_id}: {step}: {found}");
        let advice =
            format!("{advice}; `wayleave explain` with this URL says what every rule makes of it");
        Finding::failed(CHECK, found, advice)
    };
    let url: ClientUrl = match client_id.parse() {
        Ok(url) => url,
        Err(error) => {
            let error: ClientUrlError = error;
            return failed(
                "URL",
                &error.to_string(),
                "name the https URL of a client's document",
            );
        }
    };
    let fetcher = match Fetcher::new(config, Resolver::of(config), clock) {
        Ok(fetcher) => fetcher,
        Err(error) => return failed("TLS", &error.to_string(), "mend the authorities first"),
    };
    let wanted = Wanted {
        accept: DOCUMENT_ACCEPT,
        max_bytes: usize::try_from(config.fetch.max_bytes.get()).unwrap_or(usize::MAX),
    };
    let Ok(address) = url::Url::parse(url.as_str()) else {
        return failed(
            "URL",
            "it is no URL",
            "name the https URL of a client's document",
        );
    };
    let (wire, fetched) = fetcher.get(&address, wanted, Charge::Administrator).await;
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(error) => {
            let (step, advice) = step(&error);
            let found = format!("{error}{}", dialled(&wire));
            return failed(step, &found, advice);
        }
    };
    let advice = "its developer has to change the document";
    if !media_type::is_json(&fetched.header_values("content-type")) {
        let found = fetched.header_values("content-type").join(", ");
        return failed(
            "document",
            &format!("its Content-Type is no JSON: {found}"),
            advice,
        );
    }
    let judged = client_metadata::judge(&url, &fetched.body).into_iter();
    let wrong = judged.filter_map(|judged| match judged.verdict {
        client_metadata::Verdict::Fail(error) => Some(error.to_string()),
        _ => None,
    });
    let wrong: Vec<_> = wrong.collect();
    if !wrong.is_empty() {
        return failed("document", &wrong.join("; "), advice);
    }
    let tls = wire.tls.as_ref().and_then(|tls| tls.version);
    Finding::ok(
        CHECK,
        format!(
            "{client_id}: read and sound, {} bytes in {} ms over TLS {}{}",
            wire.bytes,
            wire.milliseconds(),
            tls.unwrap_or_default(),
            dialled(&wire),
        ),
    )
}

fn dialled(wire: &Wire) -> String {
    let addresses: Vec<_> = wire.addresses.iter().map(ToString::to_string).collect();
    match addresses.is_empty() {
        true => String::new(),
        false => format!(" ({})", addresses.join(", ")),
    }
}

/// The step that failed, and what to do about it.
fn step(error: &FetchError) -> (&'static str, &'static str) {
    match error.rule() {
        "fetch.dns" => (
            "name",
            "check the host of the URL, and what the check dns says",
        ),
        "fetch.address" => (
            "address",
            "a host inside needs its network in fetch.allow_networks; others must have public addresses only",
        ),
        "fetch.connect" => (
            "connect",
            "let this machine out to the host's port: firewall, routes; a proxy for outbound requests is not used",
        ),
        "fetch.tls" => (
            "TLS",
            "the host needs a certificate for its name from a known authority; name one of your own in \
             fetch.extra_ca_file",
        ),
        "fetch.budget" => ("budget", "try again in a minute"),
        _ => (
            "HTTP",
            "the host has to answer 200 with a small document, over HTTP/1.1",
        ),
    }
}
