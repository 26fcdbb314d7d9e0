//! The client identifier, RFC 6749 §2.2: the URL of a document, or a name that an administrator registered.

use std::{fmt, str::FromStr, sync::Arc};

use super::client_url::{ClientUrl, ClientUrlError, percent_decode};

/// A client identifier, byte for byte. Two of them are equal only if their text is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientId {
    /// CIMD §3: nobody has to know it before.
    Url(ClientUrl),
    /// Somebody registered it here.
    Name(ClientName),
}

/// The identifier of a client that was registered before: up to 128 letters, digits and `-._~@:/`, or a URN (RFC 8141 §2,
/// without its optional components). It is never what could be taken for the URL of a document.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientName(Arc<str>);

const MAX_NAME: usize = 128;

impl ClientId {
    /// Its text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Url(url) => url.as_str(),
            Self::Name(name) => &name.0,
        }
    }

    /// What a person knows it by: the host of its document, or the name itself.
    pub fn host_or_name(&self) -> &str {
        match self {
            Self::Url(url) => url.host(),
            Self::Name(name) => &name.0,
        }
    }

    /// The URL of its document, if it has one.
    pub fn url(&self) -> Option<&ClientUrl> {
        match self {
            Self::Url(url) => Some(url),
            Self::Name(_) => None,
        }
    }
}

impl From<ClientUrl> for ClientId {
    fn from(url: ClientUrl) -> Self {
        Self::Url(url)
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<ClientUrl> for ClientId {
    fn eq(&self, other: &ClientUrl) -> bool {
        self.url() == Some(other)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ClientId {
    type Err = ClientUrlError;

    /// Whatever cannot be a name is judged as a URL.
    fn from_str(text: &str) -> Result<Self, ClientUrlError> {
        let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._~@:/".contains(&b);
        let is_name = (1..=MAX_NAME).contains(&text.len())
            && !looks_like_a_document(text)
            && (text.bytes().all(is_name_byte) || is_urn(text));
        match is_name {
            true => Ok(Self::Name(ClientName(text.into()))),
            false => text.parse().map(Self::Url),
        }
    }
}

/// Could a person or a lenient URL library read it as a URL that can be fetched? Also without its scheme.
fn looks_like_a_document(text: &str) -> bool {
    let scheme = text.split(':').next().filter(|it| it.len() < text.len());
    let is_http = |scheme: &str| {
        ["https", "http"]
            .iter()
            .any(|it| it.eq_ignore_ascii_case(scheme))
    };
    scheme.is_some_and(is_http) || text.starts_with(['/', ':', '@'])
}

/// RFC 8141 §2: `urn:NID:NSS`.
fn is_urn(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let (scheme, nid, nss) = (parts.next(), parts.next(), parts.next());
    let is_nid = |nid: &str| {
        (2..=32).contains(&nid.len())
            && nid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !nid.starts_with('-')
            && !nid.ends_with('-')
    };
    let is_nss = |nss: &str| {
        let is_pchar = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&b);
        !nss.is_empty()
            && !nss.starts_with('/')
            && nss.bytes().all(is_pchar)
            && percent_decode(nss).is_some()
    };
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn"))
        && nid.is_some_and(is_nid)
        && nss.is_some_and(is_nss)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_a_url_or_a_name() {
        let long = "a".repeat(129);
        let table = [
            ("https://client.example.com/c", Some(true)),
            ("printer-7_x.y~z", Some(false)),
            ("https", Some(false)),
            ("grafana@example.com", Some(false)),
            ("apps/wiki:2", Some(false)),
            ("spiffe://example.org/wiki", Some(false)),
            ("api://4a1b7f6e", Some(false)),
            // RFC 8141 §2 and §5.
            ("urn:example:1/406/47452/2", Some(false)),
            ("urn:isbn:0451450523", Some(false)),
            ("urn:example:foo-bar-baz-qux", Some(false)),
            ("urn:example:a(b),c%2Cd;e=f'g", Some(false)),
            ("URN:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", Some(false)),
            ("urn:example:foo?+bar", None),
            ("urn:example:foo?=bar", None),
            ("urn:example:foo#bar", None),
            ("urn:example:a%2", None),
            ("urn:x:a(b)", None),
            ("urn:-x:a(b)", None),
            ("urn:example:/a(b)", None),
            ("other:example:a(b)", None),
            // What could be taken for a document.
            ("https:", None),
            ("https:client.example.com/c", None),
            ("https:/client.example.com/c", None),
            ("HttpS://client.example.com/c", None),
            ("http://client.example.com/c", None),
            ("http:client", None),
            ("//client.example.com/c", None),
            ("/c", None),
            ("://client.example.com/c", None),
            ("@client", None),
            ("https://client.example.com@evil.example/c", None),
            ("https//client.example.com", Some(false)),
            ("https://client.example.com", None),
            ("HTTPS://client.example.com/c", None),
            (
                "client_id_metadata_document:https%3A%2F%2Fa.example.com%2F",
                None,
            ),
            ("a b", None),
            ("é", None),
            ("", None),
            (&long, None),
        ];
        for (text, is_url) in table {
            let id = text.parse::<ClientId>().ok();
            assert_eq!(id.as_ref().map(|id| id.url().is_some()), is_url, "{text}");
            assert!(id.is_none_or(|id| id.as_str() == text && id.to_string() == text));
        }
    }
}
