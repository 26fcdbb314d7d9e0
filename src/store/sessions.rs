//! Rows of signed-in browsers.

use super::{
    Account, Consent, Store, StoreError,
    db::{Query, row},
    locks::stop_giving,
    statements,
};
use crate::{
    protocol::{client::Digest, client_id::ClientId, resource::Resources, scope::Scope},
    secret::{SecretHash, Session},
    time::UnixTime,
};

statements! {
    FIND = "SELECT s.subject, u.username, u.is_admin, s.signed_in_at, s.idle_until, s.ends_at FROM sessions s \
            JOIN users u ON u.subject = s.subject \
            WHERE s.hash = $1 AND s.idle_until > $2 AND s.ends_at > $2 AND u.disabled_at IS NULL";
    FIND_FOR = "SELECT s.subject, u.username, u.is_admin, s.signed_in_at, s.idle_until, s.ends_at, c.scope, c.resources, c.digest, c.asked \
                FROM sessions s JOIN users u ON u.subject = s.subject \
                LEFT JOIN consents c ON c.subject = s.subject AND c.client_id = $3 AND c.expires_at > $2 \
                WHERE s.hash = $1 AND s.idle_until > $2 AND s.ends_at > $2 AND u.disabled_at IS NULL ORDER BY c.granted_at DESC";
    INSERT = "INSERT INTO sessions (hash, subject, signed_in_at, idle_until, ends_at) \
              SELECT $1, u.subject, CAST($4 AS BIGINT), CAST($5 AS BIGINT), CAST($6 AS BIGINT) FROM users u \
              WHERE u.subject = $2 AND u.password_hash = $3 AND u.disabled_at IS NULL";
    TOUCH = "UPDATE sessions SET idle_until = $2 WHERE hash = $1 AND idle_until < $2";
    END = "DELETE FROM sessions WHERE hash = $1";
    LIST = "SELECT SUBSTR(s.hash, 1, 12), u.username, s.signed_in_at, s.idle_until, s.ends_at FROM sessions s \
            JOIN users u ON u.subject = s.subject \
            WHERE s.idle_until > $1 AND s.ends_at > $1 AND u.disabled_at IS NULL \
            AND (CAST($2 AS TEXT) IS NULL OR u.username = $2) ORDER BY s.signed_in_at DESC, s.hash LIMIT $3";
    END_THESE = "DELETE FROM sessions WHERE idle_until > $1 AND ends_at > $1 \
                 AND (CAST($2 AS TEXT) IS NULL OR SUBSTR(hash, 1, 12) = $2) \
                 AND (CAST($3 AS TEXT) IS NULL OR subject = (SELECT u.subject FROM users u WHERE u.username = $3))";
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

row! {
    /// A live session, as administrators see it.
    ListedSession {
        /// The beginning of its hash, from which its secret cannot be guessed.
        id: String,
        username: String,
        signed_in_at: UnixTime,
        idle_until: UnixTime,
        ends_at: UnixTime,
    }
}

row! {
    #[expect(unreachable_pub, reason = "of no use outside: it is taken apart here")]
    SessionFor {
        subject: String,
        username: String,
        is_admin: bool,
        signed_in_at: UnixTime,
        idle_until: UnixTime,
        ends_at: UnixTime,
        scope: Option<Scope>,
        resources: Option<Resources>,
        digest: Option<Digest>,
        asked: Option<Scope>,
    }
}

impl SessionFor {
    fn consent(&self) -> Option<Consent> {
        Some(Consent {
            scope: self.scope.clone()?,
            resources: self.resources.clone()?,
            digest: self.digest.clone()?,
            asked: self.asked.clone(),
        })
    }

    fn session(self) -> SessionRow {
        SessionRow {
            subject: self.subject,
            username: self.username,
            is_admin: self.is_admin,
            signed_in_at: self.signed_in_at,
            idle_until: self.idle_until,
            ends_at: self.ends_at,
        }
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
        self.db
            .optional(Query::new(FIND).bind(hash).bind(now))
            .await
    }

    /// The same, with what its person allowed this client, newest first: one look for what an authorization needs.
    pub async fn session_for(
        &self,
        hash: &SecretHash<Session>,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<Option<(SessionRow, Vec<Consent>)>, StoreError> {
        let rows: Vec<SessionFor> = self
            .db
            .all(Query::new(FIND_FOR).bind(hash).bind(now).bind(client_id))
            .await?;
        let consents = rows.iter().filter_map(SessionFor::consent).collect();
        Ok(rows.into_iter().next().map(|row| (row.session(), consents)))
    }

    /// Live sessions, of this person if it is said, the newest first, at most `most`.
    pub async fn sessions(
        &self,
        username: Option<&str>,
        most: i64,
        now: UnixTime,
    ) -> Result<Vec<ListedSession>, StoreError> {
        self.db
            .all(Query::new(LIST).bind(now).bind(username).bind(most))
            .await
    }

    /// Ends the live sessions that fit everything that is said: the beginning of the hash, and the person. How many those
    /// were.
    pub async fn end_sessions(
        &self,
        id: Option<String>,
        username: Option<String>,
        now: UnixTime,
    ) -> Result<u64, StoreError> {
        self.db
            .write(async move |mut tx| {
                stop_giving(&mut tx).await?;
                tx.execute(Query::new(END_THESE).bind(now).bind(id).bind(username))
                    .await
            })
            .await
    }

    /// Starts a session and ends the one it replaces in the same browser. False: the account has been disabled, or got
    /// another password, since it was looked up.
    pub async fn start_session(
        &self,
        hash: SecretHash<Session>,
        account: Account,
        now: UnixTime,
        (idle_until, ends_at): (UnixTime, UnixTime),
        replaced: Option<SecretHash<Session>>,
    ) -> Result<bool, StoreError> {
        self.db
            .write(async move |mut tx| {
                let started = tx
                    .execute(
                        Query::new(INSERT)
                            .bind(&hash)
                            .bind(&account.subject)
                            .bind(&account.password_hash)
                            .bind(now)
                            .bind(idle_until)
                            .bind(ends_at),
                    )
                    .await?;
                if let (1, Some(replaced)) = (started, &replaced) {
                    tx.execute(Query::new(END).bind(replaced)).await?;
                }
                Ok(started == 1)
            })
            .await
    }

    /// Puts off the end by idleness.
    pub async fn touch_session(
        &self,
        hash: SecretHash<Session>,
        idle_until: UnixTime,
    ) -> Result<(), StoreError> {
        self.db
            .execute(Query::new(TOUCH).bind(&hash).bind(idle_until))
            .await?;
        Ok(())
    }

    /// Ends a session, if it still runs.
    pub async fn end_session(&self, hash: SecretHash<Session>) -> Result<(), StoreError> {
        self.db.execute(Query::new(END).bind(&hash)).await?;
        Ok(())
    }
}
