//! `wayleave client`: what is known of clients, and what the administrator thinks of them. Also while the server runs: it
//! notices within a second.

use anyhow::anyhow;
use clap::Subcommand;
use serde_json::json;

pub(super) use super::output::plain;
use super::{
    client_list::KnownBy,
    client_rules::Trust,
    context::AdminContext,
    exit::Conflict,
    hash_secret::{self, HashSecret},
    output::{self, Limit},
    registration::{Add, SecretCommand, Set},
    whose::{identifier, no_such_name},
};
use crate::{
    config::Config,
    protocol::{client_id::ClientId, client_url::ClientUrl},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List all clients, and how each is known: registered ones, those whose documents were read (the newest first), those in
    /// development, and those that only a rule names.
    List {
        /// Only those that are known in this way.
        #[arg(long, value_name = "HOW", value_enum)]
        known_by: Option<KnownBy>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Register a client that publishes no document, and make its secret.
    Add(Box<Add>),
    /// Remove a registration, and end everything that the client has. `forget` removes a rule.
    Remove {
        /// The name it is registered by
        client_id: String,
    },
    /// Change a registered client. What you leave out stays, an empty text removes a value.
    Set(Box<Set>),
    /// Secrets of a registered client: two at a time, while one replaces the other.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Make a secret for [[clients.registered]] of the configuration, or hash one that there is.
    HashSecret(HashSecret),
    /// List the registered clients: `client list --known-by registered`.
    #[command(hide = true)]
    Registered {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one client: how it is known, its standing and the rule that decides, its registration or document, and how its host
    /// answered.
    Show {
        /// The client_id: the https URL of its document, or the name it is registered by
        client_id: String,
    },
    /// Show the history of a client: every version of its document, what changed, what was done about it, and blocks.
    History {
        /// The client_id: the https URL of its document, or the name it is registered by
        client_id: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Say which rule decides about a client, and why.
    CheckPolicy {
        /// The client_id: the https URL of its document, or the name it is registered by
        client_id: String,
    },
    /// Trust clients: give them a tier, and limits if you like.
    Trust(Box<Trust>),
    /// Block clients, and end everything they have.
    Block {
        /// A registered client's name, https://host/path, https://host/path/*, host, *.domain or key:THUMBPRINT
        pattern: String,
        /// Why, for administrators
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Remove a rule. `remove` removes a registration.
    Forget {
        /// The pattern, as `wayleave client rules` shows it
        pattern: String,
    },
    /// List the rules about clients.
    Rules {
        #[command(flatten)]
        limit: Limit,
    },
    /// Read a client's document now.
    Refresh {
        /// The client_id: the https URL of its document
        client_id: String,
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
            Command::List { known_by, limit } => self.list(known_by, limit).await,
            Command::Registered { limit } => self.list(Some(KnownBy::Registered), limit).await,
            Command::Add(add) => self.add(*add).await,
            Command::Set(set) => self.set(*set).await,
            Command::Remove { client_id } => self.remove(&client_id).await,
            Command::Secret(command) => self.secret(command).await,
            Command::HashSecret(options) => hash_secret::run(&options, self.as_json),
            Command::Show { client_id } => self.show(&self.client(&client_id)?).await,
            Command::History { client_id, limit } => {
                self.history(&self.client(&client_id)?, limit).await
            }
            Command::CheckPolicy { client_id } => {
                self.check_policy(&self.client(&client_id)?).await
            }
            Command::Trust(trust) => self.trust(*trust).await,
            Command::Block { pattern, note } => self.block(&pattern, note).await,
            Command::Forget { pattern } => self.forget(&pattern).await,
            Command::Rules { limit } => self.rules(limit).await,
            Command::Refresh {
                client_id,
                accept_keys,
            } => {
                let client_id = self.with_document(&client_id)?;
                self.refresh(&client_id, accept_keys).await
            }
        }
    }

    /// The client of this identifier: a URL may be any, a name has to be registered.
    pub(super) fn client(&self, text: &str) -> anyhow::Result<ClientId> {
        let id = identifier(text)?;
        match id.url().is_none() && self.clients.rules().registered(&id).is_none() {
            true => Err(no_such_name(&id).into()),
            false => Ok(id),
        }
    }

    /// The same for a client whose document is read.
    fn with_document(&self, text: &str) -> anyhow::Result<ClientUrl> {
        let id = self.client(text)?;
        let is_registered = self.clients.rules().registered(&id).is_some();
        match id.url().filter(|_| !is_registered) {
            Some(url) => Ok(url.clone()),
            None => Err(Conflict(format!(
                "{id} is registered: there is no document to read; `wayleave client set` changes it"
            ))
            .into()),
        }
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
        )?;
        let events = self.store.client_events(&client_id.clone().into()).await?;
        // What this reading led to, if it was another version.
        let last = events.last();
        if let Some(event) = last.filter(|event| event.at >= self.now && !self.as_json) {
            say!("{}: {}", event.kind, plain(&event.answer));
        }
        Ok(())
    }

    pub(super) fn report(&self, about: &str, done: &str) -> anyhow::Result<()> {
        if self.as_json {
            return output::json(&json!({ "client": about, "done": done }));
        }
        say!("{about}: {done}");
        Ok(())
    }
}
