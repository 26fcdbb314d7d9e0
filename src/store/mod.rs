//! State: one method is one unit of work. The only folder with SQL, one text for SQLite and PostgreSQL.
//!
//! `db/` is the two databases, and the only folder that knows them apart: how they are opened, migrated, lent and committed.
//! Beside it is one file for each kind of row, with its statements and the methods of [`Store`] that run them:
//!
//! - what reads calls `self.db.optional(query)`, `one` or `all`;
//! - what writes with one statement calls `self.db.execute(query)`;
//! - what takes several is an async closure: `self.db.write(async move |mut tx| …)`, in which the [`Tx`](db::Tx) has the same
//!   methods. It may run on another task, after its caller has gone, so it owns what it needs.
//!
//! The names of statements are listed, and a test prepares each on both databases. `locks.rs` has the locks of tables that rare
//! units of work take, `caps.rs` how much is kept, `sweep.rs` what goes. [`Store`] itself keeps what need not be looked up.

mod accounts;
mod caps;
mod client_rules;
mod clients;
mod codes;
mod command_notes;
mod consents;
mod db;
mod dev_clients;
mod device_codes;
mod grants;
mod inspect;
mod interactions;
mod key_reset;
mod keys;
mod locks;
mod logos;
mod pushed_requests;
mod refusals;
mod registered_clients;
mod revocation;
mod sessions;
mod sign_in_failures;
mod sweep;
mod used_once;

use std::{sync::Arc, time::Duration};

use moka::{policy::EvictionPolicy, sync::Cache};

pub use self::{
    accounts::{Account, AccountError, DescribedEmail, Description, Profile},
    caps::Space,
    clients::{Accepted, ClientEvent, EventKind, Gone, KeptClient, ListedClient, NewEvent},
    codes::{IssuedCode, NewCode, Redeemed},
    consents::{Consent, ListedConsent},
    db::{Schema, StoreError, Unusable},
    dev_clients::{DevClient, ListedDevClient, NewDevClient},
    device_codes::{ClaimedDevice, DeviceAnswer, NewDevice, Polled, WaitingDevice},
    grants::{Approved, GrantRow, ListedGrant, NewGrant, Revoked, RotateRequest, Rotated, Which},
    inspect::{InspectedKey, PostgresFacts},
    interactions::{Answer, Interaction, NewInteraction, Respondent},
    key_reset::KeysEnd,
    keys::{KeyMark, NewKey, StoredKey},
    logos::{ClientLogo, NewLogo},
    pushed_requests::{NewPushed, Pushed},
    refusals::{KeptRefusal, MOST_REFUSALS, NewRefusal},
    revocation::Ended,
    sessions::{ListedSession, SessionRow},
    sweep::SweepLease,
    used_once::{Kind as OnceKind, Once},
};
use self::{caps::Rooms, db::Db, device_codes::FreshDevice};
use crate::{config::DatabaseUrl, counts::Counts};

/// Names the SQL texts of a file and lists them, so that a test can prepare each on both databases.
macro_rules! statements {
    ($($name:ident = $sql:expr;)+) => {
        $(const $name: &str = $sql;)+
        #[cfg(test)]
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}
use statements;

/// The state of the server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    db: Db,
    /// Codes that this process issued a moment ago, by their hashes, so that they need not be looked up.
    issued: Cache<String, Arc<IssuedCode>>,
    /// Devices that began here and that nobody has answered, by the hashes of their codes, so that those that ask need no
    /// look either. Of use only to a process that [is alone](Self::is_alone).
    waiting: Cache<String, Arc<FreshDevice>>,
    /// How full the tables are that have a cap.
    rooms: Arc<Rooms>,
    /// What this server counts; every part of it that has the store has them.
    pub counts: Arc<Counts>,
}

impl Store {
    /// Opens the database; makes the file and its folder if there is none. Migrates nothing.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached, or does not keep what it promises.
    pub async fn open(url: &DatabaseUrl, max_connections: u32) -> Result<Self, StoreError> {
        let counts = Counts::new();
        let db = Db::open(url, max_connections, Arc::clone(&counts)).await?;
        Ok(Self::of(db, counts))
    }

    /// Opens a database that is there, to look at it: makes nothing, migrates nothing, protects nothing. What would
    /// write fails.
    ///
    /// # Errors
    ///
    /// When it is not there, or does not open.
    pub async fn look(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let counts = Counts::new();
        let db = Db::look(url, Arc::clone(&counts)).await?;
        Ok(Self::of(db, counts))
    }

    fn of(db: Db, counts: Arc<Counts>) -> Self {
        let issued = Cache::builder()
            .max_capacity(10_000)
            .time_to_live(Duration::from_secs(60))
            .build();
        let waiting = Cache::builder()
            .max_capacity(5_000)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(Duration::from_secs(600))
            .build();
        Self {
            db,
            issued,
            waiting,
            rooms: Arc::new(Rooms::new()),
            counts,
        }
    }

    /// Brings the schema up to date. PostgreSQL: under an advisory lock; SQLite: the writer works alone.
    ///
    /// # Errors
    ///
    /// When a step fails, or the database is of a newer version than this binary: says which, and what it needs.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.db.migrate().await
    }

    /// Which schema the database has. Changes nothing.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn schema(&self) -> Result<Schema, StoreError> {
        self.db.schema().await
    }

    /// Does no other server use this database? Then what people answer is answered here.
    fn is_alone(&self) -> bool {
        self.db.is_sqlite()
    }

    /// Units of work that wait for SQLite's one writer.
    pub fn writes_waiting(&self) -> usize {
        self.db.writes_waiting()
    }

    /// Does the database answer?
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.db.run("SELECT 1").await
    }

    /// Lets the work under way finish and closes the database.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// Runs a text that is not one of ours: for making the schemas of tests.
    ///
    /// # Errors
    ///
    /// What the database says.
    #[doc(hidden)]
    pub async fn execute_raw(&self, sql: String) -> Result<(), StoreError> {
        self.db.run(sqlx::AssertSqlSafe(sql)).await
    }

    #[cfg(test)]
    async fn prepare_all(&self, statements: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut bad = Vec::new();
        for (name, sql) in statements {
            let error = self.db.prepare(sql).await.err();
            bad.extend(error.map(|error| format!("{name}: {error}")));
        }
        bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_statement_is_valid_on_sqlite() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("w.db").display())
            .parse()
            .unwrap();
        let store = Store::open(&url, 2).await.unwrap();
        store.migrate().await.unwrap();
        let bad = store.prepare_all(&all()).await;
        assert!(bad.is_empty(), "{bad:#?}");
    }

    #[tokio::test]
    async fn every_statement_is_valid_on_postgresql() {
        let Some(url) = db::postgres_of_tests() else {
            return;
        };
        let schema = format!(
            "statements_{}",
            crate::secret::random_id().replace('-', "_").to_lowercase()
        );
        let admin = Store::open(&url.parse().unwrap(), 1).await.unwrap();
        admin
            .execute_raw(format!("CREATE SCHEMA {schema}"))
            .await
            .unwrap();
        let store = Store::open(
            &format!("{url}?options=-csearch_path%3D{schema}")
                .parse()
                .unwrap(),
            2,
        )
        .await
        .unwrap();
        store.migrate().await.unwrap();
        let bad = store.prepare_all(&all()).await;
        admin
            .execute_raw(format!("DROP SCHEMA {schema} CASCADE"))
            .await
            .unwrap();
        assert!(bad.is_empty(), "{bad:#?}");
    }

    fn all() -> Vec<(&'static str, &'static str)> {
        [
            accounts::STATEMENTS,
            caps::STATEMENTS,
            client_rules::STATEMENTS,
            clients::STATEMENTS,
            codes::STATEMENTS,
            command_notes::STATEMENTS,
            consents::STATEMENTS,
            dev_clients::STATEMENTS,
            device_codes::STATEMENTS,
            grants::STATEMENTS,
            inspect::STATEMENTS,
            interactions::STATEMENTS,
            key_reset::STATEMENTS,
            keys::STATEMENTS,
            logos::STATEMENTS,
            pushed_requests::STATEMENTS,
            refusals::STATEMENTS,
            registered_clients::STATEMENTS,
            revocation::STATEMENTS,
            sessions::STATEMENTS,
            sign_in_failures::STATEMENTS,
            sweep::STATEMENTS,
            used_once::STATEMENTS,
        ]
        .concat()
    }
}
