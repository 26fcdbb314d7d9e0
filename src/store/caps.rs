//! The most that is kept of what strangers and people can make us keep. `docs/operations.md` has the table of all.

use super::{Store, StoreError, db::Query, statements};
use crate::{
    limits::{PerKey, Room},
    protocol::client_id::ClientId,
    time::UnixTime,
};
use std::time::Duration;

/// Pushed requests in all, and their bytes with what surrounds them.
pub(super) const PUSHED: i64 = 100_000;
pub(super) const PUSHED_BYTES: i64 = 128 * 1_024 * 1_024;
/// Those of one client; and of one that proves itself and is listed: others who push in its name leave it the rest.
pub(super) const PUSHED_OF_CLIENT: i64 = 1_000;
pub(super) const PUSHED_OF_LISTED: i64 = 10_000;
/// What a row of a pushed request takes besides its texts, in bytes.
const PUSHED_ROW: i64 = 256;

/// Identifiers that were used once. None is forgotten before its time: at the cap others wait.
pub(super) const USED_ONCE: i64 = 1_000_000;

/// Clients that no person has a grant or a consent for.
pub(super) const CLIENTS: i64 = 10_000;
/// Versions of documents; beyond them those that nothing refers to go sooner.
pub(super) const DOCUMENTS: i64 = 30_000;
/// Lines of the history of such clients, and of one client.
pub(super) const EVENTS: i64 = 20_000;
pub(super) const EVENTS_OF_CLIENT: i64 = 200;
/// Longest reason of a failure that is kept of a client, in characters.
pub(super) const REASON: usize = 1_000;
/// Clients whose logo is kept.
pub(super) const LOGOS: i64 = 1_000;
/// Names with wrong passwords.
pub(super) const SIGN_IN_FAILURES: i64 = 1_000_000;

/// Of one person: sessions, consents, grants. The ones that were used longest ago go.
pub(super) const SESSIONS_OF_PERSON: i64 = 1_000;
pub(super) const CONSENTS_OF_PERSON: i64 = 1_000;
pub(super) const GRANTS_OF_PERSON: i64 = 10_000;

statements! {
    PUSHED_COUNT = "SELECT COUNT(*) FROM pushed_requests";
    PUSHED_SUM = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM pushed_requests";
    PUSHED_COUNT_OF = "SELECT COUNT(*) FROM pushed_requests WHERE client_id = $1";
    USED_ONCE_COUNT = "SELECT COUNT(*) FROM used_once";
}

/// What this process knows of how full the tables are that refuse more at their caps.
#[derive(Debug)]
pub(super) struct Rooms {
    pushed: Room,
    pushed_bytes: Room,
    pushed_of_client: PerKey<Room>,
    used_once: Room,
}

impl Rooms {
    pub(super) fn new() -> Self {
        Self {
            pushed: Room::default(),
            pushed_bytes: Room::default(),
            pushed_of_client: PerKey::new(Duration::from_secs(60)),
            used_once: Room::default(),
        }
    }
}

/// Is there room for one more?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Left,
    /// This client has as many as one may have.
    ClientIsFull,
    /// There are as many as there may be.
    Full,
}

/// What a pushed request takes, in bytes.
pub(super) fn pushed_bytes(client_id: &ClientId, request: &str) -> i64 {
    let texts = client_id.as_str().len().saturating_add(request.len());
    i64::try_from(texts)
        .unwrap_or(i64::MAX)
        .saturating_add(PUSHED_ROW)
}

impl Store {
    /// Takes the room of a pushed request of this client. `is_listed`: it has proven itself and the administrator lists it.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn room_for_pushed(
        &self,
        client_id: &ClientId,
        request: &str,
        is_listed: bool,
        now: UnixTime,
    ) -> Result<Space, StoreError> {
        let rooms = &self.rooms;
        let bytes = pushed_bytes(client_id, request);
        let all = rooms
            .pushed
            .take(1, PUSHED, now, self.count(PUSHED_COUNT))
            .await?
            && rooms
                .pushed_bytes
                .take(bytes, PUSHED_BYTES, now, self.count(PUSHED_SUM))
                .await?;
        if !all {
            return Ok(Space::Full);
        }
        // While there are fewer in all, no client has so many, and its own are not counted.
        if rooms
            .pushed
            .known()
            .is_some_and(|all| all <= PUSHED_OF_CLIENT)
        {
            return Ok(Space::Left);
        }
        let most = match is_listed {
            true => PUSHED_OF_LISTED,
            false => PUSHED_OF_CLIENT,
        };
        let room = rooms.pushed_of_client.of(client_id.as_str(), Room::default);
        let its_own = self.pushed_of(client_id);
        Ok(match room.take(1, most, now, its_own).await? {
            true => Space::Left,
            false => Space::ClientIsFull,
        })
    }

    /// Takes the room of identifiers that are used once.
    pub(super) async fn room_for_once(&self, many: i64, now: UnixTime) -> Result<(), StoreError> {
        let count = self.count(USED_ONCE_COUNT);
        match self
            .rooms
            .used_once
            .take(many, USED_ONCE, now, count)
            .await?
        {
            true => Ok(()),
            false => Err(StoreError::Full("used_once")),
        }
    }

    /// What a statement without parameters counts.
    async fn count(&self, statement: &'static str) -> Result<i64, StoreError> {
        self.db.one(Query::new(statement)).await
    }

    async fn pushed_of(&self, client_id: &ClientId) -> Result<i64, StoreError> {
        self.db
            .one(Query::new(PUSHED_COUNT_OF).bind(client_id))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Once, OnceKind, refusals::MOST_REFUSALS};

    const OPERATIONS: &str = include_str!("../../docs/operations.md");

    /// The first and the third cell of each row of the table of tables.
    fn documented() -> Vec<(String, String)> {
        let lines = OPERATIONS.lines();
        let rows = lines.skip_while(|line| !line.starts_with("| table | one row"));
        let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
        let cell = |row: &str, place: usize| {
            let text = row.split('|').nth(place).unwrap_or_default();
            text.trim().trim_matches('`').to_owned()
        };
        rows.map(|row| (cell(row, 1), cell(row, 3))).collect()
    }

    #[tokio::test]
    async fn every_table_is_in_the_documentation_with_its_cap() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("w.db").display());
        let store = Store::open(&url.parse().unwrap(), 2).await.unwrap();
        store.migrate().await.unwrap();
        let tables = Query::new(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
        );
        let tables: Vec<String> = store.db.all(tables).await.unwrap();
        let documented = documented();
        let mut names: Vec<_> = documented.iter().map(|it| it.0.clone()).collect();
        names.sort();
        assert_eq!(
            names, tables,
            "docs/operations.md has one row for each table"
        );
        let expected = [
            (
                "pushed_requests",
                &[PUSHED, PUSHED_OF_CLIENT, PUSHED_OF_LISTED][..],
            ),
            ("used_once", &[USED_ONCE]),
            ("clients", &[CLIENTS]),
            ("client_documents", &[DOCUMENTS]),
            ("client_events", &[EVENTS, EVENTS_OF_CLIENT]),
            ("client_logos", &[LOGOS]),
            ("sign_in_failures", &[SIGN_IN_FAILURES]),
            ("sessions", &[SESSIONS_OF_PERSON]),
            ("consents", &[CONSENTS_OF_PERSON]),
            ("grants", &[GRANTS_OF_PERSON]),
            ("refusals", &[MOST_REFUSALS]),
        ];
        for (table, caps) in expected {
            let cell = &documented.iter().find(|it| it.0 == table).unwrap().1;
            for cap in caps {
                let number = with_commas(*cap);
                let mut words = cell.split(|c: char| !c.is_ascii_digit() && c != ',');
                let named = words.any(|word| word.trim_matches(',') == number);
                assert!(named, "{table}: {number} is not in {cell:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_serves_once_is_refused_rather_than_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("w.db").display());
        let store = Store::open(&url.parse().unwrap(), 2).await.unwrap();
        store.migrate().await.unwrap();
        let now = UnixTime(1_000);
        let once = |jti: &str| vec![Once::new(OnceKind::Proof, "key", jti, now + 120)];
        assert_eq!(store.spend_once(once("1"), now).await.unwrap(), None);
        store.rooms.used_once.counted(USED_ONCE, now);
        let refused = store.spend_once(once("2"), now).await.unwrap_err();
        assert!(matches!(refused, StoreError::Full("used_once")) && refused.is_temporary());
        // Counted again, there is room; what was used before still was.
        assert_eq!(store.spend_once(once("2"), now + 5).await.unwrap(), None);
        assert!(
            store
                .spend_once(once("1"), now + 5)
                .await
                .unwrap()
                .is_some()
        );
    }

    fn with_commas(number: i64) -> String {
        let digits = number.to_string();
        let mut written = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                written.push(',');
            }
            written.push(digit);
        }
        written
    }

    #[test]
    fn what_a_pushed_request_takes_is_counted_whole() {
        let client_id: ClientId = "https://client.example.com/c".parse().unwrap();
        assert_eq!(pushed_bytes(&client_id, "state=1"), 28 + 7 + PUSHED_ROW);
    }
}
