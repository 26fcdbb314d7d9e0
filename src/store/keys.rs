//! Rows of our own keys and secrets, as `keys.rs` hands them over: encrypted when a key file is configured.

use super::{
    Store, StoreError,
    columns::row,
    dialect::{on_connection, on_reads},
    statements,
};
use crate::{protocol::id_token::SigningAlg, time::UnixTime};

statements! {
    LIST = "SELECT generation, kid, private_key, alg FROM signing_keys ORDER BY generation";
    GENERATIONS = "SELECT generation FROM signing_keys ORDER BY generation";
    INSERT_FIRST = "INSERT INTO signing_keys (generation, kid, private_key, created_at, alg) \
                    SELECT (SELECT COALESCE(MAX(k.generation), 0) + 1 FROM signing_keys k), $1, $2, CAST($3 AS BIGINT), $4 \
                    WHERE NOT EXISTS (SELECT 1 FROM signing_keys k WHERE k.alg = $4) ON CONFLICT DO NOTHING";
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
    }
}

/// A signing key to be kept.
#[derive(Debug)]
pub struct NewKey {
    pub alg: SigningAlg,
    pub kid: String,
    pub private_key: String,
}

impl Store {
    /// All signing keys, oldest first.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn signing_keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        Ok(on_reads!(self, c => sqlx::query_as(LIST).fetch_all(c).await?))
    }

    /// Which signing keys there are, oldest first.
    pub async fn key_generations(&self) -> Result<Vec<i64>, StoreError> {
        let rows: Vec<(i64,)> =
            on_reads!(self, c => sqlx::query_as(GENERATIONS).fetch_all(c).await?);
        Ok(rows.into_iter().map(|(generation,)| generation).collect())
    }

    /// Adds a key unless there is one of its algorithm: of several processes that need one at once, one makes it. Of
    /// two of different algorithms one may be left out, and has to be added again.
    pub async fn add_first_signing_key(
        &self,
        key: NewKey,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        self.write_one(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    sqlx::query(INSERT_FIRST).bind(&key.kid).bind(&key.private_key).bind(now.0).bind(key.alg.as_str())
                        .execute(c).await?;
                });
                Ok(())
            })
        })
        .await
    }

    /// The secret of this name; `offered` becomes it if there is none.
    pub async fn server_secret(
        &self,
        name: &'static str,
        offered: String,
    ) -> Result<String, StoreError> {
        self.write(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    sqlx::query(INSERT_SECRET).bind(name).bind(&offered).execute(&mut *c).await?;
                    let (value,): (String,) = sqlx::query_as(SECRET).bind(name).fetch_one(c).await?;
                    Ok(value)
                })
            })
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
        self.write_one(move |mut connection| {
            Box::pin(async move {
                let statement = if is_signing_key {
                    REPLACE
                } else {
                    REPLACE_SECRET
                };
                on_connection!(&mut connection, c => {
                    sqlx::query(statement).bind(&name).bind(&wrapped).execute(c).await?;
                });
                Ok(())
            })
        })
        .await
    }
}
