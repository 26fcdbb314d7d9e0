//! The client identifier, RFC 6749 §2.2: the URL of a document, or a name that an administrator registered.

use std::{fmt, str::FromStr, sync::Arc};

use super::client_url::{ClientUrl, ClientUrlError};

/// A client identifier, byte for byte. Two of them are equal only if their text is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientId {
    /// CIMD §3: nobody has to know it before.
    Url(ClientUrl),
    /// Somebody registered it here.
    Name(ClientName),
}

/// The identifier of a client that was registered before: up to 128 letters, digits and `-._~`. It is never a URL.
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
        let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        match (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_name_byte) {
            true => Ok(Self::Name(ClientName(text.into()))),
            false => text.parse().map(Self::Url),
        }
    }
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
            ("https:", None),
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
