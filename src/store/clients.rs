//! Rows of clients: the last good copy of each document, and every version that something refers to.

use super::{
    Store, StoreError,
    columns::row,
    dialect::{on_connection, on_reads},
    statements,
};
use crate::{
    protocol::{client::Digest, client_id::ClientId},
    time::UnixTime,
};

statements! {
    FIND = "SELECT d.document, c.fetched_at, c.fresh_until FROM clients c \
            JOIN client_documents d ON d.digest = c.digest WHERE c.client_id = $1";
    DOCUMENT = "SELECT document FROM client_documents WHERE digest = $1 AND client_id = $2";
    KEEP_DOCUMENT = "INSERT INTO client_documents (digest, client_id, document, first_read_at) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (digest) DO NOTHING";
    KEEP_CLIENT = "INSERT INTO clients (client_id, digest, fetched_at, fresh_until) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (client_id) DO UPDATE SET digest = $2, fetched_at = $3, fresh_until = $4";
    FORGET_CLIENT = "DELETE FROM clients WHERE client_id = $1";
}

row! {
    /// The last good copy of a client's document.
    KeptClient {
        document: String,
        fetched_at: UnixTime,
        fresh_until: UnixTime,
    }
}

impl Store {
    /// The last good copy.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn client(&self, client_id: &ClientId) -> Result<Option<KeptClient>, StoreError> {
        Ok(
            on_reads!(self, pool => sqlx::query_as(FIND).bind(client_id.as_str()).fetch_optional(pool).await?),
        )
    }

    /// One version of a client's document.
    pub async fn client_document(
        &self,
        client_id: &ClientId,
        digest: &Digest,
    ) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = on_reads!(self, pool => {
            sqlx::query_as(DOCUMENT).bind(digest.as_str()).bind(client_id.as_str()).fetch_optional(pool).await?
        });
        Ok(row.map(|(document,)| document))
    }

    /// Keeps a version, and makes it the last good copy unless its host forbids storing it (`fresh_until` is `None`).
    pub async fn keep_client(
        &self,
        client_id: ClientId,
        digest: Digest,
        document: String,
        fetched_at: UnixTime,
        fresh_until: Option<UnixTime>,
    ) -> Result<(), StoreError> {
        self.write(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    sqlx::query(KEEP_DOCUMENT).bind(digest.as_str()).bind(client_id.as_str()).bind(&document).bind(fetched_at.0)
                        .execute(&mut *c).await?;
                    match fresh_until {
                        Some(until) => sqlx::query(KEEP_CLIENT).bind(client_id.as_str()).bind(digest.as_str())
                            .bind(fetched_at.0).bind(until.0).execute(c).await?,
                        None => sqlx::query(FORGET_CLIENT).bind(client_id.as_str()).execute(c).await?,
                    };
                });
                Ok(())
            })
        })
        .await
    }

    /// The document is gone or invalid: no copy of it serves anybody any more.
    pub async fn forget_client(&self, client_id: ClientId) -> Result<(), StoreError> {
        self.write_one(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    sqlx::query(FORGET_CLIENT).bind(client_id.as_str()).execute(c).await?;
                });
                Ok(())
            })
        })
        .await
    }
}
