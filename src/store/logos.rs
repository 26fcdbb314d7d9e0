//! Rows of logos: as we encoded them, by the hash of that, and which client shows which.

use super::{
    Store, StoreError,
    db::{Query, row},
    statements,
};
use crate::{protocol::client_id::ClientId, time::UnixTime};

statements! {
    OF_CLIENT = "SELECT logo_uri, hash, fetched_at, failed_because FROM client_logos WHERE client_id = $1";
    PNG = "SELECT png FROM logos WHERE hash = $1";
    KEEP_PNG = "INSERT INTO logos (hash, png) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING";
    KEEP = "INSERT INTO client_logos (client_id, logo_uri, hash, fetched_at, failed_because) VALUES ($1, $2, $3, $4, $5) \
            ON CONFLICT (client_id) DO UPDATE SET logo_uri = $2, hash = COALESCE($3, CASE WHEN client_logos.logo_uri = $2 \
            THEN client_logos.hash END), fetched_at = $4, failed_because = $5";
}

row! {
    /// What is known of a client's logo.
    ClientLogo {
        logo_uri: String,
        /// `None`: there is none that can be shown.
        hash: Option<String>,
        fetched_at: UnixTime,
        failed_because: Option<String>,
    }
}

/// A logo that was looked for.
#[derive(Debug)]
pub struct NewLogo {
    pub client_id: ClientId,
    pub logo_uri: String,
    /// Its hash and its PNG in base64, or why there is none.
    pub outcome: Result<(String, String), String>,
}

impl Store {
    /// What is known of a client's logo.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn client_logo(
        &self,
        client_id: &ClientId,
    ) -> Result<Option<ClientLogo>, StoreError> {
        self.db
            .optional(Query::new(OF_CLIENT).bind(client_id))
            .await
    }

    /// A logo's PNG, in base64.
    pub async fn logo(&self, hash: &str) -> Result<Option<String>, StoreError> {
        self.db.optional(Query::new(PNG).bind(hash)).await
    }

    /// Keeps what was found. After a failure the last good picture of the same address stays.
    pub async fn keep_logo(&self, new: NewLogo, now: UnixTime) -> Result<(), StoreError> {
        self.db
            .write(async move |mut tx| {
                let (found, because) = match new.outcome {
                    Ok(found) => (Some(found), None),
                    Err(because) => (None, Some(because)),
                };
                if let Some((hash, png)) = &found {
                    tx.execute(Query::new(KEEP_PNG).bind(hash).bind(png))
                        .await?;
                }
                tx.execute(
                    Query::new(KEEP)
                        .bind(&new.client_id)
                        .bind(&new.logo_uri)
                        .bind(found.as_ref().map(|(hash, _)| hash.as_str()))
                        .bind(now)
                        .bind(because.as_deref()),
                )
                .await?;
                Ok(())
            })
            .await
    }
}
