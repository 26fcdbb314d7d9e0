//! The database: does it open, is its schema ours, does it keep what it promises, can it be written?

use std::{
    fs::{self, OpenOptions},
    path::Path,
};

use super::Finding;
use crate::{
    config::{Config, DatabaseUrl},
    secret::random_id,
    store::{PostgresFacts, Schema, Store, StoreError, Unusable},
};

/// The findings, and the database if its tables are those that we know.
pub(super) async fn check(config: &Config) -> (Vec<Finding>, Option<Store>) {
    const CHECK: &str = "database.open";
    let url = &config.database.url;
    let mut findings = Vec::new();
    if let DatabaseUrl::Sqlite(path) = url {
        // Before it is opened: closing a file ends SQLite's locks of the same process on it.
        findings.push(files_are_writable(path));
        if !path.exists() {
            let found = format!("there is no database at {url} yet");
            let advice = "`wayleave serve` makes it; or name another one in database.url";
            findings.insert(0, Finding::warning(CHECK, found, advice));
            return (findings, None);
        }
    }
    let store = match Store::look(url).await {
        Ok(store) => store,
        Err(error) => {
            let Unusable { found, advice } = error.in_words(url);
            let found = format!("{url}: {found}; schema, clock and keys were not looked at");
            findings.insert(0, Finding::failed(CHECK, found, advice));
            return (findings, None);
        }
    };
    match store.postgres_facts().await {
        Ok(Some(facts)) => findings.extend(of_postgres(url, &facts)),
        Ok(None) => {
            findings.insert(0, Finding::ok(CHECK, url.to_string()));
            findings.push(integrity(&store).await);
        }
        Err(error) => {
            let found = format!("{url}: {}", told(&error));
            findings.push(Finding::failed(CHECK, found, "look at PostgreSQL's log"));
        }
    }
    let schema = store.schema().await;
    let is_ours = matches!(schema, Ok(Schema::Current(_)));
    findings.push(of_schema(schema));
    if is_ours {
        return (findings, Some(store));
    }
    store.close().await;
    (findings, None)
}

/// The library says only that nothing came in time.
fn told(error: &StoreError) -> String {
    match error {
        StoreError::Database(error) if error.to_string().starts_with("pool timed out") => {
            "no connection within 2 seconds".to_owned()
        }
        error => error.to_string(),
    }
}

fn of_schema(schema: Result<Schema, StoreError>) -> Finding {
    const CHECK: &str = "database.schema";
    let backup = "after a backup; `wayleave serve` does it, too, when it starts";
    match schema {
        Ok(Schema::Current(step)) => {
            Finding::ok(CHECK, format!("step {step}, which this program has"))
        }
        Ok(Schema::Absent) => Finding::warning(
            CHECK,
            "the database has no tables of ours yet",
            "run `wayleave migrate`, or `wayleave serve`, which does it when it starts",
        ),
        Ok(Schema::Older(made, ours)) => Finding::failed(
            CHECK,
            format!(
                "the database has step {made}, this program {ours}: keys and clock were not looked at"
            ),
            format!("run `wayleave migrate`, {backup}"),
        ),
        Ok(schema @ (Schema::Newer(..) | Schema::Other(_))) => {
            let (found, advice) = schema.problem().unwrap_or_default();
            Finding::failed(CHECK, found, advice)
        }
        Err(error) => Finding::failed(
            CHECK,
            told(&error),
            "look whether the user in database.url may read the table _sqlx_migrations",
        ),
    }
}

fn of_postgres(url: &DatabaseUrl, facts: &PostgresFacts) -> Vec<Finding> {
    const DURABLE: &str = "database.durability";
    const WRITABLE: &str = "database.writable";
    let PostgresFacts {
        synchronous_commit,
        fsync,
        full_page_writes,
        ..
    } = facts;
    let settings = format!(
        "synchronous_commit={synchronous_commit}, fsync={fsync}, full_page_writes={full_page_writes}"
    );
    let durable = if synchronous_commit == "off" {
        Finding::failed(
            DURABLE,
            format!("{settings}: the server does not start so, codes could be spent twice"),
            "ALTER SYSTEM SET synchronous_commit = on; or take the setting from the role, the database or database.url",
        )
    } else if fsync == "off" || full_page_writes == "off" {
        Finding::failed(
            DURABLE,
            format!("{settings}: a crash of its machine can lose or damage what was committed"),
            "set fsync = on and full_page_writes = on in postgresql.conf, and reload PostgreSQL",
        )
    } else {
        Finding::ok(DURABLE, settings)
    };
    let writable = if facts.in_recovery {
        Finding::failed(
            WRITABLE,
            "this PostgreSQL is a standby: it takes no writes",
            "name the primary in database.url",
        )
    } else if facts.read_only {
        Finding::failed(
            WRITABLE,
            "default_transaction_read_only is on for this connection",
            "take it from the server, the role, the database or database.url",
        )
    } else if !facts.may_write {
        Finding::failed(
            WRITABLE,
            "the user may not write into our tables",
            "name their owner in database.url, or GRANT ALL ON ALL TABLES IN SCHEMA … to the user",
        )
    } else {
        Finding::ok(WRITABLE, "it takes writes from this user")
    };
    let found = format!("{url}: PostgreSQL {}", facts.version);
    vec![Finding::ok("database.open", found), durable, writable]
}

async fn integrity(store: &Store) -> Finding {
    const CHECK: &str = "database.integrity";
    let advice =
        "stop the server, keep a copy of the file, and restore a backup; have the disk checked";
    match store.quick_check().await {
        Ok(wrong) if wrong.is_empty() => Finding::ok(CHECK, "PRAGMA quick_check finds nothing"),
        Ok(wrong) => Finding::failed(CHECK, wrong.join("; "), advice),
        Err(error) => Finding::failed(CHECK, told(&error), advice),
    }
}

/// SQLite writes its file, and makes others beside it.
fn files_are_writable(path: &Path) -> Finding {
    const CHECK: &str = "database.writable";
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    // A folder that is not there is made by the server: where it would be must be writable.
    let there = folder.ancestors().find(|it| it.exists());
    let there = there.filter(|it| !it.as_os_str().is_empty());
    let there = there.unwrap_or_else(|| Path::new("."));
    let refused = |what: &Path, error: std::io::Error| {
        let found = format!("{} cannot be written: {error}", what.display());
        let advice = "give the user that the server runs as the file and its folder (chown), on a disk that is mounted for \
                      writing and not full; or name another place in database.url";
        Finding::failed(CHECK, found, advice)
    };
    if path.exists()
        && let Err(error) = OpenOptions::new().append(true).open(path)
    {
        return refused(path, error);
    }
    let trial = there.join(format!(".wayleave-doctor-{}", random_id()));
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&trial)
        .map(drop);
    match made.and_then(|()| fs::remove_file(&trial)) {
        Err(error) => refused(there, error),
        Ok(()) if path.exists() => Finding::ok(CHECK, "the file and its folder can be written"),
        Ok(()) => Finding::ok(CHECK, format!("{} can be written", there.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    fn facts() -> PostgresFacts {
        let on = || "on".to_owned();
        PostgresFacts {
            version: "17.0".to_owned(),
            synchronous_commit: on(),
            fsync: on(),
            full_page_writes: on(),
            in_recovery: false,
            read_only: false,
            may_write: true,
        }
    }

    #[test]
    fn postgresql_that_loses_writes_or_takes_none_fails() {
        let off = || "off".to_owned();
        let with = |change: fn(&mut PostgresFacts)| {
            let mut facts = facts();
            change(&mut facts);
            facts
        };
        let (durable, writable) = (Some("database.durability"), Some("database.writable"));
        let table = [
            (facts(), None),
            (
                PostgresFacts {
                    synchronous_commit: off(),
                    ..facts()
                },
                durable,
            ),
            (
                PostgresFacts {
                    fsync: off(),
                    ..facts()
                },
                durable,
            ),
            (
                PostgresFacts {
                    full_page_writes: off(),
                    ..facts()
                },
                durable,
            ),
            (with(|facts| facts.in_recovery = true), writable),
            (with(|facts| facts.read_only = true), writable),
            (with(|facts| facts.may_write = false), writable),
        ];
        let url = "postgres://h/d".parse().unwrap();
        for (facts, expected) in table {
            let findings = of_postgres(&url, &facts);
            let failed = findings.iter().find(|it| it.status == Status::Failed);
            assert_eq!(failed.map(|it| it.check), expected, "{facts:?}");
        }
    }
}
