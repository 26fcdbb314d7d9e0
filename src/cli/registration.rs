//! `wayleave client add`, `set`, `secret` and `remove`: clients that are known without a document.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    check,
    context::AdminContext,
    exit::{Conflict, NotFound, Usage},
    output::{self, maybe_at},
    whose::identifier,
};
use crate::{
    policy::registration::{KeptSecret, Registered, Registration},
    protocol::{client_id::ClientId, pkce::Pkce},
    secret::{ClientSecret, Secret},
    time::{UnixTime, in_rfc_3339},
};

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Its client_id: a name of letters, digits and -._~@:/, a URN, or the URL of a document that is then not fetched
    client_id: String,
    #[command(flatten)]
    members: Members,
}

/// What a registration says.
#[derive(Debug, Args)]
pub(super) struct Members {
    /// What people call it.
    #[arg(long)]
    name: Option<String>,
    /// Its home page.
    #[arg(long, value_name = "URL")]
    client_uri: Option<String>,
    /// Where people are sent back to; repeat it for each.
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// A grant it may use; repeat it for each. Left out: the code flow and refreshing, if it has a redirect URI.
    #[arg(long = "grant")]
    grants: Vec<String>,
    /// none, private_key_jwt, client_secret_basic or client_secret_post. Left out: private_key_jwt if there are keys,
    /// else a secret, in the header or in the form.
    #[arg(long)]
    method: Option<String>,
    /// A file with its public keys, as a JWK set.
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    jwks: Option<String>,
    /// Where it publishes them.
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// The only scopes it may be granted, separated by spaces.
    #[arg(long)]
    scope: Option<String>,
    /// A resource whose tokens it may introspect; repeat it for each.
    #[arg(long = "resource", value_name = "URL")]
    resources: Vec<String>,
    /// What its ID tokens are signed with: RS256, ES256 or EdDSA. Left out: RS256.
    #[arg(long, value_name = "ALG")]
    id_token_alg: Option<String>,
    /// Do its ID tokens carry the claims of its scopes? Left out: as `tokens.id_token_claims` says.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    id_token_claims: Option<bool>,
    /// Must its authorization requests have a PKCE challenge: required, nonce (not where they have a nonce) or optional? Only
    /// a client that authenticates may do without.
    #[arg(long, value_parser = pkce)]
    pkce: Option<Pkce>,
    /// It is ours: nobody is asked for consent.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    first_party: Option<bool>,
    /// Its assertions may name the endpoint as audience and live for an hour, as before RFC 10070.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    legacy_assertions: Option<bool>,
    /// Its redirect URIs may be http to a private address or a single-label host, which people are told.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_http_redirect: Option<bool>,
    /// Its tokens are bound to a key of its own (DPoP).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dpop: Option<bool>,
    /// Its authorization requests are taken only when they were pushed.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    require_par: Option<bool>,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// The name it is registered by
    client_id: String,
    #[command(flatten)]
    members: Members,
}

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Make another secret. The one before keeps working until it is removed.
    Add {
        /// The name it is registered by
        client_id: String,
        /// Revoke the secrets that it has. They stop working at once.
        #[arg(long)]
        replace: bool,
    },
    /// Remove a secret. It stops working at once.
    Remove {
        /// The name it is registered by
        client_id: String,
        /// The secret, as `wayleave client secret list` shows it. Left out: the older of two
        #[arg(allow_hyphen_values = true)]
        id: Option<String>,
    },
    /// List the secrets, and when each was made. The secrets themselves are not stored.
    List {
        /// The name it is registered by
        client_id: String,
        #[command(flatten)]
        limit: output::Limit,
    },
}

fn pkce(text: &str) -> Result<Pkce, &'static str> {
    let named = [Pkce::Required, Pkce::Nonce, Pkce::Optional].into_iter();
    let mut named = named.filter(|pkce| pkce.as_str() == text);
    named.next().ok_or("required, nonce or optional")
}

impl Members {
    /// Is there nothing that it says?
    fn is_empty(&self) -> bool {
        let texts = [
            &self.name,
            &self.client_uri,
            &self.method,
            &self.jwks,
            &self.jwks_uri,
            &self.scope,
            &self.id_token_alg,
        ];
        let lists = [&self.redirect_uris, &self.grants, &self.resources];
        let flags = [
            self.first_party,
            self.legacy_assertions,
            self.allow_http_redirect,
            self.dpop,
            self.require_par,
            self.id_token_claims,
        ];
        texts.iter().all(|text| text.is_none())
            && lists.iter().all(|list| list.is_empty())
            && flags.iter().all(|flag| flag.is_none())
            && self.pkce.is_none()
    }

    /// The registration with what is said here. What is not said stays; an empty text takes away what is there.
    fn write(self, mut registration: Registration) -> anyhow::Result<Registration> {
        let text = |member: &mut Option<String>, said: Option<String>| {
            if let Some(said) = said {
                *member = Some(said).filter(|said| !said.is_empty());
            }
        };
        let list = |said: Vec<String>| said.into_iter().filter(|it| !it.is_empty()).collect();
        if let Some(path) = &self.jwks {
            registration.jwks_uri = None;
            registration.jwks = keys(path)?;
        }
        if self.jwks_uri.is_some() {
            registration.jwks = None;
        }
        text(&mut registration.jwks_uri, self.jwks_uri);
        text(&mut registration.client_name, self.name);
        text(&mut registration.client_uri, self.client_uri);
        text(&mut registration.token_endpoint_auth_method, self.method);
        text(&mut registration.scope, self.scope);
        text(
            &mut registration.id_token_signed_response_alg,
            self.id_token_alg,
        );
        if !self.redirect_uris.is_empty() {
            registration.redirect_uris = list(self.redirect_uris);
        }
        if !self.grants.is_empty() {
            registration.grant_types =
                Some(list(self.grants)).filter(|grants: &Vec<_>| !grants.is_empty());
        }
        if !self.resources.is_empty() {
            registration.resources = list(self.resources);
        }
        for (member, said) in [
            (&mut registration.first_party, self.first_party),
            (&mut registration.legacy_assertions, self.legacy_assertions),
            (
                &mut registration.allow_http_redirect,
                self.allow_http_redirect,
            ),
            (&mut registration.dpop_bound_access_tokens, self.dpop),
            (
                &mut registration.require_pushed_authorization_requests,
                self.require_par,
            ),
        ] {
            *member = said.unwrap_or(*member);
        }
        registration.pkce = self.pkce.unwrap_or(registration.pkce);
        registration.id_token_claims = self.id_token_claims.or(registration.id_token_claims);
        Ok(registration)
    }
}

impl AdminContext<'_> {
    pub(super) async fn add(&self, add: Add) -> anyhow::Result<()> {
        let empty = Registration {
            client_id: add.client_id,
            ..Registration::default()
        };
        let (registered, made) = judged(add.members.write(empty)?, &[], self.now)?;
        if let Some(told) = check::of_registration(self.config, &registered) {
            return Err(Usage(told).into());
        }
        let id = registered.id().clone();
        let keys = registered.client.metadata.thumbprints();
        if self.is_configured(&id) {
            let told =
                format!("the configuration has a client {id}, and it would win; change it there");
            return Err(Conflict(told).into());
        }
        if !self.store.add_client(registered, self.now).await? {
            let told = format!("there is a client {id} already; `wayleave client set` changes it");
            return Err(Conflict(told).into());
        }
        self.clients.rules().reload(&self.store).await?;
        // A rule may be older than the registration.
        let standing = self.clients.rules().of(&id, &keys);
        if let Some(rule) = standing.rule.filter(|_| !self.as_json) {
            let (pattern, tier) = (&rule.pattern, rule.tier.as_str());
            eprintln!(
                "The rule {pattern} is about this client: it is {tier}. `wayleave client forget` removes a rule."
            );
        }
        self.tell(&id, "registered", made.as_ref())
    }

    /// Changes what a registration says. Its secrets stay, unless it does not authenticate with one any more.
    pub(super) async fn set(&self, set: Set) -> anyhow::Result<()> {
        let id = self.stored(&set.client_id)?;
        if set.members.is_empty() {
            let told = "nothing to change; `wayleave client set --help` lists what there is";
            return Err(Usage(told.to_owned()).into());
        }
        let now = self.now;
        let changed = self.store.change_client(id.clone(), move |before| {
            let written = set.members.write(before.written().clone())?;
            let (after, made) = judged(written, before.secrets(), now)?;
            let lost = before.secrets().len().saturating_sub(after.secrets().len());
            anyhow::Ok((after, (made, lost)))
        });
        let (made, lost) = changed.await?.ok_or_else(|| unknown(&id))??;
        let done = match lost {
            0 => "changed",
            _ => {
                "changed; it authenticates without a secret now, and its old secrets no longer work"
            }
        };
        self.tell(&id, done, made.as_ref())
    }

    pub(super) async fn secret(&self, command: SecretCommand) -> anyhow::Result<()> {
        match command {
            SecretCommand::Add { client_id, replace } => {
                self.add_secret(&self.stored(&client_id)?, replace).await
            }
            SecretCommand::Remove { client_id, id } => {
                self.remove_secret(&self.stored(&client_id)?, id).await
            }
            SecretCommand::List { client_id, limit } => {
                let id = self.stored(&client_id)?;
                let all = self.store.registered_clients().await?;
                let registered = all.iter().find(|it| *it.id() == id);
                let secrets = registered.ok_or_else(|| unknown(&id))?.secrets();
                output::list(
                    self.as_json,
                    limit,
                    "secrets",
                    secrets,
                    secret_entry,
                    secret_line,
                )
            }
        }
    }

    async fn add_secret(&self, id: &ClientId, replace: bool) -> anyhow::Result<()> {
        let now = self.now;
        let added = self.store.change_client(id.clone(), move |before| {
            let id = before.id();
            if !before.written().needs_secret() {
                return Err(anyhow::Error::from(Conflict(format!(
                    "{id} does not authenticate with a secret; `wayleave client set --method client_secret_basic` has it do so"
                ))));
            }
            let mut secrets = match replace {
                true => Vec::new(),
                false => before.secrets().to_vec(),
            };
            if secrets.len() > 1 {
                return Err(anyhow::Error::from(Conflict(format!(
                    "{id} has two secrets already; `wayleave client secret remove` removes one"
                ))));
            }
            let (secret, kept) = generate(now);
            secrets.push(kept);
            let after = Registered::new(before.written().clone(), secrets).map_err(Usage)?;
            anyhow::Ok((after, secret))
        });
        let secret = added.await?.ok_or_else(|| unknown(id))??;
        let done = match replace {
            true => "a secret was added; those before no longer work",
            false => {
                "a secret was added; the one before works until `wayleave client secret remove`"
            }
        };
        self.tell(id, done, Some(&secret))
    }

    async fn remove_secret(&self, id: &ClientId, which: Option<String>) -> anyhow::Result<()> {
        let removed = self.store.change_client(id.clone(), move |before| {
            let id = before.id();
            let secrets = before.secrets();
            let is_it = |secret: &KeptSecret| which.as_deref().is_none_or(|it| it == secret.id());
            let Some(position) = secrets.iter().position(is_it) else {
                return Err(anyhow::Error::from(NotFound(format!(
                    "{id} has no such secret; `wayleave client secret list` shows those it has"
                ))));
            };
            if secrets.len() == 1 {
                return Err(anyhow::Error::from(Conflict(format!(
                    "it is the only secret of {id}; `wayleave client secret add` makes another, `wayleave client remove` ends the client"
                ))));
            }
            let mut secrets = secrets.to_vec();
            let removed = secrets.remove(position);
            let after = Registered::new(before.written().clone(), secrets).map_err(Usage)?;
            anyhow::Ok((after, removed))
        });
        let removed = removed.await?.ok_or_else(|| unknown(id))??;
        if self.as_json {
            let mut told = secret_entry(&removed);
            told["client_id"] = json!(id.as_str());
            told["done"] = json!("removed");
            output::json(&told)?;
        } else {
            say!(
                "{id}: the secret {} ({}) no longer works",
                removed.id(),
                made(&removed)
            );
        }
        Ok(())
    }

    pub(super) async fn remove(&self, client_id: &str) -> anyhow::Result<()> {
        let id = self.stored(client_id)?;
        let Some(ended) = self.store.remove_client(id.clone(), self.now).await? else {
            return Err(unknown(&id));
        };
        if self.as_json {
            output::json(&json!({
                "client_id": id.as_str(), "grants": ended.grants, "logins": ended.logins,
            }))?;
        } else {
            say!(
                "{id}: removed; grants ended: {}, running logins ended: {}",
                ended.grants,
                ended.logins
            );
        }
        Ok(())
    }

    /// Registered clients, those of the configuration first.
    pub(super) async fn registered(&self) -> anyhow::Result<Vec<(Registered, &'static str)>> {
        let configured = self.config.clients.registered.iter().cloned();
        let stored = self.store.registered_clients().await?;
        let stored = stored
            .into_iter()
            .map(|registered| (registered, "database"));
        Ok(configured
            .map(|registered| (registered, "configuration"))
            .chain(stored)
            .collect())
    }

    fn is_configured(&self, id: &ClientId) -> bool {
        self.config
            .clients
            .registered
            .iter()
            .any(|known| known.id() == id)
    }

    /// The client of this name, if it is one that commands may change.
    fn stored(&self, client_id: &str) -> anyhow::Result<ClientId> {
        let id = identifier(client_id)?;
        if self.is_configured(&id) {
            let told = format!("the configuration has the client {id}; change it there");
            return Err(Conflict(told).into());
        }
        Ok(id)
    }

    /// The one time that a secret is shown.
    fn tell(
        &self,
        id: &ClientId,
        done: &str,
        secret: Option<&Secret<ClientSecret>>,
    ) -> anyhow::Result<()> {
        if self.as_json {
            let secret = secret.map(Secret::expose);
            let told = json!({ "client_id": id.as_str(), "done": done, "client_secret": secret });
            return output::json(&told);
        }
        say!("{id}: {done}");
        if let Some(secret) = secret {
            say!("Its client_secret, shown this once: {}", secret.expose());
        }
        Ok(())
    }
}

/// A registration as it may be kept, with the secrets that it had, as far as it needs any; and the first one that it needs.
fn judged(
    written: Registration,
    secrets: &[KeptSecret],
    now: UnixTime,
) -> Result<(Registered, Option<Secret<ClientSecret>>), Usage> {
    let (made, secrets) = match (written.needs_secret(), secrets) {
        (false, _) => (None, Vec::new()),
        (true, []) => {
            let (secret, kept) = generate(now);
            (Some(secret), vec![kept])
        }
        (true, secrets) => (None, secrets.to_vec()),
    };
    let registered = Registered::new(written, secrets).map_err(Usage)?;
    Ok((registered, made))
}

fn generate(now: UnixTime) -> (Secret<ClientSecret>, KeptSecret) {
    let secret = Secret::<ClientSecret>::generate();
    let kept = KeptSecret {
        hash: secret.hash(),
        made_at: Some(now),
    };
    (secret, kept)
}

/// A JWK set from a file; from an empty name none.
fn keys(path: &str) -> anyhow::Result<Option<Value>> {
    if path.is_empty() {
        return Ok(None);
    }
    let text = std::fs::read(path).with_context(|| format!("--jwks: {path}"))?;
    let keys = serde_json::from_slice(&text).map_err(|_| {
        Usage(format!(
            "--jwks: expected a JWK set in JSON (RFC 7517), {path} has none"
        ))
    })?;
    Ok(Some(keys))
}

/// What is written about a client. A hash of a secret is of no use to anybody but us.
pub(super) fn written(registered: &Registered) -> Value {
    let mut written = serde_json::to_value(registered).unwrap_or_default();
    if let Some(members) = written.as_object_mut() {
        members.remove("client_secret_sha256");
    }
    written
}

/// A registration for programs.
pub(super) fn entry(registered: &Registered) -> Value {
    let secrets: Vec<_> = registered.secrets().iter().map(secret_entry).collect();
    json!({ "registration": written(registered), "secrets": secrets })
}

/// The same for people: methods, grants, where it is written, name, secrets.
pub(super) fn about(registered: &Registered, from: &str) -> Vec<String> {
    let metadata = &registered.client.metadata;
    let methods: Vec<_> = metadata.auth_methods.iter().map(|it| it.as_str()).collect();
    let grants: Vec<_> = metadata.grants.iter().map(|it| it.as_str()).collect();
    let grants = match grants.is_empty() {
        true => "introspects only".to_owned(),
        false => grants.join(" "),
    };
    let mut about = vec![methods.join(" "), grants, from.to_owned()];
    about.extend(metadata.client_name.clone());
    if registered.secrets().len() > 1 {
        about.push("two secrets".to_owned());
    }
    about
}

/// A secret for people: what it is called, and its age.
pub(super) fn secret_line(secret: &KeptSecret) -> String {
    format!("{}  {}", secret.id(), made(secret))
}

fn secret_entry(secret: &KeptSecret) -> Value {
    json!({ "id": secret.id(), "made_at": maybe_at(secret.made_at) })
}

fn made(secret: &KeptSecret) -> String {
    match secret.made_at {
        Some(at) => format!("made {}", in_rfc_3339(at)),
        None => "made at a time that is not known".to_owned(),
    }
}

fn unknown(id: &ClientId) -> anyhow::Error {
    NotFound(format!(
        "the database has no registered client {id}; `wayleave client list --known-by registered` shows those that there are"
    ))
    .into()
}
