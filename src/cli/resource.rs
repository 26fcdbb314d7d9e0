//! `wayleave resource`: what the configured resources have to serve.

use clap::Subcommand;
use serde_json::json;

use super::{
    exit::NotFound,
    output::{self, Limit},
};
use crate::{
    config::Config,
    policy::catalog::Resource,
    protocol::{
        dpop,
        resource_metadata::{Described, challenge, document, location},
    },
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the configured resources.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Print the metadata document (RFC 9728) that a resource should serve, where, and its WWW-Authenticate line.
    Metadata {
        /// The resource, as `resources.id` in the configuration has it.
        url: String,
    },
}

pub(super) fn run(command: &Command, config: &Config, as_json: bool) -> anyhow::Result<()> {
    match command {
        Command::List { limit } => {
            let entry = |resource: &_| serde_json::to_value(resource).unwrap_or_default();
            let all = &config.resources.0;
            output::list(as_json, *limit, "configured resources", all, entry, line)
        }
        Command::Metadata { url } => metadata(url, config, as_json),
    }
}

fn line(resource: &Resource) -> String {
    let scopes: Vec<&str> = resource.scopes.keys().map(String::as_str).collect();
    let open = match resource.open {
        true => "open",
        false => "for approved clients",
    };
    format!("{}  {open}  {}", resource.id, scopes.join(" "))
}

fn metadata(url: &str, config: &Config, as_json: bool) -> anyhow::Result<()> {
    let Some(resource) = config.resources.find(url) else {
        return Err(NotFound(format!(
            "{url}: no such resource; `wayleave resource list` prints those that `resources` of the configuration has"
        ))
        .into());
    };
    let scopes = resource.baseline();
    let algs = dpop::algs();
    let document = document(&Described {
        id: &resource.id,
        name: resource.name.as_deref(),
        scopes: &scopes,
        issuer: &config.issuer,
        proof_algs: &algs,
    });
    let location = location(&resource.id).unwrap_or_default();
    let challenge = challenge(&resource.id, &scopes).unwrap_or_default();
    if as_json {
        let all =
            json!({ "location": location, "document": document, "www_authenticate": challenge });
        return output::json(&all);
    }
    say!(
        "At {location}, as application/json, for every origin (Access-Control-Allow-Origin: *):\n"
    );
    say!("{}\n", serde_json::to_string_pretty(&document)?);
    say!("With every 401:\n\nWWW-Authenticate: {challenge}\n");
    if scopes.is_empty() && !resource.scopes.is_empty() {
        say!(
            "Neither names a scope: mark the fewest that are of use with baseline = true in `resources.scopes`.\n"
        );
    }
    say!(
        "Tokens for it have the aud {}, whether a client asks for it with or without a slash at the end.",
        resource.id
    );
    Ok(())
}
