//! Rows of clients that an administrator registered.

use super::{
    Store, StoreError,
    client_rules::{Ended, end_all},
    dialect::{on_connection, on_reads, stop_giving},
    statements,
};
use crate::{policy::registration::Registered, protocol::client_id::ClientId, time::UnixTime};

statements! {
    LIST = "SELECT registration FROM registered_clients ORDER BY client_id";
    ADD = "INSERT INTO registered_clients (client_id, registration, created_at) VALUES ($1, $2, $3) \
           ON CONFLICT (client_id) DO NOTHING";
    REPLACE = "UPDATE registered_clients SET registration = $2 WHERE client_id = $1";
    REMOVE = "DELETE FROM registered_clients WHERE client_id = $1";
    BUMP = "UPDATE revisions SET value = value + 1 WHERE name = 'clients'";
}

impl Store {
    /// All registrations of the database.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here; when one cannot be read.
    pub async fn registered_clients(&self) -> Result<Vec<Registered>, StoreError> {
        let texts: Vec<(String,)> = on_reads!(self, c => sqlx::query_as(LIST).fetch_all(c).await?);
        let read = texts.iter().map(|(text,)| serde_json::from_str(text));
        read.collect::<Result<_, _>>()
            .map_err(|error| StoreError::Unusable(format!("a row of registered_clients: {error}")))
    }

    /// Keeps a registration. False: the identifier is taken.
    pub async fn add_client(&self, new: Registered, now: UnixTime) -> Result<bool, StoreError> {
        let text = text(&new)?;
        self.write(move |mut connection| {
            Box::pin(async move {
                Ok(on_connection!(&mut connection, c => {
                    let added = sqlx::query(ADD).bind(new.id().as_str()).bind(text).bind(now.0)
                        .execute(&mut *c).await?.rows_affected();
                    sqlx::query(BUMP).execute(c).await?;
                    added == 1
                }))
            })
        })
        .await
    }

    /// Puts a registration in the place of the one with its identifier. False: there is none.
    pub async fn replace_client(&self, new: Registered) -> Result<bool, StoreError> {
        let text = text(&new)?;
        self.write(move |mut connection| {
            Box::pin(async move {
                Ok(on_connection!(&mut connection, c => {
                    let replaced = sqlx::query(REPLACE).bind(new.id().as_str()).bind(text)
                        .execute(&mut *c).await?.rows_affected();
                    sqlx::query(BUMP).execute(c).await?;
                    replaced == 1
                }))
            })
        })
        .await
    }

    /// Takes a registration away, and with it everything that the client has, in one unit of work. `None`: there is
    /// none.
    pub async fn remove_client(
        &self,
        client_id: ClientId,
        now: UnixTime,
    ) -> Result<Option<Ended>, StoreError> {
        self.write(move |mut connection| {
            Box::pin(async move {
                stop_giving(&mut connection).await?;
                let removed = on_connection!(&mut connection, c => {
                    let removed = sqlx::query(REMOVE).bind(client_id.as_str()).execute(&mut *c).await?.rows_affected();
                    sqlx::query(BUMP).execute(c).await?;
                    removed
                });
                if removed == 0 {
                    return Ok(None);
                }
                let because = "its registration was removed";
                let (grants, logins) = end_all(&mut connection, client_id.as_str(), because, now).await?;
                Ok(Some(Ended { clients: 1, grants, logins }))
            })
        })
        .await
    }
}

fn text(registered: &Registered) -> Result<String, StoreError> {
    serde_json::to_string(registered)
        .map_err(|error| StoreError::Unusable(format!("a registration: {error}")))
}
