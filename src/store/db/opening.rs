//! How each database is opened: to be used, or to be looked at only.

use std::{path::Path, sync::Arc, time::Duration};

use prometheus_client::metrics::histogram::Histogram;
use sqlx::{
    ConnectOptions, Connection as _, Executor, PgConnection, SqliteConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    Db, Pool,
    error::StoreError,
    pool::{ACQUIRE, Connections},
    sqlite_writer::Writer,
};
use crate::{config::DatabaseUrl, counts::Counts};

/// Longest wait for PostgreSQL's first answer.
const FIRST: Duration = Duration::from_secs(10);

impl Db {
    /// See [`Store::open`](crate::store::Store::open).
    pub(crate) async fn open(
        url: &DatabaseUrl,
        max_connections: u32,
        counts: Arc<Counts>,
    ) -> Result<Self, StoreError> {
        let pool = match url {
            DatabaseUrl::Sqlite(path) => open_sqlite(path, counts.commits.clone()).await?,
            DatabaseUrl::Postgres(url) => open_postgres(url, max_connections).await?,
        };
        Ok(Self { pool, counts })
    }

    /// See [`Store::look`](crate::store::Store::look).
    pub(crate) async fn look(url: &DatabaseUrl, counts: Arc<Counts>) -> Result<Self, StoreError> {
        let pool = match url {
            DatabaseUrl::Sqlite(path) => look_at_sqlite(path, counts.commits.clone()).await?,
            DatabaseUrl::Postgres(url) => look_at_postgres(url).await?,
        };
        Ok(Self { pool, counts })
    }
}

async fn open_postgres(url: &str, max_connections: u32) -> Result<Pool, StoreError> {
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
    let connections = Connections::to_server(pool.connect_lazy_with(options));
    Ok(Pool::Postgres(connections))
}

async fn look_at_sqlite(path: &Path, commits: Histogram) -> Result<Pool, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("trusted_schema", "OFF");
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    // Opening looks at nothing: this reads the first page.
    connection.execute("PRAGMA schema_version").await?;
    Ok(Pool::Sqlite {
        reads: Connections::of(pool.connect_with(options).await?),
        writer: Writer::start(connection, commits),
    })
}

async fn look_at_postgres(url: &str) -> Result<Pool, StoreError> {
    let options: PgConnectOptions = url.parse().map_err(StoreError::Database)?;
    let options = options
        .application_name("wayleave doctor")
        .options([("statement_timeout", "5000")]);
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(ACQUIRE)
        .after_connect(|connection, _| {
            Box::pin(async move {
                let read_only = "SET default_transaction_read_only = on";
                connection.execute(read_only).await.map(drop)
            })
        });
    let connections = Connections::of(pool.connect_with(options).await?);
    Ok(Pool::Postgres(connections))
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

/// A commit that is not synced is no commit: refuses a file system or a build that does not sync.
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

/// The file holds password hashes and keys: only its owner may read it.
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
    use crate::store::db::tx::{Borrowed, Tx};

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
        let db = Db::open(&url.parse().unwrap(), 1, Counts::new())
            .await
            .unwrap();
        let expected: Settings = ("wal".to_owned(), 2, 1, 5_000, 0);
        let Pool::Sqlite { reads, writer } = &db.pool else {
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
        let found = writer.run_bare(async move |tx| {
            let Tx(Borrowed::Sqlite(mut connection)) = tx else {
                panic!("it is SQLite");
            };
            let found = sqlx::query_as::<_, Settings>(SETTINGS);
            Ok(found.fetch_one(&mut *connection).await?)
        });
        assert_eq!(found.await.unwrap(), expected, "the one that writes");
    }

    /// Row S-06.
    #[tokio::test]
    async fn postgresql_that_does_not_wait_for_its_log_is_refused() {
        let Some(url) = super::super::postgres_of_tests() else {
            return;
        };
        for (setting, is_taken) in [("on", true), ("off", false)] {
            let url = format!("{url}?options=-csynchronous_commit%3D{setting}");
            let db = Db::open(&url.parse().unwrap(), 2, Counts::new()).await;
            assert_eq!(db.is_ok(), is_taken, "{setting}: {db:?}");
        }
    }
}
