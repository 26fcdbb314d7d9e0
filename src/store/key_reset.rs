//! To begin anew with our keys, when the one that encrypts them is lost: one unit of work.

use super::{Store, StoreError, db::Query, locks::stop_giving, statements};
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
        Ok(KeysEnd {
            signing_keys: self.db.one(Query::new(KEYS)).await?,
            grants: self.db.one(Query::new(LIVE).bind(now)).await?,
        })
    }

    /// Deletes our signing keys and secrets, and ends what was made with them: grants, codes, devices that were allowed.
    pub async fn reset_keys(&self, now: UnixTime) -> Result<(), StoreError> {
        self.db
            .write(async move |mut tx| {
                stop_giving(&mut tx).await?;
                tx.execute(Query::new(DELETE_KEYS)).await?;
                tx.execute(Query::new(DELETE_SECRETS)).await?;
                tx.execute(
                    Query::new(END_GRANTS)
                        .bind(now)
                        .bind("the server's keys were reset"),
                )
                .await?;
                tx.execute(Query::new(END_CODES).bind(now)).await?;
                tx.execute(Query::new(END_DEVICES)).await?;
                Ok(())
            })
            .await
    }
}
