//! What the administrator says of clients: rules and registrations, of the configuration and in the database.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

use crate::{
    config::Config,
    policy::{
        client_pattern::Pattern,
        client_rules::{Rule, Tier, TrustDecision, standing},
        registration::Registered,
    },
    protocol::{client_id::ClientId, client_metadata, client_url::ClientUrl},
    store::{ListedClient, Store, StoreError},
};

/// Longest life of an access token of a client in development, in seconds.
const DEVELOPMENT_ACCESS: u32 = 300;

/// All rules, as this process knows them.
#[derive(Debug)]
pub struct RuleBook {
    configured: Vec<Rule>,
    registered: HashMap<ClientId, Arc<Registered>>,
    unlisted: Tier,
    stored: ArcSwap<Stored>,
}

#[derive(Debug, Default)]
struct Stored {
    revision: i64,
    rules: Vec<Rule>,
    registered: HashMap<ClientId, Arc<Registered>>,
}

impl RuleBook {
    /// With the configuration's rules only; [`RuleBook::reload`] adds those of the database.
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
            registered: by_id(config.clients.registered.iter().cloned()),
            configured,
            unlisted: config.policy.unlisted,
            stored: ArcSwap::default(),
        }
    }

    /// The tier of a client whose document is kept.
    pub fn of_listed(&self, client: &ListedClient) -> Tier {
        let Ok(client_id) = client.client_id.parse::<ClientUrl>() else {
            return Tier::Unknown;
        };
        let metadata = client_metadata::parse(&client_id, client.document.as_bytes());
        let keys = metadata.map(|it| it.thumbprints()).unwrap_or_default();
        self.of(&client_id.into(), &keys).tier
    }

    /// What a client is to us. `keys` are the thumbprints of the keys it publishes.
    pub fn of(&self, client_id: &ClientId, keys: &[String]) -> TrustDecision {
        let stored = self.stored.load();
        let rules = self.configured.iter().chain(&stored.rules);
        let by_rule = standing(rules, self.unlisted, client_id, keys);
        match (self.registered(client_id), client_id.url()) {
            _ if by_rule.rule.is_some() => by_rule,
            (Some(registered), _) => TrustDecision {
                tier: registered.tier(),
                rule: None,
                registered: true,
            },
            (None, Some(_)) => by_rule,
            // Nobody knows the name.
            (None, None) => TrustDecision {
                tier: Tier::Blocked,
                rule: None,
                registered: false,
            },
        }
    }

    /// The registration of a client; that of the configuration wins.
    pub fn registered(&self, client_id: &ClientId) -> Option<Arc<Registered>> {
        let known = self.registered.get(client_id).cloned();
        known.or_else(|| self.stored.load().registered.get(client_id).cloned())
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
                    .parse::<ClientUrl>()
                    .ok()
                    .map(|id| id.host().to_owned()),
                Pattern::Host(host) | Pattern::Domain(host) => Some(host.clone()),
                Pattern::Key(_) | Pattern::Name(_) => None,
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
        let registered = by_id(store.registered_clients().await?.into_iter());
        self.stored.store(Arc::new(Stored {
            revision,
            rules,
            registered,
        }));
        store.forget_fresh_devices();
        Ok(())
    }
}

fn by_id(registered: impl Iterator<Item = Registered>) -> HashMap<ClientId, Arc<Registered>> {
    registered
        .map(|registered| (registered.id().clone(), Arc::new(registered)))
        .collect()
}
