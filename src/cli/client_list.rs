//! `wayleave client list`: every client, and how it is known.

use std::collections::BTreeSet;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::{
    context::AdminContext,
    output::{self, Limit, at, maybe_at},
    registration,
};
use crate::{
    policy::{client_rules::Tier, registration::Registered},
    protocol::client_id::ClientId,
    store::{ListedClient, ListedDevClient},
    time::in_rfc_3339,
    words::used_by,
};

/// How a client is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum KnownBy {
    /// An administrator registered it.
    Registered,
    /// Its document was read.
    Document,
    /// A developer had this server publish its document.
    Development,
    /// A rule names it, and it never came.
    Rule,
}

impl KnownBy {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Document => "document",
            Self::Development => "development",
            Self::Rule => "rule",
        }
    }
}

/// A client in the list.
struct Entry {
    client_id: String,
    known_by: KnownBy,
    tier: Tier,
    /// Grants that have not ended, and of how many people.
    used: (i64, i64),
    /// For people.
    about: Vec<String>,
    /// For programs.
    more: Value,
}

impl Entry {
    fn line(&self) -> String {
        let (known_by, tier) = (self.known_by.as_str(), self.tier.as_str());
        let (grants, people) = self.used;
        let mut parts = vec![
            self.client_id.clone(),
            known_by.to_owned(),
            tier.to_owned(),
            used_by(grants, people),
        ];
        parts.extend(self.about.iter().cloned());
        parts.join("  ")
    }

    fn json(&self) -> Value {
        let (grants, people) = self.used;
        let mut entry = Map::new();
        entry.insert("client_id".to_owned(), self.client_id.clone().into());
        entry.insert("known_by".to_owned(), self.known_by.as_str().into());
        entry.insert("tier".to_owned(), self.tier.as_str().into());
        entry.insert("grants".to_owned(), grants.into());
        entry.insert("people".to_owned(), people.into());
        if let Value::Object(more) = &self.more {
            entry.extend(more.clone());
        }
        Value::Object(entry)
    }
}

impl AdminContext<'_> {
    pub(super) async fn list(&self, only: Option<KnownBy>, limit: Limit) -> anyhow::Result<()> {
        let wants = |known_by| only.is_none_or(|only| only == known_by);
        let mut all = Vec::new();
        let registered = self.registered().await?;
        let mut seen: BTreeSet<String> = registered
            .iter()
            .map(|(registered, _)| registered.id().as_str().to_owned())
            .collect();
        if wants(KnownBy::Registered) {
            for (registered, from) in &registered {
                all.push(self.of_registration(registered, from).await?);
            }
        }
        // As many more as there may be registered ones among them.
        let most = limit.and_one().saturating_add(i64::try_from(seen.len())?);
        for client in self.store.clients(self.now, most).await? {
            let is_new = seen.insert(client.client_id.clone());
            if is_new && wants(KnownBy::Document) {
                all.push(self.of_document(&client));
            }
        }
        for client in self.store.all_dev_clients(self.now, most).await? {
            let entry = self.of_development(&client).await?;
            seen.extend(entry.iter().map(|entry| entry.client_id.clone()));
            all.extend(entry.filter(|_| wants(KnownBy::Development)));
        }
        if wants(KnownBy::Rule) {
            self.add_those_of_rules(&seen, &mut all).await?;
        }
        output::list(
            self.as_json,
            limit,
            "such clients",
            &all,
            Entry::json,
            Entry::line,
        )
    }

    fn tier(&self, client_id: &ClientId, keys: &[String]) -> Tier {
        self.clients.rules().of(client_id, keys).tier
    }

    async fn of_registration(
        &self,
        registered: &Registered,
        from: &'static str,
    ) -> anyhow::Result<Entry> {
        let id = registered.id();
        let keys = registered.client.metadata.thumbprints();
        let mut more = registration::entry(registered);
        more["from"] = from.into();
        Ok(Entry {
            client_id: id.as_str().to_owned(),
            known_by: KnownBy::Registered,
            tier: self.tier(id, &keys),
            used: self.store.grants_of(id, self.now).await?,
            about: registration::about(registered, from),
            more,
        })
    }

    fn of_document(&self, client: &ListedClient) -> Entry {
        let state = match (&client.gone_since, &client.failed_rule) {
            (Some(_), _) => Some("gone"),
            (None, Some(_)) => Some("failing"),
            (None, None) => None,
        };
        let read = format!("read {}", in_rfc_3339(client.fetched_at));
        Entry {
            client_id: client.client_id.clone(),
            known_by: KnownBy::Document,
            tier: self.clients.rules().of_listed(client),
            used: (client.grants, client.people),
            about: [Some(read), state.map(str::to_owned)]
                .into_iter()
                .flatten()
                .collect(),
            more: json!({
                "first_seen_at": at(client.first_seen_at), "fetched_at": at(client.fetched_at),
                "fresh_until": at(client.fresh_until), "failed_rule": client.failed_rule,
                "gone_since": maybe_at(client.gone_since),
            }),
        }
    }

    /// `None`: nothing is served in development any more.
    async fn of_development(&self, client: &ListedDevClient) -> anyhow::Result<Option<Entry>> {
        let url = self
            .config
            .issuer
            .join(&format!("/dev-clients/{}.json", client.id));
        let Ok(id) = url.parse::<ClientId>() else {
            return Ok(None);
        };
        if !self.config.development.clients {
            return Ok(None);
        }
        let until = in_rfc_3339(client.expires_at);
        Ok(Some(Entry {
            client_id: url,
            known_by: KnownBy::Development,
            tier: self.tier(&id, &[]),
            used: self.store.grants_of(&id, self.now).await?,
            about: vec![format!("of {}, until {until}", client.username)],
            more: json!({
                "username": client.username, "created_at": at(client.created_at), "ends_at": at(client.expires_at),
            }),
        }))
    }

    /// Clients that a rule names by their identifiers, and that are not known otherwise.
    async fn add_those_of_rules(
        &self,
        seen: &BTreeSet<String>,
        all: &mut Vec<Entry>,
    ) -> anyhow::Result<()> {
        let (_, stored) = self.store.client_rules().await?;
        let rules = self.config.policy.clients.iter().chain(&stored);
        let named: BTreeSet<ClientId> = rules.filter_map(|rule| rule.pattern.client()).collect();
        for id in named.iter().filter(|id| !seen.contains(id.as_str())) {
            all.push(Entry {
                client_id: id.as_str().to_owned(),
                known_by: KnownBy::Rule,
                tier: self.tier(id, &[]),
                used: self.store.grants_of(id, self.now).await?,
                about: Vec::new(),
                more: json!({}),
            });
        }
        Ok(())
    }
}
