//! `wayleave client trust`, `block`, `forget`, `rules` and `check-policy`: what the administrator thinks of clients.

use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::{Usage, check, client::plain, context::AdminContext};
use crate::{
    policy::client_document::Member,
    policy::client_rules::{Pattern, Rule, Tier, auth_method, grant_type},
    protocol::{
        client_metadata::{self, AuthMethod, GrantType},
        client_url::ClientUrl,
    },
    words::counted,
};

/// What `wayleave client trust` is told.
#[derive(Debug, Args)]
pub(super) struct Trust {
    /// https://host/path, https://host/path/*, host or *.domain
    pattern: String,
    /// unknown, listed, approved or first_party
    #[arg(long, default_value = "listed", value_parser = trusted_tier)]
    tier: Tier,
    /// Why, for administrators
    #[arg(long)]
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
    /// The same for its registrable domain and policy.same_site
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
    pub(super) async fn check_policy(&self, client_id: &ClientUrl) -> anyhow::Result<()> {
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
            say!("{}", serde_json::to_string_pretty(&shown)?);
        } else {
            say!("{}: {}", standing.tier.as_str(), standing.why());
            if let Some(rule) = &standing.rule {
                if let Some(note) = &rule.note {
                    say!("  note: {}", plain(note));
                }
                for ceiling in ceilings(rule) {
                    say!("  {ceiling}");
                }
            }
        }
        Ok(())
    }

    pub(super) async fn trust(&self, trust: Trust) -> anyhow::Result<()> {
        let pattern = pattern(&trust.pattern)?;
        let tier = trust.tier;
        if let Pattern::Path(prefix) = &pattern
            && self.clients.serves_development(prefix)
        {
            return Err(Usage(
                "the rule for clients in development is fixed: [development] in the configuration is what can be changed"
                    .to_owned(),
            )
            .into());
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
        let rule = Rule {
            note: trust.note,
            scopes: listed(trust.scopes),
            resources: listed(trust.resources),
            grants: listed(trust.grants),
            auth_methods: listed(trust.auth_methods),
            access: trust.access,
            refresh_idle: trust.refresh_idle,
            legacy_assertions: trust.legacy_assertions.then_some(true),
            refresh_absolute: trust.refresh_absolute,
            private_use_schemes: trust.any_private_use_scheme.then_some(true),
            same_origin: members(trust.same_origin),
            same_site: members(trust.same_site),
            id_token_claims: trust.no_id_token_claims.then_some(false),
            consent_text: trust.consent_text,
            logo: trust.no_logo.then_some(false),
            ..Rule::new(pattern, tier)
        };
        rule.check()
            .map_err(|expected| Usage(format!("expected {expected}")))?;
        if let Some(told) = check::of_rule(self.config, &rule) {
            return Err(Usage(told).into());
        }
        let name = rule.pattern.to_string();
        self.store.put_client_rule(rule, self.now).await?;
        self.report(&name, &format!("{} from now on", tier.as_str()));
        Ok(())
    }

    pub(super) async fn block(&self, text: &str, note: Option<String>) -> anyhow::Result<()> {
        let pattern = pattern(text)?;
        let rule = Rule {
            note,
            ..Rule::new(pattern.clone(), Tier::Blocked)
        };
        let name = pattern.to_string();
        let ended = self.store.put_client_rule(rule, self.now).await?;
        if self.as_json {
            say!(
                "{}",
                json!({ "match": name, "tier": "blocked", "clients": ended.clients, "grants": ended.grants, "logins": ended.logins })
            );
        } else {
            say!(
                "{name}: blocked from now on; {} and {} of {} ended",
                counted(ended.grants, "grant"),
                counted(ended.logins, "running login"),
                counted(ended.clients, "client"),
            );
        }
        Ok(())
    }

    pub(super) async fn forget(&self, text: &str) -> anyhow::Result<()> {
        let name = pattern(text)?.to_string();
        if !self.store.remove_client_rule(name.clone()).await? {
            bail!("the database has no rule for {name}");
        }
        self.report(&name, "rule removed");
        Ok(())
    }

    pub(super) async fn rules(&self) -> anyhow::Result<()> {
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
            say!("{}", serde_json::to_string_pretty(&all)?);
            return Ok(());
        }
        for (rule, from) in all {
            let note = rule
                .note
                .as_deref()
                .map(|note| format!("  {}", plain(note)))
                .unwrap_or_default();
            say!("{}  {}  {from}{note}", rule.pattern, rule.tier.as_str());
            for ceiling in ceilings(rule) {
                say!("    {ceiling}");
            }
        }
        say!("everything else  {}", self.config.policy.unlisted.as_str());
        Ok(())
    }
}

fn listed<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// What a rule allows at most, a line for each.
fn ceilings<'a>(rule: &'a Rule) -> Vec<String> {
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

fn pattern(text: &str) -> Result<Pattern, Usage> {
    text.parse()
        .map_err(|expected| Usage(format!("expected {expected}")))
}
