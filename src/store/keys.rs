//! Rows of our own keys and secrets, as `keys.rs` hands them over: encrypted when a key file is configured.

use super::{
    Store, StoreError,
    db::{Query, row},
    statements,
};
use crate::{protocol::id_token::SigningAlg, time::UnixTime};

statements! {
    LIST = "SELECT generation, kid, private_key, alg, created_at, signs_from FROM signing_keys ORDER BY generation";
    MARKS = "SELECT kid, signs_from FROM signing_keys ORDER BY generation";
    // The generation is the key of the table: of several processes one adds the next.
    INSERT_AFTER = "INSERT INTO signing_keys (generation, kid, private_key, created_at, alg, signs_from) \
                    SELECT (SELECT COALESCE(MAX(k.generation), 0) + 1 FROM signing_keys k), $1, $2, CAST($3 AS BIGINT), $4, CAST($5 AS BIGINT) \
                    WHERE NOT EXISTS (SELECT 1 FROM signing_keys k WHERE k.alg = $4 AND k.signs_from > $6) ON CONFLICT DO NOTHING";
    ADVANCE = "UPDATE signing_keys SET signs_from = $2 WHERE signs_from > $2 AND alg = $1 \
               AND NOT EXISTS (SELECT 1 FROM signing_keys k WHERE k.alg = $1 AND k.signs_from > $2 AND k.generation < signing_keys.generation)";
    DELETE = "DELETE FROM signing_keys WHERE kid = $1 RETURNING alg, signs_from, generation";
    DELETE_OVER = "DELETE FROM signing_keys WHERE EXISTS (SELECT 1 FROM signing_keys k WHERE k.alg = signing_keys.alg \
                   AND (k.signs_from > signing_keys.signs_from OR (k.signs_from = signing_keys.signs_from AND k.generation > signing_keys.generation)) \
                   AND k.signs_from <= $1)";
    SUCCEEDED = "SELECT generation FROM signing_keys WHERE alg = $1 AND signs_from <= $4 \
                 AND (signs_from > $2 OR (signs_from = $2 AND generation > $3))";
    REPLACE = "UPDATE signing_keys SET private_key = $2 WHERE kid = $1";
    SECRET = "SELECT value FROM server_secrets WHERE name = $1";
    INSERT_SECRET = "INSERT INTO server_secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    REPLACE_SECRET = "UPDATE server_secrets SET value = $2 WHERE name = $1";
}

row! {
    /// A signing key.
    StoredKey {
        generation: i64,
        kid: String,
        private_key: String,
        alg: SigningAlg,
        created_at: UnixTime,
        signs_from: UnixTime,
    }
}

/// A signing key to be kept.
#[derive(Debug)]
pub struct NewKey {
    pub alg: SigningAlg,
    pub kid: String,
    pub private_key: String,
    pub signs_from: UnixTime,
}

/// Which key, and from when on it signs: what tells two states of the keys apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMark {
    pub kid: String,
    pub signs_from: UnixTime,
}

impl Store {
    /// All signing keys, oldest first.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn signing_keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        self.db.all(Query::new(LIST)).await
    }

    /// Which signing keys there are, and from when on they sign, oldest first.
    pub async fn key_marks(&self) -> Result<Vec<KeyMark>, StoreError> {
        let rows: Vec<(String, i64)> = self.db.all(Query::new(MARKS)).await?;
        let marks = rows.into_iter().map(|(kid, signs_from)| KeyMark {
            kid,
            signs_from: UnixTime(signs_from),
        });
        Ok(marks.collect())
    }

    /// Adds a key unless there is one of its algorithm that signs from later than `after` (`None`: at all). Of several
    /// processes that want one at once, one adds it; of two of different algorithms one may be left out, and has to be
    /// added again. Says whether it was added.
    pub async fn add_signing_key(
        &self,
        key: NewKey,
        after: Option<UnixTime>,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let after = after.map_or(i64::MIN, |after| after.0);
        let added = self
            .db
            .execute(
                Query::new(INSERT_AFTER)
                    .bind(&key.kid)
                    .bind(&key.private_key)
                    .bind(now)
                    .bind(key.alg)
                    .bind(key.signs_from)
                    .bind(after),
            )
            .await?;
        Ok(added > 0)
    }

    /// Has the next key of an algorithm sign from now on. False: none waits.
    pub async fn advance_signing_key(
        &self,
        alg: SigningAlg,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let advanced = self
            .db
            .execute(Query::new(ADVANCE).bind(alg).bind(now))
            .await?;
        Ok(advanced > 0)
    }

    /// Deletes a key. If it is the one that signs, the next one does from now on: the one that waits, else `replacement`.
    /// False: there is no such key.
    pub async fn delete_signing_key(
        &self,
        kid: String,
        replacement: NewKey,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        self.db
            .write(async move |mut tx| {
                let gone: Option<(SigningAlg, UnixTime, i64)> =
                    tx.optional(Query::new(DELETE).bind(&kid)).await?;
                let Some((alg, signed_from, generation)) = gone else {
                    return Ok(false);
                };
                let succeeded = tx
                    .optional::<()>(
                        Query::new(SUCCEEDED)
                            .bind(alg)
                            .bind(signed_from)
                            .bind(generation)
                            .bind(now),
                    )
                    .await?;
                if signed_from > now || succeeded.is_some() {
                    return Ok(true);
                }
                let advanced = tx.execute(Query::new(ADVANCE).bind(alg).bind(now)).await?;
                if advanced == 0 {
                    let added = tx
                        .execute(
                            Query::new(INSERT_AFTER)
                                .bind(&replacement.kid)
                                .bind(&replacement.private_key)
                                .bind(now)
                                .bind(alg)
                                .bind(now)
                                .bind(signed_from),
                        )
                        .await?;
                    // Another process added a key of another algorithm at the same time: nothing of this is kept.
                    if added == 0 {
                        return Err(StoreError::Unusable(
                            "another process changed the keys in this moment".to_owned(),
                        ));
                    }
                }
                Ok(true)
            })
            .await
    }

    /// Deletes the keys whose successors signed at `over`, or before.
    pub async fn delete_signing_keys_over(&self, over: UnixTime) -> Result<u64, StoreError> {
        self.db.execute(Query::new(DELETE_OVER).bind(over)).await
    }

    /// The secret of this name; `offered` becomes it if there is none.
    pub async fn server_secret(
        &self,
        name: &'static str,
        offered: String,
    ) -> Result<String, StoreError> {
        self.db
            .write(async move |mut tx| {
                tx.execute(Query::new(INSERT_SECRET).bind(name).bind(&offered))
                    .await?;
                tx.one(Query::new(SECRET).bind(name)).await
            })
            .await
    }

    /// The same key or secret in another wrapping.
    pub async fn rewrap(
        &self,
        name: String,
        wrapped: String,
        is_signing_key: bool,
    ) -> Result<(), StoreError> {
        let statement = if is_signing_key {
            REPLACE
        } else {
            REPLACE_SECRET
        };
        self.db
            .execute(Query::new(statement).bind(&name).bind(&wrapped))
            .await?;
        Ok(())
    }
}
