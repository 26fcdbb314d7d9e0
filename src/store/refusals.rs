//! Rows of refusals: the last thousand, for the administrator who is asked why.

use super::{
    Store, StoreError,
    db::{Query, row},
    statements,
};
use crate::time::UnixTime;

/// Refusals that are kept; the oldest go first.
pub const MOST_REFUSALS: i64 = 1_000;
/// Seconds for which one is kept: it says who came from where.
const KEPT: i64 = 30 * 86_400;

statements! {
    KEEP = "INSERT INTO refusals (reference, refused_at, endpoint, rule, client_id, subject, address, told, cause) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (reference) DO NOTHING";
    OLD_OUT = "DELETE FROM refusals WHERE refused_at < $1";
    // With the limit, which SQLite does not do without.
    REST_OUT = "DELETE FROM refusals WHERE reference IN (SELECT reference FROM refusals \
                ORDER BY refused_at DESC, reference LIMIT 1000000 OFFSET $1)";
    LAST = "SELECT r.reference, r.refused_at, r.endpoint, r.rule, r.client_id, u.username, r.address, r.told, r.cause \
            FROM refusals r LEFT JOIN users u ON u.subject = r.subject \
            WHERE r.refused_at > $1 ORDER BY r.refused_at DESC, r.reference LIMIT $2";
    ONE = "SELECT r.reference, r.refused_at, r.endpoint, r.rule, r.client_id, u.username, r.address, r.told, r.cause \
           FROM refusals r LEFT JOIN users u ON u.subject = r.subject WHERE r.reference = $1 AND r.refused_at > $2";
}

row! {
    /// A refusal, as the administrator sees it.
    KeptRefusal {
        reference: String,
        at: UnixTime,
        endpoint: String,
        rule: String,
        client_id: Option<String>,
        /// Who was signed in, or wanted to be.
        username: Option<String>,
        address: String,
        told: String,
        cause: String,
    }
}

/// A refusal that is to be kept.
#[derive(Clone, Debug)]
pub struct NewRefusal {
    pub reference: String,
    pub at: UnixTime,
    pub endpoint: String,
    pub rule: String,
    pub client_id: Option<String>,
    pub subject: Option<String>,
    pub address: String,
    pub told: String,
    pub cause: String,
}

impl Store {
    /// Keeps these, and lets the oldest go.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn keep_refusals(&self, new: Vec<NewRefusal>) -> Result<(), StoreError> {
        let Some(now) = new.iter().map(|refusal| refusal.at).max() else {
            return Ok(());
        };
        self.db
            .write(async move |mut tx| {
                for refusal in &new {
                    tx.execute(
                        Query::new(KEEP)
                            .bind(&refusal.reference)
                            .bind(refusal.at)
                            .bind(&refusal.endpoint)
                            .bind(&refusal.rule)
                            .bind(refusal.client_id.as_deref())
                            .bind(refusal.subject.as_deref())
                            .bind(&refusal.address)
                            .bind(&refusal.told)
                            .bind(&refusal.cause),
                    )
                    .await?;
                }
                tx.execute(Query::new(OLD_OUT).bind(now + -KEPT)).await?;
                tx.execute(Query::new(REST_OUT).bind(MOST_REFUSALS)).await?;
                Ok(())
            })
            .await
    }

    /// The last refusals, the newest first.
    pub async fn refusals(&self, most: i64, now: UnixTime) -> Result<Vec<KeptRefusal>, StoreError> {
        let since = now + -KEPT;
        self.db.all(Query::new(LAST).bind(since).bind(most)).await
    }

    /// The refusal of this reference.
    pub async fn refusal(
        &self,
        reference: &str,
        now: UnixTime,
    ) -> Result<Option<KeptRefusal>, StoreError> {
        let since = now + -KEPT;
        self.db
            .optional(Query::new(ONE).bind(reference).bind(since))
            .await
    }
}
