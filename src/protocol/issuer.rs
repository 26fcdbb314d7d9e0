//! The issuer identifier: RFC 8414 §2, and `iss` in authorization responses (RFC 9207).

use std::{fmt, str::FromStr};

use url::{Host, Url};

/// Our own issuer URL, exactly as configured: clients compare it as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerUrl {
    text: String,
    host: String,
    path_at: usize,
    is_loopback: bool,
}

/// Why a text is no issuer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    #[error("an https URL, or http with a loopback host (127.0.0.1, [::1], localhost)")]
    Scheme,
    #[error("a URL without user name, query and fragment")]
    Parts,
    #[error(
        "a URL without a slash at its end, in lower case and without default port, such as https://id.example.com"
    )]
    Form,
}

impl IssuerUrl {
    /// The exact text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host, without port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `scheme://host[:port]`.
    pub fn origin(&self) -> &str {
        &self.text[..self.path_at]
    }

    /// The path, without a slash at its end: empty for an issuer at the root.
    pub fn path(&self) -> &str {
        &self.text[self.path_at..]
    }

    /// Is it only for this machine?
    pub fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    /// Do browsers reach it over TLS?
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https://")
    }

    /// The absolute URL of one of our endpoints.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }
}

impl FromStr for IssuerUrl {
    type Err = IssuerError;

    fn from_str(text: &str) -> Result<Self, IssuerError> {
        let url = Url::parse(text).map_err(|_| IssuerError::Scheme)?;
        let host = url.host_str().ok_or(IssuerError::Scheme)?.to_owned();
        let is_loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback) {
            return Err(IssuerError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() || text.contains(['?', '#', '@'])
        {
            return Err(IssuerError::Parts);
        }
        let canonical = url.as_str().trim_end_matches('/');
        if canonical != text || text.contains("//.") || url.path().contains("//") {
            return Err(IssuerError::Form);
        }
        let path_at = text.len() - url.path().trim_end_matches('/').len();
        Ok(Self {
            text: text.to_owned(),
            host,
            path_at,
            is_loopback,
        })
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_one_exact_spelling() {
        let table = [
            (
                "https://server.example.com",
                Ok(("https://server.example.com", "")),
            ),
            (
                "https://example.com/issuer1",
                Ok(("https://example.com", "/issuer1")),
            ),
            (
                "https://example.com:8443/a/b",
                Ok(("https://example.com:8443", "/a/b")),
            ),
            ("http://127.0.0.1:8080", Ok(("http://127.0.0.1:8080", ""))),
            ("http://[::1]:8080", Ok(("http://[::1]:8080", ""))),
            ("http://localhost", Ok(("http://localhost", ""))),
            ("http://example.com", Err(IssuerError::Scheme)),
            ("example.com", Err(IssuerError::Scheme)),
            ("https://example.com/", Err(IssuerError::Form)),
            ("https://EXAMPLE.com", Err(IssuerError::Form)),
            ("https://example.com:443", Err(IssuerError::Form)),
            ("https://example.com?x", Err(IssuerError::Parts)),
            ("https://u@example.com", Err(IssuerError::Parts)),
        ];
        for (text, expected) in table {
            let got = text.parse::<IssuerUrl>();
            assert_eq!(
                got.as_ref().map(|i| (i.origin(), i.path())),
                expected.as_ref().map(|p| *p),
                "{text}"
            );
        }
    }
}
