//! Rows of commands that changed something, until a server has written them to its log.

use super::{
    Store, StoreError,
    db::{on_connection, on_reads},
    statements,
};
use crate::{secret::random_id, time::UnixTime};

/// Notes that wait, where no server runs.
const MOST: i64 = 1_000;

statements! {
    NOTE = "INSERT INTO command_notes (id, noted_at, command) VALUES ($1, $2, $3)";
    REST_OUT = "DELETE FROM command_notes WHERE id IN (SELECT id FROM command_notes \
                ORDER BY noted_at DESC, id LIMIT 1000000 OFFSET $1)";
    WAITING = "SELECT id, noted_at, command FROM command_notes ORDER BY noted_at, id LIMIT 100";
    TAKE = "DELETE FROM command_notes WHERE id = $1";
}

impl Store {
    /// Notes a command that changed something.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn note_command(&self, command: String, now: UnixTime) -> Result<(), StoreError> {
        self.write(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    sqlx::query(NOTE).bind(random_id()).bind(now.0).bind(&command).execute(&mut *c).await?;
                    sqlx::query(REST_OUT).bind(MOST).execute(c).await?;
                });
                Ok(())
            })
        })
        .await
    }

    /// Takes the notes that wait: of several servers, one gets each.
    pub async fn take_command_notes(&self) -> Result<Vec<(UnixTime, String)>, StoreError> {
        let waiting: Vec<(String, i64, String)> =
            on_reads!(self, c => sqlx::query_as(WAITING).fetch_all(c).await?);
        let mut taken = Vec::new();
        for (id, at, command) in waiting {
            let is_ours = self
                .write_one(move |mut connection| {
                    Box::pin(async move {
                        Ok(on_connection!(&mut connection, c => {
                            sqlx::query(TAKE).bind(id).execute(c).await?.rows_affected() == 1
                        }))
                    })
                })
                .await?;
            if is_ours {
                taken.push((UnixTime(at), command));
            }
        }
        Ok(taken)
    }
}
