//! Rows of people: accounts, and the link that makes the first one.

use super::{
    Store, StoreError,
    columns::row,
    dialect::{on_connection, on_reads, stop_giving},
    statements,
};
use crate::{
    secret::{SecretHash, Setup},
    time::UnixTime,
};

statements! {
    ANY = "SELECT subject FROM users LIMIT 1";
    FIND = "SELECT subject, username, password_hash, is_admin, created_at, disabled_at FROM users WHERE username = $1";
    LIST = "SELECT subject, username, password_hash, is_admin, created_at, disabled_at FROM users ORDER BY created_at, username";
    OF_GRANT = "SELECT u.subject, u.username, u.name, u.email, u.email_verified, u.updated_at \
                FROM grants g JOIN users u ON u.subject = g.subject \
                WHERE g.id = $1 AND g.revoked_at IS NULL AND g.ends_at > $2 AND u.disabled_at IS NULL";
    PROFILES = "SELECT subject, username, name, email, email_verified, updated_at FROM users ORDER BY created_at, username";
    DESCRIBE = "UPDATE users SET name = NULLIF(COALESCE(CAST($2 AS TEXT), name), ''), \
                email = NULLIF(COALESCE(CAST($3 AS TEXT), email), ''), \
                email_verified = CASE WHEN CAST($3 AS TEXT) IS NULL THEN email_verified ELSE CAST($4 AS BOOLEAN) END, \
                updated_at = $5 WHERE username = $1 RETURNING subject";
    INSERT = "INSERT INTO users (subject, username, password_hash, is_admin, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5) \
              ON CONFLICT (username) DO NOTHING";
    SET_PASSWORD = "UPDATE users SET password_hash = $2 WHERE username = $1 RETURNING subject";
    DISABLE = "UPDATE users SET disabled_at = $2 WHERE username = $1 AND disabled_at IS NULL RETURNING subject";
    END_SESSIONS = "DELETE FROM sessions WHERE subject = $1";
    END_GRANTS = "UPDATE grants SET revoked_at = $2, revoked_because = $3 WHERE subject = $1 AND revoked_at IS NULL";
    INSERT_LINK = "INSERT INTO setup_links (hash, expires_at) VALUES ($1, $2)";
    LINK_IS_OPEN = "SELECT hash FROM setup_links WHERE hash = $1 AND spent_at IS NULL AND expires_at > $2 \
                    AND NOT EXISTS (SELECT 1 FROM users)";
    SPEND_LINK = "UPDATE setup_links SET spent_at = $2 WHERE hash = $1 AND spent_at IS NULL AND expires_at > $2 \
                  AND NOT EXISTS (SELECT 1 FROM users)";
    // Of two links that are used at once, in two processes, one makes it.
    MAKE_FIRST = "INSERT INTO used_once (hash, until) VALUES ('the first account', 9223372036854775807) ON CONFLICT (hash) DO NOTHING";
}

row! {
    /// A person's account.
    #[derive(Clone)]
    Account {
        /// What tokens call the person: random, never reused.
        subject: String,
        username: String,
        password_hash: String,
        is_admin: bool,
        created_at: UnixTime,
        disabled_at: Option<UnixTime>,
    }
}

row! {
    /// What a person is called.
    Profile {
        subject: String,
        username: String,
        name: Option<String>,
        email: Option<String>,
        email_verified: bool,
        updated_at: UnixTime,
    }
}

/// What is to be changed about a person. `None` leaves it as it is, an empty text takes it away.
#[derive(Debug, Default)]
pub struct Description {
    pub name: Option<String>,
    /// The address, and whether it is known to be the person's.
    pub email: Option<(String, bool)>,
}

/// Why an account was not made.
#[derive(Debug, PartialEq, Eq)]
pub enum AccountError {
    /// The name is taken.
    NameTaken,
    /// The set-up link was used, has expired, or there is an account already.
    LinkSpent,
}

macro_rules! insert {
    ($c:expr, $account:expr) => {
        sqlx::query(INSERT)
            .bind(&$account.subject)
            .bind(&$account.username)
            .bind(&$account.password_hash)
            .bind($account.is_admin)
            .bind($account.created_at.0)
            .execute(&mut *$c)
            .await?
            .rows_affected()
    };
}

impl Store {
    /// Is there any account?
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn has_accounts(&self) -> Result<bool, StoreError> {
        Ok(on_reads!(self, c => sqlx::query(ANY).fetch_optional(c).await?.is_some()))
    }

    /// The account of this name.
    pub async fn account(&self, username: &str) -> Result<Option<Account>, StoreError> {
        Ok(on_reads!(self, c => sqlx::query_as(FIND).bind(username).fetch_optional(c).await?))
    }

    /// All accounts, oldest first.
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        Ok(on_reads!(self, c => sqlx::query_as(LIST).fetch_all(c).await?))
    }

    /// Adds an account.
    pub async fn add_account(
        &self,
        account: Account,
    ) -> Result<Result<(), AccountError>, StoreError> {
        self.write_one(move |mut connection| {
            Box::pin(async move {
                let added = on_connection!(&mut connection, c => insert!(c, account));
                Ok(if added == 1 {
                    Ok(())
                } else {
                    Err(AccountError::NameTaken)
                })
            })
        })
        .await
    }

    /// Makes the first account with the set-up link: spends the link, and only then writes the account.
    pub async fn add_first_account(
        &self,
        link: SecretHash<Setup>,
        account: Account,
        now: UnixTime,
    ) -> Result<Result<(), AccountError>, StoreError> {
        self.write(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    let spent = sqlx::query(SPEND_LINK).bind(link.as_str()).bind(now.0).execute(&mut *c).await?;
                    if spent.rows_affected() != 1 {
                        return Ok(Err(AccountError::LinkSpent));
                    }
                    let first = sqlx::query(MAKE_FIRST).execute(&mut *c).await?;
                    if first.rows_affected() != 1 {
                        return Ok(Err(AccountError::LinkSpent));
                    }
                    let added = insert!(c, account);
                    Ok(if added == 1 { Ok(()) } else { Err(AccountError::NameTaken) })
                })
            })
        })
        .await
    }

    /// Keeps a set-up link.
    pub async fn add_setup_link(
        &self,
        link: SecretHash<Setup>,
        expires_at: UnixTime,
    ) -> Result<(), StoreError> {
        self.write_one(move |mut connection| {
            Box::pin(async move {
                on_connection!(&mut connection, c => {
                    sqlx::query(INSERT_LINK).bind(link.as_str()).bind(expires_at.0).execute(c).await?;
                });
                Ok(())
            })
        })
        .await
    }

    /// Would the link still make the first account?
    pub async fn setup_link_is_open(
        &self,
        link: &SecretHash<Setup>,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        Ok(on_reads!(self, c => {
            sqlx::query(LINK_IS_OPEN).bind(link.as_str()).bind(now.0).fetch_optional(c).await?.is_some()
        }))
    }

    /// Gives an account another password and ends its sessions. False: there is no such account.
    pub async fn set_password(
        &self,
        username: String,
        password_hash: String,
    ) -> Result<bool, StoreError> {
        self.write(move |mut connection| {
            Box::pin(async move {
                stop_giving(&mut connection).await?;
                on_connection!(&mut connection, c => {
                    let row: Option<(String,)> =
                        sqlx::query_as(SET_PASSWORD).bind(&username).bind(&password_hash).fetch_optional(&mut *c).await?;
                    let Some((subject,)) = row else { return Ok(false) };
                    sqlx::query(END_SESSIONS).bind(subject).execute(c).await?;
                    Ok(true)
                })
            })
        })
        .await
    }

    /// The person of a grant, if neither has ended.
    pub async fn person_of_grant(
        &self,
        grant_id: &str,
        now: UnixTime,
    ) -> Result<Option<Profile>, StoreError> {
        Ok(on_reads!(self, c => {
            sqlx::query_as(OF_GRANT).bind(grant_id).bind(now.0).fetch_optional(c).await?
        }))
    }

    /// What all people are called, in the order of [`Store::accounts`].
    pub async fn profiles(&self) -> Result<Vec<Profile>, StoreError> {
        Ok(on_reads!(self, c => sqlx::query_as(PROFILES).fetch_all(c).await?))
    }

    /// Changes what a person is called. False: there is no such account.
    pub async fn describe_account(
        &self,
        username: String,
        description: Description,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let (email, is_verified) = description.email.unzip();
        self.write_one(move |mut connection| {
            Box::pin(async move {
                Ok(on_connection!(&mut connection, c => {
                    sqlx::query(DESCRIBE)
                        .bind(&username)
                        .bind(&description.name)
                        .bind(&email)
                        .bind(is_verified.unwrap_or(false))
                        .bind(now.0)
                        .fetch_optional(c)
                        .await?
                        .is_some()
                }))
            })
        })
        .await
    }

    /// Disables an account, ends its sessions and its grants. False: there is no such account that is enabled.
    pub async fn disable_account(
        &self,
        username: String,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        self.write(move |mut connection| {
            Box::pin(async move {
                stop_giving(&mut connection).await?;
                on_connection!(&mut connection, c => {
                    let row: Option<(String,)> =
                        sqlx::query_as(DISABLE).bind(&username).bind(now.0).fetch_optional(&mut *c).await?;
                    let Some((subject,)) = row else { return Ok(false) };
                    sqlx::query(END_SESSIONS).bind(&subject).execute(&mut *c).await?;
                    sqlx::query(END_GRANTS).bind(&subject).bind(now.0).bind("account disabled").execute(c).await?;
                    Ok(true)
                })
            })
        })
        .await
    }
}
