//! The hosts of clients' documents: asked once at a time for each document, with a budget and a back-off; what comes is judged,
//! and kept. CIMD §5.

use std::sync::Arc;

use moka::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use super::{
    asker::Asker,
    document_cache::{Cached, DocumentCache, read},
    history::{key_changed, key_replaced, what_happened},
    refusal::{Refusal, RefusalKind},
    rule_book::RuleBook,
    single_flight::{Flight, SingleFlight},
};
use crate::{
    config::Config,
    fetch::{
        Charge, DOCUMENT_ACCEPT, FetchError, Fetched, Fetcher, FetcherError, Resolver, Wanted, Wire,
    },
    policy::{client_pattern::Pattern, client_rules::Tier},
    protocol::{
        client::{Client, Digest},
        client_id::ClientId,
        client_url::ClientUrl,
        http_cache::{self, Bounds},
        media_type,
    },
    store::{Accepted, Gone, Store},
    time::{Clock, UnixTime},
};

/// Seconds between attempts after failures: the first, the second, … and all later ones.
const BACKOFF: [i64; 5] = [5, 10, 20, 40, 60];
/// Seconds after which a host that says again that there is no document is believed for refresh tokens, too.
const GONE_CONFIRMED: i64 = 3_600;

/// Attempts that failed, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) count: usize,
    pub(super) not_before: UnixTime,
    pub(super) refusal: Refusal,
}

/// What asks hosts for documents. Cheap to clone.
#[derive(Clone)]
pub(super) struct DocumentHost(Arc<Inner>);

struct Inner {
    fetcher: Fetcher,
    cache: Arc<DocumentCache>,
    rules: Arc<RuleBook>,
    store: Store,
    clock: Clock,
    settings: crate::config::Clients,
    max_bytes: usize,
    failures: Cache<ClientUrl, Failure>,
    flights: SingleFlight<Arc<Client>>,
    /// Places for those who wait for a host.
    waiting: Semaphore,
    /// The same for programs that prove themselves: they have fewer places in all.
    programs_waiting: Semaphore,
}

impl DocumentHost {
    /// No host was asked yet.
    ///
    /// # Errors
    ///
    /// When the additional roots cannot be read.
    pub(super) fn new(
        config: &Config,
        (cache, rules): (Arc<DocumentCache>, Arc<RuleBook>),
        store: Store,
        resolver: Resolver,
        clock: &Clock,
    ) -> Result<Self, FetcherError> {
        let requests = config.server.max_requests.get();
        Ok(Self(Arc::new(Inner {
            fetcher: Fetcher::new(config, resolver, clock)?,
            cache,
            rules,
            store,
            clock: clock.clone(),
            settings: config.clients.clone(),
            max_bytes: usize::try_from(config.fetch.max_bytes.get()).unwrap_or(usize::MAX),
            failures: Cache::new(config.clients.cache_entries.get().into()),
            flights: SingleFlight::new(),
            waiting: Semaphore::new(half(requests.saturating_mul(8))),
            programs_waiting: Semaphore::new(half(requests)),
        })))
    }

    pub(super) fn fetcher(&self) -> &Fetcher {
        &self.0.fetcher
    }

    /// The hosts that failed, and since when they are left alone.
    pub(super) fn failures(&self) -> impl Iterator<Item = (Arc<ClientUrl>, Failure)> {
        self.0.failures.iter()
    }

    /// The last failure of a host that is left alone for a while, as a refusal.
    pub(super) fn in_back_off(&self, client_id: &ClientUrl, now: UnixTime) -> Option<Refusal> {
        let failure = self.0.failures.get(client_id);
        let failure = failure.filter(|failure| failure.not_before > now)?;
        Some(failure.refusal_during_backoff(now))
    }

    pub(super) fn forget_failures(&self) {
        self.0.failures.invalidate_all();
    }

    /// Documents that are being read.
    pub(super) fn under_way(&self) -> usize {
        self.0.flights.len()
    }

    /// The answer that needs no network, and where it was: a fresh copy, or what is left while its host is given time.
    pub(super) async fn at_hand(
        &self,
        client_id: &ClientUrl,
        now: UnixTime,
    ) -> Result<Option<(Cached, &'static str)>, Refusal> {
        let (last_good, place) = self.0.cache.look_up(client_id).await?.unzip();
        let place = place.unwrap_or_default();
        let is_fresh = |cached: &&Cached| cached.fresh_until > now && cached.gone.since.is_none();
        if let Some(cached) = last_good.as_ref().filter(is_fresh) {
            return Ok(Some((cached.clone(), place)));
        }
        match self.in_back_off(client_id, now) {
            Some(refusal) => {
                let stale = self.0.cache.stale(last_good, now);
                stale.map(|cached| Some((cached, place))).ok_or(refusal)
            }
            None => Ok(None),
        }
    }

    pub(super) fn is_given_time(&self, client_id: &ClientUrl, now: UnixTime) -> bool {
        let failure = self.0.failures.get(client_id);
        failure.is_some_and(|failure| failure.not_before > now)
    }

    /// Waits for the client from its host. At most half as many may wait at a time as there are places for requests of people,
    /// so that slow hosts leave places for other requests. If it is us who have no time to ask, the last good copy
    /// serves as if its host were down.
    pub(super) async fn fetched(
        &self,
        client_id: &ClientUrl,
        asker: Asker,
    ) -> Result<Arc<Client>, Refusal> {
        let read = match self.0.waiting.try_acquire() {
            Ok(_place) => self.flight(client_id, asker).await,
            Err(_) => Err(Refusal::from(&FetchError::Busy)),
        };
        match read {
            Err(refusal) if refusal.is_ours() => {
                let last_good = self.0.cache.last_good(client_id).await?;
                let stale = self.0.cache.stale(last_good, self.now());
                stale.map(|cached| cached.client).ok_or(refusal)
            }
            read => read,
        }
    }

    /// A place for a program that waits for a host before it has proven itself.
    pub(super) fn program_may_wait(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        let place = self.0.programs_waiting.try_acquire();
        place.map_err(|_| Refusal::from(&FetchError::Busy))
    }

    /// Joins the fetch that is under way for this identifier, or starts it. Others do not depend on what became of one that
    /// is charged to a stranger.
    pub(super) fn flight(&self, client_id: &ClientUrl, asker: Asker) -> Flight<Arc<Client>> {
        let flights = &self.0.flights;
        let start = || {
            let (host, id) = (self.clone(), client_id.clone());
            async move { host.load(&id, asker).await }
        };
        match asker.is_anonymous() && !flights.are_under_way(client_id.as_str()) {
            true => flights.join(&format!("for a stranger: {client_id}"), start),
            false => flights.join(client_id.as_str(), start),
        }
    }

    /// Has the host asked in the background when that is due.
    pub(super) fn renew(&self, client_id: &ClientUrl, asker: Asker, now: UnixTime) {
        let Some(cached) = self.0.cache.memory.get(client_id) else {
            return;
        };
        // What may not be stored is for the login under way only.
        let is_due = cached.may_go_stale && cached.refresh_from <= now;
        if is_due && !self.is_given_time(client_id, now) {
            drop(self.flight(client_id, asker));
        }
    }

    /// Fetches, validates and keeps a document. Nothing invalid is ever kept.
    pub(super) async fn load(
        &self,
        client_id: &ClientUrl,
        asker: Asker,
    ) -> Result<Arc<Client>, Refusal> {
        // Another flight may have landed while this one was called for.
        let now = self.0.clock.now();
        match self.at_hand(client_id, now).await? {
            Some((cached, _))
                if cached.refresh_from > now || self.is_given_time(client_id, now) =>
            {
                return Ok(cached.client);
            }
            _ => {}
        }
        let last_good = self.0.cache.last_good(client_id).await?;
        let id = client_id.clone().into();
        let charge = self.charge(&id, asker, last_good.is_none(), now).await?;
        let (wire, fetched) = self.fetch(client_id, charge).await;
        self.take(client_id, &wire, fetched, last_good, false).await
    }

    /// One attempt at the document's host.
    pub(super) async fn fetch(
        &self,
        client_id: &ClientUrl,
        charge: Charge,
    ) -> (Wire, Result<Fetched, FetchError>) {
        let Ok(url) = Url::parse(client_id.as_str()) else {
            return (Wire::default(), Err(FetchError::Literal));
        };
        let wanted = Wanted {
            accept: DOCUMENT_ACCEPT,
            max_bytes: self.0.max_bytes,
        };
        let (wire, fetched) = self.0.fetcher.get(&url, wanted, charge).await;
        let result = fetched.as_ref().err().map_or("ok", FetchError::rule);
        self.0.store.counts.document_fetches.add(result);
        (wire, fetched)
    }

    /// Judges what came, and keeps it or backs off. Where it was us who did not ask, nothing is noted of the host.
    pub(super) async fn take(
        &self,
        client_id: &ClientUrl,
        wire: &Wire,
        fetched: Result<Fetched, FetchError>,
        last_good: Option<Cached>,
        accept: bool,
    ) -> Result<Arc<Client>, Refusal> {
        let ours = fetched.as_ref().err().map(Refusal::from);
        if let Some(refusal) = ours.filter(Refusal::is_ours) {
            tracing::debug!(%client_id, cause = %refusal.cause, "did not ask for a client's document");
            return Err(refusal);
        }
        let now = self.0.clock.now();
        let rule = fetched.as_ref().err().map_or("", FetchError::rule);
        tracing::info!(%client_id, rule, status = wire.status, bytes = wire.bytes, ms = wire.milliseconds(), "fetched a client's document");
        let read = match fetched {
            Ok(fetched) => check_answer(client_id, &fetched, now).map(|client| (client, fetched)),
            Err(error) => Err(Refusal::from(&error)),
        };
        let (client, fetched) = match read {
            Ok(read) => read,
            Err(refusal) => return self.failed(client_id, last_good, refusal, None, now).await,
        };
        let replaced = last_good
            .as_ref()
            .and_then(|known| key_replaced(&known.client.metadata, &client.metadata));
        if let Some(kid) = replaced.filter(|_| !accept) {
            let refusal = key_changed(kid);
            tracing::error!(%client_id, digest = client.digest.as_str(), kid = %kid.escape_debug(), "a key changed under its kid: the document is refused");
            let version = Some(client.digest.clone());
            return self
                .failed(client_id, last_good, refusal, version, now)
                .await;
        }
        self.0.failures.invalidate(client_id);
        self.keep(client_id, client, &fetched, last_good, now).await
    }

    async fn keep(
        &self,
        client_id: &ClientUrl,
        client: Client,
        fetched: &Fetched,
        last_good: Option<Cached>,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        let freshness = self.freshness(fetched);
        // One fetch still serves all requests of the same second when nothing may be stored.
        let lifetime = if freshness.store {
            jittered(freshness.lifetime, client_id.as_str()).clamp(
                self.0.settings.fresh.least.into(),
                self.0.settings.fresh.most.into(),
            )
        } else {
            1
        };
        let fresh_until = now + lifetime;
        let document: Arc<str> = String::from_utf8_lossy(&fetched.body).into();
        let (event, revoke) = what_happened(&client, &document, last_good.as_ref());
        let accepted = Accepted {
            client_id: client_id.clone(),
            digest: client.digest.clone(),
            document: document.to_string(),
            fetched_at: now,
            fresh_until: freshness.store.then_some(fresh_until),
            event,
            revoke,
        };
        self.0.store.keep_client(accepted).await?;
        tracing::info!(%client_id, digest = client.digest.as_str(), lifetime, bytes = fetched.body.len(), "read a client's document");
        let client = Arc::new(client);
        let cached = Cached {
            client: client.clone(),
            document,
            first_seen_at: last_good.map_or(now, |known| known.first_seen_at),
            fresh_until,
            refresh_from: match freshness.store {
                true => now + lifetime * 4 / 5,
                false => fresh_until,
            },
            may_go_stale: freshness.store,
            failing: false,
            gone: Gone::default(),
        };
        self.0.cache.memory.insert(client_id.clone(), cached);
        Ok(client)
    }

    pub(super) fn now(&self) -> UnixTime {
        self.0.clock.now()
    }

    pub(super) fn freshness(&self, fetched: &Fetched) -> http_cache::Freshness {
        let bounds = &self.0.settings.fresh;
        let bounds = Bounds {
            least: bounds.least.into(),
            absent: bounds.absent.into(),
            most: bounds.most.into(),
        };
        let headers: Vec<(&str, &str)> = fetched
            .headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        http_cache::freshness(&headers, &bounds)
    }

    /// Backs off; serves the last good copy if its host is only down. `version` is the document that was refused, if it
    /// is valid by itself.
    async fn failed(
        &self,
        client_id: &ClientUrl,
        last_good: Option<Cached>,
        refusal: Refusal,
        version: Option<Digest>,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        let count = self
            .0
            .failures
            .get(client_id)
            .map_or(0, |failure| failure.count);
        let wait = match refusal.kind {
            RefusalKind::Temporary(wait) => i64::from(wait),
            _ => 0,
        };
        let not_before = now + wait.clamp(BACKOFF[count.min(BACKOFF.len() - 1)], 60);
        self.0.failures.insert(
            client_id.clone(),
            Failure {
                count: count + 1,
                not_before,
                refusal: refusal.clone(),
            },
        );
        let (cause, rule) = (refusal.cause.escape_debug().to_string(), refusal.rule);
        tracing::warn!(client_id = %client_id, rule, %cause, "could not read a client's document");
        let Some(mut known) = last_good else {
            return Err(refusal);
        };
        known.failing = true;
        // Its host's own word that there is no document, or none that is valid: no copy outlives it.
        if refusal.kind == RefusalKind::Invalid {
            // A version that is refused for its keys says nothing against those who were granted something before.
            let confirm = version.is_none().then_some(GONE_CONFIRMED);
            known.gone = self
                .0
                .store
                .note_gone(client_id.clone(), now, rule, cause, confirm, version)
                .await?;
            self.0.cache.put(client_id, known);
            return Err(refusal);
        }
        self.0
            .store
            .note_failure(client_id.clone(), now, rule, cause)
            .await?;
        self.0.cache.put(client_id, known.clone());
        self.0
            .cache
            .stale(Some(known), now)
            .map(|cached| cached.client)
            .ok_or(refusal)
    }

    /// Who is charged when this client's host is asked. `is_new`: its document was never read.
    pub(super) async fn charge(
        &self,
        client_id: &ClientId,
        asker: Asker,
        is_new: bool,
        now: UnixTime,
    ) -> Result<Charge, Refusal> {
        Ok(match asker {
            Asker::Grant => Charge::Known(None),
            Asker::SignedIn(source) => Charge::Person { source, is_new },
            Asker::Anonymous(source) if self.is_in_use(client_id, is_new, now).await? => {
                Charge::Known(Some(source))
            }
            Asker::Anonymous(source) => Charge::Stranger { source, is_new },
        })
    }

    /// Does the administrator name this client, or does anybody here use it? That its document was read before is not
    /// enough: strangers bring as many as they like.
    async fn is_in_use(
        &self,
        client_id: &ClientId,
        is_new: bool,
        now: UnixTime,
    ) -> Result<bool, Refusal> {
        let standing = self.0.rules.of(client_id, &[]);
        if standing.registered {
            return Ok(true);
        }
        let is_listed = standing.tier >= Tier::Listed;
        if is_new {
            // Below a prefix or a host that is listed a stranger invents as many identifiers as below any other.
            let pattern = standing.rule.map(|rule| rule.pattern);
            return Ok(is_listed && matches!(pattern, Some(Pattern::Url(_))));
        }
        if is_listed {
            return Ok(true);
        }
        let Some(url) = client_id.url() else {
            return Ok(false);
        };
        if self.0.cache.memory.is_settled(url) {
            return Ok(true);
        }
        let is_used = self.0.store.is_client_used(client_id, now).await?;
        if is_used {
            self.0.cache.memory.settle(url);
        }
        Ok(is_used)
    }
}

impl Failure {
    fn refusal_during_backoff(&self, now: UnixTime) -> Refusal {
        let wait = u32::try_from((self.not_before - now).max(1)).unwrap_or(1);
        let told = format!(
            "{} (the last attempt failed; the next one is made in {wait} seconds)",
            self.refusal.told
        );
        Refusal {
            // What only the developer can mend stays so, however often it is asked.
            kind: match self.refusal.kind {
                RefusalKind::Invalid => RefusalKind::Invalid,
                _ => RefusalKind::Temporary(wait),
            },
            told,
            ..self.refusal.clone()
        }
    }
}

/// How many of the places for requests may wait for hosts.
fn half(places: u32) -> usize {
    let places = usize::try_from(places).unwrap_or(usize::MAX);
    (places / 2).clamp(1, Semaphore::MAX_PERMITS)
}

/// The description of a refusal by media type.
pub(super) const MEDIA_TYPE: &str = "the document must be served with exactly one Content-Type: application/json or \
                                     application/*+json, in UTF-8";

fn check_answer(
    client_id: &ClientUrl,
    fetched: &Fetched,
    now: UnixTime,
) -> Result<Client, Refusal> {
    if !media_type::is_json(&fetched.header_values("content-type")) {
        return Err(Refusal::invalid("document.media_type", MEDIA_TYPE));
    }
    read(client_id, &fetched.body, now)
}

/// Lifetimes spread by up to a tenth, so that what was read together is not read again together.
fn jittered(lifetime: i64, client_id: &str) -> i64 {
    let spread = i64::from(u16::from_be_bytes({
        let hash = crate::secret::sha256(client_id.as_bytes());
        [hash[0], hash[1]]
    }));
    let tenth = lifetime / 10;
    lifetime - tenth + (2 * tenth * spread) / i64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn ten_thousand_clients_that_were_read_together_are_not_read_again_together() {
        let mut seconds: HashMap<i64, usize> = HashMap::new();
        for n in 0..10_000 {
            let lifetime = jittered(600, &format!("https://a.example.com/{n}"));
            assert!((540..=660).contains(&lifetime), "{lifetime}");
            *seconds.entry(lifetime).or_default() += 1;
        }
        // 121 seconds are possible: none of them gets twice its share.
        assert!(seconds.len() > 100, "{}", seconds.len());
        assert!(seconds.values().all(|count| *count < 2 * 10_000 / 121));
        assert_eq!(jittered(600, "a"), jittered(600, "a"));
    }
}
