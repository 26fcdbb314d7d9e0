//! Why a database cannot be used, in words for those who run the server: whether it is not there, or refuses us itself.

use std::io::ErrorKind;

use super::error::StoreError;
use crate::config::DatabaseUrl;

/// What was found, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    pub found: String,
    pub advice: &'static str,
}

impl StoreError {
    /// Why the database of this URL cannot be used.
    pub fn in_words(&self, url: &DatabaseUrl) -> Unusable {
        let (found, advice) = match (self, url) {
            (Self::Database(error), DatabaseUrl::Postgres(_)) => of_postgres(error),
            (Self::Database(sqlx::Error::Database(error)), DatabaseUrl::Sqlite(_)) => {
                of_sqlite(error.code().as_deref(), error.message())
            }
            (Self::Silent, DatabaseUrl::Postgres(_)) => silent("no answer within 10 seconds"),
            (error, DatabaseUrl::Postgres(_)) => (error.to_string(), LOOK),
            (error, DatabaseUrl::Sqlite(_)) => (error.to_string(), FILE),
        };
        Unusable { found, advice }
    }
}

const LOOK: &str = "look at PostgreSQL's log";
const FILE: &str = "check database.url, and run this as the user that the server runs as; if the file is damaged, restore a backup";
const THERE: &str = "check host and port in database.url, and that PostgreSQL runs and listens there (its listen_addresses)";

fn silent(why: &str) -> (String, &'static str) {
    (format!("no PostgreSQL answers there: {why}"), THERE)
}

fn no_tls() -> (String, &'static str) {
    (
        "PostgreSQL answers, and its certificate is not accepted".to_owned(),
        "check sslmode in database.url, that its host is one of the certificate's names, and that sslrootcert names the file of the \
         authority: the system's authorities do not count",
    )
}

fn of_postgres(error: &sqlx::Error) -> (String, &'static str) {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            refused(&code, error.message())
        }
        sqlx::Error::PoolTimedOut => silent("no connection within 2 seconds"),
        sqlx::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => silent("nothing listens at this port"),
            ErrorKind::TimedOut => silent("no connection in time"),
            ErrorKind::NotFound => silent(
                "there is no such socket or host, or a file that database.url names (sslrootcert, sslcert, sslkey) is missing",
            ),
            // As the TLS library words it: its errors come out of the stream.
            _ if error.to_string().contains("certificate") => no_tls(),
            _ if error.to_string().contains("lookup address") => silent("its host has no address"),
            _ => silent("the connection broke off"),
        },
        sqlx::Error::Tls(_) => no_tls(),
        sqlx::Error::Configuration(_) => (
            "database.url cannot be understood".to_owned(),
            "write it as postgres://USER:PASSWORD@HOST/DATABASE, with what is special in a password as %XX",
        ),
        error => (error.to_string(), LOOK),
    }
}

/// PostgreSQL is there, and says no: by its SQLSTATE.
fn refused(code: &str, message: &str) -> (String, &'static str) {
    let (found, advice) = match code {
        "28P01" => (
            "PostgreSQL answers, and refuses the user or the password",
            "check user and password in database.url; ALTER ROLE … PASSWORD gives the user another one",
        ),
        "28000" => (
            "PostgreSQL answers, and does not let this user in from this machine",
            "check the user in database.url, and give user, database and machine a line in PostgreSQL's pg_hba.conf",
        ),
        "3D000" => (
            "PostgreSQL answers, and has no such database",
            "make it (CREATE DATABASE … OWNER …), or name one that is there in database.url",
        ),
        "53300" => (
            "PostgreSQL answers, and has no connection left",
            "raise its max_connections, or lower database.max_connections of every server",
        ),
        "57P03" | "57P01" => (
            "PostgreSQL is starting or stopping",
            "try again in a moment",
        ),
        "42501" => (
            "PostgreSQL answers, and this user may not do that in this database",
            "make the user the owner of the database, or GRANT CREATE, USAGE ON SCHEMA … to it",
        ),
        _ => {
            let found = format!("PostgreSQL refuses ({code}): {message}");
            return (found, LOOK);
        }
    };
    (found.to_owned(), advice)
}

/// By the primary code, <https://www.sqlite.org/rescode.html>.
fn of_sqlite(code: Option<&str>, message: &str) -> (String, &'static str) {
    let code = code.and_then(|code| code.parse::<u32>().ok()).unwrap_or(0);
    let found = match code & 0xff {
        5 | 6 => "another program keeps the file locked",
        8 => "the file cannot be written",
        10 => "the disk cannot be read or written",
        11 => "the file is damaged",
        13 => "the disk is full",
        14 => "the file cannot be opened",
        26 => "the file is not a database of SQLite",
        _ => return (format!("SQLite refuses ({code}): {message}"), FILE),
    };
    (found.to_owned(), FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgresql_that_refuses_is_told_from_one_that_is_not_there() {
        let url: DatabaseUrl = "postgres://u:hidden@h/d".parse().unwrap();
        let io = |kind: ErrorKind| StoreError::Database(sqlx::Error::Io(kind.into()));
        for error in [
            io(ErrorKind::ConnectionRefused),
            io(ErrorKind::ConnectionReset),
            StoreError::Silent,
            StoreError::Database(sqlx::Error::PoolTimedOut),
        ] {
            let told = error.in_words(&url);
            assert!(told.found.starts_with("no PostgreSQL answers there"));
            assert_eq!(told.advice, THERE);
        }
        let untrusted = std::io::Error::new(
            ErrorKind::InvalidData,
            "invalid peer certificate: UnknownIssuer",
        );
        let told = StoreError::Database(sqlx::Error::Io(untrusted)).in_words(&url);
        assert!(told.found.contains("certificate is not accepted"));
        assert!(told.advice.contains("sslrootcert"));
        for (code, found) in [
            ("28P01", "refuses the user or the password"),
            ("28000", "does not let this user in"),
            ("3D000", "has no such database"),
            ("XX000", "PostgreSQL refuses (XX000): told"),
        ] {
            assert!(refused(code, "told").0.contains(found), "{code}");
        }
        assert_eq!(
            of_sqlite(Some("26"), "").0,
            "the file is not a database of SQLite"
        );
        assert_eq!(of_sqlite(Some("1032"), "").0, "the file cannot be written");
    }
}
