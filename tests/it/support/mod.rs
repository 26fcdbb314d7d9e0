//! The real server with a clock that is moved, clients' sites over TLS, and a browser of forms and cookies.

pub(crate) mod app;
pub(crate) mod browser;
pub(crate) mod chromium;
pub(crate) mod client_site;
pub(crate) mod database;
pub(crate) mod dns;
pub(crate) mod hostile;
pub(crate) mod locked;
pub(crate) mod log;
pub(crate) mod signer;

pub(crate) use self::{
    app::TestApp,
    browser::{Browser, Page},
    client_site::{Answer, ClientSite},
    database::{Database, Kind},
    locked::Locked,
    signer::Signer,
};

/// One test for each database.
macro_rules! on_both {
    ($($(#[$doc:meta])* async fn $name:ident($database:ident) $body:block)+) => {
        $($(#[$doc])* mod $name {
            use super::*;

            async fn conversation($database: $crate::support::Database) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                conversation($crate::support::Database::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgresql() {
                let Some(database) = $crate::support::Database::postgresql().await else { return };
                conversation(database).await;
            }
        })+
    };
}
pub(crate) use on_both;

/// Looks again and again, until there is something. For work that the server does in the background: no test depends on how
/// long it takes, and a test that waits in vain fails.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(std::time::Duration::from_secs(30), found).await;
    found.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}
