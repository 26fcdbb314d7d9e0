//! Expired rows go, in small batches, so that nobody waits for them.

use super::{Store, StoreError, dialect::on_connection, statements};
use crate::time::UnixTime;

/// Rows deleted by one statement.
const BATCH: i64 = 500;
/// Seconds a spent code is remembered, so that using it again is noticed.
const CODES: i64 = 3_600;
/// Seconds a pushed request is kept after its time: for whoever had come with it and was sent to sign in.
const PUSHED: i64 = 3_600;
/// Seconds an expired device code is remembered, so that whoever asks once more hears that it has expired. The sweeper
/// comes twice a minute.
const DEVICES: i64 = 30;
/// Seconds an ended grant is remembered: longer than any access token of it lives.
const GRANTS: i64 = 86_400;

/// Seconds after which wrong passwords are forgotten, if nobody tried another one, and the same for names that are locked.
const FAILURES: i64 = 86_400;
/// Where limits are multiplied, those between a hundred and the lock stay as long as if they were locked.
const LOCKED: i64 = 90 * 86_400;

/// Seconds a client is remembered that nobody has any use for, and its history with it.
const CLIENTS: i64 = 90 * 86_400;
/// Seconds a version of a document is kept that nothing refers to.
const DOCUMENTS: i64 = 86_400;
/// Seconds for which nobody else sweeps after a process has begun to: as long as the sweeper rests.
const TURN: i64 = 30;

statements! {
    TAKE_TURN = "INSERT INTO used_once (hash, until) VALUES ('the sweeper', $1) \
                 ON CONFLICT (hash) DO UPDATE SET until = $1 \
                 WHERE used_once.until <= $2 OR used_once.until = $3 OR used_once.until > $4";
    INTERACTIONS_OUT = "DELETE FROM interactions WHERE hash IN \
                        (SELECT hash FROM interactions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    CODES_OUT = "DELETE FROM authorization_codes WHERE hash IN \
                 (SELECT hash FROM authorization_codes WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    SESSIONS_OUT = "DELETE FROM sessions WHERE hash IN \
                    (SELECT hash FROM sessions WHERE ends_at < $1 ORDER BY ends_at LIMIT $2)";
    CONSENTS_OUT = "DELETE FROM consents WHERE expires_at < $1 AND client_id IN \
                    (SELECT client_id FROM consents WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    GRANTS_OUT = "DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE ends_at < $1 ORDER BY ends_at LIMIT $2)";
    DEV_CLIENTS_OUT = "DELETE FROM dev_clients WHERE id IN (SELECT id FROM dev_clients WHERE expires_at < $1 LIMIT $2)";
    CLIENTS_OUT = "DELETE FROM clients WHERE client_id IN (SELECT c.client_id FROM clients c WHERE c.fetched_at < $1 \
                   AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id = c.client_id) \
                   AND NOT EXISTS (SELECT 1 FROM consents k WHERE k.client_id = c.client_id) LIMIT $2)";
    EVENTS_OUT = "DELETE FROM client_events WHERE at < $1 AND client_id IN (SELECT e.client_id FROM client_events e WHERE e.at < $1 \
                  AND NOT EXISTS (SELECT 1 FROM clients c WHERE c.client_id = e.client_id) LIMIT $2)";
    DOCUMENTS_OUT = "DELETE FROM client_documents WHERE digest IN (SELECT d.digest FROM client_documents d WHERE d.first_read_at < $1 \
                     AND NOT EXISTS (SELECT 1 FROM clients c WHERE c.digest = d.digest) \
                     AND NOT EXISTS (SELECT 1 FROM client_events e WHERE e.digest = d.digest) \
                     AND NOT EXISTS (SELECT 1 FROM consents k WHERE k.client_id = d.client_id AND k.digest = d.digest) \
                     AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id = d.client_id AND g.digest = d.digest) \
                     AND NOT EXISTS (SELECT 1 FROM interactions i WHERE i.digest = d.digest) \
                     AND NOT EXISTS (SELECT 1 FROM pushed_requests p WHERE p.digest = d.digest) \
                     AND NOT EXISTS (SELECT 1 FROM device_codes v WHERE v.digest = d.digest) \
                     AND NOT EXISTS (SELECT 1 FROM authorization_codes a WHERE a.digest = d.digest) LIMIT $2)";
    CLIENT_LOGOS_OUT = "DELETE FROM client_logos WHERE client_id IN (SELECT client_id FROM client_logos WHERE fetched_at < $1 LIMIT $2)";
    LOGOS_OUT = "DELETE FROM logos WHERE CAST($1 AS BIGINT) > 0 AND hash IN (SELECT l.hash FROM logos l \
                 WHERE NOT EXISTS (SELECT 1 FROM client_logos c WHERE c.hash = l.hash) LIMIT $2)";
    USED_ONCE_OUT = "DELETE FROM used_once WHERE hash IN (SELECT hash FROM used_once WHERE until < $1 ORDER BY until LIMIT $2)";
    PUSHED_OUT = "DELETE FROM pushed_requests WHERE hash IN \
                  (SELECT hash FROM pushed_requests WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    DEVICES_OUT = "DELETE FROM device_codes WHERE hash IN \
                   (SELECT hash FROM device_codes WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    FAILURES_OUT = "DELETE FROM sign_in_failures WHERE name IN \
                    (SELECT name FROM sign_in_failures WHERE failed_at < $1 AND failures < 100 ORDER BY failed_at LIMIT $2)";
    LOCKED_OUT = "DELETE FROM sign_in_failures WHERE name IN \
                  (SELECT name FROM sign_in_failures WHERE failed_at < $1 ORDER BY failed_at LIMIT $2)";
    LINKS_OUT = "DELETE FROM setup_links WHERE hash IN (SELECT hash FROM setup_links WHERE expires_at < $1 LIMIT $2)";
}

/// Whose turn it is to sweep, as one process knows it: until when it is its own.
#[derive(Debug, Default)]
pub struct Turn(Option<UnixTime>);

impl Turn {
    /// Is it, as of the last look, another process's?
    pub fn is_anothers(&self) -> bool {
        self.0.is_none()
    }
}

impl Store {
    /// The same as [`Store::sweep`], if it is this process's turn: of all that are on the database one sweeps at a time. Its
    /// turn ends by itself, so nobody waits for one that was killed.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn sweep_in_turn(
        &self,
        turn: &mut Turn,
        now: UnixTime,
    ) -> Result<(u64, bool), StoreError> {
        let (until, mine) = (now + TURN, turn.0.map_or(i64::MIN, |until| until.0));
        // A turn that would last longer than any was taken by a clock that is wrong.
        let too_late = now + 2 * TURN;
        let taken = self
            .write_one(move |mut connection| {
                Box::pin(async move {
                    Ok(on_connection!(&mut connection, c => {
                        sqlx::query(TAKE_TURN).bind(until.0).bind(now.0).bind(mine).bind(too_late.0)
                            .execute(c).await?.rows_affected()
                    }))
                })
            })
            .await?;
        turn.0 = (taken == 1).then_some(until);
        match turn.is_anothers() {
            true => Ok((0, false)),
            false => self.sweep(now).await,
        }
    }

    /// Deletes one batch of each kind of expired row; says how many went, and whether there may be more.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn sweep(&self, now: UnixTime) -> Result<(u64, bool), StoreError> {
        let table = [
            (INTERACTIONS_OUT, 0),
            (CODES_OUT, CODES),
            (SESSIONS_OUT, 0),
            (CONSENTS_OUT, 0),
            (GRANTS_OUT, GRANTS),
            (LINKS_OUT, 0),
            (FAILURES_OUT, FAILURES),
            (LOCKED_OUT, LOCKED),
            (USED_ONCE_OUT, 0),
            (PUSHED_OUT, PUSHED),
            (DEVICES_OUT, DEVICES),
            (DEV_CLIENTS_OUT, 0),
            (CLIENTS_OUT, CLIENTS),
            (EVENTS_OUT, CLIENTS),
            (DOCUMENTS_OUT, DOCUMENTS),
            (CLIENT_LOGOS_OUT, CLIENTS),
            (LOGOS_OUT, 0),
        ];
        let (mut gone, mut more) = (0, false);
        for (statement, kept) in table {
            let before = now + -kept;
            let deleted = self
                .write_one(move |mut connection| {
                    Box::pin(async move {
                        Ok(on_connection!(&mut connection, c => {
                            sqlx::query(statement).bind(before.0).bind(BATCH).execute(c).await?.rows_affected()
                        }))
                    })
                })
                .await?;
            gone += deleted;
            more |= i64::try_from(deleted).is_ok_and(|deleted| deleted >= BATCH);
        }
        Ok((gone, more))
    }
}
