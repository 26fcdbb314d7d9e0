//! Rows of what people allowed, and for which version of a client's document.

use super::{Store, StoreError, columns::row, dialect::on_reads, statements};
use crate::{
    protocol::{client::Digest, client_id::ClientId, resource::Resources, scope::Scope},
    time::UnixTime,
};

statements! {
    OF_CLIENT = "SELECT scope, resources, digest, asked FROM consents \
                 WHERE subject = $1 AND client_id = $2 AND expires_at > $3 ORDER BY granted_at DESC";
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

impl Store {
    /// What the person allowed this client, newest first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn consents(
        &self,
        subject: &str,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<Vec<Consent>, StoreError> {
        Ok(on_reads!(self, c => {
            sqlx::query_as(OF_CLIENT).bind(subject).bind(client_id.as_str()).bind(now.0).fetch_all(c).await?
        }))
    }
}
