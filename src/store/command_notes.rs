//! Rows of commands that changed something, until a server has written them to its log.

use super::{Store, StoreError, db::Query, statements};
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
        self.db
            .write(async move |mut tx| {
                tx.execute(Query::new(NOTE).bind(random_id()).bind(now).bind(&command))
                    .await?;
                tx.execute(Query::new(REST_OUT).bind(MOST)).await?;
                Ok(())
            })
            .await
    }

    /// Takes the notes that wait: of several servers, one gets each.
    pub async fn take_command_notes(&self) -> Result<Vec<(UnixTime, String)>, StoreError> {
        let waiting: Vec<(String, i64, String)> = self.db.all(Query::new(WAITING)).await?;
        let mut taken = Vec::new();
        for (id, at, command) in waiting {
            let is_ours = self.db.execute(Query::new(TAKE).bind(id)).await? == 1;
            if is_ours {
                taken.push((UnixTime(at), command));
            }
        }
        Ok(taken)
    }
}
