//! Expired rows go, in small batches, so that nobody waits for them; and of tables that strangers fill what is too much.

use super::{Store, StoreError, caps, db::Query, statements};
use crate::time::UnixTime;

/// Rows deleted by one statement.
const BATCH: i64 = 500;
/// Seconds a spent code is remembered, so that using it again is noticed.
const CODES: i64 = 3_600;
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
/// The same while there are too many, and for clients of which there are: a login may be under way.
const UNDER_WAY: i64 = 60;
/// Seconds between two looks at how much each person has.
const TRIM: i64 = 3_600;
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
                   AND NOT EXISTS (SELECT 1 FROM consents k WHERE k.client_id = c.client_id) ORDER BY c.fetched_at LIMIT $2)";
    CLIENTS_COUNT = "SELECT COUNT(*) FROM clients c WHERE (SELECT COUNT(*) FROM clients) > $1 \
                     AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id = c.client_id) \
                     AND NOT EXISTS (SELECT 1 FROM consents k WHERE k.client_id = c.client_id)";
    EVENTS_OUT = "DELETE FROM client_events WHERE at < $1 AND client_id IN (SELECT e.client_id FROM client_events e WHERE e.at < $1 \
                  AND NOT EXISTS (SELECT 1 FROM clients c WHERE c.client_id = e.client_id) LIMIT $2)";
    EVENTS_TOO_MANY = "DELETE FROM client_events WHERE (client_id, number) IN (SELECT e.client_id, e.number FROM client_events e WHERE e.at < $1 \
                       AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id = e.client_id) \
                       AND NOT EXISTS (SELECT 1 FROM consents k WHERE k.client_id = e.client_id) ORDER BY e.at LIMIT $2)";
    EVENTS_COUNT = "SELECT COUNT(*) FROM client_events e WHERE (SELECT COUNT(*) FROM client_events) > $1 \
                    AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id = e.client_id) \
                    AND NOT EXISTS (SELECT 1 FROM consents k WHERE k.client_id = e.client_id)";
    // The tables without an index by digest are joined: each database looks at them once, not for every document.
    DOCUMENTS_OUT = "DELETE FROM client_documents WHERE digest IN (SELECT d.digest FROM client_documents d \
                     LEFT JOIN interactions i ON i.digest = d.digest LEFT JOIN pushed_requests p ON p.digest = d.digest \
                     LEFT JOIN device_codes v ON v.digest = d.digest LEFT JOIN authorization_codes a ON a.digest = d.digest \
                     WHERE d.first_read_at < $1 AND i.digest IS NULL AND p.digest IS NULL AND v.digest IS NULL AND a.digest IS NULL \
                     AND NOT EXISTS (SELECT 1 FROM clients c WHERE c.digest = d.digest) \
                     AND NOT EXISTS (SELECT 1 FROM client_events e WHERE e.digest = d.digest) \
                     AND NOT EXISTS (SELECT 1 FROM consents k WHERE k.client_id = d.client_id AND k.digest = d.digest) \
                     AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id = d.client_id AND g.digest = d.digest) \
                     ORDER BY d.first_read_at LIMIT $2)";
    DOCUMENTS_COUNT = "SELECT COUNT(*) FROM client_documents WHERE CAST($1 AS BIGINT) > 0";
    CLIENT_LOGOS_OUT = "DELETE FROM client_logos WHERE client_id IN \
                        (SELECT client_id FROM client_logos WHERE fetched_at < $1 ORDER BY fetched_at LIMIT $2)";
    CLIENT_LOGOS_COUNT = "SELECT COUNT(*) FROM client_logos WHERE CAST($1 AS BIGINT) > 0";
    LOGOS_OUT = "DELETE FROM logos WHERE CAST($1 AS BIGINT) > 0 AND hash IN (SELECT l.hash FROM logos l \
                 WHERE NOT EXISTS (SELECT 1 FROM client_logos c WHERE c.hash = l.hash) LIMIT $2)";
    USED_ONCE_OUT = "DELETE FROM used_once WHERE hash IN (SELECT hash FROM used_once WHERE until < $1 ORDER BY until LIMIT $2)";
    PUSHED_OUT = "DELETE FROM pushed_requests WHERE hash IN (SELECT p.hash FROM pushed_requests p WHERE p.expires_at < $1 \
                  AND NOT EXISTS (SELECT 1 FROM interactions i WHERE i.pushed = p.hash AND i.spent_at IS NULL) \
                  ORDER BY p.expires_at LIMIT $2)";
    DEVICES_OUT = "DELETE FROM device_codes WHERE hash IN \
                   (SELECT hash FROM device_codes WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
    FAILURES_OUT = "DELETE FROM sign_in_failures WHERE name IN \
                    (SELECT name FROM sign_in_failures WHERE failed_at < $1 AND failures < 100 ORDER BY failed_at LIMIT $2)";
    LOCKED_OUT = "DELETE FROM sign_in_failures WHERE name IN \
                  (SELECT name FROM sign_in_failures WHERE failed_at < $1 ORDER BY failed_at LIMIT $2)";
    FAILURES_COUNT = "SELECT COUNT(*) FROM sign_in_failures WHERE CAST($1 AS BIGINT) > 0";
    SESSIONS_TOO_MANY = "DELETE FROM sessions WHERE hash IN (SELECT hash FROM (SELECT hash, \
                         ROW_NUMBER() OVER (PARTITION BY subject ORDER BY idle_until DESC, signed_in_at DESC) AS place FROM sessions) AS placed \
                         WHERE place > $1 LIMIT $2)";
    CONSENTS_TOO_MANY = "DELETE FROM consents WHERE (subject, client_id, scope, resources) IN \
                         (SELECT subject, client_id, scope, resources FROM (SELECT subject, client_id, scope, resources, \
                         ROW_NUMBER() OVER (PARTITION BY subject ORDER BY granted_at DESC) AS place FROM consents) AS placed \
                         WHERE place > $1 LIMIT $2)";
    // A code whose grant is gone would serve again: the grant outlives the code.
    GRANTS_TOO_MANY = "DELETE FROM grants WHERE id IN (SELECT placed.id FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY subject ORDER BY \
                       CASE WHEN revoked_at IS NULL THEN 0 ELSE 1 END, idle_until DESC, created_at DESC) AS place FROM grants) AS placed \
                       LEFT JOIN authorization_codes a ON a.grant_id = placed.id LEFT JOIN device_codes v ON v.grant_id = placed.id \
                       WHERE placed.place > $1 AND a.grant_id IS NULL AND v.grant_id IS NULL LIMIT $2)";
    LINKS_OUT = "DELETE FROM setup_links WHERE hash IN (SELECT hash FROM setup_links WHERE expires_at < $1 LIMIT $2)";
}

/// What each person may have of something, the newest of it: the least recently used go.
const OF_PERSON: &[(&str, i64)] = &[
    (SESSIONS_TOO_MANY, caps::SESSIONS_OF_PERSON),
    (CONSENTS_TOO_MANY, caps::CONSENTS_OF_PERSON),
    (GRANTS_TOO_MANY, caps::GRANTS_OF_PERSON),
];

/// A kind of row that goes.
struct Kind {
    /// Deletes at most `$2` of those that are older than `$1`, the oldest first.
    statement: &'static str,
    /// Seconds that it is kept after the time that the statement compares.
    kept: i64,
    too_many: Option<TooMany>,
}

/// More than may be, whatever their age.
struct TooMany {
    /// Counts them; with the cap as `$1`, so that nothing else is asked where there are fewer.
    count: &'static str,
    most: i64,
    /// As in [`Kind`], for those beyond the cap.
    statement: &'static str,
    kept: i64,
}

const fn kind(statement: &'static str, kept: i64) -> Kind {
    Kind {
        statement,
        kept,
        too_many: None,
    }
}

impl Kind {
    /// Beyond so many the same statement takes those that are `kept` seconds old.
    const fn at_most(self, most: i64, count: &'static str, kept: i64) -> Self {
        let statement = self.statement;
        self.beyond(most, count, statement, kept)
    }

    /// Beyond so many another statement does.
    const fn beyond(
        self,
        most: i64,
        count: &'static str,
        statement: &'static str,
        kept: i64,
    ) -> Self {
        Self {
            too_many: Some(TooMany {
                count,
                most,
                statement,
                kept,
            }),
            ..self
        }
    }
}

/// Every kind, in the order in which they go: what refers to something goes before it.
const KINDS: &[Kind] = &[
    kind(INTERACTIONS_OUT, 0),
    kind(CODES_OUT, CODES),
    kind(SESSIONS_OUT, 0),
    kind(CONSENTS_OUT, 0),
    kind(GRANTS_OUT, GRANTS),
    kind(LINKS_OUT, 0),
    kind(FAILURES_OUT, FAILURES).at_most(caps::SIGN_IN_FAILURES, FAILURES_COUNT, 0),
    kind(LOCKED_OUT, LOCKED),
    kind(USED_ONCE_OUT, 0),
    kind(DEVICES_OUT, DEVICES),
    kind(DEV_CLIENTS_OUT, 0),
    kind(CLIENTS_OUT, CLIENTS).at_most(caps::CLIENTS, CLIENTS_COUNT, UNDER_WAY),
    kind(EVENTS_OUT, CLIENTS).beyond(caps::EVENTS, EVENTS_COUNT, EVENTS_TOO_MANY, 0),
    kind(DOCUMENTS_OUT, DOCUMENTS).at_most(caps::DOCUMENTS, DOCUMENTS_COUNT, UNDER_WAY),
    kind(CLIENT_LOGOS_OUT, CLIENTS).at_most(caps::LOGOS, CLIENT_LOGOS_COUNT, 0),
    kind(LOGOS_OUT, 0),
];

/// The lease of the one process that sweeps, as this process knows it.
#[derive(Debug, Default)]
pub struct SweepLease {
    until: Option<UnixTime>,
    /// When this process last looked at how much each person has.
    trimmed_at: Option<UnixTime>,
}

impl SweepLease {
    /// Is it, as of the last look, another process's?
    pub fn is_anothers(&self) -> bool {
        self.until.is_none()
    }
}

impl Store {
    /// The same as [`Store::sweep`], if it is this process's lease: of all that are on the database one sweeps at a time. Its
    /// lease ends by itself, so nobody waits for one that was killed. `interaction`: seconds that a person has for a page.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn sweep_in_turn(
        &self,
        lease: &mut SweepLease,
        interaction: i64,
        now: UnixTime,
    ) -> Result<(u64, bool), StoreError> {
        let (until, mine) = (now + TURN, lease.until.map_or(i64::MIN, |until| until.0));
        // A lease that would last longer than any was taken by a clock that is wrong.
        let too_late = now + 2 * TURN;
        let taken = self
            .db
            .execute(
                Query::new(TAKE_TURN)
                    .bind(until)
                    .bind(now)
                    .bind(mine)
                    .bind(too_late),
            )
            .await?;
        lease.until = (taken == 1).then_some(until);
        if lease.is_anothers() {
            return Ok((0, false));
        }
        let (mut gone, mut more) = self.sweep(interaction, now).await?;
        if lease.trimmed_at.is_none_or(|at| now - at >= TRIM) {
            let (trimmed, too_many) = self.trim().await?;
            gone += trimmed;
            more |= too_many;
            lease.trimmed_at = (!too_many).then_some(now);
        }
        Ok((gone, more))
    }

    /// Deletes one batch of each kind of expired row, and of what is too much; says how many went, and whether there may be
    /// more. A pushed request goes when a person who came with it in time has had the time for the page of sign-in.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn sweep(&self, interaction: i64, now: UnixTime) -> Result<(u64, bool), StoreError> {
        let mut swept = Swept::default();
        let pushed = self
            .delete(PUSHED_OUT, (now + -interaction).0, BATCH)
            .await?;
        swept.add(pushed, BATCH);
        for kind in KINDS {
            let deleted = self.delete(kind.statement, (now + -kind.kept).0, BATCH);
            swept.add(deleted.await?, BATCH);
            let Some(too_many) = &kind.too_many else {
                continue;
            };
            swept.add(self.sweep_beyond(too_many, now).await?, BATCH);
        }
        Ok((swept.gone, swept.more))
    }

    /// Deletes one batch of each kind of which a person has too much.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn trim(&self) -> Result<(u64, bool), StoreError> {
        let mut swept = Swept::default();
        for (statement, most) in OF_PERSON {
            let deleted = self.delete(statement, *most, BATCH).await?;
            swept.add(deleted, BATCH);
        }
        Ok((swept.gone, swept.more))
    }

    /// Deletes one batch of what is beyond a cap.
    async fn sweep_beyond(&self, too_many: &TooMany, now: UnixTime) -> Result<u64, StoreError> {
        let count: i64 = self
            .db
            .one(Query::new(too_many.count).bind(too_many.most))
            .await?;
        let batch = (count - too_many.most).min(BATCH);
        match batch {
            ..=0 => Ok(0),
            _ => {
                let before = now + -too_many.kept;
                self.delete(too_many.statement, before.0, batch).await
            }
        }
    }

    async fn delete(
        &self,
        statement: &'static str,
        first: i64,
        batch: i64,
    ) -> Result<u64, StoreError> {
        self.db
            .execute(Query::new(statement).bind(first).bind(batch))
            .await
    }
}

/// What went.
#[derive(Default)]
struct Swept {
    gone: u64,
    /// Is there perhaps more?
    more: bool,
}

impl Swept {
    fn add(&mut self, deleted: u64, batch: i64) {
        self.gone += deleted;
        self.more |= i64::try_from(deleted).is_ok_and(|deleted| deleted >= batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_too_many_names_with_wrong_passwords_the_oldest_go_that_are_not_locked() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("w.db").display());
        let store = Store::open(&url.parse().unwrap(), 2).await.unwrap();
        store.migrate().await.unwrap();
        let rows = "INSERT INTO sign_in_failures (name, failures, failed_at) WITH RECURSIVE n(i) AS \
                    (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) SELECT 'n' || i, CASE WHEN i <= 5 THEN 100 ELSE 1 END, i FROM n";
        store.execute_raw(rows.to_owned()).await.unwrap();
        let kinds = KINDS.iter().filter_map(|kind| kind.too_many.as_ref());
        let [known] = kinds
            .filter(|it| it.count == FAILURES_COUNT)
            .collect::<Vec<_>>()[..]
        else {
            panic!("names have a cap");
        };
        assert_eq!(known.most, caps::SIGN_IN_FAILURES);
        let ten = TooMany { most: 10, ..*known };
        let now = UnixTime(1_000);
        assert_eq!(store.sweep_beyond(&ten, now).await.unwrap(), 10);
        assert_eq!(store.sweep_beyond(&ten, now).await.unwrap(), 0);
        let left = "SELECT SUM(CASE WHEN failures = 100 THEN 1 ELSE 0 END), SUM(CASE WHEN failed_at > 15 THEN 1 ELSE 0 END) \
                    FROM sign_in_failures";
        let left: (i64, i64) = store.db.one(Query::new(left)).await.unwrap();
        assert_eq!(left, (5, 5), "the locked ones, and the newest");
    }
}
