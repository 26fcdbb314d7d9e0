//! The schema's history: one set of texts for both databases, embedded, applied under a lock.

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{
    Store, StoreError,
    dialect::{Connection, Pool},
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
    (
        4,
        "key_rotation",
        include_str!("../../migrations/0004_key_rotation.sql"),
    ),
    (
        5,
        "sign_in_failures",
        include_str!("../../migrations/0005_sign_in_failures.sql"),
    ),
    (
        6,
        "fewer_device_indexes",
        include_str!("../../migrations/0006_fewer_device_indexes.sql"),
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

#[cfg(test)]
mod tests {
    use super::*;

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
