//! Scope: RFC 6749 §3.3.

use std::{fmt, str::FromStr};

use super::error::{ErrorCode, OAuthError};

/// The scope that asks for a refresh token (OpenID Connect Core §11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// The scope that asks for an ID token (OpenID Connect Core §3.1.2.1).
pub const OPENID: &str = "openid";
/// The scope that asks what a person is called (OpenID Connect Core §5.4).
pub const PROFILE: &str = "profile";
/// The scope that asks for a person's address (OpenID Connect Core §5.4).
pub const EMAIL: &str = "email";

const MOST_BYTES: usize = 1_024;
const MOST_TOKENS: usize = 50;

/// A set of scope tokens in the order they were asked for; it may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(Vec<String>);

impl Scope {
    /// A scope of these tokens, each once.
    pub fn of(tokens: impl IntoIterator<Item = String>) -> Self {
        let mut scope = Self::default();
        for token in tokens {
            if !scope.contains(&token) {
                scope.0.push(token);
            }
        }
        scope
    }

    /// Is the token in it?
    pub fn contains(&self, token: &str) -> bool {
        self.0.iter().any(|known| known == token)
    }

    /// Is every token of `other` in it?
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|token| self.contains(token))
    }

    /// The tokens for which `keep` holds.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|token| keep(token)).cloned().collect())
    }

    /// Its tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Has it no token?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// RFC 6749 §3.3 `scope-token`: visible ASCII without `"` and `\`.
pub fn is_scope_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

impl FromStr for Scope {
    type Err = OAuthError;

    fn from_str(text: &str) -> Result<Self, OAuthError> {
        let refuse = |description| Err(OAuthError::new(ErrorCode::InvalidScope, description));
        if text.len() > MOST_BYTES {
            return refuse("scope is longer than 1024 bytes");
        }
        if text.split(' ').filter(|token| !token.is_empty()).count() > MOST_TOKENS {
            return refuse("scope has more than 50 values");
        }
        if !text
            .split(' ')
            .all(|token| token.is_empty() || is_scope_token(token))
        {
            return refuse("scope has a character that RFC 6749 section 3.3 does not allow");
        }
        Ok(Self::of(
            text.split(' ')
                .filter(|token| !token.is_empty())
                .map(str::to_owned),
        ))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_set_of_tokens() {
        let many = (0..51).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let long = "a".repeat(1_025);
        let table: &[(&str, Option<&str>)] = &[
            ("read write", Some("read write")),
            ("read read", Some("read")),
            (
                "repo:app.example.post?action=create",
                Some("repo:app.example.post?action=create"),
            ),
            (" read  write ", Some("read write")),
            ("", Some("")),
            ("re\"ad", None),
            ("re\\ad", None),
            ("lesé", None),
            ("a\tb", None),
            (&many, None),
            (&long, None),
        ];
        for (text, expected) in table {
            let got = text.parse::<Scope>().ok().map(|scope| scope.to_string());
            assert_eq!(got.as_deref(), *expected, "{text}");
        }
    }

    #[test]
    fn a_scope_covers_its_parts_only() {
        let scope: Scope = "a b".parse().unwrap();
        assert!(scope.covers(&"b".parse().unwrap()) && scope.covers(&Scope::default()));
        assert!(!scope.covers(&"b c".parse().unwrap()));
    }
}
