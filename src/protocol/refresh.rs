//! Refresh tokens: RFC 6749 §6, rotation and reuse detection of RFC 9700 §4.14.2.
//!
//! A token is the root of its family, its generation, and a MAC over both. The server keeps the root's hash and
//! the newest generation, so a successor can be derived again within the grace and nothing that was leaked from
//! the database is a token.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{
    secret::{MacKey, RefreshFamily, SecretHash, constant_time_eq, random},
    time::UnixTime,
};

const PREFIX: &str = "wl_rt_";

/// One generation of one family, genuine: its MAC was made or checked by us.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    root: [u8; 32],
    generation: u32,
}

impl RefreshToken {
    /// The first token of a new family.
    pub fn new_family() -> Self {
        Self {
            root: random(),
            generation: 1,
        }
    }

    /// Reads a token; `None` unless we made it.
    pub fn open(text: &str, key: &MacKey) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(text.strip_prefix(PREFIX)?)
            .ok()?;
        let (root, rest) = bytes.split_first_chunk::<32>()?;
        let (generation, mac) = rest.split_first_chunk::<4>()?;
        let token = Self {
            root: *root,
            generation: u32::from_be_bytes(*generation),
        };
        constant_time_eq(&token.mac(key), mac).then_some(token)
    }

    /// The text that its client gets.
    pub fn seal(&self, key: &MacKey) -> String {
        let mut bytes = self.root.to_vec();
        bytes.extend(self.generation.to_be_bytes());
        bytes.extend(self.mac(key));
        format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Does a text look like a refresh token, whoever made it?
    pub fn is_like(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// The next generation.
    #[must_use]
    pub fn successor(&self) -> Self {
        Self {
            root: self.root,
            generation: self.generation.saturating_add(1),
        }
    }

    /// What is stored of the family.
    pub fn family(&self) -> SecretHash<RefreshFamily> {
        SecretHash::of_bytes(&self.root)
    }

    /// Which generation it is, from 1.
    pub fn generation(&self) -> i64 {
        self.generation.into()
    }

    fn mac(&self, key: &MacKey) -> [u8; 16] {
        let mut mac = [0; 16];
        mac.copy_from_slice(&key.sign(&[&self.root, &self.generation.to_be_bytes()])[..16]);
        mac
    }
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RefreshToken(generation {})", self.generation)
    }
}

/// What a genuine token that is not the newest one deserves.
#[derive(Debug, PartialEq, Eq)]
pub enum Late {
    /// Its successor's first holder may have lost the answer: give the same successor again.
    Grace,
    /// Two parties hold the family: end it.
    Reuse,
    /// Newer than anything we know: our database was put back in time. Refuse, and end nothing.
    FromTheFuture,
}

/// Judges generation `presented` when `newest` was made at `rotated_at`. The grace is in seconds.
pub fn judge_late(
    presented: i64,
    newest: i64,
    rotated_at: UnixTime,
    now: UnixTime,
    grace: i64,
) -> Late {
    if presented > newest {
        Late::FromTheFuture
    } else if presented == newest - 1 && (now - rotated_at).abs() <= grace {
        Late::Grace
    } else {
        Late::Reuse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_with_its_key_and_unchanged() {
        let key = MacKey::derive(&[1; 32], "refresh");
        let token = RefreshToken::new_family();
        let text = token.seal(&key);
        assert_eq!(RefreshToken::open(&text, &key), Some(token));
        assert_eq!(
            RefreshToken::open(&text, &MacKey::derive(&[2; 32], "refresh")),
            None
        );

        let mut bytes = BASE64_URL_SAFE_NO_PAD
            .decode(&text[PREFIX.len()..])
            .unwrap();
        bytes[35] += 1; // the generation
        assert_eq!(
            RefreshToken::open(
                &format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)),
                &key
            ),
            None
        );
        for text in [
            "",
            "wl_rt_",
            "wl_rt_AAAA",
            "x",
            &text[..text.len() - 1],
            &format!("{text}A"),
        ] {
            assert_eq!(RefreshToken::open(text, &key), None, "{text}");
        }
    }

    #[test]
    fn a_successor_is_the_same_for_everyone_who_derives_it() {
        let key = MacKey::derive(&[1; 32], "refresh");
        let token = RefreshToken::new_family();
        assert_eq!(token.successor().seal(&key), token.successor().seal(&key));
        assert_ne!(token.successor().seal(&key), token.seal(&key));
        assert_eq!(token.successor().family(), token.family());
    }

    #[test]
    fn x_41_lateness_is_judged_by_generation_and_grace() {
        let at = UnixTime(1_000);
        let table = [
            (4, 5, 0, Late::Grace),
            (4, 5, 30, Late::Grace),
            (4, 5, 31, Late::Reuse),
            (4, 5, -3_600, Late::Reuse),
            (3, 5, 0, Late::Reuse),
            (6, 5, 0, Late::FromTheFuture),
        ];
        for (presented, newest, after, expected) in table {
            assert_eq!(
                judge_late(presented, newest, at, at + after, 30),
                expected,
                "{presented} {newest} {after}"
            );
        }
    }
}
