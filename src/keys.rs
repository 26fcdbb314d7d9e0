//! Our own signing keys: made once for all processes, kept (encrypted when a key is configured), used to sign, published.
//! RFC 7515, RFC 7517.

mod inspect;
mod pair;
mod rotation;
mod wrap;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

pub use self::{
    inspect::{Inspected, Inspection, inspect},
    rotation::Described,
};
use self::{pair::Pair, wrap::Wrap};
use crate::{
    config::Config,
    policy::key_rotation::{Schedule, signer},
    protocol::{
        etag::etag,
        id_token::{self, SigningAlg},
        jws::Jws,
        key_set::{self, KeySet},
    },
    secret::random,
    store::{KeyMark, NewKey, Store, StoreError, StoredKey},
    time::UnixTime,
};

/// The name of the secret that other keys are derived from.
const ROOT: &str = "root";

/// Why our keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "keys.encryption_key: expected 32 bytes in base64, as `openssl rand -base64 32` prints them"
    )]
    EncryptionKey,
    #[error(
        "keys.old_encryption_key: expected 32 bytes in base64, as `openssl rand -base64 32` prints them"
    )]
    OldEncryptionKey,
    #[error("keys.old_encryption_key: expected keys.encryption_key, the new one, beside it")]
    OldAlone,
    #[error(
        "keys.encryption_key: the database's keys were encrypted, expected the key that did it"
    )]
    Locked,
    #[error("the signing key {0} in the database cannot be read")]
    Damaged(String),
    #[error("there is no key for {0}")]
    Missing(&'static str),
    #[error("there is no signing key {0}")]
    Unknown(String),
    #[error("signing failed")]
    Signing,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<aws_lc_rs::error::Unspecified> for KeyError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Signing
    }
}

/// Are the configured keys that encrypt ours such keys?
///
/// # Errors
///
/// When one is no key, or there is only the one before.
pub fn check(config: &Config) -> Result<(), KeyError> {
    Wrap::new(config)?;
    match (&config.keys.encryption_key, &config.keys.old_encryption_key) {
        (None, Some(_)) => Err(KeyError::OldAlone),
        _ => Ok(()),
    }
}

/// Seconds after which a process that could not look for other processes' keys does not sign before it has.
const SIGHT: i64 = 60;

/// The keys of this server. Every process on the database has the same ones.
pub struct Keys {
    store: Store,
    wrap: Wrap,
    schedule: Schedule,
    ring: ArcSwap<Ring>,
    /// Held while a key is made: of many requests that need one, one makes it.
    making: Mutex<()>,
    /// Held while the keys are read: what was read later is stored later.
    reading: Mutex<()>,
    root: [u8; 32],
    /// When the database was last asked for the keys of other processes, in seconds since 1970.
    noticed_at: AtomicI64,
    /// When it last answered.
    seen_at: AtomicI64,
}

/// All keys, as this process knows them.
struct Ring {
    /// Oldest first. Of each algorithm one signs; the others wait, or verify what they signed.
    keys: Vec<OurKey>,
    published: Bytes,
    etag: Arc<str>,
}

struct OurKey {
    mark: KeyMark,
    alg: SigningAlg,
    created_at: UnixTime,
    pair: Arc<Pair>,
    public: key_set::Key,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} published)", self.ring.load().keys.len())
    }
}

impl Keys {
    /// Loads the keys; makes one for each algorithm that has none, so that it is published before its first signature.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or cannot be decrypted.
    pub async fn load(config: &Config, store: &Store, now: UnixTime) -> Result<Self, KeyError> {
        pair::install();
        let wrap = Wrap::new(config)?;
        let root = load_root(store, &wrap).await?;
        let ring = Ring::read(store, &wrap).await?;
        let keys = Self {
            store: store.clone(),
            wrap,
            ring: ArcSwap::from_pointee(ring),
            making: Mutex::default(),
            reading: Mutex::default(),
            root,
            schedule: Schedule {
                signs_for: config.keys.rotate_after.get().into(),
                longest_token: i64::from(config.tokens.access.get()).max(id_token::LIFETIME),
            },
            noticed_at: AtomicI64::default(),
            seen_at: AtomicI64::new(now.0),
        };
        for alg in SigningAlg::ALL {
            keys.have(alg, now).await?;
        }
        Ok(keys)
    }

    /// Is there a key that signs with this algorithm?
    pub fn has(&self, alg: SigningAlg) -> bool {
        self.ring.load().of(alg).next().is_some()
    }

    /// Sees to it that there is a key for this algorithm, another process's or else a new one, and that what is known of
    /// the keys is no older than a minute.
    ///
    /// # Errors
    ///
    /// When it can neither be read nor made.
    pub async fn have(&self, alg: SigningAlg, now: UnixTime) -> Result<(), KeyError> {
        // Whoever was stopped for hours, or cut off from the database, may have missed that a key is no more.
        if (now.0).abs_diff(self.seen_at.load(Ordering::Relaxed)) > SIGHT.unsigned_abs() {
            self.notice(now).await?;
        }
        if self.has(alg) {
            return Ok(());
        }
        let _making = self.making.lock().await;
        self.notice(now).await?;
        // Two new keys of different algorithms may want the same place; one of them asks once more.
        for _ in 0..SigningAlg::ALL.len() {
            if self.has(alg) {
                return Ok(());
            }
            let key = self.make(alg, now).await?;
            self.store.add_signing_key(key, None, now).await?;
            self.notice(now).await?;
        }
        match self.has(alg) {
            true => Ok(()),
            false => Err(KeyError::Missing(alg.as_str())),
        }
    }

    /// A fresh key, wrapped.
    async fn make(&self, alg: SigningAlg, signs_from: UnixTime) -> Result<NewKey, KeyError> {
        let made = tokio::task::spawn_blocking(move || make(alg)).await;
        let (kid, document) = made.map_err(|_| KeyError::Signing)??;
        let private_key = self.wrap.wrap(&document, &kid)?;
        Ok(NewKey {
            alg,
            kid,
            private_key,
            signs_from,
        })
    }

    /// Reads the keys anew if another process changed them.
    ///
    /// # Errors
    ///
    /// When the database fails, or a key cannot be read.
    pub async fn notice(&self, now: UnixTime) -> Result<(), KeyError> {
        let marks = self.store.key_marks().await?;
        if !self.ring.load().is_of(&marks) {
            let _reading = self.reading.lock().await;
            let ring = Ring::read(&self.store, &self.wrap).await?;
            self.ring.store(ring.into());
        }
        self.seen_at.store(now.0, Ordering::Relaxed);
        Ok(())
    }

    /// The same for those who ask often: the database is asked once a second at most.
    ///
    /// # Errors
    ///
    /// As [`Keys::notice`].
    pub async fn notice_at_times(&self, now: UnixTime) -> Result<(), KeyError> {
        match self.noticed_at.swap(now.0, Ordering::Relaxed) == now.0 {
            true => Ok(()),
            false => self.notice(now).await,
        }
    }

    /// A token of these claims: a JWS in compact form, RFC 7515 §3.1, signed by the key of the algorithm whose time it is.
    ///
    /// # Errors
    ///
    /// When there is no such key (see [`Keys::have`]), or the library cannot sign.
    pub fn sign(
        &self,
        alg: SigningAlg,
        typ: &str,
        claims: &impl Serialize,
        now: UnixTime,
    ) -> Result<String, KeyError> {
        let ring = self.ring.load();
        let key = ring
            .signer(alg, now)
            .ok_or(KeyError::Missing(alg.as_str()))?;
        let token = key.pair.token(typ, &key.mark.kid, claims);
        token.map_err(|_| KeyError::Signing)
    }

    /// Did we sign this token, as far as this process knows our keys? `None`: it names a key that is not known here.
    pub fn signed(&self, token: &Jws<'_>) -> Option<bool> {
        let ring = self.ring.load();
        let kid = token.header().kid.as_deref()?;
        Some(token.verify(&ring.find(kid)?.public))
    }

    /// The public keys, RFC 7517 §5, as JSON; and the tag that names them, RFC 9110 §8.8.3.
    pub fn published(&self) -> (Bytes, Arc<str>) {
        let ring = self.ring.load();
        (ring.published.clone(), Arc::clone(&ring.etag))
    }

    /// How many keys are published.
    pub fn count(&self) -> usize {
        self.ring.load().keys.len()
    }

    /// Has the database been asked about keys in this second?
    pub fn are_noticed(&self, now: UnixTime) -> bool {
        self.noticed_at.load(Ordering::Relaxed) == now.0
    }

    /// The root that other keys of the server are derived from.
    pub fn root(&self) -> [u8; 32] {
        self.root
    }
}

impl Ring {
    async fn read(store: &Store, wrap: &Wrap) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        let mut published = Vec::new();
        for stored in store.signing_keys().await? {
            let (document, rewrap) = wrap.unwrap(&stored.private_key, &stored.kid)?;
            if rewrap {
                let wrapped = wrap.wrap(&document, &stored.kid)?;
                store.rewrap(stored.kid.clone(), wrapped, true).await?;
            }
            let (key, jwk) =
                read(&stored, &document).ok_or_else(|| KeyError::Damaged(stored.kid.clone()))?;
            keys.push(key);
            published.push(jwk);
        }
        let published: Bytes = json!({ "keys": published }).to_string().into();
        Ok(Self {
            etag: etag(&published).into(),
            keys,
            published,
        })
    }

    /// Are these the keys there are?
    fn is_of(&self, marks: &[KeyMark]) -> bool {
        self.keys.iter().map(|key| &key.mark).eq(marks)
    }

    fn of(&self, alg: SigningAlg) -> impl Iterator<Item = &OurKey> {
        self.keys.iter().filter(move |key| key.alg == alg)
    }

    fn find(&self, kid: &str) -> Option<&OurKey> {
        self.keys.iter().find(|key| key.mark.kid == kid)
    }

    fn signer(&self, alg: SigningAlg, now: UnixTime) -> Option<&OurKey> {
        let place = signer(self.of(alg).map(|key| key.mark.signs_from), now)?;
        self.of(alg).nth(place)
    }
}

async fn load_root(store: &Store, wrap: &Wrap) -> Result<[u8; 32], KeyError> {
    let offered = wrap.wrap(&random::<32>(), ROOT)?;
    let stored = store.server_secret(ROOT, offered).await?;
    let (root, rewrap) = wrap.unwrap(&stored, ROOT)?;
    if rewrap {
        store
            .rewrap(ROOT.to_owned(), wrap.wrap(&root, ROOT)?, false)
            .await?;
    }
    root.try_into()
        .map_err(|_| KeyError::Damaged(ROOT.to_owned()))
}

/// A fresh key: its thumbprint (RFC 7638), which is its `kid`, and its PKCS #8 document.
fn make(alg: SigningAlg) -> Result<(String, Vec<u8>), KeyError> {
    loop {
        let document = Pair::generate(alg)?;
        let pair = Pair::read(alg, &document).ok_or(KeyError::Signing)?;
        let public = public(&pair.jwk()).ok_or(KeyError::Signing)?;
        // One that looks like an option of the command line is a nuisance to those who type it.
        if !public.thumbprint.starts_with('-') {
            return Ok((public.thumbprint, document));
        }
    }
}

/// A stored key, and what is published of it.
fn read(stored: &StoredKey, document: &[u8]) -> Option<(OurKey, Value)> {
    let pair = Pair::read(stored.alg, document)?;
    let mut jwk = pair.jwk();
    jwk["kid"] = stored.kid.as_str().into();
    jwk["use"] = "sig".into();
    jwk["alg"] = stored.alg.as_str().into();
    let key = OurKey {
        mark: KeyMark {
            kid: stored.kid.clone(),
            signs_from: stored.signs_from,
        },
        alg: stored.alg,
        created_at: stored.created_at,
        public: public(&jwk)?,
        pair: Arc::new(pair),
    };
    Some((key, jwk))
}

/// Our key, as strangers read it.
fn public(jwk: &Value) -> Option<key_set::Key> {
    let set = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes());
    set.ok()?.keys.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_what_its_published_half_verifies_and_publishes_nothing_private() {
        for (alg, kty) in [
            (SigningAlg::Es256, "EC"),
            (SigningAlg::Rs256, "RSA"),
            (SigningAlg::EdDsa, "OKP"),
        ] {
            let (kid, document) = make(alg).unwrap();
            let stored = StoredKey {
                generation: 1,
                kid: kid.clone(),
                private_key: String::new(),
                alg,
                created_at: UnixTime(0),
                signs_from: UnixTime(0),
            };
            let (key, jwk) = read(&stored, &document).unwrap();
            assert_eq!(
                (jwk["kty"].as_str(), jwk["use"].as_str()),
                (Some(kty), Some("sig"))
            );
            assert_eq!(
                (jwk["kid"].as_str(), jwk["alg"].as_str()),
                (Some(kid.as_str()), Some(alg.as_str()))
            );
            for private in ["d", "p", "q", "dp", "dq", "qi"] {
                assert!(jwk.get(private).is_none(), "{private} of {kty}");
            }
            let token = key.pair.token("at+jwt", &kid, &json!({})).unwrap();
            // As where another provider came first.
            let header = jsonwebtoken::decode_header(&token).unwrap();
            let other = key.pair.put_together(&header, &json!({})).unwrap();
            assert_eq!(
                token.rsplit_once('.').unwrap().0,
                other.rsplit_once('.').unwrap().0
            );
            assert!(Jws::parse(&other).unwrap().verify(&key.public), "{kty}");
            assert!(Jws::parse(&token).unwrap().verify(&key.public), "{kty}");
            for other in SigningAlg::ALL.into_iter().filter(|other| *other != alg) {
                assert!(
                    Pair::read(other, &document).is_none(),
                    "{kty} read as {}",
                    other.as_str()
                );
            }
        }
    }
}
