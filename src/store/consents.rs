//! Rows of what people allowed, and for which version of a client's document.

use super::{
    Store, StoreError, Which,
    db::{Query, row},
    locks::stop_giving,
    statements,
};
use crate::{
    protocol::{client::Digest, client_id::ClientId, resource::Resources, scope::Scope},
    time::UnixTime,
};

statements! {
    OF_CLIENT = "SELECT scope, resources, digest, asked FROM consents \
                 WHERE subject = $1 AND client_id = $2 AND expires_at > $3 ORDER BY granted_at DESC";
    LIST = "SELECT u.username, k.client_id, k.scope, k.resources, k.granted_at, k.expires_at \
            FROM consents k JOIN users u ON u.subject = k.subject WHERE k.expires_at > $1 \
            AND (CAST($2 AS TEXT) IS NULL OR u.username = $2) AND (CAST($3 AS TEXT) IS NULL OR k.client_id = $3) \
            ORDER BY k.granted_at DESC, u.username, k.client_id, k.scope, k.resources LIMIT $4";
    END_THESE = "DELETE FROM consents WHERE \
                 (CAST($1 AS TEXT) IS NULL OR subject = (SELECT u.subject FROM users u WHERE u.username = $1)) \
                 AND (CAST($2 AS TEXT) IS NULL OR client_id = $2)";
}

row! {
    /// What a person allowed a client.
    Consent {
        scope: Scope,
        resources: Resources,
        digest: Digest,
        /// What the client had asked for; `None` where that was not written down.
        asked: Option<Scope>,
    }
}

row! {
    /// A consent that stands, as administrators see it.
    ListedConsent {
        username: String,
        client_id: ClientId,
        scope: Scope,
        resources: Resources,
        granted_at: UnixTime,
        expires_at: UnixTime,
    }
}

impl Store {
    /// Consents that stand, the newest first, at most `most`; `which.id` says nothing about them.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn all_consents(
        &self,
        which: &Which,
        most: i64,
        now: UnixTime,
    ) -> Result<Vec<ListedConsent>, StoreError> {
        self.db
            .all(
                Query::new(LIST)
                    .bind(now)
                    .bind(&which.username)
                    .bind(&which.client_id)
                    .bind(most),
            )
            .await
    }

    /// Ends consents; says how many. What rests on them goes on.
    pub async fn revoke_consents(&self, which: Which) -> Result<u64, StoreError> {
        self.db
            .write(async move |mut tx| {
                stop_giving(&mut tx).await?;
                tx.execute(
                    Query::new(END_THESE)
                        .bind(&which.username)
                        .bind(&which.client_id),
                )
                .await
            })
            .await
    }

    /// What the person allowed this client, newest first.
    pub async fn consents(
        &self,
        subject: &str,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<Vec<Consent>, StoreError> {
        self.db
            .all(
                Query::new(OF_CLIENT)
                    .bind(subject)
                    .bind(client_id)
                    .bind(now),
            )
            .await
    }
}
