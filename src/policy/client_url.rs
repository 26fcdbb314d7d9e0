//! Which client identifiers this server reads, beyond the grammar: CIMD §8, decisions of our own.

use crate::protocol::client_url::{ClientUrl, is_special_name};

/// What the administrator allows.
#[derive(Debug)]
pub struct Rules<'a> {
    /// May an identifier have a query?
    pub allow_query: bool,
    /// The only ports, if any are listed.
    pub allowed_ports: &'a [u16],
    /// Development: names of this machine are clients too.
    pub loopback: bool,
    /// May names for private networks be clients? In development, or where the administrator opened networks.
    pub special_names: bool,
    /// Our own issuer's host.
    pub own_host: &'a str,
    /// Our own issuer's origin.
    pub own_origin: &'a str,
    /// Hosts of the resources we issue tokens for.
    pub resource_origins: &'a [String],
}

/// One rule: its stable name, and what is told when it refuses.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub name: &'static str,
    pub told: &'static str,
    /// Is it about the host and the port alone? Then it holds for every address that a document has us ask.
    pub is_of_place: bool,
    refuses: fn(&ClientUrl, &Rules<'_>) -> bool,
}

/// Every rule, in the order in which they are asked: the first that refuses decides.
pub const ALL: &[Rule] = &[
    Rule {
        name: "client_id.query",
        told: "this server does not accept a client_id with a query",
        is_of_place: false,
        refuses: |client_id, rules| client_id.has_query() && !rules.allow_query,
    },
    Rule {
        name: "client_id.allowed_ports",
        told: "this server does not accept this port in a client_id",
        is_of_place: true,
        refuses: |client_id, rules| {
            !rules.allowed_ports.is_empty() && !rules.allowed_ports.contains(&client_id.port())
        },
    },
    Rule {
        name: "client_id.own_host",
        told: "the client_id is on this server's own host",
        is_of_place: true,
        // A development server and its sample clients share the name of the machine.
        refuses: |client_id, rules| match rules.loopback {
            true => client_id.origin() == rules.own_origin,
            false => client_id.host() == rules.own_host,
        },
    },
    Rule {
        name: "client_id.resource",
        told: "the client_id is the address of a protected resource",
        is_of_place: false,
        refuses: |client_id, rules| {
            client_id.path_and_query() == "/"
                && rules
                    .resource_origins
                    .iter()
                    .any(|origin| origin == client_id.origin())
        },
    },
    Rule {
        name: "client_id.special_name",
        told: "the host of the client_id is a name for private networks or for this machine; it must be public",
        is_of_place: true,
        refuses: |client_id, rules| is_special_name(client_id.host()) && !rules.special_names,
    },
];

impl Rule {
    /// Does this rule refuse the identifier?
    pub fn refuses(&self, client_id: &ClientUrl, rules: &Rules<'_>) -> bool {
        (self.refuses)(client_id, rules)
    }
}

/// Judges an identifier before anything is fetched.
///
/// # Errors
///
/// The rule that refuses it.
pub fn check(client_id: &ClientUrl, rules: &Rules<'_>) -> Result<(), Rule> {
    match ALL.iter().find(|rule| rule.refuses(client_id, rules)) {
        Some(rule) => Err(*rule),
        None => Ok(()),
    }
}

/// Judges where an address of a document leads, before anything is dialled: `place` is its host and port.
///
/// # Errors
///
/// The rule that refuses it.
pub fn check_place(place: &ClientUrl, rules: &Rules<'_>) -> Result<(), Rule> {
    let mut of_place = ALL.iter().filter(|rule| rule.is_of_place);
    match of_place.find(|rule| rule.refuses(place, rules)) {
        Some(rule) => Err(*rule),
        None => Ok(()),
    }
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
            special_names: loopback,
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
                .map(|refused| refused.name);
            assert_eq!(got, *expected, "{text}");
            let place: ClientUrl = text.parse().unwrap();
            let place = format!("{}/", place.origin()).parse().unwrap();
            let got = check_place(&place, rules).err().map(|refused| refused.name);
            let of_place = |name: &&str| !["client_id.query", "client_id.resource"].contains(name);
            assert_eq!(got, expected.filter(of_place), "the place of {text}");
        }
    }
}
