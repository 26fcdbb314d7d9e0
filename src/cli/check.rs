//! `wayleave config check`: refuses what `wayleave serve` would refuse, and what can never do what it was written for.

use anyhow::bail;

use super::{Usage, in_words, log, output};
use crate::{
    config::Config,
    fetch::authorities,
    keys,
    policy::{
        client_rules::{Rule, standing},
        registration::Registered,
    },
    server,
};

/// Says whether the configuration can be used: everything that is wrong, a line for each.
pub(super) fn run(config: &Config, as_json: bool) -> anyhow::Result<()> {
    let problems = problems(config);
    if let Some((last, before)) = problems.split_last() {
        if as_json {
            return Err(Usage(problems.join("; ")).into());
        }
        for problem in before {
            eprintln!("wayleave: {}", in_words(problem));
        }
        // As `serve`, where it is a value that cannot be used.
        return Err(Usage(last.clone()).into());
    }
    let wrong = wrong_examples(config);
    if !wrong.is_empty() {
        bail!("policy.examples: {}", wrong.join("; "));
    }
    if as_json {
        return output::json(&serde_json::json!({ "usable": true }));
    }
    say!("The configuration can be used.");
    Ok(())
}

/// What is wrong with a configuration that could be read.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let own = [
        server::tls(&config.server).err(),
        keys::check(config).err().map(|error| error.to_string()),
        authorities(config).err().map(|error| error.to_string()),
        log::filter(config).err().map(|error| error.to_string()),
    ];
    own.into_iter()
        .flatten()
        .chain(of_clients(config))
        .collect()
}

/// What is wrong with the rules about clients, and with those that are registered.
pub(super) fn of_clients(config: &Config) -> Vec<String> {
    let rules = config.policy.clients.iter().filter_map(|rule| {
        let told = of_rule(config, rule)?;
        Some(format!("policy.clients: {}: {told}", rule.pattern))
    });
    let registered = config.clients.registered.iter().filter_map(|registered| {
        let told = of_registration(config, registered)?;
        Some(format!("clients.registered: {}: {told}", registered.id()))
    });
    rules.chain(registered).collect()
}

/// What a rule names that this server does not know.
pub(super) fn of_rule(config: &Config, rule: &Rule) -> Option<String> {
    let texts = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    config.resources.unknown(
        &texts(&rule.scopes),
        &texts(&rule.resources),
        &config.issuer,
    )
}

/// What a registration names that this server does not know, or that it can do nothing.
pub(super) fn of_registration(config: &Config, registered: &Registered) -> Option<String> {
    let written = registered.written();
    let scopes = written.scope.as_deref().unwrap_or_default();
    let scopes: Vec<_> = scopes.split_whitespace().map(str::to_owned).collect();
    let unknown = config
        .resources
        .unknown(&scopes, &written.resources, &config.issuer);
    unknown.or_else(|| {
        let can = registered.can_do_something(config.policy.devices);
        (!can).then(|| {
            "it can do nothing; expected a redirect URI, the grant client_credentials and a way to authenticate, the grant of \
             devices (policy.devices), or resources whose tokens it introspects"
                .to_owned()
        })
    })
}

/// The examples that the configuration's own rules do not bear out.
pub(super) fn wrong_examples(config: &Config) -> Vec<String> {
    let policy = &config.policy;
    let judged = policy.examples.iter().map(|example| {
        let standing = standing(
            policy.clients.iter(),
            policy.unlisted,
            &example.client_id.clone().into(),
            &[],
        );
        let by = standing.rule.as_ref().map(|rule| &rule.pattern);
        let is_right = standing.tier == example.tier
            && example
                .by
                .as_ref()
                .is_none_or(|expected| by == Some(expected));
        (!is_right).then(|| {
            let (id, tier) = (&example.client_id, example.tier.as_str());
            format!(
                "{id}: expected {tier}, found {}: {}",
                standing.tier.as_str(),
                standing.why()
            )
        })
    });
    judged.flatten().collect()
}
