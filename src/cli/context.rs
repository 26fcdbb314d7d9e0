//! What the commands work with: the configuration, its database, and what is known of the clients.

use super::Usage;
use crate::{
    clients::Clients,
    config::{Config, DatabaseUrl},
    fetch::Resolver,
    store::Store,
    time::{Clock, UnixTime},
};

/// What the commands work with.
pub(super) struct AdminContext<'a> {
    pub(super) config: &'a Config,
    pub(super) store: Store,
    pub(super) clients: Clients,
    pub(super) now: UnixTime,
    pub(super) as_json: bool,
}

impl<'a> AdminContext<'a> {
    pub(super) async fn open(config: &'a Config, as_json: bool) -> anyhow::Result<Self> {
        let store = open(config).await?;
        let clock = Clock::system();
        let clients = Clients::new(config, store.clone(), Resolver::of(config), &clock)
            .map_err(|error| Usage(error.to_string()))?;
        clients.standings().reload(&store).await?;
        Ok(Self {
            config,
            store,
            clients,
            now: clock.now(),
            as_json,
        })
    }
}

/// Opens and migrates the database.
pub(super) async fn open(config: &Config) -> anyhow::Result<Store> {
    let url = &config.database.url;
    let hint = match url {
        DatabaseUrl::Sqlite(_) => "expected a file that can be read and written",
        DatabaseUrl::Postgres(_) => "expected a PostgreSQL server that answers there",
    };
    let store = Store::open(url, config.database.max_connections.get()).await;
    let store = store.map_err(|error| anyhow::anyhow!("database.url: {url}: {hint}: {error}"))?;
    store
        .migrate()
        .await
        .map_err(|error| anyhow::anyhow!("database.url: {url}: {error}"))?;
    Ok(store)
}
