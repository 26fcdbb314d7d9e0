//! WebFinger: RFC 7033 §4, for OpenID Connect Discovery §2: the issuer for the people of a domain. The answer is about the
//! domain, never about an account.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use super::{issuer::IssuerUrl, params::decode};

/// OpenID Connect Discovery §2: the link relation of an issuer.
pub const ISSUER: &str = "http://openid.net/specs/connect/1.0/issuer";

/// A domain whose people sign in here: a host in lower case, with the port where it is not 443.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct Domain(String);

impl Domain {
    /// The domain behind a URL, if it is an https one.
    fn of(url: &Url) -> Option<Self> {
        let host = url.host_str().filter(|_| url.scheme() == "https")?;
        Some(Self(match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }))
    }
}

impl TryFrom<String> for Domain {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let url = Url::parse(&format!("https://{text}/")).ok();
        let domain = url.as_ref().and_then(Self::of);
        domain.filter(|domain| domain.0 == text).ok_or(
            "expected a domain in lower case, internationalised ones as xn--, such as example.com",
        )
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// RFC 7033 §4.2: 400. What is wrong.
    Malformed(&'static str),
    /// RFC 7033 §4.2: 404.
    NotOurs,
}

/// The descriptor (RFC 7033 §4.4) for a query, as `domains` have it.
///
/// # Errors
///
/// When the query names no resource, or one that is not of these domains.
pub fn descriptor(query: &str, domains: &[Domain], issuer: &IssuerUrl) -> Result<Value, Refusal> {
    let mut resource = None;
    let mut rels = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // RFC 7033 §4.1: percent-encoded as URIs are, not as forms are. A plus stands for itself.
        let value = decode(value.replace('+', "%2B").as_bytes())
            .map_err(|_| Refusal::Malformed("the percent-encoding of a parameter is malformed"))?;
        match name {
            "resource" if resource.is_some() => {
                return Err(Refusal::Malformed(
                    "the parameter resource was sent more than once",
                ));
            }
            "resource" => resource = Some(value),
            "rel" => rels.push(value),
            // RFC 7033 §4.1: unknown parameters are ignored.
            _ => {}
        }
    }
    let resource = resource.ok_or(Refusal::Malformed("the parameter resource is missing"))?;
    let domain = domain_of(&resource)?.ok_or(Refusal::NotOurs)?;
    if !domains.contains(&domain) {
        return Err(Refusal::NotOurs);
    }
    // RFC 7033 §4.3: without `rel` all links, with one or several only those.
    let is_wanted = rels.is_empty() || rels.iter().any(|rel| rel == ISSUER);
    let link = is_wanted.then(|| json!({ "rel": ISSUER, "href": issuer.as_str() }));
    let links: Vec<Value> = link.into_iter().collect();
    Ok(json!({ "subject": resource, "links": links }))
}

/// The domain that a resource belongs to: the host of `acct:user@host` (RFC 7565 §7) or of an https URL. `None`: it is
/// another kind of URI.
fn domain_of(resource: &str) -> Result<Option<Domain>, Refusal> {
    let malformed = Refusal::Malformed(
        "the parameter resource is no URI such as acct:name@example.com or https://example.com/name",
    );
    let is_uri_byte = |b: u8| matches!(b, 0x21..=0x7e) && !b"\"<>\\^`{|}".contains(&b);
    let (scheme, rest) = resource.split_once(':').ok_or(malformed)?;
    // RFC 3986 §3.1.
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !is_scheme || !rest.bytes().all(is_uri_byte) {
        return Err(malformed);
    }
    let url = match scheme.to_ascii_lowercase().as_str() {
        "acct" => {
            let (user, host) = rest.split_once('@').ok_or(malformed)?;
            let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._[:]".contains(&b);
            if user.is_empty() || !host.bytes().all(is_host) {
                return Err(malformed);
            }
            format!("https://{host}/")
        }
        "https" if rest.starts_with("//") => format!("https:{rest}"),
        "https" => return Err(malformed),
        _ => return Ok(None),
    };
    let url = Url::parse(&url).map_err(|_| malformed)?;
    Ok(Domain::of(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(query: &str) -> Result<Value, Refusal> {
        let domains = ["example.com", "xn--bcher-kva.example", "localhost:8443"];
        let domains = domains.map(|domain| Domain::try_from(domain.to_owned()).unwrap());
        descriptor(query, &domains, &"https://id.example.com".parse().unwrap())
    }

    #[test]
    fn f_18_a_domain_of_ours_is_told_its_issuer() {
        let rel = "&rel=http%3A%2F%2Fopenid.net%2Fspecs%2Fconnect%2F1.0%2Fissuer";
        // OpenID Connect Discovery §2.1.1 and §2.1.2, and what clients write otherwise.
        for (resource, subject) in [
            ("acct%3Ajoe%40example.com", "acct:joe@example.com"),
            ("https%3A%2F%2Fexample.com%2Fjoe", "https://example.com/joe"),
            ("acct:joe+x@example.com", "acct:joe+x@example.com"),
            ("ACCT:joe@EXAMPLE.com", "ACCT:joe@EXAMPLE.com"),
            (
                "acct:juliet%2540capulet.example@example.com",
                "acct:juliet%40capulet.example@example.com",
            ),
            ("https://example.com:443", "https://example.com:443"),
            ("https://joe@example.com?x", "https://joe@example.com?x"),
            (
                "acct:a@xn--bcher-kva.example",
                "acct:a@xn--bcher-kva.example",
            ),
            ("https://localhost:8443/a", "https://localhost:8443/a"),
        ] {
            let link = json!({ "rel": ISSUER, "href": "https://id.example.com" });
            for query in ["", rel, &format!("&rel=avatar{rel}&x=y"), "&unknown=%41"] {
                let answer = ask(&format!("resource={resource}{query}"));
                let expected = json!({ "subject": subject, "links": [link] });
                assert_eq!(answer, Ok(expected), "{resource}{query}");
            }
            let none = ask(&format!("resource={resource}&rel=avatar&rel=hub"));
            assert_eq!(none.unwrap()["links"], json!([]), "{resource}");
        }
    }

    #[test]
    fn f_18_what_is_not_ours_is_not_found_and_what_is_no_resource_is_refused() {
        for resource in [
            "acct:joe@example.net",
            "acct:joe@sub.example.com",
            "acct:joe@example.com.evil.net",
            "acct:joe@example.com:8443",
            "https://example.com:8443/",
            "https://example.com@evil.net/",
            "https://localhost/",
            "http://example.com/joe",
            "mailto:joe@example.com",
            "urn:example:joe",
        ] {
            let answer = ask(&format!("resource={resource}"));
            assert_eq!(answer, Err(Refusal::NotOurs), "{resource}");
        }
        for query in [
            "",
            "rel=x",
            "resource=",
            "resource=joe@example.com",
            "resource=acct:example.com",
            "resource=acct:@example.com",
            "resource=acct:joe@",
            "resource=acct:joe@evil.net@example.com",
            "resource=acct:joe@example.com/x",
            "resource=acct:joe@exa%20mple.com",
            "resource=acct:j%C3%B6@example.com",
            "resource=https:example.com",
            "resource=https://",
            "resource=https:%5C%5Cexample.com",
            "resource=https://exa mple.com",
            "resource=%zz",
            "resource=%00:",
            "resource=%ff",
            "resource=acct:joe@example.com&resource=acct:joe@example.com",
        ] {
            let answer = ask(query);
            assert!(matches!(answer, Err(Refusal::Malformed(_))), "{query}");
        }
    }

    #[test]
    fn a_domain_has_one_spelling() {
        for (text, fits) in [
            ("example.com", true),
            ("example.com:8443", true),
            ("Example.com", false),
            ("example.com:443", false),
            ("bücher.example", false),
            ("https://example.com", false),
            ("example.com/", false),
            ("joe@example.com", false),
            ("", false),
        ] {
            assert_eq!(Domain::try_from(text.to_owned()).is_ok(), fits, "{text}");
        }
    }
}
