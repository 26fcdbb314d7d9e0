//! Rows of wrong passwords in a row.

use super::{
    Store, StoreError,
    db::{Query, Tx},
    statements,
};
use crate::{
    policy::sign_in::Failures,
    secret::{SecretHash, TypedName},
    time::UnixTime,
};

statements! {
    FIND = "SELECT failures, failed_at FROM sign_in_failures WHERE name = $1";
    COUNT = "INSERT INTO sign_in_failures (name, failures, failed_at) VALUES ($1, 1, $2) \
             ON CONFLICT (name) DO UPDATE SET failures = sign_in_failures.failures + 1, failed_at = excluded.failed_at";
    CHARGE = "INSERT INTO sign_in_failures (name, failures, failed_at) VALUES ($1, 1, $2) \
              ON CONFLICT (name) DO UPDATE SET failures = sign_in_failures.failures + 1, failed_at = excluded.failed_at \
              WHERE sign_in_failures.failures = $3 AND sign_in_failures.failed_at = $4";
    UNCOUNT = "UPDATE sign_in_failures SET failures = failures - 1, \
               failed_at = CASE WHEN failures = $2 + 1 THEN $3 ELSE failed_at END WHERE name = $1 AND failures > 0";
    FORGET = "DELETE FROM sign_in_failures WHERE name = $1";
    HAND_ON = "UPDATE sign_in_failures SET name = $2 WHERE name = $1";
}

impl Store {
    /// The wrong passwords in a row for a name, if there were any.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn sign_in_failures(
        &self,
        name: &SecretHash<TypedName>,
    ) -> Result<Option<Failures>, StoreError> {
        let row: Option<(i64, i64)> = self.db.optional(Query::new(FIND).bind(name)).await?;
        Ok(row.map(|(count, last)| Failures {
            count,
            last: UnixTime(last),
        }))
    }

    /// One more.
    pub async fn count_sign_in_failure(
        &self,
        name: SecretHash<TypedName>,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        self.db
            .execute(Query::new(COUNT).bind(&name).bind(now))
            .await?;
        Ok(())
    }

    /// One more, if there were so many when it is counted. False: there was another attempt in between.
    pub async fn charge_sign_in(
        &self,
        name: SecretHash<TypedName>,
        seen: Option<Failures>,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let (count, last) = parts(seen);
        Ok(self
            .db
            .execute(
                Query::new(CHARGE)
                    .bind(&name)
                    .bind(now)
                    .bind(count)
                    .bind(last),
            )
            .await?
            == 1)
    }

    /// One less: the one that was counted after `before` was no attempt.
    pub async fn uncount_sign_in_failure(
        &self,
        name: SecretHash<TypedName>,
        before: Option<Failures>,
    ) -> Result<(), StoreError> {
        let (count, last) = parts(before);
        self.db
            .execute(Query::new(UNCOUNT).bind(&name).bind(count).bind(last))
            .await?;
        Ok(())
    }

    /// None any more. False: there were none.
    pub async fn forget_sign_in_failures(
        &self,
        name: SecretHash<TypedName>,
    ) -> Result<bool, StoreError> {
        Ok(self.db.execute(Query::new(FORGET).bind(&name)).await? > 0)
    }
}

/// The same within a unit of work.
pub(super) async fn forget(tx: &mut Tx, name: &SecretHash<TypedName>) -> Result<bool, StoreError> {
    Ok(tx.execute(Query::new(FORGET).bind(name)).await? > 0)
}

/// Counts for another name what was counted for this one. What was counted for that before is forgotten: it was no account's.
pub(super) async fn hand_on(
    tx: &mut Tx,
    name: &SecretHash<TypedName>,
    to: &SecretHash<TypedName>,
) -> Result<(), StoreError> {
    tx.execute(Query::new(FORGET).bind(to)).await?;
    tx.execute(Query::new(HAND_ON).bind(name).bind(to)).await?;
    Ok(())
}

fn parts(failures: Option<Failures>) -> (i64, i64) {
    failures.map_or((0, 0), |failures| (failures.count, failures.last.0))
}
