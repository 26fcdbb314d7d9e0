//! Rows of our own keys and secrets, as `keys.rs` hands them over: encrypted when a key file is configured.

use super::{
    Store, StoreError,
    columns::row,
    dialect::{on_connection, on_reads},
    statements,
};
use crate::time::UnixTime;

statements! {
    LIST = "SELECT generation, kid, private_key FROM signing_keys ORDER BY generation";
    INSERT = "INSERT INTO signing_keys (generation, kid, private_key, created_at) VALUES ($1, $2, $3, $4) \
              ON CONFLICT (generation) DO NOTHING";
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
    }
}

impl Store {
    /// All signing keys, oldest first.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn signing_keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        Ok(on_reads!(self, pool => sqlx::query_as(LIST).fetch_all(pool).await?))
    }

    /// Adds a key unless its generation exists: of several instances that start at once, one makes the key.
    pub async fn add_signing_key(&self, key: StoredKey, now: UnixTime) -> Result<(), StoreError> {
        self.write_one(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    sqlx::query(INSERT).bind(key.generation).bind(&key.kid).bind(&key.private_key).bind(now.0)
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
