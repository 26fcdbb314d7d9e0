//! `wayleave client trust`, `block`, `forget`, `rules` and `check-policy`: what the administrator thinks of clients.

use clap::Args;
use serde_json::json;

use super::{
    check,
    context::AdminContext,
    exit::{Conflict, NotFound, Usage},
    output::{self, Limit, plain},
    whose::no_such_name,
};
use crate::{
    policy::client_document::Member,
    policy::{
        client_pattern::Pattern,
        client_rules::{Rule, Tier, auth_method, grant_type},
    },
    protocol::{
        client_id::ClientId,
        client_metadata::{self, AuthMethod, GrantType},
    },
    words::counted,
};

/// What `wayleave client trust` is told.
#[derive(Debug, Args)]
pub(super) struct Trust {
    /// A registered client's name, https://host/path, https://host/path/*, host or *.domain
    pattern: String,
    /// unknown, listed, approved or first_party. Left out: listed; for a registered client as it is registered
    #[arg(long, value_parser = trusted_tier)]
    tier: Option<Tier>,
    /// Why, for administrators
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// The only scopes it may be granted; repeat it for each
    #[arg(long = "scope")]
    scopes: Vec<String>,
    /// The only resources it may be granted tokens for; repeat it for each
    #[arg(long = "resource")]
    resources: Vec<String>,
    /// The only grants it may use, by their names in OAuth; repeat it for each
    #[arg(long = "grant", value_parser = grant_type)]
    grants: Vec<GrantType>,
    /// The only ways it may authenticate, none or private_key_jwt; repeat it for each
    #[arg(long = "auth-method", value_parser = auth_method)]
    auth_methods: Vec<AuthMethod>,
    /// Longest life of its access tokens, in seconds
    #[arg(long)]
    access: Option<u32>,
    /// Longest life of its refresh tokens without use, in seconds
    #[arg(long)]
    refresh_idle: Option<u32>,
    /// Longest life of its grants, in seconds
    #[arg(long)]
    refresh_absolute: Option<u32>,
    /// Accept assertions that name the endpoint as audience and live for an hour, as before RFC 10070
    #[arg(long)]
    legacy_assertions: bool,
    /// Let its redirect URIs have any private-use scheme that no browser or system has for itself
    #[arg(long)]
    any_private_use_scheme: bool,
    /// A member of its document that must be on the origin of its client_id, instead of those of policy.same_origin; repeat it
    /// for each, "" for none
    #[arg(long, value_parser = member)]
    same_origin: Vec<Listed>,
    /// A member of its document that must be on the registrable domain of its client_id, instead of those of policy.same_site;
    /// repeat it for each, "" for none
    #[arg(long, value_parser = member)]
    same_site: Vec<Listed>,
    /// Leave the claims of its scopes out of its ID tokens
    #[arg(long)]
    no_id_token_claims: bool,
    /// Your word on it, shown on the consent page
    #[arg(long)]
    consent_text: Option<String>,
    /// Do not show its logo
    #[arg(long)]
    no_logo: bool,
}

fn trusted_tier(text: &str) -> Result<Tier, &'static str> {
    match text.parse() {
        Ok(Tier::Blocked) => Err("use `wayleave client block` to block"),
        Ok(tier) => Ok(tier),
        Err(_) => Err("unknown, listed, approved or first_party"),
    }
}

/// A member, or the word that there is none.
type Listed = Option<Member>;

fn member(text: &str) -> Result<Listed, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let named = serde_json::from_value(text.into()).map(Some);
    named.map_err(|_| {
        "redirect_uris, logo_uri, jwks_uri, client_uri, tos_uri or policy_uri".to_owned()
    })
}

fn members(list: Vec<Listed>) -> Option<Vec<Member>> {
    (!list.is_empty()).then(|| list.into_iter().flatten().collect())
}

impl AdminContext<'_> {
    pub(super) async fn check_policy(&self, client_id: &ClientId) -> anyhow::Result<()> {
        let keys = self.keys_of(client_id).await?;
        let standing = self.clients.rules().of(client_id, &keys);
        if self.as_json {
            return output::json(&json!({
                "client_id": client_id.as_str(), "tier": standing.tier.as_str(), "why": standing.why(),
                "rule": standing.rule, "registered": standing.registered,
            }));
        }
        say!("{}: {}", standing.tier.as_str(), standing.why());
        if let Some(rule) = &standing.rule {
            if let Some(note) = &rule.note {
                say!("  note: {}", plain(note));
            }
            for ceiling in ceilings(rule) {
                say!("  {ceiling}");
            }
        }
        if client_id.url().is_none() {
            say!(
                "  rules about URLs, hosts and domains, and policy.unlisted, do not apply to a registered client"
            );
        }
        Ok(())
    }

    /// The thumbprints of the keys that a client publishes, as far as they are known here.
    async fn keys_of(&self, client_id: &ClientId) -> anyhow::Result<Vec<String>> {
        if let Some(registered) = self.clients.rules().registered(client_id) {
            return Ok(registered.client.metadata.thumbprints());
        }
        let Some(url) = client_id.url() else {
            return Ok(Vec::new());
        };
        let document = match self.clients.is_in_development(url) {
            true => self.clients.development_document(url).await.ok(),
            false => self.store.client(url).await?.map(|kept| kept.document),
        };
        let metadata = document.and_then(|text| client_metadata::parse(url, text.as_bytes()).ok());
        Ok(metadata.map_or_else(Vec::new, |metadata| metadata.thumbprints()))
    }

    /// Which clients a rule is to be about: a pattern, or the name of a registered client. A name that no client has is none.
    fn concerned(&self, text: &str) -> anyhow::Result<Pattern> {
        let id = text.parse::<ClientId>().ok();
        let name = id.filter(|id| id.url().is_none());
        let rules = self.clients.rules();
        let registered = name.clone().filter(|id| rules.registered(id).is_some());
        let is_local =
            |host: &str| host == "localhost" && self.config.danger.allow_loopback_clients;
        match (registered, text.parse::<Pattern>(), name) {
            (Some(id), Ok(Pattern::Host(host)), _) if host.contains('.') => Err(Usage(format!(
                "{id} is the name of a registered client, and of a host; write name:{id} for the client, https://{host}/* for \
                 what is on the host"
            ))
            .into()),
            (_, Ok(pattern @ Pattern::Key(_)), _) => Ok(pattern),
            (_, Ok(Pattern::Name(name)), _) => {
                let id = ClientId::Name(name.clone());
                match rules.registered(&id) {
                    Some(_) => Ok(Pattern::Name(name)),
                    None => Err(no_such_name(&id).into()),
                }
            }
            (Some(id), ..) => Ok(Pattern::only(&id)),
            (None, Ok(Pattern::Host(host)), Some(name)) if !host.contains('.') && !is_local(&host) => {
                Err(NotFound(format!(
                    "{}. A rule about a host of that name is written https://{host}/*",
                    no_such_name(&name)
                ))
                .into())
            }
            (None, Ok(pattern), _) => Ok(pattern),
            (None, Err(_), Some(name)) => Err(no_such_name(&name).into()),
            (None, Err(expected), None) => Err(Usage(format!("expected {expected}")).into()),
        }
    }

    pub(super) async fn trust(&self, trust: Trust) -> anyhow::Result<()> {
        let pattern = self.concerned(&trust.pattern)?;
        let registered = pattern.client();
        let registered = registered.and_then(|id| self.clients.rules().registered(&id));
        let as_written = registered.map_or(Tier::Listed, |registered| registered.tier());
        let tier = trust.tier.unwrap_or(as_written);
        if let Pattern::Path(prefix) = &pattern
            && self.clients.serves_development(prefix)
        {
            return Err(Conflict(
                "the rule for clients in development is fixed: [development] in the configuration is what can be changed"
                    .to_owned(),
            )
            .into());
        }
        let mut configured = self.config.policy.clients.iter();
        if configured.any(|known| known.pattern == pattern) {
            return Err(Conflict(format!(
                "the configuration has a rule for {pattern}, and it would win; change it there"
            ))
            .into());
        }
        let rule = trust.rule(pattern, tier);
        rule.check()
            .map_err(|expected| Usage(format!("expected {expected}")))?;
        if let Some(told) = check::of_rule(self.config, &rule) {
            return Err(Usage(told).into());
        }
        let name = rule.pattern.to_string();
        self.store.put_client_rule(rule, self.now).await?;
        self.report(&name, &format!("{} from now on", tier.as_str()))
    }

    pub(super) async fn block(&self, text: &str, note: Option<String>) -> anyhow::Result<()> {
        let pattern = self.concerned(text)?;
        let rule = Rule {
            note,
            ..Rule::new(pattern.clone(), Tier::Blocked)
        };
        let name = pattern.to_string();
        let ended = self.store.put_client_rule(rule, self.now).await?;
        if self.as_json {
            return output::json(&json!({
                "match": name, "tier": "blocked", "clients": ended.clients, "grants": ended.grants,
                "logins": ended.logins,
            }));
        }
        say!(
            "{name}: blocked from now on; {} and {} of {} ended",
            counted(ended.grants, "grant"),
            counted(ended.logins, "running login"),
            counted(ended.clients, "client"),
        );
        Ok(())
    }

    /// Takes the rule of this pattern away, or the one about the registered client of this name.
    pub(super) async fn forget(&self, text: &str) -> anyhow::Result<()> {
        let pattern = text.parse::<Pattern>();
        let id = text
            .parse::<ClientId>()
            .ok()
            .filter(|id| id.url().is_none());
        let of_name = id.as_ref().map(Pattern::only);
        if let (Err(expected), None) = (&pattern, &of_name) {
            return Err(Usage(format!("expected {expected}")).into());
        }
        for pattern in [pattern.ok(), of_name].into_iter().flatten() {
            let name = pattern.to_string();
            if self.store.remove_client_rule(name.clone()).await? {
                return self.report(&name, "rule removed");
            }
        }
        let is_registered = id.is_some_and(|id| self.clients.rules().registered(&id).is_some());
        let advice = match is_registered {
            true => "; it is a registered client, which `wayleave client remove` removes",
            false => "; `wayleave client rules` shows those that it has",
        };
        Err(NotFound(format!("the database has no rule for {text}{advice}")).into())
    }

    pub(super) async fn rules(&self, limit: Limit) -> anyhow::Result<()> {
        let (_, stored) = self.store.client_rules().await?;
        let configured = &self.config.policy.clients;
        let configured = configured.iter().map(|rule| (rule, "configuration"));
        let all: Vec<_> = configured
            .chain(stored.iter().map(|rule| (rule, "database")))
            .collect();
        let entry = |(rule, from): &(&Rule, &str)| json!({ "rule": rule, "from": from });
        output::list(self.as_json, limit, "rules", &all, entry, |(rule, from)| {
            let note = rule.note.as_deref().map(|note| format!("  {note}"));
            let (tier, note) = (rule.tier.as_str(), note.unwrap_or_default());
            let mut text = format!("{}  {tier}  {from}{note}", rule.pattern);
            for ceiling in ceilings(rule) {
                text.push_str(&format!("\n    {ceiling}"));
            }
            text
        })?;
        if !self.as_json {
            say!("everything else  {}", self.config.policy.unlisted.as_str());
        }
        Ok(())
    }
}

impl Trust {
    /// What it says, as a rule.
    fn rule(self, pattern: Pattern, tier: Tier) -> Rule {
        Rule {
            note: self.note,
            scopes: listed(self.scopes),
            resources: listed(self.resources),
            grants: listed(self.grants),
            auth_methods: listed(self.auth_methods),
            access: self.access,
            refresh_idle: self.refresh_idle,
            legacy_assertions: self.legacy_assertions.then_some(true),
            refresh_absolute: self.refresh_absolute,
            private_use_schemes: self.any_private_use_scheme.then_some(true),
            same_origin: members(self.same_origin),
            same_site: members(self.same_site),
            id_token_claims: self.no_id_token_claims.then_some(false),
            consent_text: self.consent_text,
            logo: self.no_logo.then_some(false),
            ..Rule::new(pattern, tier)
        }
    }
}

fn listed<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// What a rule allows at most, a line for each.
pub(super) fn ceilings<'a>(rule: &'a Rule) -> Vec<String> {
    let names = |label, list: Option<Vec<&'a str>>| {
        list.map(|list| match list.is_empty() {
            true => format!("{label}: none"),
            false => format!("{label}: {}", plain(&list.join(" "))),
        })
    };
    let texts =
        |list: &'a Option<Vec<String>>| Some(list.as_ref()?.iter().map(String::as_str).collect());
    let members = |list: &Option<Vec<Member>>| {
        Some(
            list.as_ref()?
                .iter()
                .map(|member| member.as_str())
                .collect(),
        )
    };
    let seconds = |label, seconds: Option<u32>| seconds.map(|s| format!("{label}: {s} s"));
    let lines = [
        names("scopes", texts(&rule.scopes)),
        names("resources", texts(&rule.resources)),
        names(
            "grants",
            rule.grants
                .as_ref()
                .map(|list| list.iter().map(|it| it.as_str()).collect()),
        ),
        names(
            "authentication",
            rule.auth_methods
                .as_ref()
                .map(|list| list.iter().map(|it| it.as_str()).collect()),
        ),
        seconds("access tokens live at most", rule.access),
        seconds("refresh tokens live without use at most", rule.refresh_idle),
        seconds("grants live at most", rule.refresh_absolute),
        rule.legacy_assertions
            .filter(|yes| *yes)
            .map(|_| "assertions as before RFC 10070 are accepted".to_owned()),
        rule.private_use_schemes.map(|any| match any {
            true => "private-use schemes: any".to_owned(),
            false => "private-use schemes: none".to_owned(),
        }),
        rule.id_token_claims.map(|carry| match carry {
            true => "ID tokens carry the claims of their scopes".to_owned(),
            false => "ID tokens carry no claims of their scopes".to_owned(),
        }),
        names("on its own origin", members(&rule.same_origin)),
        names("on its own domain", members(&rule.same_site)),
        rule.consent_text
            .as_ref()
            .map(|text| format!("consent text: {}", plain(text))),
        rule.logo
            .filter(|shown| !shown)
            .map(|_| "its logo is not shown".to_owned()),
    ];
    lines.into_iter().flatten().collect()
}
