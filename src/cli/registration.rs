//! `wayleave client add`, `remove` and `secret`: clients that are known without a document.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use super::{
    Usage,
    client::{Desk, plain},
};
use crate::{
    policy::registration::{Registered, Registration},
    protocol::client_id::ClientId,
    secret::{ClientSecret, Secret, SecretHash},
};

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Its client_id: a name of letters, digits and -._~@:/, a URN, or the URL of a document that is then not fetched.
    client_id: String,
    /// What people call it.
    #[arg(long)]
    name: Option<String>,
    /// Where people are sent back to; repeat it for each.
    #[arg(long = "redirect-uri")]
    redirect_uris: Vec<String>,
    /// A grant it may use; repeat it for each. Left out: the code flow and refreshing, if it has a redirect URI.
    #[arg(long = "grant")]
    grants: Vec<String>,
    /// none, private_key_jwt, client_secret_basic or client_secret_post. Left out: private_key_jwt if there are keys,
    /// else a secret, in the header or in the form.
    #[arg(long)]
    method: Option<String>,
    /// A file with its public keys, as a JWK set.
    #[arg(long, conflicts_with = "jwks_uri")]
    jwks: Option<PathBuf>,
    /// Where it publishes them.
    #[arg(long)]
    jwks_uri: Option<String>,
    /// The only scopes it may be granted, separated by spaces.
    #[arg(long)]
    scope: Option<String>,
    /// A resource whose tokens it may introspect; repeat it for each.
    #[arg(long = "resource")]
    resources: Vec<String>,
    /// It is ours: nobody is asked for consent.
    #[arg(long)]
    first_party: bool,
    /// Its assertions may name the endpoint as audience and live for an hour, as before RFC 10070.
    #[arg(long)]
    legacy_assertions: bool,
}

impl Desk<'_> {
    pub(super) async fn add(&self, add: Add) -> anyhow::Result<()> {
        let jwks = match &add.jwks {
            Some(path) => {
                let text =
                    std::fs::read(path).with_context(|| format!("--jwks: {}", path.display()))?;
                let keys = serde_json::from_slice(&text);
                Some(keys.map_err(|error| Usage(format!("--jwks: expected a JWK set: {error}")))?)
            }
            None => None,
        };
        let has_keys = jwks.is_some() || add.jwks_uri.is_some();
        let has_secret = match &add.method {
            Some(method) => method.starts_with("client_secret_"),
            None => !has_keys,
        };
        let secret = has_secret.then(Secret::<ClientSecret>::generate);
        let registration = Registration {
            client_id: add.client_id,
            client_name: add.name,
            client_uri: None,
            redirect_uris: add.redirect_uris,
            grant_types: (!add.grants.is_empty()).then_some(add.grants),
            token_endpoint_auth_method: add.method,
            scope: add.scope,
            jwks,
            jwks_uri: add.jwks_uri,
            application_type: None,
            id_token_signed_response_alg: None,
            dpop_bound_access_tokens: false,
            require_pushed_authorization_requests: false,
            client_secret_sha256: secret.as_ref().map(hash),
            first_party: add.first_party,
            legacy_assertions: add.legacy_assertions,
            resources: add.resources,
        };
        let registered = Registered::try_from(registration).map_err(Usage)?;
        let id = registered.id().clone();
        if self.is_configured(&id) {
            bail!("the configuration has a client {id}, and it would win; change it there");
        }
        if !self.store.add_client(registered, self.now).await? {
            bail!("there is a client {id} already; `wayleave client remove {id}` ends it");
        }
        self.tell(&id, "registered", secret.as_ref());
        Ok(())
    }

    /// A new secret in the place of the old one, which is worth nothing from now on.
    pub(super) async fn new_secret(&self, client_id: &str) -> anyhow::Result<()> {
        let id = identifier(client_id)?;
        let registered = self.clients.standings().registered(&id);
        let Some(registered) = registered.filter(|_| !self.is_configured(&id)) else {
            bail!("the database has no registered client {id}");
        };
        if registered.secret.is_none() {
            bail!("{id} does not authenticate with a secret");
        }
        let secret = Secret::<ClientSecret>::generate();
        let registration = Registration {
            client_secret_sha256: Some(hash(&secret)),
            ..registered.written().clone()
        };
        let registered = Registered::try_from(registration).map_err(Usage)?;
        self.store.replace_client(registered).await?;
        self.tell(
            &id,
            "the old secret is worth nothing from now on",
            Some(&secret),
        );
        Ok(())
    }

    pub(super) async fn remove(&self, client_id: &str) -> anyhow::Result<()> {
        let id = identifier(client_id)?;
        let Some(ended) = self.store.remove_client(id.clone(), self.now).await? else {
            bail!("the database has no registered client {id}");
        };
        if self.as_json {
            say!(
                "{}",
                json!({ "client_id": id.as_str(), "grants": ended.grants, "logins": ended.logins })
            );
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

    pub(super) async fn list_registered(&self) -> anyhow::Result<()> {
        let all = self.registered().await?;
        if self.as_json {
            let all: Vec<_> = all
                .iter()
                .map(|(registered, from)| {
                    let mut written = serde_json::to_value(registered).unwrap_or_default();
                    // A hash of a secret is nobody's business.
                    written
                        .as_object_mut()
                        .map(|written| written.remove("client_secret_sha256"));
                    json!({ "registration": written, "from": from })
                })
                .collect();
            say!("{}", serde_json::to_string_pretty(&all)?);
            return Ok(());
        }
        for (registered, from) in all {
            let metadata = &registered.client.metadata;
            let methods = metadata.auth_methods.iter().map(|method| method.as_str());
            let grants = metadata.grants.iter().map(|grant| grant.as_str());
            let name = metadata
                .client_name
                .as_deref()
                .map(|name| format!("  {}", plain(name)));
            say!(
                "{}  {}  {}  {from}{}",
                registered.id(),
                methods.collect::<Vec<_>>().join(" "),
                match grants.collect::<Vec<_>>().join(" ") {
                    none if none.is_empty() => "introspects only".to_owned(),
                    grants => grants,
                },
                name.unwrap_or_default()
            );
        }
        Ok(())
    }

    fn is_configured(&self, id: &ClientId) -> bool {
        self.config
            .clients
            .registered
            .iter()
            .any(|known| known.id() == id)
    }

    /// The one time that a secret is shown.
    fn tell(&self, id: &ClientId, done: &str, secret: Option<&Secret<ClientSecret>>) {
        if self.as_json {
            let secret = secret.map(Secret::expose);
            say!(
                "{}",
                json!({ "client_id": id.as_str(), "done": done, "client_secret": secret })
            );
            return;
        }
        say!("{id}: {done}");
        if let Some(secret) = secret {
            say!("Its client_secret, shown this once: {}", secret.expose());
        }
    }
}

fn hash(secret: &Secret<ClientSecret>) -> String {
    let hash = SecretHash::<ClientSecret>::of_bytes(secret.expose().as_bytes());
    hash.as_str().to_owned()
}

fn identifier(text: &str) -> Result<ClientId, Usage> {
    text.parse()
        .map_err(|error: crate::protocol::client_url::ClientUrlError| Usage(error.to_string()))
}
