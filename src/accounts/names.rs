//! What people sign in with, and what they are called.

use std::str::FromStr;

use unicode_normalization::UnicodeNormalization;
use unicode_security::MixedScript;

use crate::protocol::username::case_mapped;

/// What a person signs in with, in the one spelling that it is compared in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl FromStr for Username {
    type Err = &'static str;

    /// Narrower than the RFC: of ASCII only what shells, paths and headers leave alone, and letters of scripts that are
    /// written together, so that no name is another's double.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "._-@+".contains(c);
        let name = signs_in_as(text).filter(|name| {
            name.chars().count() <= 64 && name.chars().all(fits) && name.is_single_script()
        });
        name.map(Self).ok_or(
            "A user name has 1 to 64 characters: letters of one script, digits, and . _ - @ +",
        )
    }
}

/// The name that a typed text is, however it is written; `None` where it can be none.
pub fn signs_in_as(typed: &str) -> Option<String> {
    case_mapped(typed.trim())
}

/// What a person is called, as apps show it: OpenID Connect Core §5.1 `name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullName(String);

impl FullName {
    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl FromStr for FullName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name: String = text.trim().nfc().collect();
        if name.is_empty() || name.chars().count() > 128 || name.contains(char::is_control) {
            return Err("A name has 1 to 128 characters, and no control characters.");
        }
        Ok(Self(name))
    }
}

/// An address as RFC 5321 §4.1.2 has it, without comments, quotes and address literals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that it is to sign in with, once it is known to be the person's.
    pub fn signs_in_as(&self) -> Option<String> {
        signs_in_as(&self.0)
    }
}

impl FromStr for EmailAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let of_dots = |part: &str, fits: fn(char) -> bool| {
            part.split('.')
                .all(|label| !label.is_empty() && label.chars().all(fits))
        };
        let is_atext = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
        let fits = text.len() <= 254
            && text.split_once('@').is_some_and(|(local, domain)| {
                local.len() <= 64
                    && of_dots(local, is_atext)
                    && of_dots(domain, |c| c.is_alphanumeric() || c == '-')
            });
        match fits {
            true => Ok(Self(text.to_owned())),
            false => Err("An e-mail address looks like name@example.com."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_one_spelling() {
        for (text, expected) in [
            ("ada", Some("ada")),
            (" Ada ", Some("ada")),
            (
                "ada.lovelace+x@example.com",
                Some("ada.lovelace+x@example.com"),
            ),
            ("Zoe\u{308}", Some("zo\u{eb}")),
            ("Łukasz", Some("łukasz")),
            ("Ἀδα", Some("ἀδα")),
            ("Ада", Some("ада")),
            ("エイダ7", Some("エイダ7")),
            ("", None),
            ("ada lovelace", None),
            ("аda", None), // Cyrillic
            ("a\u{202e}", None),
            ("a/b", None),
            ("a\"b", None),
            ("a:b", None),
        ] {
            assert_eq!(
                text.parse::<Username>().ok().as_ref().map(Username::as_str),
                expected,
                "{text}"
            );
        }
        assert!("é".repeat(64).parse::<Username>().is_ok());
        assert!("a".repeat(65).parse::<Username>().is_err());
        assert!("a".repeat(100_000).parse::<Username>().is_err());
    }

    #[test]
    fn a_name_and_an_address_are_what_apps_can_show() {
        for (text, expected) in [
            (" Ada Lovelace ", Some("Ada Lovelace")),
            ("アダ", Some("アダ")),
            (" ", None),
            ("Ada\u{1b}[2J", None),
        ] {
            let name = text.parse().ok().map(FullName::into_text);
            assert_eq!(name.as_deref(), expected, "{text:?}");
        }
        for (text, fits) in [
            ("ada@example.com", true),
            ("a.d+a@mail.example.com", true),
            ("ada@localhost", true),
            ("@example.com", false),
            ("ada@", false),
            ("ada", false),
            ("a@b@c", false),
            ("ada..x@example.com", false),
            ("ada@example..com", false),
            ("ada lovelace@example.com", false),
            ("ada@example.com\r\nBcc: x", false),
        ] {
            assert_eq!(text.parse::<EmailAddress>().is_ok(), fits, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_kept_as_it_is_and_compared_in_one_spelling() {
        let address: EmailAddress = "Ada.Lovelace@Example.COM".parse().unwrap();
        assert_eq!(address.as_str(), "Ada.Lovelace@Example.COM");
        let name = signs_in_as(" ada.LOVELACE@example.com").unwrap();
        assert_eq!(address.signs_in_as(), Some(name));
    }
}
