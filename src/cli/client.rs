//! `wayleave client`: what is known of clients, and what the administrator thinks of them. Also while the server runs: it
//! notices within a second.

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Usage, open, registration::Add};
use crate::{
    clients::Clients,
    config::Config,
    fetch::Resolver,
    policy::{
        client_rules::{Pattern, Rule, Tier},
        metadata_change::Change,
    },
    protocol::{client_metadata, client_url::ClientUrl},
    store::Store,
    time::{Clock, UnixTime, in_rfc_3339},
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
    Add(Add),
    /// Take a registered client away, and end everything it has.
    Remove { client_id: String },
    /// Make a new secret for a registered client; the old one is worth nothing from then on.
    Secret { client_id: String },
    /// List the registered clients.
    Registered,
    /// Show one client: its document, its standing, and how its host answered.
    Show { url: String },
    /// Show what became of a client's document: every version, what changed, and what was done about it.
    History { url: String },
    /// Say which rule decides about a client, and why.
    CheckPolicy { url: String },
    /// Trust clients: https://host/path, https://host/path/*, host or *.domain.
    Trust(Trust),
    /// Block clients, and end everything they have: also key:THUMBPRINT.
    Block {
        pattern: String,
        /// Why, for administrators.
        #[arg(long)]
        note: Option<String>,
    },
    /// Take a rule away.
    Forget { pattern: String },
    /// List the rules about clients.
    Rules,
    /// Read a client's document now.
    Refresh {
        url: String,
        /// Accept a key that changed under its kid.
        #[arg(long)]
        accept_keys: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Trust {
    pattern: String,
    /// unknown, listed, approved or first_party.
    #[arg(long, default_value = "listed")]
    tier: String,
    /// Why, for administrators.
    #[arg(long)]
    note: Option<String>,
    /// The only scopes it may be granted; repeat it for each.
    #[arg(long = "scope")]
    scopes: Vec<String>,
    /// The only resources it may be granted tokens for; repeat it for each.
    #[arg(long = "resource")]
    resources: Vec<String>,
    /// Longest life of its access tokens, in seconds.
    #[arg(long)]
    access: Option<u32>,
    /// Longest life of its grants, in seconds.
    #[arg(long)]
    refresh_absolute: Option<u32>,
    /// Your word on it, shown on the consent page.
    #[arg(long)]
    consent_text: Option<String>,
    /// Do not show its logo.
    #[arg(long)]
    no_logo: bool,
}

/// What the commands work with.
pub(super) struct Desk<'a> {
    pub(super) config: &'a Config,
    pub(super) store: Store,
    pub(super) clients: Clients,
    pub(super) now: UnixTime,
    pub(super) as_json: bool,
}

/// Runs `wayleave client …`.
pub(super) async fn run(command: Command, config: &Config, as_json: bool) -> anyhow::Result<()> {
    let desk = Desk::open(config, as_json).await?;
    let done = desk.run(command).await;
    desk.store.close().await;
    done
}

impl<'a> Desk<'a> {
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

    async fn run(&self, command: Command) -> anyhow::Result<()> {
        match command {
            Command::List { most } => self.list(most.into()).await,
            Command::Add(add) => self.add(add).await,
            Command::Remove { client_id } => self.remove(&client_id).await,
            Command::Secret { client_id } => self.new_secret(&client_id).await,
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
                        "client_id": client.client_id, "tier": self.tier(&client.client_id),
                        "first_seen_at": client.first_seen_at.0, "fetched_at": client.fetched_at.0,
                        "fresh_until": client.fresh_until.0, "failed_rule": client.failed_rule,
                        "gone_since": client.gone_since.map(|at| at.0), "grants": client.grants, "people": client.people,
                    })
                })
                .collect();
            println!("{}", serde_json::to_string_pretty(&all)?);
            return Ok(());
        }
        for client in clients {
            let state = match (&client.gone_since, &client.failed_rule) {
                (Some(_), _) => "  gone",
                (None, Some(_)) => "  failing",
                (None, None) => "",
            };
            println!(
                "{}  {}  {} grants of {} people  read {}{state}",
                client.client_id,
                self.tier(&client.client_id),
                client.grants,
                client.people,
                in_rfc_3339(client.fetched_at),
            );
        }
        Ok(())
    }

    fn tier(&self, client_id: &str) -> &'static str {
        match client_id.parse() {
            Ok(client_id) => self.clients.standings().of(&client_id, &[]).tier.as_str(),
            Err(_) => "",
        }
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
            println!("{}", serde_json::to_string_pretty(&shown)?);
            return Ok(());
        }
        println!("{client_id}");
        println!(
            "  standing    {}: {}",
            standing.tier.as_str(),
            standing.why()
        );
        println!("  first seen  {}", in_rfc_3339(kept.first_seen_at));
        let fresh = match kept.fresh_until > self.now {
            true => "fresh until",
            false => "was fresh until",
        };
        println!(
            "  read        {}, {fresh} {}",
            in_rfc_3339(kept.fetched_at),
            in_rfc_3339(kept.fresh_until)
        );
        println!("  version     SHA-256 {}", kept.digest.as_str());
        println!("  people      {people} with a consent that stands");
        if let (Some(at), Some(rule), Some(because)) =
            (kept.failed_at, &kept.failed_rule, &kept.failed_because)
        {
            println!(
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
            println!("  gone        since {}; {confirmed}", in_rfc_3339(since));
        }
        for key in &keys {
            println!("  key         {key}");
        }
        if let Some(logo) = self.store.client_logo(&client_id.clone().into()).await? {
            let state = match (&logo.hash, &logo.failed_because) {
                (_, Some(because)) => format!("cannot be shown: {}", plain(because)),
                (Some(hash), None) => format!("shown as /logos/{hash}.png"),
                (None, None) => "none".to_owned(),
            };
            println!("  logo        {state} ({})", in_rfc_3339(logo.fetched_at));
        }
        println!("{}", plain(&serde_json::to_string_pretty(&document)?));
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
            println!(
                "{}  {}  {}  {}",
                event.number,
                in_rfc_3339(event.at),
                event.kind,
                plain(&event.answer)
            );
            if let Some(digest) = &event.digest {
                println!("     version SHA-256 {}", digest.as_str());
            }
            for change in &changes {
                println!("     {} ({})", plain(&change.field), change.grade.as_str());
                if let Some(before) = &change.before {
                    println!("       - {}", plain(before));
                }
                if let Some(after) = &change.after {
                    println!("       + {}", plain(after));
                }
            }
        }
        if self.as_json {
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
        Ok(())
    }

    async fn check_policy(&self, client_id: &ClientUrl) -> anyhow::Result<()> {
        let kept = self.store.client(client_id).await?;
        let keys = kept
            .and_then(|kept| client_metadata::parse(client_id, kept.document.as_bytes()).ok())
            .map(|metadata| metadata.thumbprints());
        let standing = self
            .clients
            .standings()
            .of(&client_id.clone().into(), &keys.unwrap_or_default());
        if self.as_json {
            let shown = json!({ "client_id": client_id.as_str(), "tier": standing.tier.as_str(),
                                "why": standing.why(), "rule": standing.rule });
            println!("{}", serde_json::to_string_pretty(&shown)?);
        } else {
            println!("{}: {}", standing.tier.as_str(), standing.why());
            if let Some(note) = standing.rule.as_ref().and_then(|rule| rule.note.as_ref()) {
                println!("  note: {}", plain(note));
            }
        }
        Ok(())
    }

    async fn trust(&self, trust: Trust) -> anyhow::Result<()> {
        let pattern = pattern(&trust.pattern)?;
        let tier: Tier = trust
            .tier
            .parse()
            .map_err(|expected| Usage(format!("--tier: expected {expected}")))?;
        if tier == Tier::Blocked {
            return Err(Usage("use `wayleave client block` to block".to_owned()).into());
        }
        if self
            .config
            .policy
            .clients
            .iter()
            .any(|known| known.pattern == pattern)
        {
            return Err(Usage(format!(
                "the configuration has a rule for {pattern}, and it would win; change it there"
            ))
            .into());
        }
        let listed = |list: Vec<String>| (!list.is_empty()).then_some(list);
        let rule = Rule {
            note: trust.note,
            scopes: listed(trust.scopes),
            resources: listed(trust.resources),
            access: trust.access,
            refresh_absolute: trust.refresh_absolute,
            consent_text: trust.consent_text,
            logo: trust.no_logo.then_some(false),
            ..Rule::new(pattern, tier)
        };
        rule.check()
            .map_err(|expected| Usage(format!("expected {expected}")))?;
        let name = rule.pattern.to_string();
        self.store.put_client_rule(rule, self.now).await?;
        self.report(&name, &format!("{} from now on", tier.as_str()));
        Ok(())
    }

    async fn block(&self, text: &str, note: Option<String>) -> anyhow::Result<()> {
        let pattern = pattern(text)?;
        let rule = Rule {
            note,
            ..Rule::new(pattern.clone(), Tier::Blocked)
        };
        let name = pattern.to_string();
        let ended = self.store.put_client_rule(rule, self.now).await?;
        if self.as_json {
            println!(
                "{}",
                json!({ "match": name, "tier": "blocked", "clients": ended.clients, "grants": ended.grants, "logins": ended.logins })
            );
        } else {
            println!(
                "{name}: blocked from now on; {} grants and {} running logins of {} clients ended",
                ended.grants, ended.logins, ended.clients
            );
        }
        Ok(())
    }

    async fn forget(&self, text: &str) -> anyhow::Result<()> {
        let name = pattern(text)?.to_string();
        if !self.store.remove_client_rule(name.clone()).await? {
            bail!("the database has no rule for {name}");
        }
        self.report(&name, "rule removed");
        Ok(())
    }

    async fn rules(&self) -> anyhow::Result<()> {
        let (_, stored) = self.store.client_rules().await?;
        let configured = self
            .config
            .policy
            .clients
            .iter()
            .map(|rule| (rule, "configuration"));
        let all: Vec<_> = configured
            .chain(stored.iter().map(|rule| (rule, "database")))
            .collect();
        if self.as_json {
            let all: Vec<_> = all
                .iter()
                .map(|(rule, from)| json!({ "rule": rule, "from": from }))
                .collect();
            println!("{}", serde_json::to_string_pretty(&all)?);
            return Ok(());
        }
        for (rule, from) in all {
            let note = rule
                .note
                .as_deref()
                .map(|note| format!("  {}", plain(note)))
                .unwrap_or_default();
            println!("{}  {}  {from}{note}", rule.pattern, rule.tier.as_str());
        }
        println!("everything else  {}", self.config.policy.unlisted.as_str());
        Ok(())
    }

    async fn refresh(&self, client_id: &ClientUrl, accept: bool) -> anyhow::Result<()> {
        let client = self
            .clients
            .refresh(client_id, accept)
            .await
            .map_err(|refusal| anyhow!("{}: {}", refusal.rule, plain(&refusal.cause)))?;
        self.store.bump_clients().await?;
        self.report(
            client_id.as_str(),
            &format!("read, SHA-256 {}", client.digest.as_str()),
        );
        Ok(())
    }

    fn report(&self, about: &str, done: &str) {
        if self.as_json {
            println!("{}", json!({ "client": about, "done": done }));
        } else {
            println!("{about}: {done}");
        }
    }
}

fn identifier(text: &str) -> Result<ClientUrl, Usage> {
    text.parse()
        .map_err(|error: crate::protocol::client_url::ClientUrlError| Usage(error.to_string()))
}

fn pattern(text: &str) -> Result<Pattern, Usage> {
    text.parse()
        .map_err(|expected| Usage(format!("expected {expected}")))
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
