//! Signing keys come and go: by the clock, and when an administrator says so.

use super::{KeyError, Keys};
use crate::{
    policy::key_rotation::{AHEAD, Duty},
    protocol::id_token::SigningAlg,
    time::{UnixTime, in_rfc_3339},
};

/// A key of ours, as administrators see it.
#[derive(Debug)]
pub struct Described {
    pub kid: String,
    pub alg: SigningAlg,
    pub created_at: UnixTime,
    pub signs_from: UnixTime,
    pub duty: Duty,
}

impl Keys {
    /// Does what time asks for: publishes successors of keys that will end, and deletes keys that nobody needs any more.
    /// Of several processes on one database one does it. To be called now and then.
    ///
    /// # Errors
    ///
    /// When the database fails, or a key cannot be made.
    pub async fn turn(&self, now: UnixTime) -> Result<(), KeyError> {
        self.notice(now).await?;
        for alg in SigningAlg::ALL {
            let newest = self
                .ring
                .load()
                .of(alg)
                .map(|key| key.mark.signs_from)
                .max();
            let Some(newest) = newest else { continue };
            if let Some(from) = self.schedule.successor(newest, now) {
                self.publish(alg, from, newest, now).await?;
            }
        }
        let gone = self
            .store
            .delete_signing_keys_over(self.schedule.over(now))
            .await?;
        if gone > 0 {
            tracing::info!(gone, "signing keys deleted that no token needs any more");
            self.notice(now).await?;
        }
        Ok(())
    }

    /// Publishes the next key of an algorithm before its time, or has it sign at once. Says which signs from when on.
    ///
    /// # Errors
    ///
    /// As [`Keys::turn`].
    pub async fn rotate(
        &self,
        alg: SigningAlg,
        at_once: bool,
        now: UnixTime,
    ) -> Result<Described, KeyError> {
        self.have(alg, now).await?;
        for _ in 0..SigningAlg::ALL.len() {
            self.notice(now).await?;
            let all = self.described(now);
            let mut next = all.into_iter().filter(|key| key.alg == alg);
            match next.find(|key| key.signs_from > now) {
                Some(waiting) if !at_once => return Ok(waiting),
                Some(_) => {
                    self.store.advance_signing_key(alg, now).await?;
                    break;
                }
                None => {}
            }
            let newest = self
                .ring
                .load()
                .of(alg)
                .map(|key| key.mark.signs_from)
                .max();
            let newest = newest.ok_or(KeyError::Missing(alg.as_str()))?;
            let from = now + if at_once { 0 } else { AHEAD };
            if self.publish(alg, from, newest, now).await? {
                break;
            }
        }
        self.notice(now).await?;
        let mut all = self.described(now).into_iter().rev();
        let wanted = |key: &Described| key.alg == alg && (key.duty == Duty::Signs) == at_once;
        all.find(wanted).ok_or(KeyError::Missing(alg.as_str()))
    }

    /// Takes a key out at once: what it signed is good no more, as far as others ask for our keys. If it is the one that
    /// signs, another one does from now on.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unknown`], or when the database fails.
    pub async fn revoke(&self, kid: &str, now: UnixTime) -> Result<(), KeyError> {
        self.notice(now).await?;
        let unknown = || KeyError::Unknown(kid.to_owned());
        let alg = self.ring.load().find(kid).ok_or_else(unknown)?.alg;
        let replacement = self.make(alg, now).await?;
        let deleted = self
            .store
            .delete_signing_key(kid.to_owned(), replacement, now)
            .await?;
        self.notice(now).await?;
        deleted.then_some(()).ok_or_else(unknown)
    }

    /// All keys; of each algorithm the oldest first.
    pub fn described(&self, now: UnixTime) -> Vec<Described> {
        let ring = self.ring.load();
        let described = SigningAlg::ALL.into_iter().flat_map(|alg| {
            let from: Vec<_> = ring.of(alg).map(|key| key.mark.signs_from).collect();
            let duties = self.schedule.duties(&from, now);
            ring.of(alg).zip(duties).map(move |(key, duty)| Described {
                kid: key.mark.kid.clone(),
                alg,
                created_at: key.created_at,
                signs_from: key.mark.signs_from,
                duty,
            })
        });
        described.collect()
    }

    /// Adds a key that signs from `from` on, unless another process has added one since `newest`.
    async fn publish(
        &self,
        alg: SigningAlg,
        from: UnixTime,
        newest: UnixTime,
        now: UnixTime,
    ) -> Result<bool, KeyError> {
        let key = self.make(alg, from).await?;
        let kid = key.kid.clone();
        let added = self.store.add_signing_key(key, Some(newest), now).await?;
        if added {
            let from = in_rfc_3339(from);
            tracing::info!(%kid, alg = alg.as_str(), %from, "a new signing key is published");
            self.notice(now).await?;
        }
        Ok(added)
    }
}
