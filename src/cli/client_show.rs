//! `wayleave client show` and `history`: one client, however it is known.

use serde_json::{Map, Value, json};

use super::{
    client_list::KnownBy,
    client_rules::ceilings,
    context::AdminContext,
    exit::NotFound,
    output::{self, Limit, at, maybe_at, plain},
    registration,
};
use crate::{
    policy::{client_rules::TrustDecision, metadata_change::Change, registration::Registered},
    protocol::{client_id::ClientId, client_metadata},
    store::KeptClient,
    time::in_rfc_3339,
    words::{self, used_by},
};

/// What there is to show of a client.
struct Known {
    client_id: ClientId,
    known_by: KnownBy,
    registered: Option<(Registered, &'static str)>,
    kept: Option<KeptClient>,
    /// Its document, as it is kept or served.
    document: Option<Value>,
    keys: Vec<String>,
    standing: TrustDecision,
    people: i64,
    used: (i64, i64),
}

impl AdminContext<'_> {
    pub(super) async fn show(&self, client_id: &ClientId) -> anyhow::Result<()> {
        let known = self.known(client_id).await?;
        if self.as_json {
            return output::json(&known.json());
        }
        self.show_head(&known);
        if let Some((registered, from)) = &known.registered {
            let about = registration::about(registered, from).join("  ");
            say!("  registered  {}", plain(&about));
            for secret in registered.secrets() {
                say!("  secret      {}", registration::secret_line(secret));
            }
            let written = registration::written(registered);
            say!("{}", plain(&serde_json::to_string_pretty(&written)?));
            return Ok(());
        }
        if let Some(kept) = &known.kept {
            self.show_fetches(kept);
        }
        for key in &known.keys {
            say!("  key         {key}");
        }
        if let Some(logo) = self.store.client_logo(client_id).await? {
            let state = match (&logo.hash, &logo.failed_because) {
                (_, Some(because)) => format!("cannot be shown: {}", plain(because)),
                (Some(hash), None) => format!("shown, SHA-256 {hash}"),
                (None, None) => "none".to_owned(),
            };
            say!("  logo        {state} ({})", in_rfc_3339(logo.fetched_at));
        }
        match &known.document {
            Some(document) => say!("{}", plain(&serde_json::to_string_pretty(document)?)),
            None => {
                say!("  document    never read; `wayleave explain` says what would become of it")
            }
        }
        Ok(())
    }

    async fn known(&self, client_id: &ClientId) -> anyhow::Result<Known> {
        let all = self.registered().await?;
        let registered = all.into_iter().find(|(known, _)| known.id() == client_id);
        let mut kept = None;
        let mut served = None;
        if let (None, Some(url)) = (&registered, client_id.url()) {
            match self.clients.is_in_development(url) {
                true => served = self.clients.development_document(url).await.ok(),
                false => kept = self.store.client(url).await?,
            }
        }
        let of_kept = || kept.as_ref().map(|kept| &kept.document);
        let text = served.as_ref().or_else(of_kept);
        let of_document = text.zip(client_id.url()).and_then(|(text, url)| {
            let metadata = client_metadata::parse(url, text.as_bytes());
            metadata.ok().map(|it| it.thumbprints())
        });
        let of_registration = registered
            .as_ref()
            .map(|(it, _)| it.client.metadata.thumbprints());
        let keys = of_registration.or(of_document).unwrap_or_default();
        let standing = self.clients.rules().of(client_id, &keys);
        let is_of_rule = |standing: &TrustDecision| {
            let rule = standing.rule.as_ref();
            rule.is_some_and(|rule| rule.pattern.client().as_ref() == Some(client_id))
        };
        let known_by = match (&registered, &kept, &served) {
            (Some(_), ..) => KnownBy::Registered,
            (None, Some(_), _) => KnownBy::Document,
            (None, None, Some(_)) => KnownBy::Development,
            (None, None, None) if is_of_rule(&standing) => KnownBy::Rule,
            (None, None, None) => {
                return Err(NotFound(format!(
                    "no document of {client_id} is kept, and it is not registered; `wayleave explain` says what would become \
                     of it, `wayleave client check-policy` which rule decides"
                ))
                .into());
            }
        };
        Ok(Known {
            document: text.map(|text| serde_json::from_str(text)).transpose()?,
            people: self.store.people_of(client_id, self.now).await?,
            used: self.store.grants_of(client_id, self.now).await?,
            client_id: client_id.clone(),
            known_by,
            registered,
            kept,
            keys,
            standing,
        })
    }

    fn show_head(&self, known: &Known) {
        say!("{}", known.client_id);
        say!("  known by    {}", known.known_by.as_str());
        let standing = &known.standing;
        say!(
            "  standing    {}: {}",
            standing.tier.as_str(),
            standing.why()
        );
        if let Some(rule) = &standing.rule {
            say!("  rule        {}  {}", rule.pattern, rule.tier.as_str());
            if let Some(note) = &rule.note {
                say!("              note: {}", plain(note));
            }
            for ceiling in ceilings(rule) {
                say!("              {ceiling}");
            }
        }
        let (grants, holders) = known.used;
        say!(
            "  people      {} with a consent that stands, {}",
            words::people(known.people),
            used_by(grants, holders)
        );
    }

    /// How its host answered.
    fn show_fetches(&self, kept: &KeptClient) {
        say!("  first seen  {}", in_rfc_3339(kept.first_seen_at));
        let fresh = match kept.fresh_until > self.now {
            true => "fresh until",
            false => "was fresh until",
        };
        say!(
            "  read        {}, {fresh} {}",
            in_rfc_3339(kept.fetched_at),
            in_rfc_3339(kept.fresh_until)
        );
        say!("  version     SHA-256 {}", kept.digest.as_str());
        if let (Some(at), Some(rule), Some(because)) =
            (kept.failed_at, &kept.failed_rule, &kept.failed_because)
        {
            say!(
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
            // A version that is valid by itself was refused: the document is there.
            let what = match kept.failed_rule.as_deref() {
                Some("document.jwks.kid") => "refused     since",
                _ => "gone        since",
            };
            say!("  {what} {}; {confirmed}", in_rfc_3339(since));
        }
    }

    pub(super) async fn history(&self, client_id: &ClientId, limit: Limit) -> anyhow::Result<()> {
        let mut events = self.store.client_events(client_id).await?;
        let is_registered = self.clients.rules().registered(client_id).is_some();
        if events.is_empty() && !is_registered {
            return Err(NotFound(format!("nothing is known of {client_id}")).into());
        }
        if is_registered && !self.as_json {
            eprintln!(
                "{client_id} is registered: it has no document with versions, only blocks are listed."
            );
        }
        // The last ones, oldest first.
        let most = usize::try_from(limit.and_one().saturating_sub(1))?;
        let left_out = events.len().saturating_sub(most);
        events.drain(..left_out);
        let mut all = Vec::new();
        for event in &events {
            let changes: Vec<Change> = serde_json::from_str(&event.changes)?;
            let document = match (&event.digest, client_id.url()) {
                (Some(digest), Some(url)) => self.store.client_document(url, digest).await?,
                _ => None,
            };
            let document = document.and_then(|text| serde_json::from_str::<Value>(&text).ok());
            all.push((event, changes, document));
        }
        if self.as_json {
            let all = all.iter().map(|(event, changes, document)| {
                json!({
                    "number": event.number, "at": at(event.at), "kind": event.kind,
                    "digest": event.digest.as_ref().map(|digest| digest.as_str()), "changes": changes,
                    "answer": event.answer, "document": document,
                })
            });
            return output::json(&all.collect::<Vec<_>>());
        }
        for (event, changes, _) in &all {
            let (number, when, kind) = (event.number, in_rfc_3339(event.at), &event.kind);
            say!("{number}  {when}  {kind}  {}", plain(&event.answer));
            if let Some(digest) = &event.digest {
                say!("     version SHA-256 {}", digest.as_str());
            }
            for change in changes {
                say!("     {} ({})", plain(&change.field), change.grade.as_str());
                if let Some(before) = &change.before {
                    say!("       - {}", plain(before));
                }
                if let Some(after) = &change.after {
                    say!("       + {}", plain(after));
                }
            }
        }
        if left_out > 0 {
            eprintln!("There are {left_out} before these: see --limit.");
        }
        Ok(())
    }
}

impl Known {
    fn json(&self) -> Value {
        let (grants, holders) = self.used;
        let head = json!({
            "client_id": self.client_id.as_str(), "known_by": self.known_by.as_str(),
            "tier": self.standing.tier.as_str(), "policy": self.standing.why(), "rule": self.standing.rule,
            "people": self.people, "grants": grants, "people_with_grants": holders,
            "keys": self.keys, "document": self.document,
        });
        let fetches = self.kept.as_ref().map(|kept| {
            json!({
                "digest": kept.digest.as_str(), "first_seen_at": at(kept.first_seen_at), "fetched_at": at(kept.fetched_at),
                "fresh_until": at(kept.fresh_until), "failed_at": maybe_at(kept.failed_at),
                "failed_rule": kept.failed_rule, "failed_because": kept.failed_because,
                "gone_since": maybe_at(kept.gone_since), "gone_confirmed_at": maybe_at(kept.gone_confirmed_at),
            })
        });
        let registration = self.registered.as_ref().map(|(registered, from)| {
            let mut entry = registration::entry(registered);
            entry["from"] = (*from).into();
            entry
        });
        let mut shown = Map::new();
        for part in [Some(head), fetches, registration].into_iter().flatten() {
            if let Value::Object(part) = part {
                shown.extend(part);
            }
        }
        Value::Object(shown)
    }
}
