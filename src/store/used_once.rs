//! Rows of what was used and serves no second time: identifiers of assertions and of proofs.

use super::{Store, StoreError, db::Query, statements};
use crate::{secret::sha256, time::UnixTime};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

statements! {
    SPEND = "INSERT INTO used_once (hash, until) VALUES ($1, $2) \
             ON CONFLICT (hash) DO UPDATE SET until = $2 WHERE used_once.until <= $3";
}

/// What serves once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RFC 7523 §3.
    Assertion,
    /// RFC 9449 §4.
    Proof,
}

/// Something that serves once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    kind: Kind,
    hash: String,
    until: UnixTime,
}

impl Once {
    /// The identifier `jti`, as `whose` uses it for a thing of this `kind`. It has to be remembered `until` then.
    pub fn new(kind: Kind, whose: &str, jti: &str, until: UnixTime) -> Self {
        // Lengths keep the parts apart.
        let text = format!("{kind:?} {} {whose} {jti}", whose.len());
        Self {
            kind,
            hash: BASE64_URL_SAFE_NO_PAD.encode(sha256(text.as_bytes())),
            until,
        }
    }
}

impl Once {
    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl Store {
    /// Uses them one after the other, until one of them was used before: which one that is. Of any number of concurrent
    /// callers with the same thing one succeeds.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] when there is no room to remember them; when the database fails.
    pub async fn spend_once(
        &self,
        all: Vec<Once>,
        now: UnixTime,
    ) -> Result<Option<Once>, StoreError> {
        let many = i64::try_from(all.len()).unwrap_or(i64::MAX);
        self.room_for_once(many, now).await?;
        // One alone is one statement.
        if let [once] = &*all {
            let spent = self.db.execute(spending(once, now)).await?;
            return Ok((spent != 1).then(|| once.clone()));
        }
        self.db
            .write(async move |mut tx| {
                for once in all {
                    if tx.execute(spending(&once, now)).await? != 1 {
                        return Ok(Some(once));
                    }
                }
                Ok(None)
            })
            .await
    }
}

/// Uses it, unless it was used: how many rows it wrote.
fn spending(once: &Once, now: UnixTime) -> Query<'_> {
    Query::new(SPEND)
        .bind(&once.hash)
        .bind(once.until)
        .bind(now)
}
