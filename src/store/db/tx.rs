//! A connection, and what either database's is asked.

use futures_util::TryStreamExt;
use sqlx::{Executor, PgConnection, Postgres, SqlStr, SqliteConnection, sqlite::SqliteArguments};
use tokio::sync::OwnedMutexGuard;

use super::{
    error::StoreError,
    pool::Held,
    query::Query,
    row::{FromRow, Row},
};

/// A unit of work under way. It has its connection to itself, and gives it back when it is dropped: so the future that owns
/// it needs no lifetime. What it did is kept only if the unit of work ends well.
pub(crate) struct Tx(pub(super) Borrowed);

/// A connection that goes back to its owner when this is dropped.
pub(super) enum Borrowed {
    Sqlite(OwnedMutexGuard<SqliteConnection>),
    Postgres(OwnedMutexGuard<Held<Postgres>>),
}

impl Tx {
    fn connection(&mut self) -> Connection<'_> {
        match &mut self.0 {
            Borrowed::Sqlite(connection) => Connection::Sqlite(connection),
            Borrowed::Postgres(connection) => Connection::Postgres(connection),
        }
    }

    /// Changes rows, and says how many.
    pub(crate) async fn execute(&mut self, query: Query<'_>) -> Result<u64, StoreError> {
        self.connection().execute(query).await
    }

    /// The first row, if there is one.
    pub(crate) async fn optional<T: FromRow>(
        &mut self,
        query: Query<'_>,
    ) -> Result<Option<T>, StoreError> {
        self.connection().optional(query).await
    }

    /// The only row.
    pub(crate) async fn one<T: FromRow>(&mut self, query: Query<'_>) -> Result<T, StoreError> {
        self.connection().one(query).await
    }

    /// All rows.
    pub(crate) async fn all<T: FromRow>(&mut self, query: Query<'_>) -> Result<Vec<T>, StoreError> {
        self.connection().all(query).await
    }

    /// The same for SQLite's one writer, with what the driver takes already made.
    pub(super) async fn execute_on_sqlite(
        &mut self,
        query: (&'static str, Option<SqliteArguments>),
    ) -> Result<u64, StoreError> {
        match &mut self.0 {
            Borrowed::Sqlite(connection) => {
                let connection: &mut SqliteConnection = connection;
                Ok(connection.execute(query).await?.rows_affected())
            }
            Borrowed::Postgres(_) => Err(StoreError::WriterGone),
        }
    }

    /// Takes a lock with a statement that only PostgreSQL has. SQLite has one writer.
    pub(crate) async fn lock(&mut self, statement: &'static str) -> Result<(), StoreError> {
        if let Borrowed::Postgres(connection) = &mut self.0 {
            let connection: &mut PgConnection = connection;
            connection.execute(statement).await?;
        }
        Ok(())
    }
}

/// A connection to either database.
pub(super) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Connection<'_> {
    pub(super) async fn execute(self, query: Query<'_>) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(c) => c.execute(query.for_sqlite()?).await?.rows_affected(),
            Self::Postgres(c) => c.execute(query.for_postgres()?).await?.rows_affected(),
        })
    }

    pub(super) async fn optional<T: FromRow>(
        self,
        query: Query<'_>,
    ) -> Result<Option<T>, StoreError> {
        let sql = query.sql();
        let row = match self {
            Self::Sqlite(c) => c
                .fetch_optional(query.for_sqlite()?)
                .await?
                .map(Row::Sqlite),
            Self::Postgres(c) => c
                .fetch_optional(query.for_postgres()?)
                .await?
                .map(Row::Postgres),
        };
        Ok(row.map(|row| row.read(sql)).transpose()?)
    }

    pub(super) async fn one<T: FromRow>(self, query: Query<'_>) -> Result<T, StoreError> {
        let found = self.optional(query).await?;
        Ok(found.ok_or(sqlx::Error::RowNotFound)?)
    }

    pub(super) async fn all<T: FromRow>(self, query: Query<'_>) -> Result<Vec<T>, StoreError> {
        let sql = query.sql();
        let mut found = Vec::new();
        match self {
            Self::Sqlite(c) => {
                let mut rows = c.fetch(query.for_sqlite()?);
                while let Some(row) = rows.try_next().await? {
                    found.push(Row::Sqlite(row).read(sql)?);
                }
            }
            Self::Postgres(c) => {
                let mut rows = c.fetch(query.for_postgres()?);
                while let Some(row) = rows.try_next().await? {
                    found.push(Row::Postgres(row).read(sql)?);
                }
            }
        }
        Ok(found)
    }

    /// Runs a text as it is, and prepares nothing.
    pub(super) async fn run(self, text: SqlStr) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(c) => _ = c.execute(text).await?,
            Self::Postgres(c) => _ = c.execute(text).await?,
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) async fn prepare(self, sql: &'static str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(c) => drop(c.prepare(sqlx::SqlSafeStr::into_sql_str(sql)).await?),
            Self::Postgres(c) => drop(c.prepare(sqlx::SqlSafeStr::into_sql_str(sql)).await?),
        }
        Ok(())
    }
}
