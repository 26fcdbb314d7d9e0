//! The keys that clients publish: in their document, or at its `jwks_uri`, read under the same guard. RFC 7517 §5.

use std::sync::Arc;

use moka::sync::Cache;
use url::Url;

use super::{
    Clients, Reread,
    asker::Asker,
    document_host::DocumentHost,
    refusal::{Refusal, RefusalKind},
    single_flight::SingleFlight,
};
use crate::{
    config::Config,
    fetch::{Charge, Wanted},
    protocol::{
        client::Client,
        client_id::ClientId,
        client_url::ClientUrl,
        http_cache::{self, Bounds},
        key_set::KeySet,
        media_type,
    },
    time::UnixTime,
};

const ACCEPT: &str = "application/jwk-set+json, application/json;q=0.9";

/// A key set in memory.
#[derive(Clone, Debug)]
struct Kept {
    /// `None`: it could never be read.
    set: Option<Arc<KeySet>>,
    /// When it was read.
    read_at: UnixTime,
    fresh_until: UnixTime,
    /// When its host was asked last.
    asked_at: UnixTime,
    /// Why that gave nothing.
    failure: Option<Refusal>,
}

/// The key sets at clients' `jwks_uri`s. Cheap to clone.
#[derive(Clone)]
pub(super) struct KeySets(Arc<Inner>);

struct Inner {
    host: DocumentHost,
    kept: Cache<String, Kept>,
    flights: SingleFlight<Arc<KeySet>>,
    bounds: Bounds,
    /// Seconds between two questions to one host.
    cooldown: i64,
    /// Seconds that a set serves after it is no longer fresh, while its host gives no other.
    stale: i64,
    max_bytes: usize,
}

impl KeySets {
    pub(super) fn new(config: &Config, host: DocumentHost) -> Self {
        let clients = &config.clients;
        Self(Arc::new(Inner {
            host,
            kept: Cache::new(clients.cache_entries.get().into()),
            flights: SingleFlight::new(),
            bounds: Bounds {
                least: clients.keys_fresh.least.into(),
                absent: clients.keys_fresh.absent.into(),
                most: clients.keys_fresh.most.into(),
            },
            cooldown: clients.keys_cooldown.into(),
            stale: clients.stale_authorization.into(),
            max_bytes: usize::try_from(config.fetch.max_key_set_bytes.get()).unwrap_or(usize::MAX),
        }))
    }

    pub(super) fn clear(&self) {
        self.0.kept.invalidate_all();
    }
}

impl Kept {
    /// The set, while it may serve: fresh, or its host gives no other.
    fn serving(&self, now: UnixTime, stale: i64) -> Option<&Arc<KeySet>> {
        self.within(now, if self.failure.is_some() { stale } else { 0 })
    }

    /// The set, if it was fresh so many seconds ago.
    fn within(&self, now: UnixTime, stale: i64) -> Option<&Arc<KeySet>> {
        self.set.as_ref().filter(|_| now - self.fresh_until < stale)
    }
}

impl Clients {
    /// The keys that a client's assertions may be signed with.
    ///
    /// # Errors
    ///
    /// Why there are none, or not now.
    pub async fn keys(
        &self,
        client: &Client,
        asker: Asker,
        now: UnixTime,
    ) -> Result<Arc<KeySet>, Refusal> {
        let (uri, sets) = match (&client.metadata.jwks, &client.metadata.jwks_uri) {
            (Some(set), _) => return Ok(Arc::new(set.clone())),
            (None, Some(uri)) => (uri, &*self.0.key_sets.0),
            (None, None) => return Err(no_keys()),
        };
        if let Some(kept) = sets.kept.get(uri) {
            let is_resting = now - kept.asked_at < sets.cooldown;
            let fresh = kept.fresh_until > now && kept.failure.is_none();
            if let Some(set) = kept
                .serving(now, sets.stale)
                .filter(|_| fresh || is_resting)
            {
                return Ok(Arc::clone(set));
            }
            if is_resting {
                return Err(kept.resting(sets.cooldown, now));
            }
        }
        match self.ask_for_keys(client, uri, asker, now).await {
            // It is us who had no time to ask: the set serves as if its host gave no other.
            Err(refusal) if refusal.is_ours() => {
                let kept = sets.kept.get(uri);
                let set = kept.and_then(|kept| kept.within(now, sets.stale).cloned());
                set.ok_or_else(|| unavailable(refusal))
            }
            asked => asked,
        }
    }

    /// The keys, asked for now because an assertion names one that is not among those at hand. Only after every cheap
    /// check: one question to a host in `clients.keys_cooldown` seconds, whoever asks. Keys that were read after the
    /// assertion was made, at `made_at`, are the last word.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Invalid`] where there is no such key; [`RefusalKind::Temporary`] while the host is given time: a key
    /// that was published just before may still be unknown here.
    pub async fn newer_keys(
        &self,
        client: &Client,
        made_at: UnixTime,
        asker: Asker,
        now: UnixTime,
    ) -> Result<Arc<KeySet>, Refusal> {
        let Some(uri) = &client.metadata.jwks_uri else {
            return self.newer_inline_keys(client, made_at, asker, now).await;
        };
        let sets = &*self.0.key_sets.0;
        if let Some(kept) = sets.kept.get(uri) {
            if kept.set.is_some() && kept.read_at > made_at {
                return Err(no_such_key());
            }
            if now - kept.asked_at < sets.cooldown {
                return Err(kept.resting(sets.cooldown, now));
            }
        }
        let keys = self.ask_for_keys(client, uri, asker, now).await;
        let keys = keys.map_err(|refusal| match refusal.is_ours() {
            true => unavailable(refusal),
            false => refusal,
        })?;
        // A set that serves although its host gave no other is no answer to this question.
        match sets.kept.get(uri).filter(|kept| kept.failure.is_some()) {
            Some(kept) => Err(kept.resting(sets.cooldown, now)),
            None => Ok(keys),
        }
    }

    /// The same where the keys stand in the document.
    async fn newer_inline_keys(
        &self,
        client: &Client,
        made_at: UnixTime,
        asker: Asker,
        now: UnixTime,
    ) -> Result<Arc<KeySet>, Refusal> {
        if client.fetched_at > made_at {
            return Err(no_such_key());
        }
        let reread = {
            let _place = self.0.host.program_may_wait()?;
            self.reread(client, asker, now).await
        };
        match reread {
            Reread::Newer(newer) => self.keys(&newer, asker, now).await,
            Reread::Same => Err(no_such_key()),
            Reread::NotNow(refusal) => Err(unavailable(refusal)),
        }
    }

    async fn ask_for_keys(
        &self,
        client: &Client,
        uri: &str,
        asker: Asker,
        now: UnixTime,
    ) -> Result<Arc<KeySet>, Refusal> {
        let address = self.key_set_address(uri)?;
        let _place = self.0.host.program_may_wait()?;
        let charge = self.0.host.charge(client.id(), asker, false, now).await?;
        let load = || {
            let (sets, client_id) = (self.0.key_sets.clone(), client.id().clone());
            async move { sets.load(&client_id, &address, charge).await }
        };
        let flights = &self.0.key_sets.0.flights;
        // Another client may name the same address: what it may have read decides for itself alone.
        match charge {
            Charge::Stranger { .. } => flights.join(&format!("for a stranger: {uri}"), load).await,
            _ => flights.join(uri, load).await,
        }
    }

    /// A `jwks_uri` is held to what a client identifier is held to: it is read as one is.
    pub(super) fn key_set_address(&self, uri: &str) -> Result<ClientUrl, Refusal> {
        let invalid = |told: &str| {
            Refusal::invalid("document.jwks_uri", told.replace("client_id", "jwks_uri"))
        };
        let address: ClientUrl =
            uri.parse()
                .map_err(|error: crate::protocol::client_url::ClientUrlError| {
                    invalid(&error.to_string())
                })?;
        self.check_url(&address)
            .map_err(|refusal| invalid(&refusal.told))?;
        Ok(address)
    }
}

impl Kept {
    /// What is told while the host is given time.
    fn resting(&self, cooldown: i64, now: UnixTime) -> Refusal {
        let cause = match &self.failure {
            Some(refusal) => refusal.cause.clone(),
            None => "the key set was read a moment ago and does not have the key".to_owned(),
        };
        resting(cooldown - (now - self.asked_at), cause)
    }
}

pub(super) fn resting(wait: i64, cause: String) -> Refusal {
    let wait = u32::try_from(wait).unwrap_or(1).max(1);
    Refusal {
        kind: RefusalKind::Temporary(wait),
        rule: "keys.cooldown",
        told: format!("the client's keys are read again in {wait} seconds at the earliest"),
        cause,
    }
}

fn no_such_key() -> Refusal {
    let told = "the client has no such key: its keys were read after the assertion was made";
    Refusal::invalid("keys.unknown", told)
}

fn no_keys() -> Refusal {
    Refusal::invalid("document.keys", "the client publishes no keys")
}

impl KeySets {
    async fn load(
        &self,
        client_id: &ClientId,
        address: &ClientUrl,
        charge: Charge,
    ) -> Result<Arc<KeySet>, Refusal> {
        let sets = &*self.0;
        let uri = address.as_str();
        let before = sets.kept.get(uri);
        let read = match self.read(address, charge).await {
            // Nothing was asked, and nothing is noted.
            Err(refusal) if refusal.is_ours() => return Err(refusal),
            read => read,
        };
        let now = sets.host.now();
        let read = read.and_then(|(set, lifetime)| {
            let known = before.as_ref().and_then(|kept| kept.set.as_ref());
            match known.and_then(|known| set.replaced(known)) {
                Some(kid) => Err(key_changed(kid)),
                None => Ok((set, lifetime)),
            }
        });
        let kept = match &read {
            Ok((set, lifetime)) => Kept {
                set: Some(Arc::new(set.clone())),
                read_at: now,
                fresh_until: now + *lifetime,
                asked_at: now,
                failure: None,
            },
            Err(refusal) => {
                tracing::warn!(%client_id, jwks_uri = uri, rule = refusal.rule, cause = %refusal.cause.escape_debug(), "could not read a client's keys");
                Kept {
                    set: before.as_ref().and_then(|kept| kept.set.clone()),
                    read_at: before.as_ref().map_or(now, |kept| kept.read_at),
                    fresh_until: before.map_or(now, |kept| kept.fresh_until),
                    asked_at: now,
                    failure: Some(refusal.clone()),
                }
            }
        };
        sets.kept.insert(uri.to_owned(), kept.clone());
        match (kept.serving(now, sets.stale), read) {
            (Some(set), _) => Ok(Arc::clone(set)),
            (None, Err(refusal)) => Err(unavailable(refusal)),
            (None, Ok((set, _))) => Ok(Arc::new(set)),
        }
    }

    /// The key set at an address, and how long it is fresh.
    async fn read(&self, address: &ClientUrl, charge: Charge) -> Result<(KeySet, i64), Refusal> {
        let url = Url::parse(address.as_str())
            .map_err(|error| Refusal::invalid("document.jwks_uri", error.to_string()))?;
        let wanted = Wanted {
            accept: ACCEPT,
            max_bytes: self.0.max_bytes,
        };
        let (_, fetched) = self.0.host.fetcher().get(&url, wanted, charge).await;
        let fetched = fetched.map_err(|error| Refusal::from(&error))?;
        if !media_type::is_json(&fetched.header_values("content-type")) {
            let told = "the key set must be served as application/jwk-set+json or application/json";
            return Err(Refusal::invalid("keys.media_type", told));
        }
        let set = KeySet::parse(&fetched.body)
            .map_err(|error| Refusal::invalid(error.rule(), error.to_string()))?;
        let headers: Vec<(&str, &str)> = fetched
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let freshness = http_cache::freshness(&headers, &self.0.bounds);
        Ok((set, freshness.lifetime.max(self.0.bounds.least)))
    }
}

/// Keys that cannot be read are no proof against a client: it may come again.
fn unavailable(refusal: Refusal) -> Refusal {
    match refusal.is_temporary() {
        true => refusal,
        false => Refusal {
            kind: RefusalKind::Temporary(30),
            ..refusal
        },
    }
}

fn key_changed(kid: &str) -> Refusal {
    let told = "a key has the kid of another key that was published before; give the new key a kid of its own";
    let mut refusal = Refusal::invalid("keys.kid_changed", told);
    refusal.cause = format!("the key {} changed under its kid", kid.escape_debug());
    refusal
}
