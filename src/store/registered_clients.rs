//! Rows of clients that an administrator registered.

use super::{
    Store, StoreError,
    db::{Query, Tx, row},
    locks::{keep_registrations, stop_giving},
    revocation::{Ended, end_client},
    statements,
};
use crate::{
    policy::registration::{KeptSecret, Registered, Registration},
    protocol::client_id::ClientId,
    secret::SecretHash,
    time::UnixTime,
};

statements! {
    LIST = "SELECT registration, secret_made_at, next_secret, next_secret_made_at FROM registered_clients ORDER BY client_id";
    FIND = "SELECT registration, secret_made_at, next_secret, next_secret_made_at FROM registered_clients WHERE client_id = $1";
    ADD = "INSERT INTO registered_clients (client_id, registration, secret_made_at, created_at) VALUES ($1, $2, $3, $4) \
           ON CONFLICT (client_id) DO NOTHING";
    REPLACE = "UPDATE registered_clients SET registration = $2, secret_made_at = $3, next_secret = $4, next_secret_made_at = $5 \
               WHERE client_id = $1";
    REMOVE = "DELETE FROM registered_clients WHERE client_id = $1";
    BUMP = "UPDATE revisions SET value = value + 1 WHERE name = 'clients'";
}

row! {
    #[expect(unreachable_pub, reason = "of no use outside: it is taken apart here")]
    Row {
        registration: String,
        secret_made_at: Option<UnixTime>,
        next_secret: Option<String>,
        next_secret_made_at: Option<UnixTime>,
    }
}

impl Row {
    fn read(self) -> Result<Registered, StoreError> {
        let unusable =
            |error| StoreError::Unusable(format!("a row of registered_clients: {error}"));
        let written: Registration = serde_json::from_str(&self.registration)
            .map_err(|error| unusable(error.to_string()))?;
        let oldest = (written.client_secret_sha256.clone(), self.secret_made_at);
        let next = (self.next_secret, self.next_secret_made_at);
        let secrets = [oldest, next].into_iter().filter_map(|(hash, made_at)| {
            let hash = SecretHash::from_column(hash?);
            Some(KeptSecret { hash, made_at })
        });
        Registered::new(written, secrets.collect()).map_err(unusable)
    }
}

impl Store {
    /// All registrations of the database.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here; when one cannot be read.
    pub async fn registered_clients(&self) -> Result<Vec<Registered>, StoreError> {
        let rows: Vec<Row> = self.db.all(Query::new(LIST)).await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// Keeps a registration. False: the identifier is taken.
    pub async fn add_client(&self, new: Registered, now: UnixTime) -> Result<bool, StoreError> {
        let text = text(&new)?;
        self.db
            .write(async move |mut tx| {
                let made_at = new.secrets().first().and_then(|secret| secret.made_at);
                let added = tx
                    .execute(
                        Query::new(ADD)
                            .bind(new.id().as_str())
                            .bind(text)
                            .bind(made_at)
                            .bind(now),
                    )
                    .await?;
                tx.execute(Query::new(BUMP)).await?;
                Ok(added == 1)
            })
            .await
    }

    /// Puts what `change` makes of a registration in its place. `None`: there is none of this name. What the change refuses
    /// changes nothing.
    pub async fn change_client<T, E>(
        &self,
        client_id: ClientId,
        change: impl FnOnce(Registered) -> Result<(Registered, T), E> + Send + 'static,
    ) -> Result<Option<Result<T, E>>, StoreError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        self.db
            .write(async move |mut tx| {
                keep_registrations(&mut tx).await?;
                let row: Option<Row> = tx.optional(Query::new(FIND).bind(&client_id)).await?;
                let Some(row) = row else { return Ok(None) };
                let (new, told) = match change(row.read()?) {
                    Ok(changed) => changed,
                    Err(refused) => return Ok(Some(Err(refused))),
                };
                let text = text(&new)?;
                let made_at = |secret: Option<&KeptSecret>| secret.and_then(|it| it.made_at);
                let (oldest, next) = (new.secrets().first(), new.secrets().get(1));
                tx.execute(
                    Query::new(REPLACE)
                        .bind(&client_id)
                        .bind(text)
                        .bind(made_at(oldest))
                        .bind(next.map(|next| &next.hash))
                        .bind(made_at(next)),
                )
                .await?;
                tx.execute(Query::new(BUMP)).await?;
                Ok(Some(Ok(told)))
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
        self.db
            .write(async move |mut tx| {
                stop_giving(&mut tx).await?;
                let removed = tx.execute(Query::new(REMOVE).bind(&client_id)).await?;
                tx.execute(Query::new(BUMP)).await?;
                if removed == 0 {
                    return Ok(None);
                }
                let because = "its registration was removed";
                let (grants, logins) =
                    end_client(&mut tx, client_id.as_str(), because, now).await?;
                Ok(Some(Ended {
                    clients: 1,
                    grants,
                    logins,
                }))
            })
            .await
    }
}

/// The thumbprints of a registered client's keys. `None`: the database has no such registration.
pub(super) async fn keys_of(
    tx: &mut Tx,
    client_id: &ClientId,
) -> Result<Option<Vec<String>>, StoreError> {
    let row: Option<Row> = tx.optional(Query::new(FIND).bind(client_id)).await?;
    let registered = row.map(Row::read).transpose()?;
    Ok(registered.map(|it| it.client.metadata.thumbprints()))
}

fn text(registered: &Registered) -> Result<String, StoreError> {
    serde_json::to_string(registered)
        .map_err(|error| StoreError::Unusable(format!("a registration: {error}")))
}
