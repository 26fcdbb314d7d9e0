//! Our keys, looked at: can each be read, and how old is it? Nothing is made, and nothing wrapped anew.

use super::{KeyError, Keys, ROOT, pair::Pair, wrap::Wrap};
use crate::{config::Config, protocol::id_token::SigningAlg, store::Store, time::UnixTime};

/// A signing key that can be read.
#[derive(Debug)]
pub struct Inspected {
    pub kid: String,
    pub alg: SigningAlg,
    pub created_at: UnixTime,
    /// It is not encrypted, although there is a key for that.
    pub lies_open: bool,
}

/// Reads every key as a server with this configuration does when it starts; oldest first.
///
/// # Errors
///
/// The first that cannot be read.
pub async fn inspect(config: &Config, store: &Store) -> Result<Vec<Inspected>, KeyError> {
    let wrap = Wrap::new(config)?;
    if let Some(root) = store.kept_secret(ROOT).await? {
        let (root, _) = wrap.unwrap(&root, ROOT)?;
        <[u8; 32]>::try_from(root).map_err(|_| KeyError::Damaged(ROOT.to_owned()))?;
    }
    inspect_keys(store, &wrap).await
}

async fn inspect_keys(store: &Store, wrap: &Wrap) -> Result<Vec<Inspected>, KeyError> {
    let mut keys = Vec::new();
    for stored in store.inspected_keys().await? {
        let (document, lies_open) = wrap.unwrap(&stored.private_key, &stored.kid)?;
        if Pair::read(stored.alg, &document).is_none() {
            return Err(KeyError::Damaged(stored.kid));
        }
        keys.push(Inspected {
            kid: stored.kid,
            alg: stored.alg,
            created_at: stored.created_at,
            lies_open,
        });
    }
    Ok(keys)
}

impl Keys {
    /// Are the keys in the database those that this process has, or others that it can read, and does one sign?
    ///
    /// # Errors
    ///
    /// When there is none that signs, one cannot be read, or the database fails.
    pub async fn check(&self) -> Result<(), KeyError> {
        let marks = self.store.key_marks().await?;
        if self.ring.load().is_of(&marks) && self.has(SigningAlg::Es256) {
            return Ok(());
        }
        let keys = inspect_keys(&self.store, &self.wrap).await?;
        match keys.iter().any(|key| key.alg == SigningAlg::Es256) {
            true => Ok(()),
            false => Err(KeyError::Missing(SigningAlg::Es256.as_str())),
        }
    }
}
