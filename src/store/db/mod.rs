//! The two databases, and the only place that knows them apart.

mod migrate;
pub(in crate::store) mod pool;
pub(in crate::store) mod row;
pub(in crate::store) mod sqlite_writer;
mod unusable;

pub use self::{migrate::Schema, unusable::Unusable};

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use moka::{policy::EvictionPolicy, sync::Cache};
use prometheus_client::metrics::histogram::Histogram;
use sqlx::{
    ConnectOptions, Connection as _, Executor, PgConnection, Postgres, Sqlite, SqliteConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::Instant;
use tracing::Instrument;

use self::{
    pool::{ACQUIRE, Connections},
    sqlite_writer::Writer,
};
use super::{IssuedCode, StoreError, caps::Rooms, device_codes::FreshDevice};
use crate::{config::DatabaseUrl, counts::Counts, spans::span};

/// Longest wait for PostgreSQL's first answer.
const FIRST: Duration = Duration::from_secs(10);

/// The state of the server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(in crate::store) pool: Pool,
    /// Codes that this process issued a moment ago, by their hashes, so that they need not be looked up.
    pub(in crate::store) issued: Cache<String, Arc<IssuedCode>>,
    /// Devices that began here and that nobody has answered, by the hashes of their codes, so that those that ask need no
    /// look either. Of use only to a process that [is alone](Self::is_alone).
    pub(in crate::store) waiting: Cache<String, Arc<FreshDevice>>,
    /// How full the tables are that have a cap.
    pub(in crate::store) rooms: Arc<Rooms>,
    /// What this server counts; every part of it that has the store has them.
    pub counts: Arc<Counts>,
}

#[derive(Clone, Debug)]
pub(in crate::store) enum Pool {
    /// Reads go to a pool of their own; one task owns the connection that writes.
    Sqlite {
        reads: Connections<Sqlite>,
        writer: Writer,
    },
    Postgres(Connections<Postgres>),
}

/// A connection inside a unit of work.
pub(in crate::store) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

/// Runs one body on whichever connection a unit of work has.
macro_rules! on_connection {
    ($connection:expr, $c:ident => $body:expr) => {
        match $connection {
            $crate::store::db::Connection::Sqlite($c) => {
                let $c = &mut **$c;
                $body
            }
            $crate::store::db::Connection::Postgres($c) => {
                let $c = &mut **$c;
                $body
            }
        }
    };
}

/// Runs one reading body on a connection of whichever database is configured.
macro_rules! on_reads {
    ($store:expr, $c:ident => $body:expr) => {
        match &$store.pool {
            $crate::store::db::Pool::Sqlite { reads, .. } => {
                $crate::store::db::on_held!(reads, $c => $body)
            }
            $crate::store::db::Pool::Postgres(connections) => {
                $crate::store::db::on_held!(connections, $c => $body)
            }
        }
    };
}

macro_rules! on_held {
    ($connections:expr, $c:ident => $body:expr) => {{
        let mut held = $connections.take().await?;
        let read = async {
            let $c = &mut *held;
            Ok($body)
        };
        let done: Result<_, $crate::store::StoreError> = ::tracing::Instrument::instrument(
            $connections.in_time(read),
            $crate::spans::span!("store read"),
        )
        .await;
        let done = done?;
        held.worked();
        done
    }};
}

pub(in crate::store) use {on_connection, on_held, on_reads};

/// What is given to people and clients, in the order in which units of work come to the tables.
const STOP_GIVING: &str = "LOCK TABLE interactions, consents, device_codes, authorization_codes, grants, sessions \
                           IN SHARE ROW EXCLUSIVE MODE";

/// The first step of a unit of work that ends what somebody has: it waits for the writers that are giving something, and
/// holds up others until it is durable. So it ends what those gave, and these see what it changed. SQLite has one writer.
pub(in crate::store) async fn stop_giving(
    connection: &mut Connection<'_>,
) -> Result<(), StoreError> {
    if let Connection::Postgres(c) = connection {
        c.execute(STOP_GIVING).await?;
    }
    Ok(())
}

/// Keeps others from changing an account until the unit of work ends, so that what it finds out about all of them stays so.
/// After [`stop_giving`], where both are needed.
pub(in crate::store) async fn keep_accounts(
    connection: &mut Connection<'_>,
) -> Result<(), StoreError> {
    if let Connection::Postgres(c) = connection {
        c.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
            .await?;
    }
    Ok(())
}

/// The same for registered clients.
pub(in crate::store) async fn keep_registrations(
    connection: &mut Connection<'_>,
) -> Result<(), StoreError> {
    if let Connection::Postgres(c) = connection {
        c.execute("LOCK TABLE registered_clients IN SHARE ROW EXCLUSIVE MODE")
            .await?;
    }
    Ok(())
}

impl Store {
    /// Opens the database; makes the file and its folder if there is none. Migrates nothing.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached, or does not keep what it promises.
    pub async fn open(url: &DatabaseUrl, max_connections: u32) -> Result<Self, StoreError> {
        let counts = Counts::new();
        let pool = match url {
            DatabaseUrl::Sqlite(path) => open_sqlite(path, counts.commits.clone()).await?,
            DatabaseUrl::Postgres(url) => {
                let options: PgConnectOptions = url.parse().map_err(StoreError::Database)?;
                let options = options
                    .application_name("wayleave")
                    .options([
                        ("statement_timeout", "5000"),
                        ("idle_in_transaction_session_timeout", "10000"),
                    ])
                    .log_slow_statements(tracing::log::LevelFilter::Off, Duration::ZERO);
                let pool = PgPoolOptions::new()
                    .max_connections(max_connections)
                    .acquire_timeout(ACQUIRE);
                // One outside the pool: that would not say why there is none, and wait no longer than a request may.
                let first = tokio::time::timeout(FIRST, options.connect()).await;
                check_commits(first.map_err(|_| StoreError::Silent)??).await?;
                Pool::Postgres(Connections::to_server(pool.connect_lazy_with(options)))
            }
        };
        Ok(Self::of(pool, counts))
    }

    pub(in crate::store) fn of(pool: Pool, counts: Arc<Counts>) -> Self {
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
            pool,
            issued,
            waiting,
            rooms: Arc::new(Rooms::new()),
            counts,
        }
    }

    /// Does no other server use this database? Then what people answer is answered here.
    pub(in crate::store) fn is_alone(&self) -> bool {
        matches!(self.pool, Pool::Sqlite { .. })
    }

    /// One unit of work: all of it is durable when this returns, or none of it ever was.
    pub(in crate::store) async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(Connection<'c>) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let written = async {
            match &self.pool {
                Pool::Sqlite { writer, .. } => writer.run(true, work).await,
                Pool::Postgres(connections) => {
                    let mut held = connections.take().await?;
                    let done = connections.in_time(async {
                        let mut transaction = held.begin().await?;
                        let result = work(Connection::Postgres(&mut transaction)).await?;
                        transaction.commit().await?;
                        Ok(result)
                    });
                    let result = done.await?;
                    held.worked();
                    Ok(result)
                }
            }
        };
        self.counted(written).await
    }

    /// A unit of work that is one statement, which is all-or-nothing by itself.
    pub(in crate::store) async fn write_one<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(Connection<'c>) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let written = async {
            match &self.pool {
                Pool::Sqlite { writer, .. } => writer.run(false, work).await,
                Pool::Postgres(connections) => {
                    let mut held = connections.take().await?;
                    let work = work(Connection::Postgres(&mut held));
                    let result = connections.in_time(work).await?;
                    held.worked();
                    Ok(result)
                }
            }
        };
        self.counted(written).await
    }

    /// Counts a unit of work, and how long it took.
    async fn counted<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let done = work.instrument(span!("store write")).await;
        match &done {
            Ok(_) => self.counts.writes.observe(began.elapsed().as_secs_f64()),
            Err(error) if error.is_of_the_database() => _ = self.counts.database_failures.inc(),
            Err(_) => {}
        }
        done
    }

    /// Units of work that wait for SQLite's one writer.
    pub fn writes_waiting(&self) -> usize {
        match &self.pool {
            Pool::Sqlite { writer, .. } => writer.waiting(),
            Pool::Postgres(_) => 0,
        }
    }

    /// Does the database answer?
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        on_reads!(self, c => { c.execute("SELECT 1").await?; });
        Ok(())
    }

    /// Lets the work under way finish and closes the database.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite { reads, writer } => {
                writer.stop().await;
                reads.close().await;
            }
            Pool::Postgres(connections) => connections.close().await,
        }
    }

    /// Runs a text that is not one of ours: for making the schemas of tests.
    ///
    /// # Errors
    ///
    /// What the database says.
    #[doc(hidden)]
    pub async fn execute_raw(&self, sql: String) -> Result<(), StoreError> {
        on_reads!(self, c => { c.execute(sqlx::AssertSqlSafe(sql)).await?; });
        Ok(())
    }

    #[cfg(test)]
    pub(in crate::store) async fn prepare_all(
        &self,
        statements: &[(&'static str, &'static str)],
    ) -> Vec<String> {
        use sqlx::SqlSafeStr;
        let mut bad = Vec::new();
        for (name, sql) in statements {
            let result = async {
                on_reads!(self, c => { c.prepare(sql.into_sql_str()).await?; });
                Ok::<_, StoreError>(())
            };
            bad.extend(result.await.err().map(|error| format!("{name}: {error}")));
        }
        bad
    }
}

async fn open_sqlite(path: &Path, commits: Histogram) -> Result<Pool, StoreError> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder).map_err(|error| {
            StoreError::Unusable(format!(
                "cannot make the folder {}: {error}",
                folder.display()
            ))
        })?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("trusted_schema", "OFF")
        .log_slow_statements(tracing::log::LevelFilter::Off, Duration::ZERO);
    let mut connection = options.connect().await?;
    check_durability(&mut connection).await?;
    keep_private(path)?;
    // Each commit empties the caches of those that read, page by page: a large one is dearer than what it saves.
    let options = options.pragma("cache_size", "-512");
    let reads = SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(ACQUIRE);
    let reads = Connections::of(reads.connect_with(options).await?);
    connection.ping().await?;
    Ok(Pool::Sqlite {
        reads,
        writer: Writer::start(connection, commits),
    })
}

/// A commit that is not synced is no commit: refuses a file system or a build that does not do as told.
async fn check_durability(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let (journal,): (String,) = sqlx::query_as("PRAGMA journal_mode")
        .fetch_one(&mut *connection)
        .await?;
    let (synchronous,): (i64,) = sqlx::query_as("PRAGMA synchronous")
        .fetch_one(connection)
        .await?;
    if (journal.as_str(), synchronous) != ("wal", 2) {
        let told = format!(
            "SQLite runs with journal_mode={journal}, synchronous={synchronous}; expected wal and 2 (FULL)"
        );
        return Err(StoreError::Unusable(told));
    }
    Ok(())
}

/// The same for PostgreSQL, where the database, the role and the URL may each say otherwise.
async fn check_commits(mut connection: PgConnection) -> Result<(), StoreError> {
    let (synchronous,): (String,) = sqlx::query_as("SELECT current_setting('synchronous_commit')")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    if synchronous == "off" {
        let told = "PostgreSQL runs with synchronous_commit=off for this connection; expected on";
        return Err(StoreError::Unusable(told.to_owned()));
    }
    Ok(())
}

/// The file holds password hashes and keys: nobody else on the machine reads it.
#[cfg(unix)]
fn keep_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(|error| {
        StoreError::Unusable(format!("cannot protect {}: {error}", path.display()))
    })
}

#[cfg(not(unix))]
fn keep_private(_: &Path) -> Result<(), StoreError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row S-06.
    #[tokio::test]
    async fn every_connection_to_sqlite_syncs_what_it_commits() {
        const SETTINGS: &str = "SELECT (SELECT journal_mode FROM pragma_journal_mode), \
                                (SELECT synchronous FROM pragma_synchronous), \
                                (SELECT foreign_keys FROM pragma_foreign_keys), \
                                (SELECT timeout FROM pragma_busy_timeout), \
                                (SELECT trusted_schema FROM pragma_trusted_schema)";
        type Settings = (String, i64, i64, i64, i64);
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("w.db").display());
        let store = Store::open(&url.parse().unwrap(), 1).await.unwrap();
        let expected: Settings = ("wal".to_owned(), 2, 1, 5_000, 0);
        let Pool::Sqlite { reads, writer } = &store.pool else {
            panic!("it is SQLite");
        };
        let mut held = Vec::new();
        for _ in 0..reads.pool().options().get_max_connections() {
            let mut connection = reads.pool().acquire().await.unwrap();
            let found: Settings = sqlx::query_as(SETTINGS)
                .fetch_one(&mut *connection)
                .await
                .unwrap();
            assert_eq!(found, expected, "a connection that reads");
            held.push(connection);
        }
        let found = writer.run_bare(|mut connection| {
            Box::pin(async move {
                Ok(on_connection!(&mut connection, c => {
                    sqlx::query_as::<_, Settings>(SETTINGS).fetch_one(c).await?
                }))
            })
        });
        assert_eq!(found.await.unwrap(), expected, "the one that writes");
    }

    /// Row S-06.
    #[tokio::test]
    async fn postgresql_that_does_not_wait_for_its_log_is_refused() {
        #[expect(
            clippy::disallowed_methods,
            reason = "the test run says where its PostgreSQL is"
        )]
        let Ok(url) = std::env::var("WAYLEAVE_TEST_POSTGRES") else {
            #[expect(clippy::disallowed_methods, reason = "in CI nothing may be left out")]
            let ci = std::env::var("CI").is_ok();
            assert!(!ci, "WAYLEAVE_TEST_POSTGRES is not set");
            return;
        };
        for (setting, is_taken) in [("on", true), ("off", false)] {
            let url = format!("{url}?options=-csynchronous_commit%3D{setting}");
            let store = Store::open(&url.parse().unwrap(), 2).await;
            assert_eq!(store.is_ok(), is_taken, "{setting}: {store:?}");
        }
    }
}
