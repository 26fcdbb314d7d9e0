//! State: one method is one unit of work. The only folder with SQL, one text for SQLite and PostgreSQL.

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
mod logos;
mod pushed_requests;
mod refusals;
mod registered_clients;
mod sessions;
mod sign_in_failures;
mod sweep;
mod used_once;

pub use self::{
    accounts::{Account, AccountError, DescribedEmail, Description, Profile},
    caps::Space,
    client_rules::Ended,
    clients::{Accepted, ClientEvent, EventKind, Gone, KeptClient, ListedClient, NewEvent},
    codes::{IssuedCode, NewCode, Redeemed},
    consents::{Consent, ListedConsent},
    db::{Schema, Store, Unusable},
    dev_clients::{DevClient, ListedDevClient, NewDevClient},
    device_codes::{ClaimedDevice, DeviceAnswer, NewDevice, Polled, WaitingDevice},
    grants::{Approved, GrantRow, ListedGrant, NewGrant, Revoked, RotateRequest, Rotated, Which},
    inspect::{InspectedKey, PostgresFacts},
    interactions::{Answer, Asked, Interaction, NewInteraction},
    key_reset::KeysEnd,
    keys::{KeyMark, NewKey, StoredKey},
    logos::{ClientLogo, NewLogo},
    pushed_requests::{NewPushed, Pushed},
    refusals::{KeptRefusal, MOST_REFUSALS, NewRefusal},
    sessions::{ListedSession, SessionRow},
    sweep::Turn,
    used_once::{Kind as OnceKind, Once},
};

/// Why state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the writer of the database has stopped")]
    WriterGone,
    #[error("the commit that would have made this durable failed: {0}")]
    Commit(String),
    #[error("the database did not answer in time")]
    Silent,
    #[error("the work on the database panicked")]
    Panicked,
    /// The rules about clients have changed since the request was judged, or the session has ended that it came with: it is
    /// to be judged again.
    #[error("what the request was judged by has changed in this moment")]
    RulesMoved,
    /// The table has as many rows as it may have.
    #[error("there is no room for more rows in the table {0}")]
    Full(&'static str),
    /// Something that serves once has served.
    #[error("it was used before")]
    UsedBefore,
    #[error("{0}")]
    Unusable(String),
}

impl StoreError {
    /// Did the database fail, rather than refuse what is not so?
    pub(super) fn is_of_the_database(&self) -> bool {
        !matches!(self, Self::RulesMoved | Self::UsedBefore | Self::Full(_))
    }

    /// May the same work succeed in a moment?
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Database(
                sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::PoolClosed,
            )
            | Self::Commit(_)
            | Self::Silent
            | Self::WriterGone
            | Self::Full(_)
            | Self::RulesMoved => true,
            Self::Database(sqlx::Error::Database(error)) => {
                // SQLITE_BUSY, SQLITE_FULL, SQLITE_IOERR; PostgreSQL classes 40, 53, 57.
                error.code().is_some_and(|code| {
                    matches!(&*code, "5" | "6" | "10" | "13")
                        || ["40", "53", "57"]
                            .iter()
                            .any(|class| code.len() == 5 && code.starts_with(class))
                })
            }
            _ => false,
        }
    }
}

/// Names the SQL texts of a file and lists them, so that a test can prepare each on both databases.
macro_rules! statements {
    ($($name:ident = $sql:expr;)+) => {
        $(const $name: &str = $sql;)+
        #[cfg(test)]
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}
use statements;

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
            sessions::STATEMENTS,
            sign_in_failures::STATEMENTS,
            sweep::STATEMENTS,
            used_once::STATEMENTS,
        ]
        .concat()
    }
}
