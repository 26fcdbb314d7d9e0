//! Rows of people: accounts, and the link that makes the first one.

use super::{
    Store, StoreError,
    db::{Query, Tx, row},
    locks::{keep_accounts, stop_giving},
    sign_in_failures, statements,
};
use crate::{
    secret::{SecretHash, Setup, TypedName},
    time::UnixTime,
};

statements! {
    ANY = "SELECT subject FROM users LIMIT 1";
    FIND = "SELECT subject, username, password_hash, is_admin, created_at, disabled_at FROM users \
            WHERE username = $1 OR (email_name = $1 AND email_verified) ORDER BY (username = $1) DESC LIMIT 1";
    NAMED = "SELECT subject, username, password_hash, is_admin, created_at, disabled_at FROM users WHERE username = $1";
    LIST = "SELECT subject, username, password_hash, is_admin, created_at, disabled_at FROM users ORDER BY created_at, username";
    OF_GRANT = "SELECT u.subject, u.username, u.name, u.email, u.email_verified, u.updated_at \
                FROM grants g JOIN users u ON u.subject = g.subject \
                WHERE g.id = $1 AND g.revoked_at IS NULL AND g.ends_at > $2 AND u.disabled_at IS NULL";
    PROFILES = "SELECT subject, username, name, email, email_verified, updated_at FROM users ORDER BY created_at, username";
    IS_ANOTHERS = "SELECT subject FROM users WHERE (username = $1 OR email_name = $1) AND subject <> $2";
    OTHER_ADMIN = "SELECT subject FROM users WHERE is_admin AND disabled_at IS NULL AND subject <> $1 LIMIT 1";
    CHANGE = "UPDATE users SET name = NULLIF(COALESCE(CAST($2 AS TEXT), name), ''), \
              email = NULLIF(COALESCE(CAST($3 AS TEXT), email), ''), \
              email_verified = CASE WHEN CAST($3 AS TEXT) IS NULL THEN email_verified ELSE CAST($4 AS BOOLEAN) END, \
              email_name = CASE WHEN CAST($3 AS TEXT) IS NULL THEN email_name ELSE CAST($5 AS TEXT) END, \
              is_admin = COALESCE(CAST($6 AS BOOLEAN), is_admin), updated_at = $7 WHERE subject = $1";
    INSERT = "INSERT INTO users (subject, username, password_hash, is_admin, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5) \
              ON CONFLICT (username) DO NOTHING";
    SET_PASSWORD = "UPDATE users SET password_hash = $2 WHERE username = $1 \
                    RETURNING subject, username, password_hash, is_admin, created_at, disabled_at";
    RENAME = "UPDATE users SET username = $2, updated_at = $3 WHERE subject = $1";
    DISABLE = "UPDATE users SET disabled_at = $2 WHERE subject = $1";
    ENABLE = "UPDATE users SET disabled_at = NULL WHERE username = $1 AND disabled_at IS NOT NULL";
    END_SESSIONS = "DELETE FROM sessions WHERE subject = $1";
    END_GRANTS = "UPDATE grants SET revoked_at = $2, revoked_because = $3 WHERE subject = $1 AND revoked_at IS NULL";
    END_CODES = "UPDATE authorization_codes SET spent_at = $2 WHERE subject = $1 AND spent_at IS NULL";
    END_DEVICES = "UPDATE device_codes SET allowed = FALSE WHERE subject = $1 AND allowed";
    DELETE_GRANTS = "DELETE FROM grants WHERE subject = $1";
    DELETE_CODES = "DELETE FROM authorization_codes WHERE subject = $1";
    DELETE_DEVICES = "DELETE FROM device_codes WHERE subject = $1";
    DELETE_QUESTIONS = "DELETE FROM interactions WHERE subject = $1";
    DELETE_CONSENTS = "DELETE FROM consents WHERE subject = $1";
    DELETE_DEV_CLIENTS = "DELETE FROM dev_clients WHERE subject = $1";
    DELETE_REFUSALS = "DELETE FROM refusals WHERE subject = $1";
    DELETE = "DELETE FROM users WHERE subject = $1";
    INSERT_LINK = "INSERT INTO setup_links (hash, expires_at) VALUES ($1, $2)";
    LINK_IS_OPEN = "SELECT hash FROM setup_links WHERE hash = $1 AND spent_at IS NULL AND expires_at > $2 \
                    AND NOT EXISTS (SELECT 1 FROM users)";
    SPEND_LINK = "UPDATE setup_links SET spent_at = $2 WHERE hash = $1 AND spent_at IS NULL AND expires_at > $2 \
                  AND NOT EXISTS (SELECT 1 FROM users)";
    // Of two links that are used at once, in two processes, one makes it.
    MAKE_FIRST = "INSERT INTO used_once (hash, until) VALUES ('the first account', 9223372036854775807) ON CONFLICT (hash) DO NOTHING";
}

/// What goes with an account: grants first.
const DELETE_ALL: [&str; 9] = [
    DELETE_GRANTS,
    DELETE_CODES,
    DELETE_DEVICES,
    DELETE_QUESTIONS,
    END_SESSIONS,
    DELETE_CONSENTS,
    DELETE_DEV_CLIENTS,
    DELETE_REFUSALS,
    DELETE,
];

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
    pub email: Option<DescribedEmail>,
    pub is_admin: Option<bool>,
}

/// An e-mail address.
#[derive(Debug, Default)]
pub struct DescribedEmail {
    pub address: String,
    /// Is it known to be the person's?
    pub is_verified: bool,
    /// The name that it is to sign in with: only of one that is verified, and no other account's.
    pub signs_in_as: Option<String>,
}

/// Why nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountError {
    /// There is no such account, or none of which this can be said.
    NoSuchAccount,
    /// Another account is called so, or signs in with it as its e-mail address.
    NameTaken,
    /// Another account signs in with the address, or is called so.
    AddressTaken,
    /// No other administrator could sign in.
    LastAdministrator,
    /// The set-up link was used, has expired, or there is an account already.
    LinkSpent,
}

impl Store {
    /// Is there any account?
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here.
    pub async fn has_accounts(&self) -> Result<bool, StoreError> {
        Ok(self.db.optional::<()>(Query::new(ANY)).await?.is_some())
    }

    /// The account that signs in with this name: its user name, or its verified e-mail address.
    pub async fn account(&self, name: &str) -> Result<Option<Account>, StoreError> {
        self.db.optional(Query::new(FIND).bind(name)).await
    }

    /// All accounts, oldest first.
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.db.all(Query::new(LIST)).await
    }

    /// Adds an account. Neither its name nor its verified address is another's.
    pub async fn add_account(
        &self,
        account: Account,
        about: Description,
    ) -> Result<Result<(), AccountError>, StoreError> {
        self.db
            .write(async move |mut tx| {
                keep_accounts(&mut tx).await?;
                let subject = &account.subject;
                if is_anothers(&mut tx, &account.username, subject).await? {
                    return Ok(Err(AccountError::NameTaken));
                }
                if is_address_anothers(&mut tx, subject, &about).await? {
                    return Ok(Err(AccountError::AddressTaken));
                }
                if insert(&mut tx, &account).await? != 1 {
                    return Ok(Err(AccountError::NameTaken));
                }
                change(&mut tx, subject, &about, account.created_at).await?;
                Ok(Ok(()))
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
        self.db
            .write(async move |mut tx| {
                let spent = tx
                    .execute(Query::new(SPEND_LINK).bind(&link).bind(now))
                    .await?;
                if spent != 1 {
                    return Ok(Err(AccountError::LinkSpent));
                }
                let first = tx.execute(Query::new(MAKE_FIRST)).await?;
                if first != 1 {
                    return Ok(Err(AccountError::LinkSpent));
                }
                let added = insert(&mut tx, &account).await?;
                Ok(if added == 1 {
                    Ok(())
                } else {
                    Err(AccountError::NameTaken)
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
        self.db
            .execute(Query::new(INSERT_LINK).bind(&link).bind(expires_at))
            .await?;
        Ok(())
    }

    /// Would the link still make the first account?
    pub async fn setup_link_is_open(
        &self,
        link: &SecretHash<Setup>,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        Ok(self
            .db
            .optional::<()>(Query::new(LINK_IS_OPEN).bind(link).bind(now))
            .await?
            .is_some())
    }

    /// Gives an account another password and ends its sessions; with `ends_grants` everything that its apps have, too.
    /// `None`: there is no such account.
    pub async fn set_password(
        &self,
        username: String,
        password_hash: String,
        ends_grants: bool,
        now: UnixTime,
    ) -> Result<Option<Account>, StoreError> {
        self.db
            .write(async move |mut tx| {
                stop_giving(&mut tx).await?;
                let account: Option<Account> = tx
                    .optional(
                        Query::new(SET_PASSWORD)
                            .bind(&username)
                            .bind(&password_hash),
                    )
                    .await?;
                let Some(account) = account else {
                    return Ok(None);
                };
                let subject = &account.subject;
                match ends_grants {
                    true => end_all(&mut tx, subject, "password changed", now).await?,
                    false => {
                        tx.execute(Query::new(END_SESSIONS).bind(subject)).await?;
                    }
                }
                Ok(Some(account))
            })
            .await
    }

    /// The person of a grant, if neither has ended.
    pub async fn person_of_grant(
        &self,
        grant_id: &str,
        now: UnixTime,
    ) -> Result<Option<Profile>, StoreError> {
        self.db
            .optional(Query::new(OF_GRANT).bind(grant_id).bind(now))
            .await
    }

    /// What all people are called, in the order of [`Store::accounts`].
    pub async fn profiles(&self) -> Result<Vec<Profile>, StoreError> {
        self.db.all(Query::new(PROFILES)).await
    }

    /// Changes what a person is called, and whether they administer the server.
    pub async fn change_account(
        &self,
        username: String,
        about: Description,
        now: UnixTime,
    ) -> Result<Result<(), AccountError>, StoreError> {
        self.db
            .write(async move |mut tx| {
                keep_accounts(&mut tx).await?;
                let Some(account) = named(&mut tx, &username).await? else {
                    return Ok(Err(AccountError::NoSuchAccount));
                };
                let demoted = about.is_admin == Some(false);
                if demoted && is_last_admin(&mut tx, &account).await? {
                    return Ok(Err(AccountError::LastAdministrator));
                }
                if is_address_anothers(&mut tx, &account.subject, &about).await? {
                    return Ok(Err(AccountError::AddressTaken));
                }
                change(&mut tx, &account.subject, &about, now).await?;
                Ok(Ok(()))
            })
            .await
    }

    /// Gives an account another name. Its count of wrong passwords goes along.
    pub async fn rename_account(
        &self,
        (username, failures): (String, SecretHash<TypedName>),
        (new_name, new_failures): (String, SecretHash<TypedName>),
        now: UnixTime,
    ) -> Result<Result<(), AccountError>, StoreError> {
        self.db
            .write(async move |mut tx| {
                keep_accounts(&mut tx).await?;
                let Some(account) = named(&mut tx, &username).await? else {
                    return Ok(Err(AccountError::NoSuchAccount));
                };
                if is_anothers(&mut tx, &new_name, &account.subject).await? {
                    return Ok(Err(AccountError::NameTaken));
                }
                if new_name != username {
                    tx.execute(
                        Query::new(RENAME)
                            .bind(&account.subject)
                            .bind(&new_name)
                            .bind(now),
                    )
                    .await?;
                    sign_in_failures::hand_on(&mut tx, &failures, &new_failures).await?;
                }
                Ok(Ok(()))
            })
            .await
    }

    /// Disables an account, ends its sessions and everything that its apps have.
    pub async fn disable_account(
        &self,
        username: String,
        now: UnixTime,
    ) -> Result<Result<(), AccountError>, StoreError> {
        self.db
            .write(async move |mut tx| {
                stop_giving(&mut tx).await?;
                keep_accounts(&mut tx).await?;
                let account = named(&mut tx, &username).await?;
                let Some(account) = account.filter(|it| it.disabled_at.is_none()) else {
                    return Ok(Err(AccountError::NoSuchAccount));
                };
                if is_last_admin(&mut tx, &account).await? {
                    return Ok(Err(AccountError::LastAdministrator));
                }
                tx.execute(Query::new(DISABLE).bind(&account.subject).bind(now))
                    .await?;
                end_all(&mut tx, &account.subject, "account disabled", now).await?;
                Ok(Ok(()))
            })
            .await
    }

    /// Lets an account sign in again. What was ended stays so. False: there is no such account that is disabled.
    pub async fn enable_account(&self, username: String) -> Result<bool, StoreError> {
        Ok(self.db.execute(Query::new(ENABLE).bind(&username)).await? == 1)
    }

    /// Deletes an account and everything that belongs to it.
    pub async fn delete_account(
        &self,
        username: String,
        failures: SecretHash<TypedName>,
    ) -> Result<Result<(), AccountError>, StoreError> {
        self.db
            .write(async move |mut tx| {
                stop_giving(&mut tx).await?;
                keep_accounts(&mut tx).await?;
                let Some(account) = named(&mut tx, &username).await? else {
                    return Ok(Err(AccountError::NoSuchAccount));
                };
                if is_last_admin(&mut tx, &account).await? {
                    return Ok(Err(AccountError::LastAdministrator));
                }
                for statement in DELETE_ALL {
                    tx.execute(Query::new(statement).bind(&account.subject))
                        .await?;
                }
                sign_in_failures::forget(&mut tx, &failures).await?;
                Ok(Ok(()))
            })
            .await
    }
}

/// Writes an account; says how many it wrote: none, if the name is taken.
async fn insert(tx: &mut Tx, account: &Account) -> Result<u64, StoreError> {
    tx.execute(
        Query::new(INSERT)
            .bind(&account.subject)
            .bind(&account.username)
            .bind(&account.password_hash)
            .bind(account.is_admin)
            .bind(account.created_at),
    )
    .await
}

/// The account of this user name.
async fn named(tx: &mut Tx, username: &str) -> Result<Option<Account>, StoreError> {
    tx.optional(Query::new(NAMED).bind(username)).await
}

/// Does another account sign in with this name? Holds until the unit of work ends, after [`keep_accounts`].
async fn is_anothers(tx: &mut Tx, name: &str, subject: &str) -> Result<bool, StoreError> {
    Ok(tx
        .optional::<()>(Query::new(IS_ANOTHERS).bind(name).bind(subject))
        .await?
        .is_some())
}

/// Is it the only administrator who can sign in? Holds until the unit of work ends, after [`keep_accounts`].
async fn is_last_admin(tx: &mut Tx, account: &Account) -> Result<bool, StoreError> {
    if !account.is_admin || account.disabled_at.is_some() {
        return Ok(false);
    }
    Ok(tx
        .optional::<()>(Query::new(OTHER_ADMIN).bind(&account.subject))
        .await?
        .is_none())
}

/// Is the address that is to be verified a name of another account?
async fn is_address_anothers(
    tx: &mut Tx,
    subject: &str,
    about: &Description,
) -> Result<bool, StoreError> {
    match about.email.as_ref().and_then(|it| it.signs_in_as.as_ref()) {
        Some(name) => is_anothers(tx, name, subject).await,
        None => Ok(false),
    }
}

/// Writes what is to be changed about a person.
async fn change(
    tx: &mut Tx,
    subject: &str,
    about: &Description,
    now: UnixTime,
) -> Result<(), StoreError> {
    let email = about.email.as_ref();
    tx.execute(
        Query::new(CHANGE)
            .bind(subject)
            .bind(&about.name)
            .bind(email.map(|email| &email.address))
            .bind(email.is_some_and(|email| email.is_verified))
            .bind(email.and_then(|email| email.signs_in_as.as_ref()))
            .bind(about.is_admin)
            .bind(now),
    )
    .await?;
    Ok(())
}

/// Ends what a person has and what their apps have: sessions, grants, codes, devices that were allowed. What is being given
/// in this moment needs the session that it is given from.
async fn end_all(
    tx: &mut Tx,
    subject: &str,
    because: &str,
    now: UnixTime,
) -> Result<(), StoreError> {
    tx.execute(Query::new(END_SESSIONS).bind(subject)).await?;
    tx.execute(Query::new(END_GRANTS).bind(subject).bind(now).bind(because))
        .await?;
    tx.execute(Query::new(END_CODES).bind(subject).bind(now))
        .await?;
    tx.execute(Query::new(END_DEVICES).bind(subject)).await?;
    Ok(())
}
