//! To begin anew with our keys, when the one that encrypts them is lost: one unit of work.

use super::{
    Store, StoreError,
    db::{on_connection, on_reads, stop_giving},
    statements,
};
use crate::time::UnixTime;

statements! {
    KEYS = "SELECT COUNT(*) FROM signing_keys";
    LIVE = "SELECT COUNT(*) FROM grants WHERE revoked_at IS NULL AND ends_at > $1";
    DELETE_KEYS = "DELETE FROM signing_keys";
    DELETE_SECRETS = "DELETE FROM server_secrets";
    END_GRANTS = "UPDATE grants SET revoked_at = $1, revoked_because = $2 WHERE revoked_at IS NULL";
    END_CODES = "UPDATE authorization_codes SET spent_at = $1 WHERE spent_at IS NULL";
    END_DEVICES = "UPDATE device_codes SET allowed = FALSE WHERE allowed";
}

/// What ends when the keys are made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeysEnd {
    pub signing_keys: i64,
    pub grants: i64,
}

impl Store {
    /// What [`Store::reset_keys`] would end.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn keys_end(&self, now: UnixTime) -> Result<KeysEnd, StoreError> {
        let (signing_keys, grants): (i64, i64) = on_reads!(self, c => {
            let (keys,): (i64,) = sqlx::query_as(KEYS).fetch_one(&mut *c).await?;
            let (grants,): (i64,) = sqlx::query_as(LIVE).bind(now.0).fetch_one(&mut *c).await?;
            (keys, grants)
        });
        Ok(KeysEnd {
            signing_keys,
            grants,
        })
    }

    /// Deletes our signing keys and secrets, and ends what was made with them: grants, codes, devices that were allowed.
    pub async fn reset_keys(&self, now: UnixTime) -> Result<(), StoreError> {
        self.write(move |mut connection| {
            Box::pin(async move {
                stop_giving(&mut connection).await?;
                on_connection!(&mut connection, c => {
                    sqlx::query(DELETE_KEYS).execute(&mut *c).await?;
                    sqlx::query(DELETE_SECRETS).execute(&mut *c).await?;
                    sqlx::query(END_GRANTS).bind(now.0).bind("the server's keys were reset").execute(&mut *c).await?;
                    sqlx::query(END_CODES).bind(now.0).execute(&mut *c).await?;
                    sqlx::query(END_DEVICES).execute(&mut *c).await?;
                });
                Ok(())
            })
        })
        .await
    }
}
