//! Which client identifiers this server reads, beyond the grammar: CIMD §8, decisions of our own.

use crate::protocol::client_id::{ClientId, is_special_name};

/// What the administrator allows.
#[derive(Debug)]
pub struct Rules<'a> {
    /// May an identifier have a query?
    pub allow_query: bool,
    /// The only ports, if any are listed.
    pub allowed_ports: &'a [u16],
    /// Development: names of this machine are clients too.
    pub loopback: bool,
    /// Our own issuer's host.
    pub own_host: &'a str,
    /// Our own issuer's origin.
    pub own_origin: &'a str,
    /// Hosts of the resources we issue tokens for.
    pub resource_origins: &'a [String],
}

/// The rule that refuses an identifier: its stable name, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub rule: &'static str,
    pub told: &'static str,
}

/// Judges an identifier before anything is fetched.
///
/// # Errors
///
/// The rule that refuses it.
pub fn check(client_id: &ClientId, rules: &Rules<'_>) -> Result<(), Refused> {
    let refuse = |rule, told| Err(Refused { rule, told });
    if client_id.has_query() && !rules.allow_query {
        return refuse(
            "client_id.query",
            "this server does not accept a client_id with a query",
        );
    }
    if !rules.allowed_ports.is_empty() && !rules.allowed_ports.contains(&client_id.port()) {
        return refuse(
            "client_id.allowed_ports",
            "this server does not accept this port in a client_id",
        );
    }
    // A development server and its sample clients share the name of the machine.
    let own = if rules.loopback {
        client_id.origin() == rules.own_origin
    } else {
        client_id.host() == rules.own_host
    };
    if own {
        return refuse(
            "client_id.own_host",
            "the client_id is on this server's own host",
        );
    }
    if client_id.path_and_query() == "/"
        && rules
            .resource_origins
            .iter()
            .any(|origin| origin == client_id.origin())
    {
        return refuse(
            "client_id.resource",
            "the client_id is the address of a protected resource",
        );
    }
    if is_special_name(client_id.host()) && !rules.loopback {
        return refuse(
            "client_id.special_name",
            "the host of the client_id is a name for private networks or for this machine; it must be public",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_judged_before_anything_is_fetched() {
        let resource_origins = ["https://files.example.com".to_owned()];
        let rules = |allow_query, allowed_ports, loopback| Rules {
            allow_query,
            allowed_ports,
            loopback,
            own_host: "id.example.com",
            own_origin: "https://id.example.com",
            resource_origins: &resource_origins,
        };
        let table: &[(&str, Rules<'_>, Option<&str>)] = &[
            (
                "https://client.example.com/c",
                rules(true, &[], false),
                None,
            ),
            (
                "https://client.example.com/c?v=1",
                rules(true, &[], false),
                None,
            ),
            (
                "https://client.example.com/c?v=1",
                rules(false, &[], false),
                Some("client_id.query"),
            ),
            (
                "https://client.example.com:8443/c",
                rules(true, &[], false),
                None,
            ),
            (
                "https://client.example.com:8443/c",
                rules(true, &[443], false),
                Some("client_id.allowed_ports"),
            ),
            (
                "https://id.example.com/c",
                rules(true, &[], false),
                Some("client_id.own_host"),
            ),
            (
                "https://id.example.com:8443/c",
                rules(true, &[], false),
                Some("client_id.own_host"),
            ),
            (
                "https://files.example.com/",
                rules(true, &[], false),
                Some("client_id.resource"),
            ),
            (
                "https://files.example.com/client.json",
                rules(true, &[], false),
                None,
            ),
            (
                "https://localhost:9444/c",
                rules(true, &[], false),
                Some("client_id.special_name"),
            ),
            (
                "https://app.test/c",
                rules(true, &[], false),
                Some("client_id.special_name"),
            ),
            ("https://localhost:9444/c", rules(true, &[], true), None),
        ];
        for (text, rules, expected) in table {
            let got = check(&text.parse().unwrap(), rules)
                .err()
                .map(|refused| refused.rule);
            assert_eq!(got, *expected, "{text}");
        }
    }
}
