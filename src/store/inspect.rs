//! What an administrator's installation is like: looked at, never changed.

use std::time::Duration;

use sqlx::{
    Connection as _, Executor,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{
    Store, StoreError,
    db::pool::{ACQUIRE, Connections},
    db::row::row,
    db::sqlite_writer::Writer,
    db::{Pool, on_held, on_reads},
    statements,
};
use crate::{config::DatabaseUrl, counts::Counts, protocol::id_token::SigningAlg, time::UnixTime};

statements! {
    KEYS = "SELECT kid, private_key, alg, created_at FROM signing_keys ORDER BY generation";
    SECRET = "SELECT value FROM server_secrets WHERE name = $1";
    NEWEST = "SELECT MAX(newest) FROM (SELECT MAX(created_at) AS newest FROM signing_keys \
              UNION ALL SELECT MAX(created_at) FROM grants UNION ALL SELECT MAX(rotated_at) FROM grants \
              UNION ALL SELECT MAX(updated_at) FROM users UNION ALL SELECT MAX(signed_in_at) FROM sessions \
              UNION ALL SELECT MAX(fetched_at) FROM clients UNION ALL SELECT MAX(at) FROM client_events \
              UNION ALL SELECT MAX(created_at) FROM client_rules UNION ALL SELECT MAX(created_at) FROM registered_clients \
              UNION ALL SELECT MAX(created_at) FROM device_codes) t";
    RECENT = "SELECT MAX(recent) FROM (SELECT MAX(created_at) AS recent FROM signing_keys \
              UNION ALL SELECT MAX(created_at) FROM (SELECT created_at FROM grants ORDER BY ends_at DESC LIMIT 50) g) t";
}

row! {
    /// A signing key, with its age.
    InspectedKey {
        kid: String,
        private_key: String,
        alg: SigningAlg,
        created_at: UnixTime,
    }
}

row! {
    /// What PostgreSQL is, and how it keeps what it promises.
    PostgresFacts {
        version: String,
        synchronous_commit: String,
        fsync: String,
        full_page_writes: String,
        /// A copy of another server.
        in_recovery: bool,
        /// The server, the database or the role has it so.
        read_only: bool,
        /// May this role insert into our tables, where they are?
        may_write: bool,
    }
}

impl Store {
    /// Opens a database that is there, to look at it: makes nothing, migrates nothing, protects nothing. What would
    /// write fails.
    ///
    /// # Errors
    ///
    /// When it is not there, or does not open.
    pub async fn look(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let counts = Counts::new();
        let pool = match url {
            DatabaseUrl::Sqlite(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .read_only(true)
                    .busy_timeout(Duration::from_secs(5))
                    .pragma("trusted_schema", "OFF");
                let pool = SqlitePoolOptions::new()
                    .max_connections(1)
                    .acquire_timeout(ACQUIRE);
                let mut connection = sqlx::SqliteConnection::connect_with(&options).await?;
                // Opening looks at nothing: this reads the first page.
                connection.execute("PRAGMA schema_version").await?;
                Pool::Sqlite {
                    reads: Connections::of(pool.connect_with(options).await?),
                    writer: Writer::start(connection, counts.commits.clone()),
                }
            }
            DatabaseUrl::Postgres(url) => {
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
                Pool::Postgres(Connections::of(pool.connect_with(options).await?))
            }
        };
        Ok(Self::of(pool, counts))
    }

    /// What SQLite finds wrong with the file: nothing, if it is sound. It reads all of it.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn quick_check(&self) -> Result<Vec<String>, StoreError> {
        let Pool::Sqlite { reads, .. } = &self.pool else {
            return Ok(Vec::new());
        };
        let rows: Vec<(String,)> = on_held!(reads, c => {
            sqlx::query_as("PRAGMA quick_check(3)").fetch_all(c).await?
        });
        let told = rows.into_iter().map(|(line,)| line);
        Ok(told.filter(|line| line != "ok").collect())
    }

    /// What PostgreSQL says of itself; `None` for SQLite.
    pub async fn postgres_facts(&self) -> Result<Option<PostgresFacts>, StoreError> {
        // What counts is the setting that connections begin with: this one made itself read-only.
        const FACTS: &str = "SELECT current_setting('server_version'), current_setting('synchronous_commit'), \
            current_setting('fsync'), current_setting('full_page_writes'), pg_is_in_recovery(), \
            (SELECT reset_val = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only'), \
            COALESCE(has_table_privilege(to_regclass('grants')::oid, 'INSERT'), TRUE)";
        let Pool::Postgres(connections) = &self.pool else {
            return Ok(None);
        };
        Ok(Some(
            on_held!(connections, c => sqlx::query_as(FACTS).fetch_one(c).await?),
        ))
    }

    /// What the database's own machine takes for now; `None` where that is this machine.
    pub async fn clock(&self) -> Result<Option<UnixTime>, StoreError> {
        const NOW: &str = "SELECT CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp())) AS BIGINT)";
        let Pool::Postgres(connections) = &self.pool else {
            return Ok(None);
        };
        let (now,): (UnixTime,) =
            on_held!(connections, c => sqlx::query_as(NOW).fetch_one(c).await?);
        Ok(Some(now))
    }

    /// The newest time at which anything was written down. It reads every row.
    pub async fn newest_time(&self) -> Result<Option<UnixTime>, StoreError> {
        let (newest,): (Option<UnixTime>,) =
            on_reads!(self, c => sqlx::query_as(NEWEST).fetch_one(c).await?);
        Ok(newest)
    }

    /// The same among the keys and a few grants that an index leads to: a time that was, if not the newest.
    pub async fn recent_time(&self) -> Result<Option<UnixTime>, StoreError> {
        let (recent,): (Option<UnixTime>,) =
            on_reads!(self, c => sqlx::query_as(RECENT).fetch_one(c).await?);
        Ok(recent)
    }

    /// All signing keys with their ages, oldest first.
    pub async fn inspected_keys(&self) -> Result<Vec<InspectedKey>, StoreError> {
        Ok(on_reads!(self, c => sqlx::query_as(KEYS).fetch_all(c).await?))
    }

    /// The secret of this name, if there is one.
    pub async fn kept_secret(&self, name: &str) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = on_reads!(self, c => {
            sqlx::query_as(SECRET).bind(name).fetch_optional(c).await?
        });
        Ok(row.map(|(value,)| value))
    }
}
