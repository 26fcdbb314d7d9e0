//! Rows of clients: the last good copy of each document, every version that was accepted, and what became of it.

use super::{
    Store, StoreError,
    caps::{EVENTS_OF_CLIENT, REASON},
    db::{Query, Tx, row},
    statements,
};
use crate::{
    protocol::{client::Digest, client_id::ClientId, client_url::ClientUrl},
    time::UnixTime,
};

statements! {
    FIND = "SELECT d.document, c.digest, c.fetched_at, c.fresh_until, c.first_seen_at, c.failed_at, c.failed_rule, c.failed_because, \
            c.gone_since, c.gone_confirmed_at FROM clients c JOIN client_documents d ON d.digest = c.digest WHERE c.client_id = $1";
    LIST = "SELECT c.client_id, d.document, c.first_seen_at, c.fetched_at, c.fresh_until, c.failed_at, c.failed_rule, c.gone_since, \
            (SELECT COUNT(*) FROM grants g WHERE g.client_id = c.client_id AND g.revoked_at IS NULL AND g.ends_at > $1 AND g.idle_until > $1), \
            (SELECT COUNT(DISTINCT g.subject) FROM grants g WHERE g.client_id = c.client_id AND g.revoked_at IS NULL AND g.ends_at > $1 AND g.idle_until > $1) \
            FROM clients c JOIN client_documents d ON d.digest = c.digest ORDER BY c.fetched_at DESC, c.client_id LIMIT $2";
    DOCUMENT = "SELECT document FROM client_documents WHERE digest = $1 AND client_id = $2";
    KEEP_DOCUMENT = "INSERT INTO client_documents (digest, client_id, document, first_read_at) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (digest) DO NOTHING";
    KEEP_CLIENT = "INSERT INTO clients (client_id, digest, fetched_at, fresh_until, first_seen_at) VALUES ($1, $2, $3, $4, $3) \
                   ON CONFLICT (client_id) DO UPDATE SET digest = $2, fetched_at = $3, fresh_until = $4, \
                   failed_at = NULL, failed_rule = NULL, failed_because = NULL, gone_since = NULL, gone_confirmed_at = NULL";
    FORGET_CLIENT = "DELETE FROM clients WHERE client_id = $1";
    FAILED = "UPDATE clients SET failed_at = COALESCE(failed_at, $2), failed_rule = $3, failed_because = $4 WHERE client_id = $1";
    GONE = "UPDATE clients SET failed_at = COALESCE(failed_at, $2), failed_rule = $3, failed_because = $4, gone_since = COALESCE(gone_since, $2), \
            gone_confirmed_at = CASE WHEN gone_confirmed_at IS NULL AND gone_since <= $5 THEN $2 ELSE gone_confirmed_at END \
            WHERE client_id = $1";
    GONE_STATE = "SELECT gone_since, gone_confirmed_at FROM clients WHERE client_id = $1";
    LAST_EVENT = "SELECT number, kind, digest, answer FROM client_events WHERE client_id = $1 ORDER BY number DESC LIMIT 1";
    EVENT = "INSERT INTO client_events (client_id, number, at, kind, digest, changes, answer) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (client_id, number) DO NOTHING";
    EVENTS = "SELECT number, at, kind, digest, changes, answer FROM client_events WHERE client_id = $1 ORDER BY number";
    OLD_EVENTS_OUT = "DELETE FROM client_events WHERE client_id = $1 AND number <= $2";
    REVOKE_GRANTS = "UPDATE grants SET revoked_at = $2, revoked_because = $3 WHERE client_id = $1 AND revoked_at IS NULL";
    HELD_BY = "SELECT COUNT(*), COUNT(DISTINCT subject) FROM grants \
               WHERE client_id = $1 AND revoked_at IS NULL AND ends_at > $2 AND idle_until > $2";
    USED_BY = "SELECT COUNT(DISTINCT subject) FROM consents WHERE client_id = $1 AND expires_at > $2";
    IS_USED = "SELECT COUNT(*) FROM (SELECT 1 AS used FROM consents WHERE client_id = $1 AND expires_at > $2 \
               UNION ALL SELECT 1 AS used FROM grants WHERE client_id = $1 AND revoked_at IS NULL AND ends_at > $2 LIMIT 1) AS uses";
    BUMP = "UPDATE revisions SET value = value + 1 WHERE name = 'clients'";
    REVISION = "SELECT value FROM revisions WHERE name = 'clients'";
}

row! {
    /// The last good copy of a client's document, and what its host said since.
    KeptClient {
        document: String,
        digest: Digest,
        fetched_at: UnixTime,
        fresh_until: UnixTime,
        first_seen_at: UnixTime,
        failed_at: Option<UnixTime>,
        failed_rule: Option<String>,
        failed_because: Option<String>,
        gone_since: Option<UnixTime>,
        gone_confirmed_at: Option<UnixTime>,
    }
}

row! {
    /// A client in a list.
    ListedClient {
        client_id: String,
        document: String,
        first_seen_at: UnixTime,
        fetched_at: UnixTime,
        fresh_until: UnixTime,
        failed_at: Option<UnixTime>,
        failed_rule: Option<String>,
        gone_since: Option<UnixTime>,
        grants: i64,
        people: i64,
    }
}

row! {
    /// Something that happened to a client.
    ClientEvent {
        number: i64,
        at: UnixTime,
        kind: String,
        digest: Option<Digest>,
        changes: String,
        answer: String,
    }
}

/// What happens to a client, as its history names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Its document was accepted for the first time.
    First,
    /// Another version of its document was accepted.
    Changed,
    /// A version was refused although it is valid by itself.
    Refused,
    /// Its host says that there is no such document any more, or none that is valid.
    Gone,
    /// A rule of the administrator ended what it had.
    Blocked,
}

impl EventKind {
    /// Its name in the history.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Changed => "changed",
            Self::Refused => "refused",
            Self::Gone => "gone",
            Self::Blocked => "blocked",
        }
    }
}

/// A line of a client's history that is to be written.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub kind: EventKind,
    pub digest: Option<Digest>,
    /// JSON, see [`crate::policy::metadata_change::Change`].
    pub changes: String,
    pub answer: String,
}

/// A document that was accepted.
#[derive(Debug)]
pub struct Accepted {
    pub client_id: ClientUrl,
    pub digest: Digest,
    pub document: String,
    pub fetched_at: UnixTime,
    /// `None`: its host forbids storing it, so it is no copy for later.
    pub fresh_until: Option<UnixTime>,
    /// `None`: it is the version that was known.
    pub event: Option<NewEvent>,
    /// Ends the client's grants, for this reason.
    pub revoke: Option<&'static str>,
}

/// What is known of a document that its host took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    pub since: Option<UnixTime>,
    pub confirmed_at: Option<UnixTime>,
}

/// Writes a line of history, unless it says what the last one says.
pub(super) async fn write_event(
    tx: &mut Tx,
    client_id: &str,
    at: UnixTime,
    event: &NewEvent,
) -> Result<(), StoreError> {
    let last: Option<(i64, String, Option<String>, String)> =
        tx.optional(Query::new(LAST_EVENT).bind(client_id)).await?;
    let digest = event.digest.as_ref().map(Digest::as_str);
    let number = match &last {
        Some((_, kind, known, answer))
            if (kind.as_str(), known.as_deref(), answer)
                == (event.kind.as_str(), digest, &event.answer) =>
        {
            return Ok(());
        }
        Some((number, ..)) => number + 1,
        None => 1,
    };
    tx.execute(
        Query::new(EVENT)
            .bind(client_id)
            .bind(number)
            .bind(at)
            .bind(event.kind.as_str())
            .bind(digest)
            .bind(&event.changes)
            .bind(&event.answer),
    )
    .await?;
    if number > EVENTS_OF_CLIENT {
        tx.execute(
            Query::new(OLD_EVENTS_OUT)
                .bind(client_id)
                .bind(number - EVENTS_OF_CLIENT),
        )
        .await?;
    }
    Ok(())
}

impl Store {
    /// The last good copy.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn client(&self, client_id: &ClientUrl) -> Result<Option<KeptClient>, StoreError> {
        self.db.optional(Query::new(FIND).bind(client_id)).await
    }

    /// The clients that were read last, at most `most`.
    pub async fn clients(&self, now: UnixTime, most: i64) -> Result<Vec<ListedClient>, StoreError> {
        self.db.all(Query::new(LIST).bind(now).bind(most)).await
    }

    /// One version of a client's document.
    pub async fn client_document(
        &self,
        client_id: &ClientUrl,
        digest: &Digest,
    ) -> Result<Option<String>, StoreError> {
        self.db
            .optional(Query::new(DOCUMENT).bind(digest).bind(client_id))
            .await
    }

    /// A client's history, oldest first.
    pub async fn client_events(
        &self,
        client_id: &ClientId,
    ) -> Result<Vec<ClientEvent>, StoreError> {
        self.db.all(Query::new(EVENTS).bind(client_id)).await
    }

    /// How many grants it has that have not ended, and of how many people.
    pub async fn grants_of(
        &self,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<(i64, i64), StoreError> {
        self.db
            .one(Query::new(HELD_BY).bind(client_id).bind(now))
            .await
    }

    /// How many people have a consent for it that stands.
    pub async fn people_of(&self, client_id: &ClientId, now: UnixTime) -> Result<i64, StoreError> {
        self.db
            .one(Query::new(USED_BY).bind(client_id).bind(now))
            .await
    }

    /// Has anybody a consent for it that stands, or a grant?
    pub async fn is_client_used(
        &self,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let count: i64 = self
            .db
            .one(Query::new(IS_USED).bind(client_id).bind(now))
            .await?;
        Ok(count > 0)
    }

    /// Keeps a version, its line of history, and what it leads to, in one unit of work.
    pub async fn keep_client(&self, accepted: Accepted) -> Result<(), StoreError> {
        self.db
            .write(async move |mut tx| {
                let id = accepted.client_id.as_str();
                tx.execute(
                    Query::new(KEEP_DOCUMENT)
                        .bind(&accepted.digest)
                        .bind(id)
                        .bind(&accepted.document)
                        .bind(accepted.fetched_at),
                )
                .await?;
                match accepted.fresh_until {
                    Some(until) => {
                        tx.execute(
                            Query::new(KEEP_CLIENT)
                                .bind(id)
                                .bind(&accepted.digest)
                                .bind(accepted.fetched_at)
                                .bind(until),
                        )
                        .await?
                    }
                    None => tx.execute(Query::new(FORGET_CLIENT).bind(id)).await?,
                };
                if let Some(because) = accepted.revoke {
                    tx.execute(
                        Query::new(REVOKE_GRANTS)
                            .bind(id)
                            .bind(accepted.fetched_at)
                            .bind(because),
                    )
                    .await?;
                }
                if let Some(event) = &accepted.event {
                    write_event(&mut tx, id, accepted.fetched_at, event).await?;
                }
                Ok(())
            })
            .await
    }

    /// Writes down that a known client's document could not be read.
    pub async fn note_failure(
        &self,
        client_id: ClientUrl,
        at: UnixTime,
        rule: &'static str,
        because: String,
    ) -> Result<(), StoreError> {
        let because: String = because.chars().take(REASON).collect();
        self.db
            .execute(
                Query::new(FAILED)
                    .bind(&client_id)
                    .bind(at)
                    .bind(rule)
                    .bind(&because),
            )
            .await?;
        Ok(())
    }

    /// Writes down that its host has no acceptable document any more: it serves no new authorization. With `confirm`,
    /// the same said again so many seconds later is confirmed. `version` is the document that was refused, if there is
    /// one that is valid by itself.
    pub async fn note_gone(
        &self,
        client_id: ClientUrl,
        at: UnixTime,
        rule: &'static str,
        because: String,
        confirm: Option<i64>,
        version: Option<Digest>,
    ) -> Result<Gone, StoreError> {
        let because: String = because.chars().take(REASON).collect();
        self.db
            .write(async move |mut tx| {
                let id = client_id.as_str();
                let said_before = confirm.map_or(i64::MIN, |seconds| (at + -seconds).0);

                tx.execute(
                    Query::new(GONE)
                        .bind(id)
                        .bind(at)
                        .bind(rule)
                        .bind(&because)
                        .bind(said_before),
                )
                .await?;
                let state: Option<(Option<UnixTime>, Option<UnixTime>)> =
                    tx.optional(Query::new(GONE_STATE).bind(id)).await?;
                let Some((since, confirmed_at)) = state else {
                    return Ok(Gone::default());
                };
                let answer = match confirmed_at {
                    Some(_) => "confirmed, refresh tokens are refused",
                    None => "new authorizations are refused",
                };
                let event = NewEvent {
                    kind: if version.is_some() {
                        EventKind::Refused
                    } else {
                        EventKind::Gone
                    },
                    digest: version,
                    changes: "[]".to_owned(),
                    answer: format!("{rule}: {answer}"),
                };
                write_event(&mut tx, id, at, &event).await?;
                Ok(Gone {
                    since,
                    confirmed_at,
                })
            })
            .await
    }

    /// Counts the changes that every process has to notice.
    pub async fn client_revision(&self) -> Result<i64, StoreError> {
        self.db.one(Query::new(REVISION)).await
    }

    /// Makes every process look at its copies of clients anew.
    pub async fn bump_clients(&self) -> Result<(), StoreError> {
        self.db.execute(Query::new(BUMP)).await?;
        Ok(())
    }
}
