//! `wayleave client`: what is known of clients, and what the administrator thinks of them. Also while the server runs: it
//! notices within a second.

use anyhow::{anyhow, bail};
use clap::Subcommand;
use serde_json::json;

use super::{
    Usage,
    client_rules::Trust,
    context::AdminContext,
    hash_secret::{self, HashSecret},
    registration::{Add, SecretCommand, Set},
};
use crate::{
    config::Config,
    policy::metadata_change::Change,
    protocol::{client_metadata, client_url::ClientUrl},
    time::in_rfc_3339,
    words::{self, used_by},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the clients whose documents were read, the newest first.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        most: u32,
    },
    /// Register a client that publishes no document, and make its secret.
    Add(Box<Add>),
    /// Take a registered client away, and end everything it has.
    Remove {
        /// The name it is registered by
        client_id: String,
    },
    /// Change a registered client. What is left out stays, an empty text takes away what is there.
    Set(Box<Set>),
    /// Secrets of a registered client: two at a time, while one replaces the other.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Make a secret for [[clients.registered]] of the configuration, or hash one that there is.
    HashSecret(HashSecret),
    /// List the registered clients.
    Registered,
    /// Show one client: its document, its standing, and how its host answered.
    Show {
        /// The client_id: the https URL of its document
        url: String,
    },
    /// Show what became of a client's document: every version, what changed, and what was done about it.
    History {
        /// The client_id: the https URL of its document
        url: String,
    },
    /// Say which rule decides about a client, and why.
    CheckPolicy {
        /// The client_id: the https URL of its document
        url: String,
    },
    /// Trust clients, as far as you say.
    Trust(Trust),
    /// Block clients, and end everything they have.
    Block {
        /// https://host/path, https://host/path/*, host, *.domain or key:THUMBPRINT
        pattern: String,
        /// Why, for administrators
        #[arg(long)]
        note: Option<String>,
    },
    /// Take a rule away.
    Forget {
        /// The pattern, as `wayleave client rules` shows it
        pattern: String,
    },
    /// List the rules about clients.
    Rules,
    /// Read a client's document now.
    Refresh {
        /// The client_id: the https URL of its document
        url: String,
        /// Accept a key that changed under its kid.
        #[arg(long)]
        accept_keys: bool,
    },
}

/// Runs `wayleave client …`.
pub(super) async fn run(command: Command, config: &Config, as_json: bool) -> anyhow::Result<()> {
    if let Command::HashSecret(options) = &command {
        return hash_secret::run(options, as_json);
    }
    let context = AdminContext::open(config, as_json).await?;
    let done = context.run(command).await;
    context.store.close().await;
    done
}

impl AdminContext<'_> {
    async fn run(&self, command: Command) -> anyhow::Result<()> {
        match command {
            Command::List { most } => self.list(most.into()).await,
            Command::Add(add) => self.add(*add).await,
            Command::Set(set) => self.set(*set).await,
            Command::Remove { client_id } => self.remove(&client_id).await,
            Command::Secret(command) => self.secret(command).await,
            Command::HashSecret(options) => hash_secret::run(&options, self.as_json),
            Command::Registered => self.list_registered().await,
            Command::Show { url } => self.show(&identifier(&url)?).await,
            Command::History { url } => self.history(&identifier(&url)?).await,
            Command::CheckPolicy { url } => self.check_policy(&identifier(&url)?).await,
            Command::Trust(trust) => self.trust(trust).await,
            Command::Block { pattern, note } => self.block(&pattern, note).await,
            Command::Forget { pattern } => self.forget(&pattern).await,
            Command::Rules => self.rules().await,
            Command::Refresh { url, accept_keys } => {
                self.refresh(&identifier(&url)?, accept_keys).await
            }
        }
    }

    async fn list(&self, most: i64) -> anyhow::Result<()> {
        let clients = self.store.clients(self.now, most).await?;
        if self.as_json {
            let all: Vec<_> = clients
                .iter()
                .map(|client| {
                    json!({
                        "client_id": client.client_id, "tier": self.clients.standings().of_listed(client).as_str(),
                        "first_seen_at": client.first_seen_at.0, "fetched_at": client.fetched_at.0,
                        "fresh_until": client.fresh_until.0, "failed_rule": client.failed_rule,
                        "gone_since": client.gone_since.map(|at| at.0), "grants": client.grants, "people": client.people,
                    })
                })
                .collect();
            say!("{}", serde_json::to_string_pretty(&all)?);
            return Ok(());
        }
        for client in clients {
            let state = match (&client.gone_since, &client.failed_rule) {
                (Some(_), _) => "  gone",
                (None, Some(_)) => "  failing",
                (None, None) => "",
            };
            say!(
                "{}  {}  {}  read {}{state}",
                client.client_id,
                self.clients.standings().of_listed(&client).as_str(),
                used_by(client.grants, client.people),
                in_rfc_3339(client.fetched_at),
            );
        }
        Ok(())
    }

    async fn show(&self, client_id: &ClientUrl) -> anyhow::Result<()> {
        let Some(kept) = self.store.client(client_id).await? else {
            bail!(
                "no document of this client is kept; `wayleave explain` says what would become of it"
            );
        };
        let metadata = client_metadata::parse(client_id, kept.document.as_bytes());
        let keys = metadata
            .as_ref()
            .map(|m| m.thumbprints())
            .unwrap_or_default();
        let standing = self
            .clients
            .standings()
            .of(&client_id.clone().into(), &keys);
        let people = self
            .store
            .people_of(&client_id.clone().into(), self.now)
            .await?;
        let document: serde_json::Value = serde_json::from_str(&kept.document)?;
        if self.as_json {
            let shown = json!({
                "client_id": client_id.as_str(), "tier": standing.tier.as_str(), "policy": standing.why(),
                "digest": kept.digest.as_str(), "first_seen_at": kept.first_seen_at.0, "fetched_at": kept.fetched_at.0,
                "fresh_until": kept.fresh_until.0, "failed_at": kept.failed_at.map(|at| at.0),
                "failed_rule": kept.failed_rule, "failed_because": kept.failed_because,
                "gone_since": kept.gone_since.map(|at| at.0), "gone_confirmed_at": kept.gone_confirmed_at.map(|at| at.0),
                "people": people, "keys": keys, "document": document,
            });
            say!("{}", serde_json::to_string_pretty(&shown)?);
            return Ok(());
        }
        say!("{client_id}");
        say!(
            "  standing    {}: {}",
            standing.tier.as_str(),
            standing.why()
        );
        say!("  first seen  {}", in_rfc_3339(kept.first_seen_at));
        let fresh = match kept.fresh_until > self.now {
            true => "fresh until",
            false => "was fresh until",
        };
        say!(
            "  read        {}, {fresh} {}",
            in_rfc_3339(kept.fetched_at),
            in_rfc_3339(kept.fresh_until)
        );
        say!("  version     SHA-256 {}", kept.digest.as_str());
        say!(
            "  people      {} with a consent that stands",
            words::people(people)
        );
        if let (Some(at), Some(rule), Some(because)) =
            (kept.failed_at, &kept.failed_rule, &kept.failed_because)
        {
            say!(
                "  failing     since {}: {rule}: {}",
                in_rfc_3339(at),
                plain(because)
            );
        }
        if let Some(since) = kept.gone_since {
            let confirmed = match kept.gone_confirmed_at {
                Some(at) => format!("confirmed {}: refresh tokens are refused", in_rfc_3339(at)),
                None => "new authorizations are refused".to_owned(),
            };
            // A version that is valid by itself was refused: the document is there.
            let what = match kept.failed_rule.as_deref() {
                Some("document.jwks.kid") => "refused     since",
                _ => "gone        since",
            };
            say!("  {what} {}; {confirmed}", in_rfc_3339(since));
        }
        for key in &keys {
            say!("  key         {key}");
        }
        if let Some(logo) = self.store.client_logo(&client_id.clone().into()).await? {
            let state = match (&logo.hash, &logo.failed_because) {
                (_, Some(because)) => format!("cannot be shown: {}", plain(because)),
                (Some(hash), None) => format!("shown, SHA-256 {hash}"),
                (None, None) => "none".to_owned(),
            };
            say!("  logo        {state} ({})", in_rfc_3339(logo.fetched_at));
        }
        say!("{}", plain(&serde_json::to_string_pretty(&document)?));
        Ok(())
    }

    async fn history(&self, client_id: &ClientUrl) -> anyhow::Result<()> {
        let events = self.store.client_events(client_id).await?;
        if events.is_empty() {
            bail!("nothing is known of this client");
        }
        let mut all = Vec::new();
        for event in &events {
            let changes: Vec<Change> = serde_json::from_str(&event.changes)?;
            let document = match &event.digest {
                Some(digest) => self.store.client_document(client_id, digest).await?,
                None => None,
            };
            if self.as_json {
                all.push(json!({
                    "number": event.number, "at": event.at.0, "kind": event.kind,
                    "digest": event.digest.as_ref().map(|digest| digest.as_str()), "changes": changes, "answer": event.answer,
                    "document": document.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok()),
                }));
                continue;
            }
            say!(
                "{}  {}  {}  {}",
                event.number,
                in_rfc_3339(event.at),
                event.kind,
                plain(&event.answer)
            );
            if let Some(digest) = &event.digest {
                say!("     version SHA-256 {}", digest.as_str());
            }
            for change in &changes {
                say!("     {} ({})", plain(&change.field), change.grade.as_str());
                if let Some(before) = &change.before {
                    say!("       - {}", plain(before));
                }
                if let Some(after) = &change.after {
                    say!("       + {}", plain(after));
                }
            }
        }
        if self.as_json {
            say!("{}", serde_json::to_string_pretty(&all)?);
        }
        Ok(())
    }

    async fn refresh(&self, client_id: &ClientUrl, accept: bool) -> anyhow::Result<()> {
        let read = self.clients.refresh(client_id, accept).await;
        // Whatever came of it: a running server has to know.
        self.store.bump_clients().await?;
        let client =
            read.map_err(|refusal| anyhow!("{}: {}", refusal.rule, plain(&refusal.cause)))?;
        self.report(
            client_id.as_str(),
            &format!("read, SHA-256 {}", client.digest.as_str()),
        );
        let events = self.store.client_events(client_id).await?;
        // What this reading led to, if it was another version.
        let last = events.last();
        if let Some(event) = last.filter(|event| event.at >= self.now && !self.as_json) {
            say!("{}: {}", event.kind, plain(&event.answer));
        }
        Ok(())
    }

    pub(super) fn report(&self, about: &str, done: &str) {
        if self.as_json {
            say!("{}", json!({ "client": about, "done": done }));
        } else {
            say!("{about}: {done}");
        }
    }
}

fn identifier(text: &str) -> Result<ClientUrl, Usage> {
    text.parse()
        .map_err(|error: crate::protocol::client_url::ClientUrlError| Usage(error.to_string()))
}

/// A stranger's text for a terminal: nothing in it steers one.
pub(super) fn plain(text: &str) -> String {
    text.lines()
        .map(|line| {
            let steers = |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
            line.chars()
                .flat_map(|c| match steers(c) {
                    true => c.escape_unicode().collect::<String>(),
                    false => c.to_string(),
                }
                .chars()
                .collect::<Vec<_>>())
                .collect::<String>()
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_stranger_steers_the_terminal() {
        assert_eq!(
            plain("a\u{1b}[31mb\u{202e}c\r\nd"),
            "a\\u{1b}[31mb\\u{202e}c\nd"
        );
        assert_eq!(plain("日本語 é"), "日本語 é");
    }
}
