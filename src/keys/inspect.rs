//! Our keys, looked at: can each be read, and how old is it? Nothing is made, and nothing wrapped anew.

use super::{KeyError, Keys, ROOT, pair::Pair, wrap::Wrap};
use crate::{config::Config, protocol::id_token::SigningAlg, store::Store, time::UnixTime};

/// A signing key that can be read.
#[derive(Debug)]
pub struct Inspected {
    pub kid: String,
    pub alg: SigningAlg,
    pub created_at: UnixTime,
}

/// Our keys and secrets, as they lie in the database.
#[derive(Debug, Default)]
pub struct Inspection {
    /// The signing keys, oldest first.
    pub keys: Vec<Inspected>,
    /// How many keys and secrets there are.
    pub count: usize,
    /// How many of them are not encrypted, although there is a key for that.
    pub open: usize,
    /// How many of them only the key before opens: it is not to go yet.
    pub of_old_key: usize,
}

impl Inspection {
    fn add(&mut self, stored: &str, is_to_be_wrapped: bool) {
        self.count += 1;
        match (is_to_be_wrapped, Wrap::lies_open(stored)) {
            (true, true) => self.open += 1,
            (true, false) => self.of_old_key += 1,
            (false, _) => {}
        }
    }
}

/// Reads every key as a server with this configuration does when it starts; oldest first.
///
/// # Errors
///
/// The first that cannot be read.
pub async fn inspect(config: &Config, store: &Store) -> Result<Inspection, KeyError> {
    let wrap = Wrap::new(config)?;
    let mut found = Inspection::default();
    if let Some(stored) = store.kept_secret(ROOT).await? {
        let (root, is_to_be_wrapped) = wrap.unwrap(&stored, ROOT)?;
        <[u8; 32]>::try_from(root).map_err(|_| KeyError::Damaged(ROOT.to_owned()))?;
        found.add(&stored, is_to_be_wrapped);
    }
    inspect_keys(store, &wrap, &mut found).await?;
    Ok(found)
}

async fn inspect_keys(store: &Store, wrap: &Wrap, found: &mut Inspection) -> Result<(), KeyError> {
    for stored in store.inspected_keys().await? {
        let (document, is_to_be_wrapped) = wrap.unwrap(&stored.private_key, &stored.kid)?;
        if Pair::read(stored.alg, &document).is_none() {
            return Err(KeyError::Damaged(stored.kid));
        }
        found.add(&stored.private_key, is_to_be_wrapped);
        found.keys.push(Inspected {
            kid: stored.kid,
            alg: stored.alg,
            created_at: stored.created_at,
        });
    }
    Ok(())
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
        let mut found = Inspection::default();
        inspect_keys(&self.store, &self.wrap, &mut found).await?;
        match found.keys.iter().any(|key| key.alg == SigningAlg::Es256) {
            true => Ok(()),
            false => Err(KeyError::Missing(SigningAlg::Es256.as_str())),
        }
    }
}
