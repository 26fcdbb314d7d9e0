//! One run: a server program, a database, and how long.

use std::{path::PathBuf, time::Duration};

use super::database::{Database, Kind};

pub(crate) struct Bench {
    /// The program under test.
    pub(crate) server: PathBuf,
    pub(crate) kind: Kind,
    /// Each time in per cent: less than 100 to try out.
    pub(crate) percent: u32,
}

impl Bench {
    /// A new database.
    pub(crate) async fn database(&self) -> Database {
        match self.kind {
            Kind::Sqlite => Database::sqlite(),
            Kind::Postgres => Database::postgresql()
                .await
                .expect("WAYLEAVE_TEST_POSTGRES says where PostgreSQL is"),
        }
    }

    /// So many seconds, or as much of it as is wanted.
    pub(crate) fn time(&self, seconds: u64) -> Duration {
        Duration::from_secs(seconds) * self.percent / 100
    }
}
