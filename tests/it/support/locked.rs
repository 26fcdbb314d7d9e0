//! Somebody in the middle of a unit of work on PostgreSQL, for whom others wait.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::Database;

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);
const SHORTLY: Duration = Duration::from_millis(5);

/// A unit of work that is under way until it is let go.
pub(crate) struct Locked(PgConnection);

impl Locked {
    /// A table that nobody else can use.
    pub(crate) async fn new(database: &Database, table: &str) -> Self {
        Self::after(
            database,
            &format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"),
        )
        .await
    }

    /// With these steps done.
    pub(crate) async fn after(database: &Database, steps: &str) -> Self {
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        let begun = sqlx::raw_sql(AssertSqlSafe(format!("BEGIN; {steps}")));
        begun.execute(&mut connection).await.unwrap();
        Self(connection)
    }

    /// How many wait for a table.
    pub(crate) async fn waiting(&mut self, table: &str) -> i64 {
        let count = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE NOT l.granted \
                     AND c.relname = $1 AND c.relnamespace = current_schema()::regnamespace";
        let count = sqlx::query_scalar(count).bind(table.to_owned());
        count.fetch_one(&mut self.0).await.unwrap()
    }

    /// Returns when so many wait for it.
    pub(crate) async fn until_waiting(&mut self, table: &str, count: i64) {
        let all = async {
            while self.waiting(table).await != count {
                tokio::time::sleep(SHORTLY).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, all).await;
        assert!(waited.is_ok(), "not {count} wait for {table}");
    }

    /// Ends the unit of work, which has taken place.
    pub(crate) async fn let_go(mut self) {
        let committed = sqlx::raw_sql("COMMIT").execute(&mut self.0).await;
        committed.unwrap();
        self.0.close().await.unwrap();
    }
}
