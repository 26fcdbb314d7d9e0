//! The running server, asked at its issuer as its clients ask it, through whatever proxy stands before it.

use super::{Finding, Status};
use crate::{
    cli::healthcheck,
    config::Config,
    fetch::{FetchError, IssuerProbe, Observed},
    protocol::discovery::locations,
    time::{Clock, UnixTime, in_rfc_3339},
    words::counted,
};

/// Days before its end in which a certificate should have been renewed.
const LATE: i64 = 21;

pub(super) async fn check(config: &Config, clock: &Clock) -> Vec<Finding> {
    let probe = match IssuerProbe::new(config) {
        Ok(probe) => probe,
        Err(error) => {
            let found = format!("not asked: {error}");
            return vec![Finding::failed(
                "server",
                found,
                "mend the authorities first",
            )];
        }
    };
    let path = locations(&config.issuer)
        .into_iter()
        .next()
        .unwrap_or_default();
    let (observed, asked) = probe.get(&path).await;
    let listener = listener(config).await;
    let is_alive = asked.is_err() && is_alive(&probe).await;
    let mut findings = vec![match &asked {
        Ok(()) => Finding::ok(
            "server",
            format!("it answers at {}", place(config, &path, &observed)),
        ),
        Err(error) => {
            let place = place(config, &path, &observed);
            not_reachable(config, &place, error, &listener, is_alive)
        }
    }];
    if asked.is_ok() {
        findings.push(issuer(config, &observed));
        findings.push(proxy(config, &observed));
    }
    findings.extend(ready(&listener));
    if config.issuer.is_https() {
        findings.push(certificate(config, &probe, clock.now()));
    }
    findings
}

/// What the listener itself says, past any proxy: the status line of `/readyz`.
async fn listener(config: &Config) -> Result<String, String> {
    let config = config.clone();
    let asked = tokio::task::spawn_blocking(move || healthcheck::ask(&config)).await;
    match asked {
        Ok(asked) => asked.map_err(|error| format!("{error:#}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Does it answer where no proxy has a reason to keep a path to itself?
async fn is_alive(probe: &IssuerProbe) -> bool {
    let (observed, asked) = probe.get("/healthz").await;
    let body = serde_json::from_slice::<serde_json::Value>(&observed.body).unwrap_or_default();
    asked.is_ok() && body["status"] == "alive"
}

/// What was asked, and where that is.
fn place(config: &Config, path: &str, observed: &Observed) -> String {
    let addresses: Vec<_> = observed.addresses.iter().map(ToString::to_string).collect();
    let addresses = match addresses.is_empty() {
        true => String::new(),
        false => format!(" ({})", addresses.join(", ")),
    };
    format!("{}{path}{addresses}", config.issuer.origin())
}

fn not_reachable(
    config: &Config,
    place: &str,
    error: &FetchError,
    listener: &Result<String, String>,
    is_alive: bool,
) -> Finding {
    const CHECK: &str = "server";
    let listen = config.server.listen;
    if is_alive {
        return Finding::failed(
            CHECK,
            format!("{place}: {error}, although /healthz there reaches the server"),
            format!("have the proxy pass this path to {listen}, too, as it is: clients read it"),
        );
    }
    let found = format!("{place}: {error}");
    // Whoever shows a bad certificate is there.
    if let (Err(of_listener), false) = (listener, matches!(error, FetchError::Tls(_))) {
        return Finding::warning(
            CHECK,
            format!("the server does not run here: {found}; {of_listener}"),
            "start it with `wayleave serve`; if it runs elsewhere, ask there",
        );
    }
    let advice = match error {
        FetchError::Dns(_) => "give the host of issuer an address in the DNS (or in /etc/hosts)".to_owned(),
        FetchError::Connect(_) | FetchError::Timeout(..) => format!(
            "the host of issuer must lead to the proxy or to server.listen ({listen}): check its address, the proxy, the \
             firewall; a router may not lead machines inside back in"
        ),
        FetchError::Tls(_) => "whoever terminates TLS needs a certificate for the host of issuer from an authority that \
                               browsers and this machine know"
            .to_owned(),
        FetchError::Status { status, .. } if *status < 500 => {
            format!("the proxy must pass this path to {listen} as it is, without redirects")
        }
        _ => format!("look whether the proxy reaches {listen}, and at its log"),
    };
    Finding::failed(CHECK, found, advice)
}

fn issuer(config: &Config, observed: &Observed) -> Finding {
    const CHECK: &str = "server.issuer";
    let expected = config.issuer.as_str();
    let metadata = serde_json::from_slice::<serde_json::Value>(&observed.body).unwrap_or_default();
    match metadata.get("issuer").and_then(|issuer| issuer.as_str()) {
        Some(issuer) if issuer == expected => {
            Finding::ok(CHECK, format!("its metadata says {issuer}, as configured"))
        }
        other => {
            let found = match other {
                Some(other) => format!("its metadata says {other:?}, the configuration {expected}"),
                None => "what answers there is no metadata of an authorization server".to_owned(),
            };
            let advice = "if issuer was changed, restart the server; else another one answers there: check where the proxy \
                          leads";
            Finding::failed(CHECK, found, advice)
        }
    }
}

/// What a proxy makes of the headers of an answer whose headers we know.
fn proxy(config: &Config, observed: &Observed) -> Finding {
    const CHECK: &str = "server.proxy";
    let values = |name: &str| -> Vec<&str> {
        let known = observed.headers.iter().filter(|(known, _)| known == name);
        known.map(|(_, value)| value.as_str()).collect()
    };
    let mut expected = vec![
        ("access-control-allow-origin", Some("*")),
        ("cache-control", Some("public, max-age=3600")),
        ("content-type", Some("application/json")),
        ("x-content-type-options", Some("nosniff")),
    ];
    if config.issuer.is_https() {
        // How long, a proxy may know better.
        expected.push(("strict-transport-security", None));
    }
    let wrong = expected.into_iter().filter_map(|(name, expected)| {
        match (values(name).as_slice(), expected) {
            ([], _) => Some(format!("{name} is missing")),
            ([value], Some(expected)) if *value != expected => {
                Some(format!("{name} is {value:?} instead of {expected:?}"))
            }
            ([_], _) => None,
            (values, _) => Some(format!("{name} comes {} times", values.len())),
        }
    });
    let wrong: Vec<_> = wrong.collect();
    if !wrong.is_empty() {
        return Finding::warning(
            CHECK,
            format!(
                "a proxy changes the headers of answers: {}",
                wrong.join("; ")
            ),
            "have the proxy pass the server's headers as they are, and add none of these itself",
        );
    }
    let found = "answers arrive with the server's own headers";
    let cannot = "whether the proxy passes X-Forwarded-For cannot be seen from here: `wayleave refusal list` shows the address \
                  a request came from. The Host header plays no part";
    match config.server.trusted_proxies.is_empty() {
        true => Finding::ok(
            CHECK,
            format!("{found}; no proxy is trusted with X-Forwarded-For"),
        ),
        false => Finding::ok(CHECK, format!("{found}; {cannot}")),
    }
}

fn ready(listener: &Result<String, String>) -> Option<Finding> {
    const CHECK: &str = "server.ready";
    let status = listener.as_ref().ok()?;
    Some(match status.starts_with("HTTP/1.1 200 ") {
        true => Finding::ok(CHECK, "it says that it can answer requests"),
        false => Finding::failed(
            CHECK,
            format!("it says that it cannot answer requests: {status}"),
            "its log says why, and so does /readyz",
        ),
    })
}

/// Of the one that was shown, else of the one that is configured.
fn certificate(config: &Config, probe: &IssuerProbe, now: UnixTime) -> Finding {
    const CHECK: &str = "server.certificate";
    let of_file = || {
        let tls = config.server.tls.as_ref()?;
        probe.certificate_in(&tls.cert_file)
    };
    let Some(ends) = probe.certificate_ends().or_else(of_file) else {
        let found = "no certificate was seen, so nothing is known of its end";
        return Finding::warning(CHECK, found, "ask again when the server runs");
    };
    judge_end(CHECK, ends, now)
}

fn judge_end(check: &'static str, ends: UnixTime, now: UnixTime) -> Finding {
    let days = (ends - now).div_euclid(86_400);
    let at = in_rfc_3339(ends);
    let (status, found) = match days {
        ..0 => (Status::Failed, format!("the certificate ended on {at}")),
        _ => {
            let found = format!("the certificate ends on {at}, in {}", counted(days, "day"));
            (
                if days < LATE {
                    Status::Warning
                } else {
                    Status::Ok
                },
                found,
            )
        }
    };
    let advice = "renew the certificate, and see why that did not happen by itself; the server reads the files of server.tls \
                  again by itself, a proxy may have to be reloaded";
    let advice = (status != Status::Ok).then_some(advice);
    Finding::new(check, status, &found, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_should_have_been_renewed_three_weeks_before_its_end() {
        for (days, expected) in [
            (-1, Status::Failed),
            (0, Status::Warning),
            (20, Status::Warning),
            (21, Status::Ok),
        ] {
            let found = judge_end("x", UnixTime(days * 86_400), UnixTime(0));
            assert_eq!(found.status, expected, "{days}");
        }
    }
}
