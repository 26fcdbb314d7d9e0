//! The configuration: a TOML file overlaid by `WAYLEAVE_…` environment variables. Parsing is validation.

mod load;
mod passwords;
#[cfg(test)]
mod reference;
mod secrets;
mod sections;
mod wording;

pub use self::{
    load::{ConfigError, Environment, load},
    secrets::{SecretFile, config_file, secret_files},
    sections::{
        Clients, Danger, Database, DatabaseUrl, Development, Example, Fetch, Fresh, Keys, Limits,
        Log, LogFormat, Login, Metrics, Policy, Sensitive, Server, Tls, Tokens, Traces, WebFinger,
    },
};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    policy::{
        catalog::{Catalog, is_same},
        client_rules::Tier,
    },
    protocol::issuer::IssuerUrl,
};

/// Everything that can be configured. Made by [`load`] only, or by its default.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The URL by which browsers and clients reach this server: `https`, or `http` on a loopback host, without a slash at
    /// its end. It is in every token. You cannot change it later without setting up every app anew.
    #[serde(with = "sections::text")]
    pub issuer: IssuerUrl,
    pub server: Server,
    pub database: Database,
    pub fetch: Fetch,
    pub clients: Clients,
    pub tokens: Tokens,
    pub login: Login,
    pub policy: Policy,
    pub keys: Keys,
    pub limits: Limits,
    pub log: Log,
    pub metrics: Metrics,
    pub traces: Traces,
    pub webfinger: WebFinger,
    pub development: Development,
    pub danger: Danger,
    /// The protected resources that tokens are for, one `[[resources]]` for each.
    pub resources: Catalog,
}

impl Default for Config {
    fn default() -> Self {
        let issuer = "http://127.0.0.1:8080"
            .parse()
            .expect("the default issuer is valid");
        Self {
            issuer,
            server: Server::default(),
            database: Database::default(),
            fetch: Fetch::default(),
            clients: Clients::default(),
            tokens: Tokens::default(),
            login: Login::default(),
            policy: Policy::default(),
            keys: Keys::default(),
            limits: Limits::default(),
            log: Log::default(),
            metrics: Metrics::default(),
            traces: Traces::default(),
            webfinger: WebFinger::default(),
            development: Development::default(),
            danger: Danger::default(),
            resources: Catalog::default(),
        }
    }
}

impl Config {
    /// Every file that is named, by its key.
    fn paths(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        let mut paths = Vec::new();
        if let DatabaseUrl::Sqlite(path) = &mut self.database.url {
            paths.push(("database.url", path));
        }
        if let Some(tls) = &mut self.server.tls {
            paths.push(("server.tls.cert_file", &mut tls.cert_file));
            paths.push(("server.tls.key_file", &mut tls.key_file));
        }
        let (fetch, keys) = (&mut self.fetch, &mut self.keys);
        for (key, path) in [
            ("fetch.extra_ca_file", &mut fetch.extra_ca_file),
            ("keys.encryption_key_file", &mut keys.encryption_key_file),
            (
                "keys.old_encryption_key_file",
                &mut keys.old_encryption_key_file,
            ),
        ] {
            paths.extend(path.as_mut().map(|path| (key, path)));
        }
        paths
    }

    /// What no single key can know of the others.
    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.danger.allow_loopback_clients && !self.server.listen.ip().is_loopback() {
            let told = format!(
                "false, unless server.listen is a loopback address (it is {})",
                self.server.listen
            );
            return Err(("danger.allow_loopback_clients", told));
        }
        if let Some(metrics) = self.metrics.listen {
            let server = self.server.listen;
            let covers = metrics.ip() == server.ip()
                || metrics.ip().is_unspecified()
                || server.ip().is_unspecified();
            if metrics.port() == server.port() && metrics.port() != 0 && covers {
                let told = format!("another port than server.listen has, {server}");
                return Err(("metrics.listen", told));
            }
        }
        if self.server.tls.is_some() && !self.issuer.is_https() {
            return Err((
                "issuer",
                "an https URL, because server.tls is set".to_owned(),
            ));
        }
        if self.development.clients && !self.issuer.is_https() {
            let told = "false, unless the issuer is an https URL: a client_id must begin with it";
            return Err(("development.clients", told.to_owned()));
        }
        if self.policy.unlisted == Tier::FirstParty {
            let told = "blocked, unknown, listed or approved: with first_party every client of the web would get tokens without \
                        asking anybody";
            return Err(("policy.unlisted", told.to_owned()));
        }
        if self.traces.per_thousand > 1_000 {
            let told = format!(
                "a number from 0 to 1000, found {}",
                self.traces.per_thousand
            );
            return Err(("traces.per_thousand", told));
        }
        for (position, rule) in self.policy.clients.iter().enumerate() {
            if let Err(told) = rule.check() {
                return Err(("policy.clients", format!("{told} ({})", rule.pattern)));
            }
            if self.policy.clients[..position]
                .iter()
                .any(|known| known.pattern == rule.pattern)
            {
                return Err((
                    "policy.clients",
                    format!("every match once, {} is there twice", rule.pattern),
                ));
            }
        }
        if let Some(id) = &self.policy.default_resource
            && !self.resources.0.iter().any(|known| known.id == *id)
        {
            let told = format!("the id of one of [[resources]], found {id}");
            return Err(("policy.default_resource", told));
        }
        let ids = self.resources.0.iter().map(|resource| &resource.id);
        for (position, resource) in self.resources.0.iter().enumerate() {
            if let Err(error) = resource
                .id
                .parse::<crate::protocol::resource::ResourceIndicator>()
            {
                return Err((
                    "resources.id",
                    format!("a resource URL: {}", error.description),
                ));
            }
            if ids
                .clone()
                .take(position)
                .any(|id| is_same(id, &resource.id))
            {
                return Err(("resources.id", "every resource once".to_owned()));
            }
            if !resource
                .scopes
                .keys()
                .all(|scope| crate::protocol::scope::is_scope_token(scope))
            {
                return Err((
                    "resources.scopes",
                    "scope names as RFC 6749 section 3.3 allows them".to_owned(),
                ));
            }
            let is_ours = |scope: &String| {
                crate::policy::catalog::is_of_people(scope)
                    || scope == crate::protocol::scope::OFFLINE_ACCESS
            };
            if resource.scopes.keys().any(is_ours) {
                return Err((
                    "resources.scopes",
                    "other names than openid, profile, email and offline_access, which are this server's own".to_owned(),
                ));
            }
        }
        Ok(())
    }
}
