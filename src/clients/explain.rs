//! Every rule about one client, each with its verdict, from the server's own network and under its own policy. The same
//! rules in the same order decide when a client really comes.

use std::time::Duration;

use serde::Serialize;

use super::{
    Clients,
    advice::{KID, MEDIA, USE, advice, recognise},
    development,
    document_cache::read,
    document_host::MEDIA_TYPE,
    history::{key_changed, key_replaced},
    refusal::BLOCKED,
};
use crate::{
    fetch::{self, Charge, Wire},
    policy::{
        client_document,
        client_rules::{Tier, TrustDecision},
        client_url,
    },
    protocol::{
        client::Client,
        client_id::ClientId,
        client_metadata,
        client_url::{self as grammar, ClientUrl},
        media_type,
    },
    words::counted,
};

/// What a rule says.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Pass,
    Fail,
    /// Something else has to be mended first.
    NotReached,
}

/// One rule.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub rule: &'static str,
    pub verdict: Verdict,
    /// What is wrong, as an administrator may read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

/// What was seen on the wire.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    pub addresses: Vec<String>,
    pub dialled: Option<String>,
    pub tls_version: Option<&'static str>,
    pub certificates: Option<usize>,
    pub status: Option<u16>,
    pub media_type: Option<String>,
    pub bytes: usize,
    /// Headers that say how long it may be kept.
    pub cache_headers: Vec<(String, String)>,
    /// Steps that were begun, with their milliseconds.
    pub steps: Vec<(&'static str, f64)>,
}

/// The document as this server understands it.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub digest: String,
    pub client_name: Option<String>,
    pub redirect_uris: Vec<String>,
    pub grant_types: Vec<&'static str>,
    pub token_endpoint_auth_methods: Vec<&'static str>,
    pub scope: Option<Vec<String>>,
    /// Seconds that it counts as fresh; 0: it may not be stored; `None`: it is a registration.
    pub fresh_for: Option<i64>,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub client_id: String,
    pub accepted: bool,
    pub tier: Option<&'static str>,
    pub policy: Option<String>,
    pub rules: Vec<Line>,
    pub wire: Option<Facts>,
    pub document: Option<Summary>,
    /// What was recognised besides.
    pub notes: Vec<String>,
}

impl Report {
    /// The rule that refuses first: the one that a real request would be told of.
    pub fn refused_by(&self) -> Option<&Line> {
        self.rules.iter().find(|line| line.verdict == Verdict::Fail)
    }

    /// The facts besides the rules: label and value.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some(wire) = &self.wire {
            if !wire.addresses.is_empty() {
                facts.push(("Addresses", wire.addresses.join(", ")));
            }
            facts.extend(wire.dialled.clone().map(|dialled| ("Dialled", dialled)));
            facts.extend(wire.tls_version.map(|version| {
                let certificates = wire.certificates.unwrap_or_default();
                let certificates = counted(
                    i64::try_from(certificates).unwrap_or(i64::MAX),
                    "certificate",
                );
                ("TLS", format!("{version}, {certificates}"))
            }));
            facts.extend(wire.status.map(|status| {
                let media_type = wire.media_type.as_deref().unwrap_or("no media type");
                (
                    "Answer",
                    format!("{status}, {media_type}, {} bytes", wire.bytes),
                )
            }));
            for (name, value) in &wire.cache_headers {
                facts.push(("Header", format!("{name}: {value}")));
            }
            let steps = wire
                .steps
                .iter()
                .map(|(step, ms)| format!("{step} {ms} ms"));
            facts.push(("Time", steps.collect::<Vec<_>>().join(", ")));
        }
        if let Some(document) = &self.document {
            let name = document.client_name.clone();
            facts.push(("Name", name.unwrap_or_else(|| "none".to_owned())));
            facts.push(("Redirect URIs", document.redirect_uris.join(" ")));
            facts.push(("Grants", document.grant_types.join(" ")));
            facts.push(("Methods", document.token_endpoint_auth_methods.join(" ")));
            facts.extend(
                document
                    .scope
                    .as_ref()
                    .map(|scope| ("Scope", scope.join(" "))),
            );
            facts.extend(document.fresh_for.map(|fresh| {
                let fresh = match fresh {
                    0 => "for the login under way only".to_owned(),
                    seconds => format!("for about {seconds} s"),
                };
                ("Fresh", fresh)
            }));
            facts.push(("Version", format!("SHA-256 {}", document.digest)));
        }
        facts
    }

    fn line(&mut self, rule: &'static str, problem: Option<String>) {
        let failed = problem.is_some();
        self.rules.push(Line {
            rule,
            verdict: if failed { Verdict::Fail } else { Verdict::Pass },
            problem,
            advice: failed.then(|| advice(rule)).flatten(),
        });
    }

    fn not_reached(&mut self, rules: impl Iterator<Item = &'static str>) {
        self.rules.extend(rules.map(|rule| Line {
            rule,
            verdict: Verdict::NotReached,
            problem: None,
            advice: None,
        }));
    }

    /// Rules of which the first that refuses ends the list: those after it are not reached.
    fn in_order(
        &mut self,
        rules: impl Iterator<Item = &'static str>,
        refused: Option<(&str, String)>,
    ) {
        let mut refused = refused;
        let mut reached = true;
        for rule in rules {
            match refused.take_if(|(name, _)| *name == rule) {
                Some((_, problem)) => {
                    self.line(rule, Some(problem));
                    reached = false;
                }
                None if reached => self.line(rule, None),
                None => self.not_reached([rule].into_iter()),
            }
        }
    }
}

fn grammar() -> impl Iterator<Item = &'static str> {
    grammar::RULES.iter().map(|rule| rule.rule())
}

fn url_policy() -> impl Iterator<Item = &'static str> {
    client_url::ALL
        .iter()
        .map(|rule| rule.name)
        .chain([BLOCKED])
}

fn on_the_wire() -> impl Iterator<Item = &'static str> {
    fetch::RULES.iter().map(|(name, _)| *name).chain([MEDIA])
}

fn in_the_document() -> impl Iterator<Item = &'static str> {
    client_metadata::Rule::ALL
        .into_iter()
        .map(client_metadata::Rule::name)
        .chain([KID])
        .chain(document_policy())
        .chain([USE])
}

fn document_policy() -> impl Iterator<Item = &'static str> {
    client_document::ALL.iter().map(|check| check.name)
}

impl Clients {
    /// Asks every rule about the text of a client identifier. Reads the document now, without charging a budget, and
    /// keeps nothing.
    pub async fn explain(&self, text: &str) -> Report {
        let mut report = Report {
            client_id: text.to_owned(),
            accepted: false,
            tier: None,
            policy: None,
            rules: Vec::new(),
            wire: None,
            document: None,
            notes: Vec::new(),
        };
        let registered = text.parse().ok();
        let registered = registered.and_then(|id: ClientId| self.rules().registered(&id));
        if let Some(registered) = registered {
            self.explain_registered(&mut report, &registered.client);
            report.accepted = report.refused_by().is_none();
            return report;
        }
        let client_id: ClientUrl = match text.parse() {
            Ok(client_id) => {
                report.in_order(grammar(), None);
                client_id
            }
            Err(error) => {
                let error: grammar::ClientUrlError = error;
                report.in_order(grammar(), Some((error.rule(), error.to_string())));
                report.not_reached(url_policy().chain(on_the_wire()).chain(in_the_document()));
                return report;
            }
        };
        self.explain_policy(&mut report, &client_id);
        if report.refused_by().is_some() {
            report.not_reached(on_the_wire().chain(in_the_document()));
            return report;
        }
        if self.is_in_development(&client_id) {
            self.explain_development(&mut report, &client_id).await;
        } else {
            self.explain_document(&mut report, &client_id).await;
        }
        report.accepted = report.refused_by().is_none();
        report
    }

    /// A client that an administrator registered: there is no document that could be judged.
    fn explain_registered(&self, report: &mut Report, client: &Client) {
        let note = "The client is registered: its registration says what a document would say. Nothing is fetched, and the rules \
                    about identifiers, hosts and documents do not apply.";
        report.notes.push(note.to_owned());
        let metadata = &client.metadata;
        let standing = self.rules().of(client.id(), &metadata.thumbprints());
        self.explain_standing(report, &standing);
        match metadata.grants.is_empty() {
            true => report
                .notes
                .push("It may use no grant: it introspects only.".to_owned()),
            false => {
                let refusal = standing.check_use(metadata).err();
                report.line(USE, refusal.map(str::to_owned));
            }
        }
        report.document = Some(summary(client, None));
    }

    fn explain_policy(&self, report: &mut Report, client_id: &ClientUrl) {
        if self.is_in_development(client_id) {
            report.notes.push(
                "This server serves the document itself, for a client in development: nothing is fetched.".to_owned(),
            );
        } else {
            let rules = self.0.identifiers.rules();
            for rule in client_url::ALL {
                let refuses = rule.refuses(client_id, &rules);
                report.line(rule.name, refuses.then(|| rule.told.to_owned()));
            }
        }
        self.explain_standing(report, &self.rules().of(&client_id.clone().into(), &[]));
    }

    fn explain_standing(&self, report: &mut Report, standing: &TrustDecision) {
        report.tier = Some(standing.tier.as_str());
        report.policy = Some(standing.why());
        report.rules.retain(|line| line.rule != BLOCKED);
        let blocked = (standing.tier == Tier::Blocked).then(|| standing.why());
        report.line(BLOCKED, blocked);
    }

    /// A document of ours: read where it lies, as a real request does.
    async fn explain_development(&self, report: &mut Report, client_id: &ClientUrl) {
        match self.development_document(client_id).await {
            Ok(document) => {
                report.line(development::GONE, None);
                self.explain_body(report, client_id, document.as_bytes(), 0)
                    .await;
            }
            Err(refusal) => {
                report.line(development::GONE, Some(refusal.cause));
                report.not_reached(in_the_document());
            }
        }
    }

    async fn explain_document(&self, report: &mut Report, client_id: &ClientUrl) {
        let (wire, fetched) = self.0.host.fetch(client_id, Charge::Administrator).await;
        report.wire = Some(facts(&wire));
        report.notes.extend(recognise(&wire));
        let names = fetch::RULES.iter().map(|(name, _)| *name);
        let fetched = match fetched {
            Ok(fetched) => {
                report.in_order(names, None);
                fetched
            }
            Err(error) => {
                report.in_order(names, Some((error.rule(), error.to_string())));
                if error.rule() == "fetch.budget" {
                    report.line("fetch.budget", Some(error.to_string()));
                }
                report.not_reached([MEDIA].into_iter().chain(in_the_document()));
                return;
            }
        };
        let is_json = media_type::is_json(&fetched.header_values("content-type"));
        report.line(MEDIA, (!is_json).then(|| MEDIA_TYPE.to_owned()));
        let freshness = self.0.host.freshness(&fetched);
        let fresh_for = if freshness.store {
            freshness.lifetime
        } else {
            0
        };
        self.explain_body(report, client_id, &fetched.body, fresh_for)
            .await;
    }

    /// The rules about what the document says; it counts as fresh for so many seconds.
    async fn explain_body(
        &self,
        report: &mut Report,
        client_id: &ClientUrl,
        body: &[u8],
        fresh_for: i64,
    ) {
        for judged in client_metadata::judge(client_id, body) {
            match judged.verdict {
                client_metadata::Verdict::Pass => report.line(judged.rule.name(), None),
                client_metadata::Verdict::Fail(error) => {
                    report.line(judged.rule.name(), Some(error.to_string()))
                }
                client_metadata::Verdict::NotReached => {
                    report.not_reached([judged.rule.name()].into_iter())
                }
            }
        }
        let now = self.0.clock.now();
        let Ok(client) = read(client_id, body, now) else {
            report.not_reached([KID].into_iter().chain(document_policy()).chain([USE]));
            return;
        };
        let known = self.0.cache.last_good(client_id).await.ok().flatten();
        let replaced = known
            .as_ref()
            .and_then(|known| key_replaced(&known.client.metadata, &client.metadata));
        report.line(KID, replaced.map(|kid| key_changed(kid).cause));
        // Its keys may be blocked where its address is not.
        let standing = self.rules().of(client.id(), &client.metadata.thumbprints());
        self.explain_standing(report, &standing);
        let allowed = self.allowed(&standing);
        for check in client_document::ALL {
            let refusal = check.refusal(client_id, &client.metadata, &allowed);
            report.line(check.name, refusal);
        }
        report.line(
            USE,
            standing
                .check_use(&client.metadata)
                .err()
                .map(str::to_owned),
        );
        self.explain_addresses(report, &client);
        if let Err(error) = client.check_code_flow() {
            report.notes.push(format!(
                "It cannot ask people to sign in with a browser: {}.",
                error.description
            ));
        }
        report.document = Some(summary(&client, Some(fresh_for)));
    }

    /// Other addresses in the document that are not asked. They refuse no document.
    fn explain_addresses(&self, report: &mut Report, client: &Client) {
        let metadata = &client.metadata;
        let logo = metadata.logo_uri.as_deref();
        if let Some(Err(told)) = logo.map(|uri| self.logo_address(uri)) {
            report
                .notes
                .push(format!("Its logo is not read and not shown: {told}."));
        }
        let keys = metadata.jwks_uri.as_deref();
        if let Some(Err(refusal)) = keys.map(|uri| self.key_set_address(uri)) {
            report.notes.push(format!(
                "Its keys are not read, so it cannot prove itself: {}.",
                refusal.told
            ));
        }
    }
}

fn facts(wire: &Wire) -> Facts {
    let header = |name: &str| {
        let mut found = wire.headers.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.clone())
    };
    let milliseconds = |took: Duration| (took.as_secs_f64() * 10_000.0).round() / 10.0;
    const CACHE: &[&str] = &[
        "age",
        "cache-control",
        "date",
        "etag",
        "expires",
        "pragma",
        "vary",
    ];
    Facts {
        addresses: wire.addresses.iter().map(ToString::to_string).collect(),
        dialled: wire.dialled.map(|address| address.to_string()),
        tls_version: wire.tls.as_ref().and_then(|tls| tls.version),
        certificates: wire.tls.as_ref().map(|tls| tls.certificates),
        status: wire.status,
        media_type: header("content-type"),
        bytes: wire.bytes,
        cache_headers: wire
            .headers
            .iter()
            .filter(|(name, _)| CACHE.contains(&name.as_str()))
            .cloned()
            .collect(),
        steps: wire
            .steps
            .iter()
            .map(|(step, took)| (step.as_str(), milliseconds(*took)))
            .collect(),
    }
}

fn summary(client: &Client, fresh_for: Option<i64>) -> Summary {
    let metadata = &client.metadata;
    Summary {
        digest: client.digest.as_str().to_owned(),
        client_name: metadata.client_name.clone(),
        redirect_uris: metadata
            .redirect_uris
            .iter()
            .map(ToString::to_string)
            .collect(),
        grant_types: metadata.grants.iter().map(|grant| grant.as_str()).collect(),
        token_endpoint_auth_methods: metadata
            .auth_methods
            .iter()
            .map(|method| method.as_str())
            .collect(),
        scope: metadata.scope.clone(),
        fresh_for,
    }
}
