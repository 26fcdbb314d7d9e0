//! What every request has at hand.

use std::sync::{Arc, atomic::AtomicBool};

use crate::{
    accounts::Accounts, clients::Clients, config::Config, fetch::Resolver, keys::Keys,
    limits::Limits, protocol::dpop::Nonces, refusals::Refusals, secret::MacKey, store::Store,
    time::Clock,
};

/// The parts of the server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Parts>);

/// What [`App`] holds.
#[derive(Debug)]
pub struct Parts {
    pub clock: Clock,
    pub config: Config,
    pub store: Store,
    pub clients: Clients,
    pub keys: Keys,
    pub accounts: Accounts,
    pub limits: Limits,
    /// Refusals that administrators may ask about.
    pub refusals: Refusals,
    /// Authenticates the tokens of our forms.
    pub form_key: MacKey,
    /// Authenticates refresh tokens.
    pub refresh_key: MacKey,
    /// Nonces for proofs of possession, RFC 9449 §8.
    pub nonces: Nonces,
    /// The server was told to stop: nothing new should be sent here.
    pub stopping: AtomicBool,
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Puts the server together on a migrated database; makes its keys if there are none.
    ///
    /// # Errors
    ///
    /// When the database, a key or a file that the configuration names cannot be used.
    pub async fn new(
        config: Config,
        store: Store,
        clock: Clock,
        resolver: Resolver,
    ) -> Result<Self, AppError> {
        let keys = Keys::load(&config, &store, clock.now()).await?;
        let clients = Clients::new(&config, store.clone(), resolver, &clock)?;
        clients.rules().reload(&store).await?;
        let root = keys.root();
        Ok(Self(Arc::new(Parts {
            form_key: MacKey::derive(&root, "forms"),
            refresh_key: MacKey::derive(&root, "refresh tokens"),
            nonces: Nonces::new(MacKey::derive(&root, "DPoP nonces")),
            accounts: Accounts::new(store.clone()),
            limits: Limits::new(&config, &clock),
            refusals: Refusals::new(store.clone(), config.limits.scale, &clock),
            stopping: AtomicBool::new(false),
            clock,
            config,
            store,
            clients,
            keys,
        })))
    }
}

/// Why the server cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Keys(#[from] crate::keys::KeyError),
    #[error(transparent)]
    Fetcher(#[from] crate::fetch::FetcherError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}
