//! The schema's history: one set of texts for both databases, embedded, applied under a lock.

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{
    Store, StoreError,
    dialect::{Connection, Pool, on_held, on_reads},
};

/// Number, name and text of each step.
const STEPS: &[(i64, &str, &str)] = &[
    (
        1,
        "initial",
        include_str!("../../migrations/0001_initial.sql"),
    ),
    (
        2,
        "client_history",
        include_str!("../../migrations/0002_client_history.sql"),
    ),
    (
        3,
        "confidential_clients",
        include_str!("../../migrations/0003_confidential_clients.sql"),
    ),
];

fn migrator() -> Migrator {
    let steps = STEPS.iter().map(|(number, name, sql)| {
        Migration::new(
            *number,
            (*name).into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(steps.collect())
}

impl Store {
    /// Brings the schema up to date. PostgreSQL: under an advisory lock; SQLite: the writer works alone.
    ///
    /// # Errors
    ///
    /// When a step fails, or the database is of a newer version than this binary.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        match &self.pool {
            Pool::Postgres(connections) => migrator().run(connections.pool()).await?,
            Pool::Sqlite { writer, .. } => {
                writer
                    .run_bare(|connection| {
                        Box::pin(async move {
                            let Connection::Sqlite(connection) = connection else {
                                return Ok(());
                            };
                            Ok(migrator().run_direct(None, connection, false).await?)
                        })
                    })
                    .await?;
            }
        }
        Ok(())
    }
}

/// Which schema a database has, beside the one that this program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// None: the database is new.
    Absent,
    /// This program's, of this number.
    Current(i64),
    /// Of an older program: the last step of its, and of ours.
    Older(i64, i64),
    /// Of a newer program.
    Newer(i64, i64),
    /// Of a program that made this step in another way, or not to its end.
    Other(i64),
}

impl Store {
    /// Which schema the database has. Changes nothing.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn schema(&self) -> Result<Schema, StoreError> {
        let (known,): (bool,) = match &self.pool {
            Pool::Postgres(connections) => on_held!(connections, c => {
                sqlx::query_as("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(c).await?
            }),
            Pool::Sqlite { reads, .. } => on_held!(reads, c => {
                sqlx::query_as("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')")
                    .fetch_one(c).await?
            }),
        };
        if !known {
            return Ok(Schema::Absent);
        }
        let steps: Vec<(i64, Vec<u8>, bool)> = on_reads!(self, c => {
            sqlx::query_as("SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version")
                .fetch_all(c).await?
        });
        Ok(compare(&steps))
    }
}

/// What steps that were made, with their checksums and whether they were made to their end, are to ours.
fn compare(made: &[(i64, Vec<u8>, bool)]) -> Schema {
    let ours = migrator();
    let ours: Vec<_> = ours.iter().collect();
    let newest = ours.last().map_or(0, |step| step.version);
    let Some((last, ..)) = made.last() else {
        return Schema::Absent;
    };
    let broken = made.iter().find(|(number, checksum, done)| {
        let own = ours.iter().find(|step| step.version == *number);
        !done || own.is_some_and(|step| *step.checksum != **checksum)
    });
    if let Some((number, ..)) = broken {
        return Schema::Other(*number);
    }
    let is_made = |number: i64| made.iter().any(|(known, ..)| *known == number);
    let missing = ours.iter().find(|step| !is_made(step.version));
    match missing {
        _ if *last > newest => Schema::Newer(*last, newest),
        None => Schema::Current(newest),
        Some(_) if *last < newest => Schema::Older(*last, newest),
        Some(step) => Schema::Other(step.version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_known_by_its_steps() {
        let ours: Vec<_> = migrator()
            .iter()
            .map(|step| (step.version, step.checksum.to_vec(), true))
            .collect();
        let newest = ours.last().unwrap().0;
        let changed = |change: fn(&mut Vec<(i64, Vec<u8>, bool)>)| {
            let mut steps = ours.clone();
            change(&mut steps);
            compare(&steps)
        };
        assert_eq!(compare(&[]), Schema::Absent);
        assert_eq!(changed(|_| {}), Schema::Current(newest));
        assert_eq!(
            changed(|steps| drop(steps.pop())),
            Schema::Older(newest - 1, newest)
        );
        assert_eq!(
            changed(|steps| steps.push((99, vec![1], true))),
            Schema::Newer(99, newest)
        );
        assert_eq!(changed(|steps| steps[0].1 = vec![1]), Schema::Other(1));
        assert_eq!(changed(|steps| steps[1].2 = false), Schema::Other(2));
        assert_eq!(changed(|steps| drop(steps.remove(1))), Schema::Other(2));
    }

    #[test]
    fn every_migration_file_is_embedded_under_its_number_and_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let steps: Vec<_> = STEPS
            .iter()
            .map(|(number, name, _)| format!("{number:04}_{name}.sql"))
            .collect();
        assert_eq!(files, steps);
    }
}
