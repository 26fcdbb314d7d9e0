//! What the commands work with: the configuration, its database, and what is known of the clients.

use anyhow::{anyhow, bail};

use super::{Usage, healthcheck};
use crate::{
    clients::Clients,
    config::{Config, DatabaseUrl},
    fetch::Resolver,
    store::{Schema, Store, StoreError, Unusable},
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
        clients.rules().reload(&store).await?;
        Ok(Self {
            config,
            store,
            clients,
            now: clock.now(),
            as_json,
        })
    }
}

/// Works on the database that is there, and closes it, whatever comes of that.
pub(super) async fn with_store<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Store) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let store = open(config).await?;
    let done = work(&store).await;
    store.close().await;
    done
}

/// Opens and migrates a database that is there: one that is not is named, and not made by a slip.
pub(super) async fn open(config: &Config) -> anyhow::Result<Store> {
    let url = &config.database.url;
    let absent = |what: &str| {
        let other = match healthcheck::published_keys(config).is_some() {
            true => format!(
                "; the server that runs at {} uses another database",
                config.server.listen
            ),
            false => String::new(),
        };
        anyhow!(
            "database.url: {url}: {what}{other}; give the configuration and the environment of the server (--config), or \
             make it with `wayleave migrate`, `wayleave serve` or `wayleave user add`"
        )
    };
    if let DatabaseUrl::Sqlite(path) = url
        && !path.exists()
    {
        return Err(absent("there is no such database"));
    }
    let store = connect(config).await?;
    if let Ok(Schema::Absent) = store.schema().await {
        store.close().await;
        return Err(absent("there are no tables of this program in it"));
    }
    migrate(config, &store).await?;
    warn_of_another(config, &store).await;
    Ok(store)
}

/// The same for those who may make the database: `serve`, `migrate`, `user add`.
pub(super) async fn open_or_make(config: &Config) -> anyhow::Result<Store> {
    let store = connect(config).await?;
    migrate(config, &store).await?;
    Ok(store)
}

async fn connect(config: &Config) -> anyhow::Result<Store> {
    let url = &config.database.url;
    let store = Store::open(url, config.database.max_connections.get()).await;
    store.map_err(|error| unusable(url, &error))
}

async fn migrate(config: &Config, store: &Store) -> anyhow::Result<()> {
    let Err(error) = store.migrate().await else {
        return Ok(());
    };
    let url = &config.database.url;
    match error {
        StoreError::Unusable(told) => bail!("database.url: {url}: {told}"),
        error => Err(unusable(url, &error)),
    }
}

fn unusable(url: &DatabaseUrl, error: &StoreError) -> anyhow::Error {
    let Unusable { found, advice } = error.in_words(url);
    anyhow!("database.url: {url}: {found}; {advice}")
}

/// A server that publishes none of the keys in this database uses another one: what is done here, it does not see.
pub(super) async fn warn_of_another(config: &Config, store: &Store) {
    let (Some(published), Ok(ours)) =
        (healthcheck::published_keys(config), store.key_marks().await)
    else {
        return;
    };
    if !published
        .iter()
        .any(|kid| ours.iter().any(|mark| mark.kid == *kid))
    {
        eprintln!(
            "wayleave: warning: the server that runs at {} uses another database than {}: it sees nothing of this",
            config.server.listen, config.database.url
        );
    }
}
