//! Resource indicators: RFC 8707 §2.

use std::{fmt, str::FromStr};

use super::{
    error::{ErrorCode, OAuthError},
    params::Params,
};

const MOST: usize = 8;

/// The URI of a protected resource, byte for byte as it was sent: it becomes an `aud` value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceIndicator(String);

impl ResourceIndicator {
    /// The exact text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Host and port, as a person reads them.
    pub fn host(&self) -> &str {
        let rest = self
            .0
            .split_once("://")
            .map_or(self.0.as_str(), |(_, rest)| rest);
        rest.split(['/', '?']).next().unwrap_or(rest)
    }
}

impl FromStr for ResourceIndicator {
    type Err = OAuthError;

    fn from_str(text: &str) -> Result<Self, OAuthError> {
        let refuse = |description| Err(OAuthError::new(ErrorCode::InvalidTarget, description));
        if text.len() > 2_048 {
            return refuse("resource is longer than 2048 bytes");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('\\') {
            return refuse("resource must be an absolute URI of visible ASCII");
        }
        if text.contains('#') {
            return refuse("resource must not have a fragment (RFC 8707 section 2)");
        }
        let Ok(url) = url::Url::parse(text) else {
            return refuse("resource must be an absolute URI (RFC 8707 section 2)");
        };
        if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
            return refuse("resource must be an https or http URL");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("resource must not carry a user name");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ResourceIndicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a grant or a token is for. Empty: this server itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(pub Vec<ResourceIndicator>);

impl Resources {
    /// The `resource` parameters of a request, each once.
    ///
    /// # Errors
    ///
    /// `invalid_target` for one that is not an absolute URI, or for more than eight.
    pub fn from_params(params: &Params) -> Result<Self, OAuthError> {
        let mut resources = Self::default();
        for text in params.all("resource") {
            let resource = text.parse()?;
            if !resources.0.contains(&resource) {
                resources.0.push(resource);
            }
            if resources.0.len() > MOST {
                return Err(OAuthError::new(
                    ErrorCode::InvalidTarget,
                    "more than eight resources in one request",
                ));
            }
        }
        Ok(resources)
    }

    /// RFC 8707 §2.2: a token request may ask for fewer resources than were granted, never for others.
    ///
    /// # Errors
    ///
    /// `invalid_target` when one was not granted.
    pub fn narrow(&self, asked: Self) -> Result<Self, OAuthError> {
        if asked.0.is_empty() {
            Ok(self.clone())
        } else if asked.0.iter().all(|resource| self.0.contains(resource)) {
            Ok(asked)
        } else {
            Err(OAuthError::new(
                ErrorCode::InvalidTarget,
                "resource was not part of the authorization request",
            ))
        }
    }

    /// Is every resource of `other` in it, and is neither for us while the other is not?
    pub fn covers(&self, other: &Self) -> bool {
        self.0.is_empty() == other.0.is_empty()
            && other.0.iter().all(|resource| self.0.contains(resource))
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self.0.iter().map(ResourceIndicator::as_str).collect();
        f.write_str(&texts.join(" "))
    }
}

/// Space-separated, as a column keeps them: a URI has no space.
impl FromStr for Resources {
    type Err = OAuthError;

    fn from_str(text: &str) -> Result<Self, OAuthError> {
        text.split(' ')
            .filter(|part| !part.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_an_absolute_uri_without_fragment() {
        let table = [
            ("https://cal.example.com/", true),
            ("https://rs.example.com/app?tenant=1", true),
            ("http://localhost:3000/mcp", true),
            ("HTTPS://Files.Example.com", true),
            ("/relative", false),
            ("urn:example:thing", false),
            ("https://rs.example.com/#f", false),
            ("https://u@rs.example.com/", false),
            ("https://rs.example.com/a b", false),
            ("https://rs.example.com\\@evil.example", false),
        ];
        for (text, accepted) in table {
            assert_eq!(
                text.parse::<ResourceIndicator>().is_ok(),
                accepted,
                "{text}"
            );
        }
    }

    #[test]
    fn a_token_request_narrows_and_never_widens() {
        let granted: Resources = "https://a.example/ https://b.example/".parse().unwrap();
        let ask = |text: &str| {
            granted
                .narrow(text.parse().unwrap())
                .map(|r| r.to_string())
                .map_err(|e| e.code)
        };
        assert_eq!(
            ask(""),
            Ok("https://a.example/ https://b.example/".to_owned())
        );
        assert_eq!(
            ask("https://b.example/"),
            Ok("https://b.example/".to_owned())
        );
        assert_eq!(ask("https://b.example"), Err(ErrorCode::InvalidTarget));
        assert_eq!(
            Resources::default()
                .narrow("https://b.example/".parse().unwrap())
                .map_err(|e| e.code),
            Err(ErrorCode::InvalidTarget)
        );
    }
}
