//! People: names, passwords (Argon2id, a hash per core at a time), and the first account.

mod names;

pub use self::names::{EmailAddress, FullName, Username, signs_in_as};

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tracing::Instrument;
use unicode_normalization::UnicodeNormalization;

use crate::{
    counts::seconds,
    secret::{Secret, SecretHash, Setup, random_id},
    spans::span,
    store::{Account, AccountError, Description, Store, StoreError},
    time::UnixTime,
};

/// Most that wait for a core to hash on, and for how long: whoever comes then is better served by coming again.
const QUEUE: usize = 64;
const LONGEST: Duration = Duration::from_secs(2);

/// A password in the clear, in one Unicode form. Never shown.
pub struct Password(String);

impl Password {
    /// A password that somebody chooses: at least 8 characters.
    ///
    /// # Errors
    ///
    /// A sentence for the person.
    pub fn chosen(text: &str) -> Result<Self, &'static str> {
        match text.chars().count() {
            0..8 => Err(
                "A password has at least 8 characters. A few words in a row are easy to remember.",
            ),
            129.. => Err("A password has at most 128 characters."),
            _ if text.len() > 512 => Err("This password is too long."),
            _ => Ok(Self(text.nfc().collect())),
        }
    }

    /// A password that somebody enters; `None` when it is longer than any can be.
    pub fn entered(text: &str) -> Option<Self> {
        (text.len() <= 512).then(|| Self(text.nfc().collect()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Why nobody was signed in or made.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("too many passwords wait to be hashed")]
    Busy,
    #[error("hashing failed: {0}")]
    Hash(String),
}

/// What a name and a password are worth.
#[derive(Debug)]
pub enum Checked {
    Right(Account),
    /// They are right, and the account is disabled: only the log says so.
    Disabled,
    Wrong,
}

/// Makes accounts and signs people in.
#[derive(Debug)]
pub struct Accounts {
    store: Store,
    cores: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// Sign-ins that hash, or wait for a core.
    hashes: Arc<AtomicUsize>,
}

/// 19,456 KiB, two passes, one lane: the cost of every hash.
static ARGON2: LazyLock<Argon2<'static>> = LazyLock::new(|| {
    let params = Params::new(19_456, 2, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
});

/// Verified in place of the hash of an account that does not exist, so that both take as long.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_now(&random_id()).unwrap_or_default());

/// One that is counted, until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Accounts {
    /// Sign-ins that hash a password, or wait for a core to do so on.
    pub fn hashes_waiting(&self) -> usize {
        self.hashes.load(Ordering::Relaxed)
    }

    /// On this store, hashing on as many cores as there are.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            cores: Arc::new(Semaphore::new(number_of_cores())),
            queue: Arc::new(Semaphore::new(QUEUE)),
            hashes: Arc::default(),
        }
    }

    /// Takes every core and every place in the queue, until what is returned is dropped: for tests of what happens then.
    ///
    /// # Errors
    ///
    /// Never, as long as the server runs.
    #[doc(hidden)]
    pub async fn keep_busy(&self) -> Result<[OwnedSemaphorePermit; 2], AccountsError> {
        let all = async |places: &Arc<Semaphore>, most: usize| {
            let most = u32::try_from(most).unwrap_or(u32::MAX);
            let taken = places.clone().acquire_many_owned(most).await;
            taken.map_err(|_| AccountsError::Busy)
        };
        Ok([
            all(&self.cores, number_of_cores()).await?,
            all(&self.queue, QUEUE).await?,
        ])
    }

    /// The account of a typed name: its user name, or its verified e-mail address.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn named(&self, typed: &str) -> Result<Option<Account>, StoreError> {
        match signs_in_as(typed) {
            Some(name) => self.store.account(&name).await,
            None => Ok(None),
        }
    }

    /// Is the password the account's own, if there is one? Takes as long for every answer.
    ///
    /// # Errors
    ///
    /// When the queue for hashing is too long.
    pub async fn check(
        &self,
        account: Option<Account>,
        password: &str,
    ) -> Result<Checked, AccountsError> {
        let hash = account
            .as_ref()
            .map(|account| account.password_hash.clone());
        let Some(password) = Password::entered(password) else {
            return Ok(Checked::Wrong);
        };
        let matches = self
            .on_a_core(move || {
                // Touched for every name: the first sign-in makes it, whoever that is.
                let nobody = NOBODY.as_str();
                let known = hash.is_some();
                let hash = hash.as_deref().unwrap_or(nobody);
                known & ARGON2.verify_password(password.0.as_bytes(), hash).is_ok()
            })
            .await?;
        Ok(match account.filter(|_| matches) {
            None => Checked::Wrong,
            Some(account) if account.disabled_at.is_some() => Checked::Disabled,
            Some(account) => Checked::Right(account),
        })
    }

    /// Adds an account.
    ///
    /// # Errors
    ///
    /// When the database fails or the queue for hashing is too long.
    pub async fn add(
        &self,
        username: Username,
        password: Password,
        about: Description,
        now: UnixTime,
    ) -> Result<Result<(), AccountError>, AccountsError> {
        let is_admin = about.is_admin == Some(true);
        let account = self.prepare(username, password, is_admin, now).await?;
        Ok(self.store.add_account(account, about).await?)
    }

    /// Makes the first account, an administrator, with the set-up link.
    ///
    /// # Errors
    ///
    /// When the database fails or the queue for hashing is too long.
    pub async fn add_first(
        &self,
        link: SecretHash<Setup>,
        username: Username,
        password: Password,
        now: UnixTime,
    ) -> Result<Result<Account, AccountError>, AccountsError> {
        let account = self.prepare(username, password, true, now).await?;
        let made = self.store.add_first_account(link, account.clone(), now);
        Ok(made.await?.map(|()| account))
    }

    /// Gives an account another password; with `ends_grants` whatever its apps have ends with its sessions. `None`: there is
    /// no such account.
    ///
    /// # Errors
    ///
    /// When the database fails or the queue for hashing is too long.
    pub async fn set_password(
        &self,
        username: &Username,
        password: Password,
        ends_grants: bool,
        now: UnixTime,
    ) -> Result<Option<Account>, AccountsError> {
        let hash = self.hash(password).await?;
        let name = username.as_str().to_owned();
        Ok(self
            .store
            .set_password(name, hash, ends_grants, now)
            .await?)
    }

    /// A new set-up link, as long as there is no account.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn setup_link(
        &self,
        now: UnixTime,
        lifetime: i64,
    ) -> Result<Option<Secret<Setup>>, StoreError> {
        if self.store.has_accounts().await? {
            return Ok(None);
        }
        let link = Secret::generate();
        self.store
            .add_setup_link(link.hash(), now + lifetime)
            .await?;
        Ok(Some(link))
    }

    async fn prepare(
        &self,
        name: Username,
        password: Password,
        is_admin: bool,
        now: UnixTime,
    ) -> Result<Account, AccountsError> {
        let password_hash = self.hash(password).await?;
        Ok(Account {
            subject: random_id(),
            username: name.into_text(),
            password_hash,
            is_admin,
            created_at: now,
            disabled_at: None,
        })
    }

    async fn hash(&self, password: Password) -> Result<String, AccountsError> {
        self.on_a_core(move || hash_now(&password.0)).await?
    }

    /// A core, at once or soon; `None`: come again.
    async fn core(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(core) = self.cores.clone().try_acquire_owned() {
            return Some(core);
        }
        let _waits = (self.queue.try_acquire().ok()?, Counted::begin(&self.hashes));
        let core = tokio::time::timeout(LONGEST, self.cores.clone().acquire_owned()).await;
        core.ok()?.ok()
    }

    async fn on_a_core<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AccountsError> {
        let began = Instant::now();
        let place = self.core().await.ok_or(AccountsError::Busy)?;
        let counted = Counted::begin(&self.hashes);
        let done = tokio::task::spawn_blocking(move || {
            let _held = (place, counted);
            work()
        });
        let counts = &self.store.counts;
        counts.hash_waits.observe(seconds(began.elapsed()));
        let began = Instant::now();
        let done = done.instrument(span!("hash password")).await;
        counts.hashes.observe(seconds(began.elapsed()));
        done.map_err(|error| AccountsError::Hash(error.to_string()))
    }
}

fn number_of_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn hash_now(password: &str) -> Result<String, AccountsError> {
    let hash = ARGON2
        .hash_password(password.as_bytes())
        .map_err(|error| AccountsError::Hash(error.to_string()))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn no_more_than_the_queue_wait_for_a_core_and_the_rest_is_sent_away_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("w.db").display());
        let store = Store::open(&url.parse().unwrap(), 1).await.unwrap();
        let accounts = Accounts::new(store);
        let [held, _] = accounts.keep_busy().await.unwrap();
        let mut waiting: Vec<_> = (0..QUEUE)
            .map(|_| Box::pin(accounts.on_a_core(|| 1)))
            .collect();
        for waits in &mut waiting {
            assert!(futures_util::poll!(waits).is_pending());
        }
        assert_eq!(accounts.hashes_waiting(), 64);
        for _ in 0..100 {
            let refused = futures_util::poll!(Box::pin(accounts.on_a_core(|| 1)));
            assert!(matches!(refused, Poll::Ready(Err(AccountsError::Busy))));
        }
        assert_eq!(accounts.hashes_waiting(), 64);
        // Whoever goes away leaves a place to somebody else.
        drop(waiting.pop());
        let mut next = Box::pin(accounts.on_a_core(|| 1));
        assert!(futures_util::poll!(&mut next).is_pending());
        drop((waiting, held));
        assert_eq!(next.await.unwrap(), 1);
        assert_eq!(accounts.on_a_core(|| 2).await.unwrap(), 2);
    }

    #[test]
    fn a_password_is_the_same_however_its_accents_are_typed() {
        let composed = hash_now(&Password::chosen("caf\u{e9} au lait").unwrap().0).unwrap();
        let decomposed = Password::entered("cafe\u{301} au lait").unwrap();
        assert!(
            ARGON2
                .verify_password(decomposed.0.as_bytes(), composed.as_str())
                .is_ok()
        );
        assert!(
            composed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{composed}"
        );
    }

    #[test]
    fn a_chosen_password_is_neither_short_nor_endless() {
        assert!(Password::chosen("seven77").is_err());
        assert!(Password::chosen("password").is_ok());
        assert!(Password::chosen(&"a".repeat(128)).is_ok());
        assert!(Password::chosen(&"a".repeat(129)).is_err());
        assert!(Password::chosen(&"\u{1f511}".repeat(128)).is_ok());
        assert!(Password::entered(&"a".repeat(513)).is_none());
    }
}
