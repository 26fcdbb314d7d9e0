//! Rows of clients in development: documents that we serve for a while.

use super::{
    Store, StoreError,
    db::{Query, row},
    statements,
};
use crate::time::UnixTime;

statements! {
    FIND = "SELECT document FROM dev_clients WHERE id = $1 AND expires_at > $2";
    OF_PERSON = "SELECT id, document, created_at, expires_at FROM dev_clients WHERE subject = $1 AND expires_at > $2 ORDER BY created_at DESC";
    ALL = "SELECT d.id, u.username, d.document, d.created_at, d.expires_at FROM dev_clients d JOIN users u ON u.subject = d.subject \
           WHERE d.expires_at > $1 ORDER BY d.created_at DESC, d.id LIMIT $2";
    INSERT = "INSERT INTO dev_clients (id, subject, document, created_at, expires_at) \
              SELECT $1, $2, $3, CAST($4 AS BIGINT), CAST($5 AS BIGINT) \
              WHERE (SELECT COUNT(*) FROM dev_clients WHERE subject = $2 AND expires_at > CAST($4 AS BIGINT)) < CAST($6 AS BIGINT) \
              AND EXISTS (SELECT 1 FROM users u WHERE u.subject = $2)";
    REMOVE = "DELETE FROM dev_clients WHERE id = $1 AND subject = $2";
    END_GRANTS = "UPDATE grants SET revoked_at = $2, revoked_because = $3 WHERE client_id = $1 AND revoked_at IS NULL";
}

row! {
    /// A document that a developer had made.
    DevClient {
        id: String,
        document: String,
        created_at: UnixTime,
        expires_at: UnixTime,
    }
}

row! {
    /// A document that a developer had made, as administrators see it.
    ListedDevClient {
        id: String,
        username: String,
        document: String,
        created_at: UnixTime,
        expires_at: UnixTime,
    }
}

/// A document to be served.
#[derive(Debug)]
pub struct NewDevClient {
    pub id: String,
    pub subject: String,
    pub document: String,
    pub expires_at: UnixTime,
}

impl Store {
    /// The document, while it lives.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn dev_client(&self, id: &str, now: UnixTime) -> Result<Option<String>, StoreError> {
        self.db.optional(Query::new(FIND).bind(id).bind(now)).await
    }

    /// The documents of a person, newest first.
    pub async fn dev_clients(
        &self,
        subject: &str,
        now: UnixTime,
    ) -> Result<Vec<DevClient>, StoreError> {
        self.db
            .all(Query::new(OF_PERSON).bind(subject).bind(now))
            .await
    }

    /// The documents of all people, newest first, at most `most`.
    pub async fn all_dev_clients(
        &self,
        now: UnixTime,
        most: i64,
    ) -> Result<Vec<ListedDevClient>, StoreError> {
        self.db.all(Query::new(ALL).bind(now).bind(most)).await
    }

    /// Serves a document from now on. False: the person has `most` of them already, or no account any more.
    pub async fn add_dev_client(
        &self,
        new: NewDevClient,
        now: UnixTime,
        most: i64,
    ) -> Result<bool, StoreError> {
        Ok(self
            .db
            .execute(
                Query::new(INSERT)
                    .bind(&new.id)
                    .bind(&new.subject)
                    .bind(&new.document)
                    .bind(now)
                    .bind(new.expires_at)
                    .bind(most),
            )
            .await?
            == 1)
    }

    /// Takes a document of this person away and ends what its client was granted. False: there is none.
    pub async fn remove_dev_client(
        &self,
        id: String,
        subject: String,
        client_id: String,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        self.db
            .write(async move |mut tx| {
                let removed = tx
                    .execute(Query::new(REMOVE).bind(&id).bind(&subject))
                    .await?;
                if removed == 1 {
                    tx.execute(
                        Query::new(END_GRANTS)
                            .bind(&client_id)
                            .bind(now)
                            .bind("removed by its developer"),
                    )
                    .await?;
                }
                Ok(removed == 1)
            })
            .await
    }
}
