//! What an administrator's installation is like: looked at, never changed.

use super::{
    Store, StoreError,
    db::{Query, row},
    statements,
};
use crate::{protocol::id_token::SigningAlg, time::UnixTime};

statements! {
    KEYS = "SELECT kid, private_key, alg, created_at FROM signing_keys ORDER BY generation";
    SECRET = "SELECT value FROM server_secrets WHERE name = $1";
    NEWEST = "SELECT MAX(newest) FROM (SELECT MAX(created_at) AS newest FROM signing_keys \
              UNION ALL SELECT MAX(created_at) FROM grants UNION ALL SELECT MAX(rotated_at) FROM grants \
              UNION ALL SELECT MAX(updated_at) FROM users UNION ALL SELECT MAX(signed_in_at) FROM sessions \
              UNION ALL SELECT MAX(fetched_at) FROM clients UNION ALL SELECT MAX(at) FROM client_events \
              UNION ALL SELECT MAX(created_at) FROM client_rules UNION ALL SELECT MAX(created_at) FROM registered_clients \
              UNION ALL SELECT MAX(created_at) FROM device_codes) t";
    RECENT = "SELECT MAX(recent) FROM (SELECT MAX(created_at) AS recent FROM signing_keys \
              UNION ALL SELECT MAX(created_at) FROM (SELECT created_at FROM grants ORDER BY ends_at DESC LIMIT 50) g) t";
}

row! {
    /// A signing key, with its age.
    InspectedKey {
        kid: String,
        private_key: String,
        alg: SigningAlg,
        created_at: UnixTime,
    }
}

row! {
    /// What PostgreSQL is, and how it keeps what it promises.
    PostgresFacts {
        version: String,
        synchronous_commit: String,
        fsync: String,
        full_page_writes: String,
        /// A copy of another server.
        in_recovery: bool,
        /// The server, the database or the role has it so.
        read_only: bool,
        /// May this role insert into our tables, where they are?
        may_write: bool,
    }
}

impl Store {
    /// What SQLite finds wrong with the file: nothing, if it is sound. It reads all of it.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn quick_check(&self) -> Result<Vec<String>, StoreError> {
        if !self.db.is_sqlite() {
            return Ok(Vec::new());
        }
        let mut told: Vec<String> = self.db.all(Query::new("PRAGMA quick_check(3)")).await?;
        told.retain(|line| line != "ok");
        Ok(told)
    }

    /// What PostgreSQL says of itself; `None` for SQLite.
    pub async fn postgres_facts(&self) -> Result<Option<PostgresFacts>, StoreError> {
        // What counts is the setting that connections begin with: this one made itself read-only.
        const FACTS: &str = "SELECT current_setting('server_version'), current_setting('synchronous_commit'), \
            current_setting('fsync'), current_setting('full_page_writes'), pg_is_in_recovery(), \
            (SELECT reset_val = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only'), \
            COALESCE(has_table_privilege(to_regclass('grants')::oid, 'INSERT'), TRUE)";
        if self.db.is_sqlite() {
            return Ok(None);
        }
        Ok(Some(self.db.one(Query::new(FACTS)).await?))
    }

    /// What the database's own machine takes for now; `None` where that is this machine.
    pub async fn clock(&self) -> Result<Option<UnixTime>, StoreError> {
        const NOW: &str = "SELECT CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp())) AS BIGINT)";
        if self.db.is_sqlite() {
            return Ok(None);
        }
        let now: UnixTime = self.db.one(Query::new(NOW)).await?;
        Ok(Some(now))
    }

    /// The newest time at which anything was written down. It reads every row.
    pub async fn newest_time(&self) -> Result<Option<UnixTime>, StoreError> {
        self.db.one(Query::new(NEWEST)).await
    }

    /// The same among the keys and a few grants that an index leads to: a time that was, if not the newest.
    pub async fn recent_time(&self) -> Result<Option<UnixTime>, StoreError> {
        self.db.one(Query::new(RECENT)).await
    }

    /// All signing keys with their ages, oldest first.
    pub async fn inspected_keys(&self) -> Result<Vec<InspectedKey>, StoreError> {
        self.db.all(Query::new(KEYS)).await
    }

    /// The secret of this name, if there is one.
    pub async fn kept_secret(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.db.optional(Query::new(SECRET).bind(name)).await
    }
}
