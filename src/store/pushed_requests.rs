//! Rows of authorization requests that were pushed, RFC 9126.

use super::{
    Store, StoreError,
    caps::pushed_bytes,
    db::{Query, Tx, row},
    statements,
};
use crate::{
    protocol::{client::Digest, client_id::ClientId, client_metadata::AuthMethod},
    secret::{PushedRequest, SecretHash},
    time::UnixTime,
};

statements! {
    INSERT = "INSERT INTO pushed_requests (hash, client_id, digest, fetched_at, request, auth_method, expires_at, bytes) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    FIND = "SELECT digest, fetched_at, request, auth_method, expires_at FROM pushed_requests \
            WHERE hash = $1 AND client_id = $2 AND spent_at IS NULL";
    SPEND = "DELETE FROM pushed_requests WHERE hash = $1 AND spent_at IS NULL";
}

row! {
    /// A request that was pushed and has not given a code.
    Pushed {
        digest: Digest,
        /// When that version of the client was read.
        fetched_at: UnixTime,
        /// The authorization request's parameters, encoded.
        request: String,
        /// How its client proved itself.
        auth_method: AuthMethod,
        expires_at: UnixTime,
    }
}

/// A request to be kept.
#[derive(Debug)]
pub struct NewPushed {
    pub hash: SecretHash<PushedRequest>,
    pub client_id: ClientId,
    pub digest: Digest,
    pub fetched_at: UnixTime,
    pub request: String,
    pub auth_method: AuthMethod,
    pub expires_at: UnixTime,
}

impl Store {
    /// Keeps a pushed request, for which there is [room](Self::room_for_pushed).
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn push(&self, new: NewPushed) -> Result<(), StoreError> {
        self.db
            .execute(
                Query::new(INSERT)
                    .bind(&new.hash)
                    .bind(&new.client_id)
                    .bind(&new.digest)
                    .bind(new.fetched_at)
                    .bind(&new.request)
                    .bind(new.auth_method)
                    .bind(new.expires_at)
                    .bind(pushed_bytes(&new.client_id, &new.request)),
            )
            .await?;
        Ok(())
    }

    /// The pushed request of this client, while it has given no code. Whether it is still in time, its reader knows.
    pub async fn pushed(
        &self,
        hash: &SecretHash<PushedRequest>,
        client_id: &ClientId,
    ) -> Result<Option<Pushed>, StoreError> {
        self.db
            .optional(Query::new(FIND).bind(hash).bind(client_id))
            .await
    }
}

/// Spends a pushed request, in the unit of work that issues its code. It takes no more room then.
///
/// # Errors
///
/// [`StoreError::UsedBefore`] when it gave one already.
pub(super) async fn spend(tx: &mut Tx, hash: &SecretHash<PushedRequest>) -> Result<(), StoreError> {
    let spent = tx.execute(Query::new(SPEND).bind(hash)).await?;
    match spent {
        1 => Ok(()),
        _ => Err(StoreError::UsedBefore),
    }
}
