//! Client ID Metadata Documents: fetch, validate, keep. One fetch at a time per URL, owned by a task. CIMD §5.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use moka::sync::Cache;
use url::Url;

use super::{
    memory::{Cached, Memory},
    refusal::{Refusal, RefusalKind},
    standings::Standings,
};
use crate::{
    config::Config,
    fetch::{
        Charge, DOCUMENT_ACCEPT, FetchError, Fetched, Fetcher, FetcherError, Resolver, Wanted, Wire,
    },
    policy::{
        client_rules::{Standing, Tier},
        client_url::{self, Rules},
        metadata_change::{self, Answer},
    },
    protocol::{
        client::{Client, Digest},
        client_id::ClientId,
        client_metadata::{self, ClientMetadata},
        http_cache::{self, Bounds},
        media_type,
    },
    store::{Accepted, EventKind, Gone, KeptClient, NewEvent, Store},
    time::{Clock, UnixTime},
};

/// Seconds between attempts after failures: the first, the second, … and all later ones.
const BACKOFF: [i64; 5] = [5, 10, 20, 40, 60];
/// Seconds after which a host that says again that there is no document is believed for refresh tokens, too.
const GONE_CONFIRMED: i64 = 3_600;
/// Refusals that are remembered for the administrator.
const REMEMBERED: usize = 200;

/// One refusal, as the administrator sees it.
#[derive(Clone, Debug)]
pub struct Refused {
    pub at: UnixTime,
    pub client_id: String,
    pub refusal: Refusal,
}

/// A host that is given time.
#[derive(Clone, Debug)]
pub struct BackedOff {
    pub client_id: ClientId,
    pub failures: usize,
    pub not_before: UnixTime,
    pub refusal: Refusal,
}

#[derive(Clone, Debug)]
struct Failure {
    count: usize,
    not_before: UnixTime,
    refusal: Refusal,
}

/// Is a client's document still what its grants rest on?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Footing {
    /// It is, or its host is given time.
    Firm,
    /// Its host has been down for too long; again in so many seconds.
    Lost(u32),
    /// Its host took it away, and confirmed that.
    Withdrawn,
}

type Flight = Shared<BoxFuture<'static, Result<Arc<Client>, Refusal>>>;

/// Resolves client identifiers.
#[derive(Clone, Debug)]
pub struct Clients(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) fetcher: Fetcher,
    pub(super) store: Store,
    pub(super) standings: Standings,
    clock: Clock,
    settings: crate::config::Clients,
    max_bytes: usize,
    pub(super) max_logo_bytes: usize,
    /// Held while a logo is fetched and decoded.
    pub(super) decoding: tokio::sync::Mutex<()>,
    loopback: bool,
    special_names: bool,
    own_host: String,
    own_origin: String,
    /// Where documents of clients in development are served, if they are.
    development: Option<String>,
    resource_origins: Vec<String>,
    memory: Memory,
    failures: Cache<ClientId, Failure>,
    refused: Mutex<VecDeque<Refused>>,
    flights: Mutex<HashMap<ClientId, Flight>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clients({} in memory)", self.memory.len())
    }
}

impl Clients {
    /// With an empty memory, and the administrator's rules.
    ///
    /// # Errors
    ///
    /// When the additional roots cannot be read.
    pub fn new(
        config: &Config,
        store: Store,
        resolver: Resolver,
        clock: &Clock,
    ) -> Result<Self, FetcherError> {
        let origin = |id: &String| {
            Url::parse(id)
                .ok()
                .map(|url| url.origin().ascii_serialization())
        };
        let entries = u64::from(config.clients.cache_entries.get());
        Ok(Self(Arc::new(Inner {
            fetcher: Fetcher::new(config, resolver, clock)?,
            store,
            standings: Standings::new(config),
            clock: clock.clone(),
            settings: config.clients.clone(),
            max_bytes: usize::try_from(config.fetch.max_bytes.get()).unwrap_or(usize::MAX),
            max_logo_bytes: usize::try_from(config.fetch.max_logo_bytes.get())
                .unwrap_or(usize::MAX),
            decoding: tokio::sync::Mutex::default(),
            loopback: config.danger.allow_loopback_clients,
            special_names: config.danger.allow_loopback_clients
                || !config.fetch.allow_networks.is_empty(),
            own_host: config.issuer.host().to_owned(),
            own_origin: config.issuer.origin().to_owned(),
            development: config
                .development
                .clients
                .then(|| config.issuer.join("/dev-clients/")),
            resource_origins: config
                .resources
                .0
                .iter()
                .map(|resource| &resource.id)
                .filter_map(origin)
                .collect(),
            memory: Memory::new(entries),
            failures: Cache::new(entries),
            refused: Mutex::default(),
            flights: Mutex::default(),
        })))
    }

    /// What the administrator's rules make of clients.
    pub fn standings(&self) -> &Standings {
        &self.0.standings
    }

    /// Reads the administrator's rules anew and forgets every copy in memory, if something changed since.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn notice_changes(&self) -> Result<(), crate::store::StoreError> {
        if self.0.store.client_revision().await? != self.0.standings.revision() {
            self.0.standings.reload(&self.0.store).await?;
            self.0.memory.clear();
            self.0.failures.invalidate_all();
        }
        Ok(())
    }

    /// Judges an identifier by our policy, before anything is looked up.
    ///
    /// # Errors
    ///
    /// The rule that refuses it.
    pub fn check_url(&self, client_id: &ClientId) -> Result<(), Refusal> {
        if self.is_in_development(client_id) {
            return Ok(());
        }
        client_url::check(client_id, &self.url_rules())
            .map_err(|rule| Refusal::invalid(rule.name, rule.told))
    }

    /// Is it one of the documents that we serve for developers?
    pub fn is_in_development(&self, client_id: &ClientId) -> bool {
        let ours = self.0.development.as_ref();
        ours.is_some_and(|prefix| client_id.as_str().starts_with(prefix))
    }

    pub(super) fn url_rules(&self) -> Rules<'_> {
        let inner = &*self.0;
        Rules {
            allow_query: inner.settings.allow_query,
            allowed_ports: &inner.settings.allowed_ports,
            loopback: inner.loopback,
            special_names: inner.special_names,
            own_host: &inner.own_host,
            own_origin: &inner.own_origin,
            resource_origins: &inner.resource_origins,
        }
    }

    /// What a client is to us.
    ///
    /// # Errors
    ///
    /// When a rule of the administrator blocks it.
    pub fn standing(&self, client_id: &ClientId, keys: &[String]) -> Result<Standing, Refusal> {
        let standing = self.0.standings.of(client_id, keys);
        if standing.tier == Tier::Blocked {
            let mut refusal = Refusal::invalid(
                "policy.blocked",
                "the administrator of this server does not accept this client",
            );
            refusal.cause = standing.why();
            return Err(refusal);
        }
        Ok(standing)
    }

    /// The client, if a fresh copy is at hand: no network.
    ///
    /// # Errors
    ///
    /// When it is blocked, or the database fails.
    pub async fn known(
        &self,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<Option<Arc<Client>>, Refusal> {
        self.standing(client_id, &[])?;
        Ok(self
            .0
            .last_good(client_id)
            .await?
            .filter(|cached| cached.fresh_until > now && cached.gone.since.is_none())
            .map(|cached| cached.client))
    }

    /// The client, from its host if need be. `source` is the network that asks, to be charged for new clients.
    ///
    /// A caller that goes away does not stop the fetch that others wait for.
    ///
    /// # Errors
    ///
    /// Why there is no such client, or not now.
    pub async fn resolve(
        &self,
        client_id: &ClientId,
        source: IpAddr,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        let resolved = self.resolve_unremembered(client_id, source, now).await;
        if let Err(refusal) = &resolved {
            self.remember(client_id.as_str(), refusal, now);
        }
        resolved
    }

    async fn resolve_unremembered(
        &self,
        client_id: &ClientId,
        source: IpAddr,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        self.check_url(client_id)?;
        self.standing(client_id, &[])?;
        let client = if self.is_in_development(client_id) {
            self.0.development_client(client_id, now).await?
        } else {
            match self.0.at_hand(client_id, now).await? {
                Some(cached) => {
                    if cached.refresh_from <= now && cached.fresh_until > now {
                        // Nobody waits for it.
                        drop(self.flight(client_id, source));
                    }
                    cached.client
                }
                None => self.flight(client_id, source).await?,
            }
        };
        self.standing(client_id, &client.metadata.thumbprints())?;
        Ok(client)
    }

    /// The client from its host, if the copy at hand is older than a minute: for a request that does not fit the copy
    /// and may fit a newer one. Budgets and back-off apply as ever.
    pub async fn reread(
        &self,
        client: &Client,
        source: IpAddr,
        now: UnixTime,
    ) -> Option<Arc<Client>> {
        let client_id = client.id();
        let is_old = now - client.fetched_at >= i64::from(self.0.settings.fresh.least);
        if !is_old || self.is_in_development(client_id) || self.0.is_given_time(client_id, now) {
            return None;
        }
        let mut cached = self.0.memory.get(client_id)?;
        cached.refresh_from = now;
        self.0.memory.insert(client_id.clone(), cached);
        let read = self.flight(client_id, source).await.ok()?;
        (read.digest != client.digest).then_some(read)
    }

    /// Is the client's document still what its grants rest on? Asks nobody.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn footing(&self, client_id: &ClientId, now: UnixTime) -> Result<Footing, Refusal> {
        let Some(cached) = self.0.last_good(client_id).await? else {
            return Ok(Footing::Firm);
        };
        if cached.gone.confirmed_at.is_some() {
            return Ok(Footing::Withdrawn);
        }
        let too_long = i64::from(self.0.settings.stale_refresh);
        match cached.failing && now - cached.fresh_until >= too_long {
            true => Ok(Footing::Lost(60)),
            false => Ok(Footing::Firm),
        }
    }

    /// A grant of the client was used: strangers do not push it out of memory, and its host is asked when that is
    /// due, while nobody waits.
    pub fn used(&self, client_id: &ClientId, now: UnixTime) {
        self.0.memory.settle(client_id);
        let Some(cached) = self.0.memory.get(client_id) else {
            return;
        };
        // What may not be stored is for the login under way only.
        let is_due = cached.may_go_stale && cached.refresh_from <= now;
        if is_due && !self.0.is_given_time(client_id, now) {
            // A client that is known is charged to nobody's network.
            drop(self.flight(client_id, IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        }
    }

    /// When we first read its document.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn first_seen(&self, client_id: &ClientId) -> Result<Option<UnixTime>, Refusal> {
        Ok(self
            .0
            .last_good(client_id)
            .await?
            .map(|cached| cached.first_seen_at))
    }

    /// One version of a client's document, as it was kept.
    ///
    /// # Errors
    ///
    /// When it is not kept any more, or the database fails.
    pub async fn version(
        &self,
        client_id: &ClientId,
        digest: &Digest,
        fetched_at: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        let cached = self.0.memory.get(client_id);
        if let Some(cached) = cached.filter(|cached| cached.client.digest == *digest) {
            return Ok(cached.client);
        }
        let document = self.0.store.client_document(client_id, digest).await?;
        let gone = || {
            Refusal::invalid(
                "document.version",
                "the version of the client's document that this is about is gone",
            )
        };
        let document = document.ok_or_else(gone)?;
        read(client_id, document.as_bytes(), fetched_at).map(Arc::new)
    }

    /// Asks the host now, whatever is at hand, for the administrator. With `accept`, a version is kept although it
    /// changes a key under its `kid`.
    ///
    /// # Errors
    ///
    /// Why there is no such client.
    pub async fn refresh(
        &self,
        client_id: &ClientId,
        accept: bool,
    ) -> Result<Arc<Client>, Refusal> {
        self.check_url(client_id)?;
        let (wire, fetched) = self.0.fetch(client_id, Charge::Administrator).await;
        let last_good = self.0.last_good(client_id).await?;
        self.0
            .take(client_id, &wire, fetched, last_good, accept)
            .await
    }

    /// The last refusals, newest first.
    pub fn refused(&self) -> Vec<Refused> {
        let refused = self
            .0
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        refused.iter().rev().cloned().collect()
    }

    /// The hosts that are given time after failures.
    pub fn backed_off(&self, now: UnixTime) -> Vec<BackedOff> {
        let failures = self.0.failures.iter();
        let mut all: Vec<_> = failures
            .filter(|(_, failure)| failure.not_before > now)
            .map(|(client_id, failure)| BackedOff {
                client_id: (*client_id).clone(),
                failures: failure.count,
                not_before: failure.not_before,
                refusal: failure.refusal,
            })
            .collect();
        all.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        all
    }

    /// How much fetching is under way and charged.
    pub fn budgets(&self) -> &crate::fetch::Budgets {
        self.0.fetcher.budgets()
    }

    /// Documents that are being read.
    pub fn flights(&self) -> usize {
        let flights = self.0.flights.lock();
        flights.unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Clients in memory.
    pub fn in_memory(&self) -> u64 {
        self.0.memory.len()
    }

    fn remember(&self, client_id: &str, refusal: &Refusal, now: UnixTime) {
        let mut refused = self
            .0
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if refused.len() == REMEMBERED {
            refused.pop_front();
        }
        refused.push_back(Refused {
            at: now,
            client_id: client_id.to_owned(),
            refusal: refusal.clone(),
        });
    }

    /// Joins the fetch that is under way for this identifier, or starts it.
    fn flight(&self, client_id: &ClientId, source: IpAddr) -> Flight {
        let mut flights = self
            .0
            .flights
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(client_id) {
            return flight.clone();
        }
        let (inner, id) = (self.0.clone(), client_id.clone());
        let task = tokio::spawn(async move {
            let result = inner.load(&id, source).await;
            inner
                .flights
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&id);
            result
        });
        let flight: Flight = async move {
            task.await.unwrap_or_else(|error| {
                let told = "the server could not read the client's document".to_owned();
                Err(Refusal {
                    kind: RefusalKind::Internal,
                    rule: "internal",
                    told,
                    cause: error.to_string(),
                })
            })
        }
        .boxed()
        .shared();
        flights.insert(client_id.clone(), flight.clone());
        flight
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
            kind: RefusalKind::Temporary(wait),
            told,
            ..self.refusal.clone()
        }
    }
}

impl Inner {
    /// The last good copy, from memory or else from the database.
    pub(super) async fn last_good(&self, client_id: &ClientId) -> Result<Option<Cached>, Refusal> {
        if let Some(cached) = self.memory.get(client_id) {
            return Ok(Some(cached));
        }
        let Some(kept) = self.store.client(client_id).await? else {
            return Ok(None);
        };
        // A copy that today's rules refuse is no copy.
        let Ok(client) = read(client_id, kept.document.as_bytes(), kept.fetched_at) else {
            return Ok(None);
        };
        let cached = Cached::kept(client, &kept);
        self.memory.insert(client_id.clone(), cached.clone());
        Ok(Some(cached))
    }

    /// The last good copy, while it may serve new authorizations although its host is down.
    fn stale(&self, last_good: Option<Cached>, now: UnixTime) -> Option<Cached> {
        let bound = i64::from(self.settings.stale_authorization);
        last_good.filter(|cached| {
            cached.may_go_stale && cached.gone.since.is_none() && now - cached.fresh_until < bound
        })
    }

    fn is_given_time(&self, client_id: &ClientId, now: UnixTime) -> bool {
        let failure = self.failures.get(client_id);
        failure.is_some_and(|failure| failure.not_before > now)
    }

    /// The answer that needs no network: a fresh copy, or what is left while its host is given time.
    async fn at_hand(
        &self,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<Option<Cached>, Refusal> {
        let last_good = self.last_good(client_id).await?;
        let is_fresh = |cached: &&Cached| cached.fresh_until > now && cached.gone.since.is_none();
        if let Some(cached) = last_good.as_ref().filter(is_fresh) {
            return Ok(Some(cached.clone()));
        }
        match self
            .failures
            .get(client_id)
            .filter(|failure| failure.not_before > now)
        {
            Some(failure) => self
                .stale(last_good, now)
                .map(Some)
                .ok_or_else(|| failure.refusal_during_backoff(now)),
            None => Ok(None),
        }
    }

    /// A document of ours for a developer: it is as good as its row, and no better.
    async fn development_client(
        &self,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        let prefix = self.development.as_deref().unwrap_or_default();
        let id = client_id
            .as_str()
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(".json"));
        let document = match id {
            Some(id) => self.store.dev_client(id, now).await?,
            None => None,
        };
        let gone = || {
            Refusal::invalid(
                "development.gone",
                "there is no such client in development, or its time is over; make a new one",
            )
        };
        let document = document.ok_or_else(gone)?;
        let client = read(client_id, document.as_bytes(), now)?;
        let kept = self
            .store
            .client_document(client_id, &client.digest)
            .await?;
        if kept.is_none() {
            // The version that a login is about is kept as every other.
            let accepted = Accepted {
                client_id: client_id.clone(),
                digest: client.digest.clone(),
                document,
                fetched_at: now,
                fresh_until: None,
                event: None,
                revoke: None,
            };
            self.store.keep_client(accepted).await?;
        }
        Ok(Arc::new(client))
    }

    /// Fetches, validates and keeps a document. Nothing invalid is ever kept.
    async fn load(&self, client_id: &ClientId, source: IpAddr) -> Result<Arc<Client>, Refusal> {
        // Another flight may have landed while this one was called for.
        let now = self.clock.now();
        match self.at_hand(client_id, now).await? {
            Some(cached) if cached.refresh_from > now || self.is_given_time(client_id, now) => {
                return Ok(cached.client);
            }
            _ => {}
        }
        let last_good = self.last_good(client_id).await?;
        if last_good.is_none() {
            let charged = self.fetcher.budgets().charge_source(source);
            charged.map_err(|over| Refusal::source_over_budget(over.whose, over.wait))?;
        }
        let (wire, fetched) = self.fetch(client_id, Charge::Stranger).await;
        self.take(client_id, &wire, fetched, last_good, false).await
    }

    /// One attempt at the document's host.
    pub(super) async fn fetch(
        &self,
        client_id: &ClientId,
        charge: Charge,
    ) -> (Wire, Result<Fetched, FetchError>) {
        let Ok(url) = Url::parse(client_id.as_str()) else {
            return (Wire::default(), Err(FetchError::Literal));
        };
        let wanted = Wanted {
            accept: DOCUMENT_ACCEPT,
            max_bytes: self.max_bytes,
        };
        self.fetcher.get(&url, wanted, charge).await
    }

    /// Judges what came, and keeps it or backs off.
    async fn take(
        &self,
        client_id: &ClientId,
        wire: &Wire,
        fetched: Result<Fetched, FetchError>,
        last_good: Option<Cached>,
        accept: bool,
    ) -> Result<Arc<Client>, Refusal> {
        let now = self.clock.now();
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
        self.failures.invalidate(client_id);
        self.keep(client, &fetched, last_good, now).await
    }

    async fn keep(
        &self,
        client: Client,
        fetched: &Fetched,
        last_good: Option<Cached>,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        let freshness = self.freshness(fetched);
        // One fetch still serves all requests of the same second when nothing may be stored.
        let lifetime = if freshness.store {
            jittered(freshness.lifetime, client.id().as_str()).clamp(
                self.settings.fresh.least.into(),
                self.settings.fresh.most.into(),
            )
        } else {
            1
        };
        let fresh_until = now + lifetime;
        let document: Arc<str> = String::from_utf8_lossy(&fetched.body).into();
        let (event, revoke) = what_happened(&client, &document, last_good.as_ref());
        let accepted = Accepted {
            client_id: client.id().clone(),
            digest: client.digest.clone(),
            document: document.to_string(),
            fetched_at: now,
            fresh_until: freshness.store.then_some(fresh_until),
            event,
            revoke,
        };
        self.store.keep_client(accepted).await?;
        tracing::info!(client_id = %client.id(), digest = client.digest.as_str(), lifetime, bytes = fetched.body.len(), "read a client's document");
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
        self.memory.insert(client.id().clone(), cached);
        Ok(client)
    }

    pub(super) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    pub(super) fn freshness(&self, fetched: &Fetched) -> http_cache::Freshness {
        let bounds = &self.settings.fresh;
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
        client_id: &ClientId,
        last_good: Option<Cached>,
        refusal: Refusal,
        version: Option<Digest>,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        let count = self
            .failures
            .get(client_id)
            .map_or(0, |failure| failure.count);
        let wait = match refusal.kind {
            RefusalKind::Temporary(wait) => i64::from(wait),
            _ => 0,
        };
        let not_before = now + wait.clamp(BACKOFF[count.min(BACKOFF.len() - 1)], 60);
        self.failures.insert(
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
                .store
                .note_gone(client_id.clone(), now, rule, cause, confirm, version)
                .await?;
            self.keep_in_memory(client_id, known);
            return Err(refusal);
        }
        self.store
            .note_failure(client_id.clone(), now, rule, cause)
            .await?;
        self.keep_in_memory(client_id, known.clone());
        self.stale(Some(known), now)
            .map(|cached| cached.client)
            .ok_or(refusal)
    }

    /// What may not be stored is not remembered beyond its second.
    fn keep_in_memory(&self, client_id: &ClientId, cached: Cached) {
        match cached.may_go_stale {
            true => self.memory.insert(client_id.clone(), cached),
            false => self.memory.remove(client_id),
        }
    }
}

impl Cached {
    fn kept(client: Client, kept: &KeptClient) -> Self {
        let lifetime = kept.fresh_until - kept.fetched_at;
        Self {
            client: Arc::new(client),
            document: kept.document.as_str().into(),
            first_seen_at: kept.first_seen_at,
            fresh_until: kept.fresh_until,
            refresh_from: kept.fetched_at + lifetime * 4 / 5,
            may_go_stale: true,
            failing: kept.failed_at.is_some(),
            gone: Gone {
                since: kept.gone_since,
                confirmed_at: kept.gone_confirmed_at,
            },
        }
    }
}

/// The line of history that a version makes, and the reason to end grants if there is one.
fn what_happened(
    client: &Client,
    document: &str,
    last_good: Option<&Cached>,
) -> (Option<NewEvent>, Option<&'static str>) {
    let event = |kind, changes: &[metadata_change::Change], answer: &str| NewEvent {
        kind,
        digest: Some(client.digest.clone()),
        changes: serde_json::to_string(changes).unwrap_or_default(),
        answer: answer.to_owned(),
    };
    let Some(known) = last_good else {
        return (Some(event(EventKind::First, &[], "accepted")), None);
    };
    if known.client.digest == client.digest && known.gone.since.is_none() {
        return (None, None);
    }
    let changes = metadata_change::between(
        (known.document.as_bytes(), &known.client.metadata),
        (document.as_bytes(), &client.metadata),
    );
    let (answer, revoke) = match metadata_change::answer(&changes) {
        Answer::Log => ("accepted", None),
        Answer::AskAgain => ("accepted; people are asked for consent again", None),
        Answer::Revoke => (
            "accepted; its grants were revoked and people are asked for consent again",
            Some("the client no longer proves its identity with a key"),
        ),
    };
    tracing::info!(client_id = %client.id(), digest = client.digest.as_str(), fields = changes.len(), answer, "a client's document changed");
    (Some(event(EventKind::Changed, &changes, answer)), revoke)
}

/// A `kid` that stands for another key than before.
pub(super) fn key_replaced<'a>(then: &ClientMetadata, now: &'a ClientMetadata) -> Option<&'a str> {
    now.jwks.as_ref()?.replaced(then.jwks.as_ref()?)
}

pub(super) fn key_changed(kid: &str) -> Refusal {
    let mut refusal = Refusal::invalid(
        "document.jwks.kid",
        "a key in jwks has the kid of another key that was published before; give the new key a kid of its own",
    );
    refusal.cause = format!(
        "the key {} changed under its kid; `wayleave client refresh URL --accept-keys` accepts it",
        kid.escape_debug()
    );
    refusal
}

pub(super) fn read(
    client_id: &ClientId,
    document: &[u8],
    fetched_at: UnixTime,
) -> Result<Client, Refusal> {
    let metadata = client_metadata::parse(client_id, document)
        .map_err(|error| Refusal::invalid(error.rule(), error.to_string()))?;
    Ok(Client {
        metadata,
        digest: Digest::of(document),
        fetched_at,
    })
}

/// What is told when the media type refuses.
pub(super) const MEDIA_TYPE: &str = "the document must be served with exactly one Content-Type: application/json or \
                                     application/*+json, in UTF-8";

fn check_answer(client_id: &ClientId, fetched: &Fetched, now: UnixTime) -> Result<Client, Refusal> {
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
