//! What the administrator's rules make of a client: those of the configuration and those in the database.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{
    config::Config,
    policy::client_rules::{Pattern, Rule, Standing, Tier, standing},
    protocol::client_id::ClientId,
    store::{Store, StoreError},
};

/// Longest life of an access token of a client in development, in seconds.
const DEVELOPMENT_ACCESS: u32 = 300;

/// All rules, as this process knows them.
#[derive(Debug)]
pub struct Standings {
    configured: Vec<Rule>,
    unlisted: Tier,
    stored: ArcSwap<Stored>,
}

#[derive(Debug, Default)]
struct Stored {
    revision: i64,
    rules: Vec<Rule>,
}

impl Standings {
    /// With the configuration's rules only; [`Standings::reload`] adds those of the database.
    pub(super) fn new(config: &Config) -> Self {
        let mut configured = config.policy.clients.clone();
        let development = &config.development;
        if development.clients {
            let lifetime = development.lifetime.get();
            configured.push(Rule {
                note: Some("clients in development".to_owned()),
                access: Some(DEVELOPMENT_ACCESS),
                refresh_idle: Some(lifetime),
                refresh_absolute: Some(lifetime),
                ..Rule::new(
                    Pattern::Path(config.issuer.join("/dev-clients/")),
                    Tier::Unknown,
                )
            });
        }
        Self {
            configured,
            unlisted: config.policy.unlisted,
            stored: ArcSwap::default(),
        }
    }

    /// What a client is to us. `keys` are the thumbprints of the keys it publishes.
    pub fn of(&self, client_id: &ClientId, keys: &[String]) -> Standing {
        let stored = self.stored.load();
        let rules = self.configured.iter().chain(&stored.rules);
        standing(rules, self.unlisted, client_id, keys)
    }

    /// Counts the changes of the rules in the database, as far as this process knows them.
    pub fn revision(&self) -> i64 {
        self.stored.load().revision
    }

    /// Hosts that a rule trusts: what strangers may try to look like.
    pub fn listed_hosts(&self) -> Vec<String> {
        let stored = self.stored.load();
        let trusted = self
            .configured
            .iter()
            .chain(&stored.rules)
            .filter(|rule| rule.tier >= Tier::Listed);
        trusted
            .filter_map(|rule| match &rule.pattern {
                Pattern::Url(url) => Some(url.host().to_owned()),
                Pattern::Path(prefix) => prefix
                    .parse::<ClientId>()
                    .ok()
                    .map(|id| id.host().to_owned()),
                Pattern::Host(host) | Pattern::Domain(host) => Some(host.clone()),
                Pattern::Key(_) => None,
            })
            .collect()
    }

    /// Reads the rules of the database.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn reload(&self, store: &Store) -> Result<(), StoreError> {
        let (revision, rules) = store.client_rules().await?;
        self.stored.store(Arc::new(Stored { revision, rules }));
        Ok(())
    }
}
