//! What is suspicious about a configuration that can be used.

use std::net::IpAddr;

use super::Finding;
use crate::{
    cli::check::{of_clients, wrong_examples},
    config::Config,
    protocol::special_address::is_public,
    server,
    words::counted,
};

pub(super) fn check(config: &Config) -> Vec<Finding> {
    vec![
        tls(config),
        danger(config),
        encryption(config),
        metrics(config),
        examples(config),
    ]
}

fn tls(config: &Config) -> Finding {
    const CHECK: &str = "configuration.tls";
    let (issuer, listen) = (&config.issuer, config.server.listen);
    let proxies = &config.server.trusted_proxies;
    if let Err(told) = server::tls(&config.server) {
        return Finding::failed(
            CHECK,
            told,
            "put a certificate chain and its key there, readable to this user",
        );
    }
    if let Some(all) = proxies.iter().find(|network| network.prefix_len() == 0) {
        return Finding::failed(
            CHECK,
            format!(
                "server.trusted_proxies has {all}: anybody may claim any address in X-Forwarded-For"
            ),
            "name only the addresses of your proxies in server.trusted_proxies",
        );
    }
    match (issuer.is_https(), &config.server.tls) {
        (false, _) if !listen.ip().is_loopback() => Finding::warning(
            CHECK,
            format!(
                "the issuer {issuer} is for this machine only, but the server listens on {listen}, without TLS"
            ),
            "set issuer to the https URL that people and clients use, or server.listen to 127.0.0.1",
        ),
        (false, _) => Finding::ok(
            CHECK,
            format!("the issuer {issuer} is for this machine only"),
        ),
        (true, Some(_)) => Finding::ok(CHECK, "server.tls: the server terminates TLS itself"),
        (true, None) if proxies.is_empty() => Finding::warning(
            CHECK,
            format!(
                "the issuer {issuer} is https, but there is no server.tls and no server.trusted_proxies: behind a proxy all \
                 requests seem to come from it, and share one set of limits"
            ),
            "name the proxy that terminates TLS in server.trusted_proxies, or set server.tls",
        ),
        (true, None) => {
            let networks: Vec<_> = proxies.iter().map(ToString::to_string).collect();
            let networks = networks.join(", ");
            Finding::ok(
                CHECK,
                format!("a proxy terminates TLS; X-Forwarded-For is believed from {networks}"),
            )
        }
    }
}

fn danger(config: &Config) -> Finding {
    const CHECK: &str = "configuration.danger";
    match config.danger.allow_loopback_clients {
        false => Finding::ok(CHECK, "nothing of [danger] is switched on"),
        true => Finding::warning(
            CHECK,
            "danger.allow_loopback_clients is on: clients on this machine are fetched",
            "set danger.allow_loopback_clients = false unless this is for development",
        ),
    }
}

fn encryption(config: &Config) -> Finding {
    const CHECK: &str = "configuration.encryption";
    match config.keys.encryption_key {
        Some(_) => Finding::ok(
            CHECK,
            "signing keys and secrets are encrypted in the database",
        ),
        None => Finding::warning(
            CHECK,
            "keys.encryption_key is absent: whoever reads the database or a backup of it can sign tokens",
            "make a key with `openssl rand -base64 32`, keep it outside the database, name its file in \
             keys.encryption_key_file, and restart the server: it encrypts what is there",
        ),
    }
}

fn metrics(config: &Config) -> Finding {
    const CHECK: &str = "configuration.metrics";
    let Some(listen) = config.metrics.listen else {
        return Finding::ok(CHECK, "metrics.listen is not set: nobody is told");
    };
    let advice = "set metrics.listen to a loopback or private address";
    match listen.ip() {
        ip if ip.is_unspecified() => Finding::warning(
            CHECK,
            format!("metrics.listen is {listen}: every network of this machine reads the metrics"),
            format!("{advice}, unless a firewall or a container keeps others away"),
        ),
        ip if is_of_everybody(ip) => Finding::warning(
            CHECK,
            format!("metrics.listen is {listen}, a public address"),
            advice,
        ),
        _ => Finding::ok(
            CHECK,
            format!("metrics.listen is {listen}, which is not public"),
        ),
    }
}

fn is_of_everybody(ip: IpAddr) -> bool {
    is_public(ip.to_canonical())
}

fn examples(config: &Config) -> Finding {
    const CHECK: &str = "configuration.examples";
    let wrong = wrong_examples(config);
    let of_clients = of_clients(config);
    if !of_clients.is_empty() {
        return Finding::failed(
            CHECK,
            of_clients.join("; "),
            "change them until `wayleave config check` is content",
        );
    }
    if wrong.is_empty() {
        let count = i64::try_from(config.policy.examples.len()).unwrap_or(i64::MAX);
        let examples = counted(count, "example");
        return Finding::ok(CHECK, format!("policy.examples: {examples}, none is wrong"));
    }
    Finding::failed(
        CHECK,
        format!("policy.examples: {}", wrong.join("; ")),
        "change policy.clients or the examples until `wayleave config check` is content",
    )
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    fn statuses(change: impl FnOnce(&mut Config)) -> Vec<(&'static str, Status)> {
        let mut config = Config::default();
        change(&mut config);
        let findings = check(&config).into_iter();
        let mut found: Vec<_> = findings.map(|it| (it.check, it.status)).collect();
        found.retain(|(_, status)| *status != Status::Ok);
        found
    }

    #[test]
    fn what_is_suspicious_is_named() {
        let encryption = ("configuration.encryption", Status::Warning);
        let tls = |status| vec![("configuration.tls", status), encryption];
        let https = |config: &mut Config| config.issuer = "https://id.example.com".parse().unwrap();
        let proxies = |config: &mut Config, network: &str| {
            config.server.trusted_proxies = vec![network.parse().unwrap()];
        };
        assert_eq!(statuses(|_| {}), [encryption]);
        assert_eq!(statuses(https), tls(Status::Warning));
        assert_eq!(
            statuses(|config| {
                https(config);
                proxies(config, "10.0.0.0/8");
            }),
            [encryption]
        );
        assert_eq!(
            statuses(|config| proxies(config, "::/0")),
            tls(Status::Failed)
        );
        assert_eq!(
            statuses(|config| config.server.listen = "0.0.0.0:80".parse().unwrap()),
            tls(Status::Warning)
        );
        assert_eq!(
            statuses(|config| config.danger.allow_loopback_clients = true),
            [("configuration.danger", Status::Warning), encryption]
        );
        for (listen, is_suspicious) in [
            ("127.0.0.1:9464", false),
            ("10.0.0.1:9464", false),
            ("[::1]:9464", false),
            ("0.0.0.0:9464", true),
            ("1.1.1.1:9464", true),
            ("[::ffff:1.1.1.1]:9464", true),
        ] {
            let found = statuses(|config| config.metrics.listen = Some(listen.parse().unwrap()));
            assert_eq!(found.len(), 1 + usize::from(is_suspicious), "{listen}");
        }
    }
}
