//! Why the database did not do what it was asked.

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
