//! Our own signing keys: made once, kept (encrypted when a key is configured), used to sign, published. RFC 7515, RFC 7517.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use jsonwebtoken::{
    Algorithm, EncodingKey,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use serde::Serialize;

use crate::{
    config::Config,
    secret::random,
    store::{Store, StoreError, StoredKey},
    time::UnixTime,
};

/// Why our keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "keys.encryption_key: expected 32 bytes in base64, as `openssl rand -base64 32` prints them"
    )]
    EncryptionKey,
    #[error(
        "keys.encryption_key: the database's keys were encrypted, expected the key that did it"
    )]
    Locked,
    #[error("the signing key {0} in the database cannot be read")]
    Damaged(String),
    #[error("signing failed")]
    Signing,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The keys of this server.
pub struct Keys {
    signing: SigningKey,
    published: JwkSet,
    root: [u8; 32],
}

struct SigningKey {
    pair: EcdsaKeyPair,
    /// `{"typ":"at+jwt",…}` in base64url, the same for every access token.
    access_token_header: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} published)", self.published.keys.len())
    }
}

impl Keys {
    /// Loads the keys; makes the first ones on an empty database.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or cannot be decrypted.
    pub async fn load(config: &Config, store: &Store, now: UnixTime) -> Result<Self, KeyError> {
        let wrap = Wrap::new(config)?;
        let mut stored = store.signing_keys().await?;
        if stored.is_empty() {
            let (kid, document) = new_key()?;
            let private_key = wrap.wrap(&document, &kid)?;
            store
                .add_signing_key(
                    StoredKey {
                        generation: 1,
                        kid,
                        private_key,
                    },
                    now,
                )
                .await?;
            stored = store.signing_keys().await?;
        }
        let mut published = Vec::new();
        let mut newest = None;
        for key in stored {
            let (document, rewrap) = wrap.unwrap(&key.private_key, &key.kid)?;
            if rewrap {
                store
                    .rewrap(key.kid.clone(), wrap.wrap(&document, &key.kid)?, true)
                    .await?;
            }
            let (pair, jwk) =
                read_key(&document, &key.kid).ok_or_else(|| KeyError::Damaged(key.kid.clone()))?;
            published.push(jwk);
            newest = Some((pair, key.kid));
        }
        let (pair, kid) = newest.ok_or_else(|| KeyError::Damaged("none".to_owned()))?;
        let header = serde_json::json!({ "typ": "at+jwt", "alg": "ES256", "kid": kid });
        let access_token_header = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
        let root = load_root(store, &wrap).await?;
        Ok(Self {
            signing: SigningKey {
                pair,
                access_token_header,
            },
            published: JwkSet { keys: published },
            root,
        })
    }

    /// An access token of these claims: a JWS in compact form, RFC 7515 §3.1, with `typ` `at+jwt`.
    ///
    /// # Errors
    ///
    /// When the library cannot sign.
    pub fn sign_access_token(&self, claims: &impl Serialize) -> Result<String, KeyError> {
        let payload = serde_json::to_vec(claims).map_err(|_| KeyError::Signing)?;
        let mut token = self.signing.access_token_header.clone();
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self
            .signing
            .pair
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(|_| KeyError::Signing)?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The public keys, RFC 7517 §5.
    pub fn published(&self) -> &JwkSet {
        &self.published
    }

    /// The root that other keys of the server are derived from.
    pub fn root(&self) -> [u8; 32] {
        self.root
    }
}

async fn load_root(store: &Store, wrap: &Wrap) -> Result<[u8; 32], KeyError> {
    const NAME: &str = "root";
    let offered = wrap.wrap(&random::<32>(), NAME)?;
    let stored = store.server_secret(NAME, offered).await?;
    let (root, rewrap) = wrap.unwrap(&stored, NAME)?;
    if rewrap {
        store
            .rewrap(NAME.to_owned(), wrap.wrap(&root, NAME)?, false)
            .await?;
    }
    root.try_into()
        .map_err(|_| KeyError::Damaged(NAME.to_owned()))
}

/// A fresh key: its thumbprint (RFC 7638), which is its `kid`, and its PKCS #8 document.
fn new_key() -> Result<(String, Vec<u8>), KeyError> {
    let pair =
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| KeyError::Signing)?;
    let document = pair
        .to_pkcs8v1()
        .map_err(|_| KeyError::Signing)?
        .as_ref()
        .to_vec();
    let kid = jwk_of(&document)
        .and_then(|jwk| jwk.thumbprint(ThumbprintHash::SHA256).ok())
        .ok_or(KeyError::Signing)?;
    Ok((kid, document))
}

fn read_key(document: &[u8], kid: &str) -> Option<(EcdsaKeyPair, Jwk)> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document).ok()?;
    let mut jwk = jwk_of(document)?;
    jwk.common.key_id = Some(kid.to_owned());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Some((pair, jwk))
}

fn jwk_of(document: &[u8]) -> Option<Jwk> {
    Jwk::from_encoding_key(&EncodingKey::from_ec_der(document), Algorithm::ES256).ok()
}

/// How private keys lie in the database: as they are, or encrypted with the configured key.
struct Wrap(Option<RandomizedNonceKey>);

const PLAIN: &str = "plain:";
const SEALED: &str = "aes-256-gcm:";

impl Wrap {
    fn new(config: &Config) -> Result<Self, KeyError> {
        let Some(text) = &config.keys.encryption_key else {
            return Ok(Self(None));
        };
        let bytes = BASE64_STANDARD
            .decode(text.expose())
            .map_err(|_| KeyError::EncryptionKey)?;
        let key =
            RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| KeyError::EncryptionKey)?;
        Ok(Self(Some(key)))
    }

    /// `name` is bound to the text: one key's text does not open as another's.
    fn wrap(&self, clear: &[u8], name: &str) -> Result<String, KeyError> {
        let Some(key) = &self.0 else {
            return Ok(format!("{PLAIN}{}", BASE64_STANDARD.encode(clear)));
        };
        let mut sealed = clear.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(name), &mut sealed)
            .map_err(|_| KeyError::EncryptionKey)?;
        let whole = [nonce.as_ref().as_slice(), &sealed].concat();
        Ok(format!("{SEALED}{}", BASE64_STANDARD.encode(whole)))
    }

    /// The clear bytes, and whether they lie open although a key is configured.
    fn unwrap(&self, stored: &str, name: &str) -> Result<(Vec<u8>, bool), KeyError> {
        let damaged = || KeyError::Damaged(name.to_owned());
        if let Some(text) = stored.strip_prefix(PLAIN) {
            return Ok((
                BASE64_STANDARD.decode(text).map_err(|_| damaged())?,
                self.0.is_some(),
            ));
        }
        let whole = stored
            .strip_prefix(SEALED)
            .and_then(|text| BASE64_STANDARD.decode(text).ok())
            .ok_or_else(damaged)?;
        let key = self.0.as_ref().ok_or(KeyError::Locked)?;
        let (nonce, sealed) = whole.split_first_chunk::<12>().ok_or_else(damaged)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let clear = key
            .open_in_place(nonce, Aad::from(name), &mut sealed)
            .map_err(|_| KeyError::Locked)?;
        Ok((clear.to_vec(), false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(key: Option<&[u8; 32]>) -> Wrap {
        Wrap(key.map(|key| RandomizedNonceKey::new(&AES_256_GCM, key).unwrap()))
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

    #[test]
    fn a_key_publishes_no_private_member() {
        let (kid, document) = new_key().unwrap();
        let (_, jwk) = read_key(&document, &kid).unwrap();
        let json = serde_json::to_value(&jwk).unwrap();
        assert_eq!(
            (
                json["kty"].as_str(),
                json["crv"].as_str(),
                json["alg"].as_str()
            ),
            (Some("EC"), Some("P-256"), Some("ES256"))
        );
        assert_eq!(
            (json["kid"].as_str(), json["use"].as_str()),
            (Some(kid.as_str()), Some("sig"))
        );
        assert!(json.get("d").is_none());
    }
}
