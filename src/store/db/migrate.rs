//! The schema's history: one set of texts for both databases, embedded, applied under a lock.

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{
    Db, Pool,
    error::StoreError,
    query::Query,
    tx::{Borrowed, Tx},
};

/// Number, name and text of each step.
const STEPS: &[(i64, &str, &str)] = &[
    (
        1,
        "initial",
        include_str!("../../../migrations/0001_initial.sql"),
    ),
    (
        2,
        "client_history",
        include_str!("../../../migrations/0002_client_history.sql"),
    ),
    (
        3,
        "confidential_clients",
        include_str!("../../../migrations/0003_confidential_clients.sql"),
    ),
    (
        4,
        "key_rotation",
        include_str!("../../../migrations/0004_key_rotation.sql"),
    ),
    (
        5,
        "sign_in_failures",
        include_str!("../../../migrations/0005_sign_in_failures.sql"),
    ),
    (
        6,
        "fewer_device_indexes",
        include_str!("../../../migrations/0006_fewer_device_indexes.sql"),
    ),
    (
        8,
        "names_and_secrets",
        include_str!("../../../migrations/0008_names_and_secrets.sql"),
    ),
    (
        9,
        "codes_and_consents",
        include_str!("../../../migrations/0009_codes_and_consents.sql"),
    ),
    (
        10,
        "caps",
        include_str!("../../../migrations/0010_caps.sql"),
    ),
    (
        11,
        "refusals",
        include_str!("../../../migrations/0011_refusals.sql"),
    ),
];

const STEPS_MADE: &str = "SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version";

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

impl Db {
    /// Brings the schema up to date. PostgreSQL: under an advisory lock; SQLite: the writer works alone.
    ///
    /// # Errors
    ///
    /// When a step fails, or the database is of a newer version than this binary: says which, and what it needs.
    pub(crate) async fn migrate(&self) -> Result<(), StoreError> {
        let Err(error) = self.make_steps().await else {
            return Ok(());
        };
        // What the library says is of its own table: what counts is how the steps there are to ours.
        match self.schema().await.map(Schema::problem) {
            Ok(Some((found, advice))) => Err(StoreError::Unusable(format!("{found}; {advice}"))),
            _ => Err(error),
        }
    }

    async fn make_steps(&self) -> Result<(), StoreError> {
        match &self.pool {
            Pool::Postgres(connections) => migrator().run(connections.pool()).await?,
            Pool::Sqlite { writer, .. } => {
                let made = writer.run_bare(async move |tx| {
                    let Tx(Borrowed::Sqlite(mut connection)) = tx else {
                        return Ok(());
                    };
                    Ok(migrator().run_direct(None, &mut *connection, false).await?)
                });
                made.await?;
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

impl Schema {
    /// Why this program cannot use a database of this schema, and what it needs; `None` if it can, once it is migrated.
    pub fn problem(self) -> Option<(String, &'static str)> {
        const VERSION: &str = env!("VERSION_AND_COMMIT");
        match self {
            Self::Absent | Self::Current(_) | Self::Older(..) => None,
            Self::Newer(made, ours) => Some((
                format!(
                    "the database has step {made} of the schema, this program, wayleave {VERSION}, only {ours}: this binary \
                     is too old"
                ),
                "install the wayleave that migrated the database, or a newer one; or restore the backup from before",
            )),
            Self::Other(step) => Some((
                format!(
                    "step {step} of the schema was made by another build than this one, wayleave {VERSION}, or was broken off"
                ),
                "restore the backup from before that step, and run `wayleave migrate` with a released wayleave",
            )),
        }
    }
}

impl Db {
    /// Which schema the database has. Changes nothing.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn schema(&self) -> Result<Schema, StoreError> {
        let known = match &self.pool {
            Pool::Postgres(_) => "SELECT to_regclass('_sqlx_migrations') IS NOT NULL",
            Pool::Sqlite { .. } => {
                "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')"
            }
        };
        let known: bool = self.one(Query::new(known)).await?;
        if !known {
            return Ok(Schema::Absent);
        }
        let steps: Vec<(i64, Vec<u8>, bool)> = self.all(Query::new(STEPS_MADE)).await?;
        let made = steps.into_iter().map(|(number, checksum, is_whole)| Made {
            number,
            checksum,
            is_whole,
        });
        Ok(compare(&made.collect::<Vec<_>>()))
    }
}

/// A step that was made, perhaps not to its end.
#[derive(Clone, Debug)]
struct Made {
    number: i64,
    checksum: Vec<u8>,
    is_whole: bool,
}

/// What the steps that were made are to ours.
fn compare(made: &[Made]) -> Schema {
    let ours = migrator();
    let ours: Vec<_> = ours.iter().collect();
    let newest = ours.last().map_or(0, |step| step.version);
    let Some(last) = made.last().map(|step| step.number) else {
        return Schema::Absent;
    };
    let is_ours = |made: &&Made| {
        let own = ours.iter().find(|step| step.version == made.number);
        made.is_whole && own.is_none_or(|step| *step.checksum == *made.checksum)
    };
    if let Some(other) = made.iter().find(|step| !is_ours(step)) {
        return Schema::Other(other.number);
    }
    let is_made = |number: i64| made.iter().any(|known| known.number == number);
    let missing = ours.iter().find(|step| !is_made(step.version));
    match missing {
        _ if last > newest => Schema::Newer(last, newest),
        None => Schema::Current(newest),
        Some(_) if last < newest => Schema::Older(last, newest),
        Some(step) => Schema::Other(step.version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_known_by_its_steps() {
        let made = |number, checksum: &[u8]| Made {
            number,
            checksum: checksum.to_vec(),
            is_whole: true,
        };
        let ours = migrator();
        let ours: Vec<_> = ours
            .iter()
            .map(|step| made(step.version, &step.checksum))
            .collect();
        let [.., before, last] = &*ours else {
            panic!("there are steps");
        };
        let (before, newest) = (before.number, last.number);
        let changed = |change: &dyn Fn(&mut Vec<Made>)| {
            let mut steps = ours.clone();
            change(&mut steps);
            compare(&steps)
        };
        assert_eq!(compare(&[]), Schema::Absent);
        assert_eq!(changed(&|_| {}), Schema::Current(newest));
        assert_eq!(
            changed(&|steps| drop(steps.pop())),
            Schema::Older(before, newest)
        );
        assert_eq!(
            changed(&|steps| steps.push(made(99, &[1]))),
            Schema::Newer(99, newest)
        );
        assert_eq!(
            changed(&|steps| steps[0].checksum = vec![1]),
            Schema::Other(1)
        );
        assert_eq!(
            changed(&|steps| steps[1].is_whole = false),
            Schema::Other(2)
        );
        assert_eq!(changed(&|steps| drop(steps.remove(1))), Schema::Other(2));
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
