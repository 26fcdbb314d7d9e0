//! The two databases, and the only folder that knows them apart.
//!
//! A statement is a [`Query`]: a text, and the values of its parameters. [`Db`] has what reads it, each time on a connection
//! of its own; a [`Tx`] has the same for a unit of work. What comes back is anything that is [`FromRow`]. The rows know
//! neither database.

mod columns;
mod error;
mod migrate;
mod opening;
mod pool;
mod query;
pub(crate) mod row;
mod sqlite_writer;
mod tx;
mod unusable;

use std::sync::Arc;

use sqlx::{Postgres, SqlSafeStr, Sqlite};
use tokio::{sync::Mutex, time::Instant};
use tracing::Instrument;

pub use self::{error::StoreError, migrate::Schema, unusable::Unusable};
use self::{
    pool::{Connections, Held},
    sqlite_writer::Writer,
    tx::{Borrowed, Connection},
};
pub(crate) use self::{
    query::Query,
    row::{FromRow, row},
    tx::Tx,
};
use crate::{counts::Counts, spans::span};

/// The database of the configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    pool: Pool,
    counts: Arc<Counts>,
}

#[derive(Clone, Debug)]
enum Pool {
    /// Reads go to a pool of their own; one task owns the connection that writes.
    Sqlite {
        reads: Connections<Sqlite>,
        writer: Writer,
    },
    Postgres(Connections<Postgres>),
}

/// A connection that reads.
enum Reader {
    Sqlite(Held<Sqlite>),
    Postgres(Held<Postgres>),
}

impl Reader {
    fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Sqlite(held) => Connection::Sqlite(held),
            Self::Postgres(held) => Connection::Postgres(held),
        }
    }

    fn worked(&mut self) {
        match self {
            Self::Sqlite(held) => held.worked(),
            Self::Postgres(held) => held.worked(),
        }
    }
}

/// What reads.
impl Db {
    /// The first row, if there is one.
    pub(crate) async fn optional<T: FromRow>(
        &self,
        query: Query<'_>,
    ) -> Result<Option<T>, StoreError> {
        let mut reader = self.reader().await?;
        let found = self.reading(reader.connection().optional(query)).await?;
        reader.worked();
        Ok(found)
    }

    /// The only row.
    pub(crate) async fn one<T: FromRow>(&self, query: Query<'_>) -> Result<T, StoreError> {
        let mut reader = self.reader().await?;
        let found = self.reading(reader.connection().one(query)).await?;
        reader.worked();
        Ok(found)
    }

    /// All rows.
    pub(crate) async fn all<T: FromRow>(&self, query: Query<'_>) -> Result<Vec<T>, StoreError> {
        let mut reader = self.reader().await?;
        let found = self.reading(reader.connection().all(query)).await?;
        reader.worked();
        Ok(found)
    }

    async fn reader(&self) -> Result<Reader, StoreError> {
        Ok(match &self.pool {
            Pool::Sqlite { reads, .. } => Reader::Sqlite(reads.take().await?),
            Pool::Postgres(connections) => Reader::Postgres(connections.take().await?),
        })
    }

    /// A look, in time.
    async fn reading<T>(
        &self,
        look: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let span = span!("store read");
        match &self.pool {
            Pool::Sqlite { reads, .. } => reads.in_time(look).instrument(span).await,
            Pool::Postgres(connections) => connections.in_time(look).instrument(span).await,
        }
    }
}

/// What writes.
impl Db {
    /// A unit of work that is one statement, which is all-or-nothing by itself: how many rows it changed.
    pub(crate) async fn execute(&self, query: Query<'_>) -> Result<u64, StoreError> {
        self.counted(async {
            match &self.pool {
                Pool::Sqlite { writer, .. } => {
                    let query = query.for_sqlite()?;
                    writer
                        .run(false, async move |mut tx| tx.execute_on_sqlite(query).await)
                        .await
                }
                Pool::Postgres(connections) => {
                    let mut held = connections.take().await?;
                    let work = Connection::Postgres(&mut held).execute(query);
                    let changed = connections.in_time(work).await?;
                    held.worked();
                    Ok(changed)
                }
            }
        })
        .await
    }

    /// One unit of work: all of it is durable when this returns, or none of it ever was.
    pub(crate) async fn write<T, W, F>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(Tx) -> F + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.unit(true, work).await
    }

    /// The same without a transaction: for a unit of work that is one statement if all goes well, and that each later one may
    /// end at.
    pub(crate) async fn write_one<T, W, F>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(Tx) -> F + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.unit(false, work).await
    }

    async fn unit<T, W, F>(&self, transaction: bool, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(Tx) -> F + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.counted(async {
            match &self.pool {
                Pool::Sqlite { writer, .. } => writer.run(transaction, work).await,
                Pool::Postgres(connections) => on_postgres(connections, transaction, work).await,
            }
        })
        .await
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
}

/// A unit of work on a connection of its own; with `transaction`, in one.
async fn on_postgres<T, W, F>(
    connections: &Connections<Postgres>,
    transaction: bool,
    work: W,
) -> Result<T, StoreError>
where
    W: FnOnce(Tx) -> F,
    F: Future<Output = Result<T, StoreError>>,
{
    // Lent to the work, which gives it back when it ends, however it does.
    let held = Arc::new(Mutex::new(connections.take().await?));
    let done = connections.in_time(async {
        let mut lent = Arc::clone(&held).lock_owned().await;
        if transaction {
            lent.begin().await?;
        }
        let result = work(Tx(Borrowed::Postgres(lent))).await?;
        if transaction {
            held.lock().await.commit().await?;
        }
        Ok(result)
    });
    let result = done.await?;
    held.lock().await.worked();
    Ok(result)
}

impl Db {
    /// Is it this process's alone? So it is with SQLite.
    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self.pool, Pool::Sqlite { .. })
    }

    /// Units of work that wait for SQLite's one writer.
    pub(crate) fn writes_waiting(&self) -> usize {
        match &self.pool {
            Pool::Sqlite { writer, .. } => writer.waiting(),
            Pool::Postgres(_) => 0,
        }
    }

    /// Lets the work under way finish and closes the database.
    pub(crate) async fn close(&self) {
        match &self.pool {
            Pool::Sqlite { reads, writer } => {
                writer.stop().await;
                reads.close().await;
            }
            Pool::Postgres(connections) => connections.close().await,
        }
    }

    /// Runs a text as it is, on a connection that reads.
    pub(crate) async fn run(&self, text: impl SqlSafeStr) -> Result<(), StoreError> {
        let mut reader = self.reader().await?;
        let text = text.into_sql_str();
        self.reading(reader.connection().run(text)).await?;
        reader.worked();
        Ok(())
    }

    #[cfg(test)]
    pub(crate) async fn prepare(&self, sql: &'static str) -> Result<(), StoreError> {
        self.reader().await?.connection().prepare(sql).await
    }
}

/// Where the test run has PostgreSQL. In CI it always has one.
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "only the environment knows, and in CI nothing may be left out"
)]
pub(crate) fn postgres_of_tests() -> Option<String> {
    let url = std::env::var("WAYLEAVE_TEST_POSTGRES").ok();
    let ci = std::env::var("CI").is_ok();
    assert!(url.is_some() || !ci, "WAYLEAVE_TEST_POSTGRES is not set");
    url
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::*;

    fn insert<'q>(number: i64) -> Query<'q> {
        Query::new("INSERT INTO units (number) VALUES ($1)").bind(number)
    }

    async fn numbers(db: &Db) -> Vec<i64> {
        let all = Query::new("SELECT number FROM units ORDER BY number");
        db.all(all).await.unwrap()
    }

    /// A unit of work that writes one number, and then ends so.
    async fn write(db: &Db, number: i64, end: Result<(), StoreError>) -> Result<(), StoreError> {
        db.write(async move |mut tx| {
            tx.execute(insert(number)).await?;
            end
        })
        .await
    }

    #[tokio::test]
    async fn a_unit_of_work_that_panics_or_fails_leaves_nothing_and_hurts_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("w.db").display());
        let db = Db::open(&url.parse().unwrap(), 2, Counts::new())
            .await
            .unwrap();
        db.run("CREATE TABLE units (number BIGINT)").await.unwrap();
        let panics = db.write(async move |mut tx| -> Result<(), StoreError> {
            tx.execute(insert(2)).await?;
            panic!("on purpose");
        });
        let (first, panicked, refused, last) = tokio::join!(
            write(&db, 1, Ok(())),
            panics,
            write(&db, 3, Err(StoreError::UsedBefore)),
            db.execute(insert(4)),
        );
        assert!(matches!((first, last), (Ok(()), Ok(1))));
        assert!(matches!(panicked, Err(StoreError::Panicked)));
        assert!(matches!(refused, Err(StoreError::UsedBefore)));
        assert_eq!(numbers(&db).await, [1, 4]);
    }

    #[tokio::test]
    async fn a_transaction_that_is_given_up_is_rolled_back_before_its_connection_is_used_again() {
        let Some(url) = postgres_of_tests() else {
            return;
        };
        // One connection for all of it.
        let db = Db::open(&url.parse().unwrap(), 1, Counts::new())
            .await
            .unwrap();
        let table = "CREATE TEMPORARY TABLE units (number BIGINT)";
        db.run(table).await.unwrap();
        let endless = db.write(async move |mut tx| -> Result<(), StoreError> {
            tx.execute(insert(1)).await?;
            pending().await
        });
        let given_up = tokio::time::timeout(Duration::from_millis(500), endless).await;
        assert!(given_up.is_err());
        assert_eq!(db.execute(insert(2)).await.unwrap(), 1);
        let refused = write(&db, 3, Err(StoreError::UsedBefore)).await;
        assert!(matches!(refused, Err(StoreError::UsedBefore)));
        write(&db, 4, Ok(())).await.unwrap();
        assert_eq!(numbers(&db).await, [2, 4]);
    }
}
