//! A database of its own for each test: a SQLite file, or a schema of the run's PostgreSQL.

use std::{path::PathBuf, sync::Arc};

use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;
use wayleave::{config::DatabaseUrl, secret::random_id, store::Store};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// A database, gone when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) folder: Arc<TempDir>,
    _schema: Option<Arc<Schema>>,
}

struct Schema {
    server: String,
    name: String,
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A drop cannot wait for the runtime it runs on: a thread with its own does.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let store = Store::open(&server.parse().unwrap(), 1).await.unwrap();
                _ = store
                    .execute_raw(format!("DROP SCHEMA {name} CASCADE"))
                    .await;
                store.close().await;
            });
        });
        _ = thread.join();
    }
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let url = format!("sqlite:{}", folder.path().join("w.db").display());
        Self {
            kind: Kind::Sqlite,
            url,
            folder,
            _schema: None,
        }
    }

    /// `None` when this run has no PostgreSQL, which `tests/run` reports; in CI that is a failure.
    pub(crate) async fn postgresql() -> Option<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the test run says where its PostgreSQL is"
        )]
        let Ok(server) = std::env::var("WAYLEAVE_TEST_POSTGRES") else {
            #[expect(clippy::disallowed_methods, reason = "in CI nothing may be left out")]
            let ci = std::env::var("CI").is_ok();
            assert!(!ci, "WAYLEAVE_TEST_POSTGRES is not set");
            return None;
        };
        let name = format!("t_{}", random_id().replace('-', "_").to_lowercase());
        let store = Store::open(&server.parse().unwrap(), 1).await.unwrap();
        store
            .execute_raw(format!("CREATE SCHEMA {name}"))
            .await
            .unwrap();
        store.close().await;
        let url = format!("{server}?options=-csearch_path%3D{name}");
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Some(Self {
            kind: Kind::Postgres,
            url,
            folder,
            _schema: Some(Arc::new(Schema { server, name })),
        })
    }

    /// The number that a statement gives.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        match self.kind {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::query_scalar(sql)
                    .fetch_one(&mut connection)
                    .await
                    .unwrap()
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                sqlx::query_scalar(sql)
                    .fetch_one(&mut connection)
                    .await
                    .unwrap()
            }
        }
    }

    pub(crate) fn parsed(&self) -> DatabaseUrl {
        self.url.parse().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
