//! How private keys lie in the database: as they are, or encrypted with the configured key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::{Engine, prelude::BASE64_STANDARD};

use super::KeyError;
use crate::config::{Config, Sensitive};

/// The configured key, if there is one, and the one before it.
pub(super) struct Wrap {
    key: Option<RandomizedNonceKey>,
    old: Option<RandomizedNonceKey>,
}

const PLAIN: &str = "plain:";
const SEALED: &str = "aes-256-gcm:";

impl Wrap {
    pub(super) fn new(config: &Config) -> Result<Self, KeyError> {
        let read = |text: &Option<Sensitive>, wrong: KeyError| {
            let Some(text) = text else { return Ok(None) };
            let bytes = BASE64_STANDARD.decode(text.expose());
            let key = bytes
                .ok()
                .and_then(|bytes| RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok());
            key.map(Some).ok_or(wrong)
        };
        let keys = &config.keys;
        Ok(Self {
            key: read(&keys.encryption_key, KeyError::EncryptionKey)?,
            old: read(&keys.old_encryption_key, KeyError::OldEncryptionKey)?,
        })
    }

    /// `name` is bound to the text: one key's text does not open as another's.
    pub(super) fn wrap(&self, clear: &[u8], name: &str) -> Result<String, KeyError> {
        let Some(key) = &self.key else {
            return Ok(format!("{PLAIN}{}", BASE64_STANDARD.encode(clear)));
        };
        let mut sealed = clear.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(name), &mut sealed)
            .map_err(|_| KeyError::EncryptionKey)?;
        let whole = [nonce.as_ref().as_slice(), &sealed].concat();
        Ok(format!("{SEALED}{}", BASE64_STANDARD.encode(whole)))
    }

    /// Is it not encrypted at all?
    pub(super) fn lies_open(stored: &str) -> bool {
        stored.starts_with(PLAIN)
    }

    /// The clear bytes, and whether they are to be wrapped anew: they lie open although a key is configured, or the old one
    /// did it.
    pub(super) fn unwrap(&self, stored: &str, name: &str) -> Result<(Vec<u8>, bool), KeyError> {
        let damaged = || KeyError::Damaged(name.to_owned());
        if let Some(text) = stored.strip_prefix(PLAIN) {
            return Ok((
                BASE64_STANDARD.decode(text).map_err(|_| damaged())?,
                self.key.is_some(),
            ));
        }
        let whole = stored
            .strip_prefix(SEALED)
            .and_then(|text| BASE64_STANDARD.decode(text).ok())
            .ok_or_else(damaged)?;
        let key = self.key.as_ref().ok_or(KeyError::Locked)?;
        let (nonce, sealed) = whole.split_first_chunk::<12>().ok_or_else(damaged)?;
        let open = |key: &RandomizedNonceKey| {
            let mut sealed = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let clear = key.open_in_place(nonce, Aad::from(name), &mut sealed);
            clear.ok().map(|clear| clear.to_vec())
        };
        match (open(key), &self.old) {
            (Some(clear), _) => Ok((clear, false)),
            (None, Some(old)) => Ok((open(old).ok_or(KeyError::Locked)?, true)),
            (None, None) => Err(KeyError::Locked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(of: Option<&[u8; 32]>) -> Wrap {
        let key = |key: &[u8; 32]| RandomizedNonceKey::new(&AES_256_GCM, key).unwrap();
        Wrap {
            key: of.map(key),
            old: None,
        }
    }

    #[test]
    fn what_the_old_key_wrapped_opens_and_is_to_be_wrapped_anew() {
        let sealed = wrap(Some(&[1; 32])).wrap(b"private", "kid").unwrap();
        let after = |key, old| Wrap {
            key: wrap(Some(&[key; 32])).key,
            old: wrap(Some(&[old; 32])).key,
        };
        assert_eq!(
            after(2, 1).unwrap(&sealed, "kid").unwrap(),
            (b"private".to_vec(), true)
        );
        assert_eq!(
            after(1, 2).unwrap(&sealed, "kid").unwrap(),
            (b"private".to_vec(), false)
        );
        for (key, old, name) in [(2, 3, "kid"), (2, 1, "other")] {
            let opened = after(key, old).unwrap(&sealed, name);
            assert!(
                matches!(opened, Err(KeyError::Locked)),
                "{key} {old} {name}"
            );
        }
    }

    #[test]
    fn what_is_wrapped_opens_with_the_same_key_and_name_only() {
        let sealed = wrap(Some(&[1; 32])).wrap(b"private", "kid").unwrap();
        assert!(!sealed.contains(&BASE64_STANDARD.encode("private")));
        assert_eq!(
            wrap(Some(&[1; 32])).unwrap(&sealed, "kid").unwrap(),
            (b"private".to_vec(), false)
        );
        assert!(matches!(
            wrap(Some(&[2; 32])).unwrap(&sealed, "kid"),
            Err(KeyError::Locked)
        ));
        assert!(matches!(
            wrap(Some(&[1; 32])).unwrap(&sealed, "other"),
            Err(KeyError::Locked)
        ));
        assert!(matches!(
            wrap(None).unwrap(&sealed, "kid"),
            Err(KeyError::Locked)
        ));
    }

    #[test]
    fn an_open_text_is_to_be_wrapped_once_a_key_is_configured() {
        let open = wrap(None).wrap(b"private", "kid").unwrap();
        assert_eq!(
            wrap(None).unwrap(&open, "kid").unwrap(),
            (b"private".to_vec(), false)
        );
        assert_eq!(
            wrap(Some(&[1; 32])).unwrap(&open, "kid").unwrap(),
            (b"private".to_vec(), true)
        );
    }
}
