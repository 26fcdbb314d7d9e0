//! Which clients a rule of the administrator is about: by key, name, URL, path, host or domain.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::protocol::{
    client_id::{ClientId, ClientName},
    client_url::ClientUrl,
};

/// Which clients a rule is about.
///
/// `https://host/path` is one identifier, `https://host/path/*` every one below that path, `host.example` every one
/// on that host, `*.example.com` every one of that registrable domain, `key:THUMBPRINT` every one that publishes
/// that key (RFC 7638, SHA-256), `name:wiki` the one that is registered by that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    Key(String),
    /// Of a registered client.
    Name(ClientName),
    Url(ClientUrl),
    /// Ends with a slash: boundaries of segments are its boundaries.
    Path(String),
    Host(String),
    /// The domain and all below it.
    Domain(String),
}

impl Pattern {
    /// Does it name this client? `keys` are the thumbprints of the keys it publishes.
    pub fn matches(&self, client_id: &ClientId, keys: &[String]) -> bool {
        let is_of = |test: &dyn Fn(&ClientUrl) -> bool| client_id.url().is_some_and(test);
        match self {
            Self::Key(thumbprint) => keys.contains(thumbprint),
            Self::Name(name) => matches!(client_id, ClientId::Name(known) if known == name),
            Self::Url(url) => is_of(&|id| url == id),
            Self::Path(prefix) => is_of(&|id| id.is_below(prefix)),
            Self::Host(name) => is_of(&|id| id.host() == name),
            Self::Domain(domain) => is_of(&|id| {
                let rest = id.host().strip_suffix(domain.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }),
        }
    }

    /// The pattern that is about this client and no other.
    pub fn only(client_id: &ClientId) -> Self {
        match client_id {
            ClientId::Url(url) => Self::Url(url.clone()),
            ClientId::Name(name) => Self::Name(name.clone()),
        }
    }

    /// The one client that it is about, if it names one.
    pub fn client(&self) -> Option<ClientId> {
        match self {
            Self::Url(url) => Some(url.clone().into()),
            Self::Name(name) => Some(ClientId::Name(name.clone())),
            _ => None,
        }
    }

    /// The greater, the more it says about one client.
    pub(super) fn specificity(&self) -> (u8, usize) {
        match self {
            Self::Key(_) => (5, 0),
            Self::Url(_) | Self::Name(_) => (4, 0),
            Self::Path(prefix) => (3, prefix.len()),
            Self::Host(_) => (2, 0),
            Self::Domain(_) => (1, 0),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(thumbprint) => write!(f, "key:{thumbprint}"),
            Self::Name(name) => write!(f, "{NAME}{name}"),
            Self::Url(url) => write!(f, "{url}"),
            Self::Path(prefix) => write!(f, "{prefix}*"),
            Self::Host(host) => f.write_str(host),
            Self::Domain(domain) => write!(f, "*.{domain}"),
        }
    }
}

/// How a pattern begins that names a registered client.
const NAME: &str = "name:";

impl FromStr for Pattern {
    type Err = Cow<'static, str>;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(thumbprint) = text.strip_prefix("key:") {
            let is_thumbprint = thumbprint.len() == 43
                && thumbprint
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            return match is_thumbprint {
                true => Ok(Self::Key(thumbprint.to_owned())),
                false => {
                    Err("key: and the SHA-256 thumbprint of a key (RFC 7638), 43 characters".into())
                }
            };
        }
        if let Some(name) = text.strip_prefix(NAME) {
            return match name.parse() {
                Ok(ClientId::Name(name)) => Ok(Self::Name(name)),
                _ => Err("name: and the client_id of a registered client that is no URL".into()),
            };
        }
        if let Some(prefix) = text
            .strip_suffix('*')
            .filter(|_| text.starts_with("https://"))
        {
            let identifier =
                |error| Cow::Owned(format!("a path ends with /*, after a valid start: {error}"));
            prefix.parse::<ClientUrl>().map_err(identifier)?;
            return match prefix.ends_with('/') && !prefix.contains('?') {
                true => Ok(Self::Path(prefix.to_owned())),
                false => Err("the * of a path stands after a slash".into()),
            };
        }
        if text.starts_with("https://") {
            return text
                .parse()
                .map(Self::Url)
                .map_err(|error| Cow::Owned(error.to_string()));
        }
        let (name, is_domain) = match text.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (text, false),
        };
        // A host is whatever could stand in an identifier.
        let identifier = format!("https://{name}/").parse::<ClientUrl>();
        if !identifier.is_ok_and(|id| id.host() == name) {
            return Err(
                "https://host/path, https://host/path/*, host, *.domain, key:THUMBPRINT or name:CLIENT_ID"
                    .into(),
            );
        }
        match (is_domain, psl::domain_str(name)) {
            (false, _) => Ok(Self::Host(name.to_owned())),
            (true, Some(registrable)) if registrable == name => Ok(Self::Domain(name.to_owned())),
            (true, Some(registrable)) => Err(Cow::Owned(format!(
                "a domain that somebody registered, here *.{registrable}; for one host write it without *."
            ))),
            (true, None) => {
                Err("a domain that somebody registered, not one under which people register".into())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|expected| serde::de::Error::custom(format!("expected {expected}")))
    }
}

impl Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_url_a_path_a_host_a_domain_or_a_key() {
        let table = [
            ("https://a.example.com/c", true),
            ("https://a.example.com/oauth/*", true),
            ("https://a.example.com/*", true),
            ("https://a.example.com:8443/*", true),
            ("a.example.com", true),
            ("*.example.com", true),
            ("*.example.co.uk", true),
            ("*.user.github.io", true),
            ("key:NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", true),
            ("https://a.example.com/oauth*", false),
            ("https://a.example.com", false),
            ("https://*.example.com/", false),
            ("http://a.example.com/c", false),
            ("https://a.example.com/a/../*", false),
            ("https://a.example.com/?x=/*", false),
            ("*.a.example.com", false),
            ("*.co.uk", false),
            ("*.github.io", false),
            ("*.com", false),
            ("*", false),
            ("", false),
            ("A.example.com", false),
            ("a.example.com:8443", false),
            ("127.0.0.1", false),
            ("key:short", false),
        ];
        for (text, accepted) in table {
            let got = text.parse::<Pattern>();
            assert_eq!(got.is_ok(), accepted, "{text}: {got:?}");
            if let Ok(pattern) = got {
                assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
