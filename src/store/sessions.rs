//! Rows of signed-in browsers.

use super::{
    Store, StoreError,
    columns::row,
    dialect::{on_connection, on_reads},
    statements,
};
use crate::{
    secret::{SecretHash, Session},
    time::UnixTime,
};

statements! {
    FIND = "SELECT s.subject, u.username, u.is_admin, s.signed_in_at, s.idle_until, s.ends_at FROM sessions s \
            JOIN users u ON u.subject = s.subject \
            WHERE s.hash = $1 AND s.idle_until > $2 AND s.ends_at > $2 AND u.disabled_at IS NULL";
    INSERT = "INSERT INTO sessions (hash, subject, signed_in_at, idle_until, ends_at) VALUES ($1, $2, $3, $4, $5)";
    TOUCH = "UPDATE sessions SET idle_until = $2 WHERE hash = $1 AND idle_until < $2";
    END = "DELETE FROM sessions WHERE hash = $1";
}

row! {
    /// A live session and whose it is.
    SessionRow {
        subject: String,
        username: String,
        is_admin: bool,
        signed_in_at: UnixTime,
        idle_until: UnixTime,
        ends_at: UnixTime,
    }
}

impl Store {
    /// The live session of this secret, of an account that is not disabled.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn session(
        &self,
        hash: &SecretHash<Session>,
        now: UnixTime,
    ) -> Result<Option<SessionRow>, StoreError> {
        Ok(
            on_reads!(self, pool => sqlx::query_as(FIND).bind(hash.as_str()).bind(now.0).fetch_optional(pool).await?),
        )
    }

    /// Starts a session and ends the one it replaces in the same browser.
    pub async fn start_session(
        &self,
        hash: SecretHash<Session>,
        subject: String,
        now: UnixTime,
        (idle_until, ends_at): (UnixTime, UnixTime),
        replaced: Option<SecretHash<Session>>,
    ) -> Result<(), StoreError> {
        self.write(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    if let Some(replaced) = &replaced {
                        sqlx::query(END).bind(replaced.as_str()).execute(&mut *c).await?;
                    }
                    sqlx::query(INSERT).bind(hash.as_str()).bind(&subject).bind(now.0).bind(idle_until.0).bind(ends_at.0)
                        .execute(c).await?;
                });
                Ok(())
            })
        })
        .await
    }

    /// Puts off the end by idleness.
    pub async fn touch_session(
        &self,
        hash: SecretHash<Session>,
        idle_until: UnixTime,
    ) -> Result<(), StoreError> {
        self.write_one(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    sqlx::query(TOUCH).bind(hash.as_str()).bind(idle_until.0).execute(c).await?;
                });
                Ok(())
            })
        })
        .await
    }

    /// Ends a session, if it still runs.
    pub async fn end_session(&self, hash: SecretHash<Session>) -> Result<(), StoreError> {
        self.write_one(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    sqlx::query(END).bind(hash.as_str()).execute(c).await?;
                });
                Ok(())
            })
        })
        .await
    }
}
