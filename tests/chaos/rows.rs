//! The database itself, by another connection than the server's: is it sound, and what does it say?

use std::collections::HashMap;

use sqlx::{Connection as _, PgConnection, SqliteConnection};
use wayleave::secret::{self, Secret};

use super::database::{Database, Kind};

/// Pairs that must stand and fall together, and what refers to what. Each query counts what is wrong.
const UNSOUND: &[(&str, &str)] = &[
    (
        "a code that was wasted gave a grant",
        "SELECT COUNT(*) FROM authorization_codes c WHERE c.spent_at IS NOT NULL \
         AND EXISTS (SELECT 1 FROM grants g WHERE g.id = c.grant_id)",
    ),
    (
        "a device that nobody allowed gave a grant",
        "SELECT COUNT(*) FROM device_codes d WHERE NOT COALESCE(d.allowed, FALSE) \
         AND EXISTS (SELECT 1 FROM grants g WHERE g.id = d.grant_id)",
    ),
    (
        "a young grant has neither a code nor a device code",
        "SELECT COUNT(*) FROM grants g WHERE g.created_at > (SELECT MAX(created_at) - 500 FROM grants) \
         AND NOT EXISTS (SELECT 1 FROM authorization_codes c WHERE c.grant_id = g.id) \
         AND NOT EXISTS (SELECT 1 FROM device_codes d WHERE d.grant_id = g.id)",
    ),
    (
        "a grant is nobody's",
        "SELECT COUNT(*) FROM grants g WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.subject = g.subject)",
    ),
    (
        "a session is nobody's",
        "SELECT COUNT(*) FROM sessions s WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.subject = s.subject)",
    ),
    (
        "a client has no document",
        "SELECT COUNT(*) FROM clients c WHERE NOT EXISTS (SELECT 1 FROM client_documents d WHERE d.digest = c.digest)",
    ),
    (
        "a consent is to a document that is gone",
        "SELECT COUNT(*) FROM consents k WHERE NOT EXISTS (SELECT 1 FROM client_documents d WHERE d.digest = k.digest)",
    ),
    (
        "the history of a client has gaps",
        "SELECT COUNT(*) FROM (SELECT client_id FROM client_events GROUP BY client_id \
         HAVING COUNT(*) <> MAX(number)) AS gaps",
    ),
    (
        "a device was answered by nobody",
        "SELECT COUNT(*) FROM device_codes WHERE allowed AND (subject IS NULL OR decided_at IS NULL)",
    ),
];
const GRANTS: &str = "SELECT family, generation, revoked_at FROM grants WHERE family IS NOT NULL";
/// A code is spent when it is wasted, or its grant is there.
const CODES: &str = "SELECT hash, \
    CASE WHEN EXISTS (SELECT 1 FROM grants g WHERE g.id = grant_id) THEN CAST(1 AS BIGINT) ELSE spent_at END \
    FROM authorization_codes";
const DEVICES: &str = "SELECT hash, allowed, \
    CASE WHEN EXISTS (SELECT 1 FROM grants g WHERE g.id = grant_id) THEN CAST(1 AS BIGINT) ELSE spent_at END \
    FROM device_codes";

/// What was seen.
pub(crate) struct Seen {
    pub(crate) unsound: Vec<String>,
    /// Of each family: its generation, and has it ended?
    pub(crate) grants: HashMap<String, (i64, bool)>,
    /// Is it spent?
    pub(crate) codes: HashMap<String, bool>,
    /// Is it allowed, is it spent?
    pub(crate) devices: HashMap<String, (bool, bool)>,
}

pub(crate) struct Rows(pub(crate) Database);

/// How the server names a code.
pub(crate) fn code(text: &str) -> String {
    let secret = text.parse::<Secret<secret::Code>>();
    secret.map_or_else(|_| text.to_owned(), |it| it.hash().as_str().to_owned())
}

/// How the server names a device code.
pub(crate) fn device(text: &str) -> String {
    let secret = text.parse::<Secret<secret::DeviceCode>>();
    secret.map_or_else(|_| text.to_owned(), |it| it.hash().as_str().to_owned())
}

macro_rules! look {
    ($connection:expr) => {{
        let connection = $connection;
        let mut unsound = Vec::new();
        for (told, query) in UNSOUND {
            let (count,): (i64,) = sqlx::query_as(*query).fetch_one(&mut *connection).await?;
            if count > 0 {
                unsound.push(format!("{told} ({count} times)"));
            }
        }
        let grants: Vec<(String, i64, Option<i64>)> =
            sqlx::query_as(GRANTS).fetch_all(&mut *connection).await?;
        let codes: Vec<(String, Option<i64>)> =
            sqlx::query_as(CODES).fetch_all(&mut *connection).await?;
        let devices: Vec<(String, Option<bool>, Option<i64>)> =
            sqlx::query_as(DEVICES).fetch_all(&mut *connection).await?;
        Seen {
            unsound,
            grants: grants
                .into_iter()
                .map(|(family, generation, ended)| (family, (generation, ended.is_some())))
                .collect(),
            codes: codes
                .into_iter()
                .map(|(hash, spent)| (hash, spent.is_some()))
                .collect(),
            devices: devices
                .into_iter()
                .map(|(hash, allowed, spent)| (hash, (allowed == Some(true), spent.is_some())))
                .collect(),
        }
    }};
}

impl Rows {
    pub(crate) async fn look(&self) -> Seen {
        match self.try_look().await {
            Ok(seen) => seen,
            Err(error) => Seen {
                unsound: vec![format!("it cannot be read: {error}")],
                grants: HashMap::new(),
                codes: HashMap::new(),
                devices: HashMap::new(),
            },
        }
    }

    async fn try_look(&self) -> Result<Seen, sqlx::Error> {
        if self.0.kind == Kind::Postgres {
            let mut connection = PgConnection::connect(&self.0.url).await?;
            let seen = look!(&mut connection);
            connection.close().await?;
            return Ok(seen);
        }
        let mut connection = SqliteConnection::connect(&self.0.url).await?;
        let mut seen = look!(&mut connection);
        let sound: Vec<(String,)> = sqlx::query_as("PRAGMA integrity_check")
            .fetch_all(&mut connection)
            .await?;
        if sound != [("ok".to_owned(),)] {
            seen.unsound.push(format!("integrity_check: {sound:?}"));
        }
        let broken = sqlx::query("PRAGMA foreign_key_check")
            .fetch_all(&mut connection)
            .await?
            .len();
        if broken > 0 {
            seen.unsound
                .push(format!("foreign_key_check: {broken} rows"));
        }
        connection.close().await?;
        Ok(seen)
    }
}
