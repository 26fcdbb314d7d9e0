//! Expired rows go, in small batches, so that nobody waits for them.

use super::{Store, StoreError, dialect::on_connection, statements};
use crate::time::UnixTime;

/// Rows deleted by one statement.
const BATCH: i64 = 500;
/// Seconds a spent code is remembered, so that using it again is noticed.
const CODES: i64 = 3_600;
/// Seconds an ended grant is remembered: longer than any access token of it lives.
const GRANTS: i64 = 86_400;

statements! {
    INTERACTIONS_OUT = "DELETE FROM interactions WHERE hash IN \
                        (SELECT hash FROM interactions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    CODES_OUT = "DELETE FROM authorization_codes WHERE hash IN \
                 (SELECT hash FROM authorization_codes WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    SESSIONS_OUT = "DELETE FROM sessions WHERE hash IN \
                    (SELECT hash FROM sessions WHERE ends_at < $1 ORDER BY ends_at LIMIT $2)";
    CONSENTS_OUT = "DELETE FROM consents WHERE expires_at < $1 AND client_id IN \
                    (SELECT client_id FROM consents WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    GRANTS_OUT = "DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE ends_at < $1 ORDER BY ends_at LIMIT $2)";
    LINKS_OUT = "DELETE FROM setup_links WHERE hash IN (SELECT hash FROM setup_links WHERE expires_at < $1 LIMIT $2)";
}

impl Store {
    /// Deletes one batch of each kind of expired row; says how many went, and whether there may be more.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn sweep(&self, now: UnixTime) -> Result<(u64, bool), StoreError> {
        let table = [
            (INTERACTIONS_OUT, 0),
            (CODES_OUT, CODES),
            (SESSIONS_OUT, 0),
            (CONSENTS_OUT, 0),
            (GRANTS_OUT, GRANTS),
            (LINKS_OUT, 0),
        ];
        let (mut gone, mut more) = (0, false);
        for (statement, kept) in table {
            let before = now + -kept;
            let deleted = self
                .write_one(move |mut connection| {
                    Box::pin(async move {
                        Ok(on_connection!(&mut connection, c => {
                            sqlx::query(statement).bind(before.0).bind(BATCH).execute(c).await?.rows_affected()
                        }))
                    })
                })
                .await?;
            gone += deleted;
            more |= i64::try_from(deleted).is_ok_and(|deleted| deleted >= BATCH);
        }
        Ok((gone, more))
    }
}
