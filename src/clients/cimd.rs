//! Client ID Metadata Documents: fetch, validate, keep. One fetch at a time per URL, owned by a task. CIMD §5.

use std::sync::Arc;

use moka::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use super::{
    asker::Asker,
    key_sets::{KeySets, resting},
    memory::{Cached, Memory},
    pictures::Pictures,
    reading::read,
    refusal::{BLOCKED, Refusal, RefusalKind},
    rule_book::RuleBook,
    single_flight::{Flight, SingleFlight},
};
use crate::{
    config::Config,
    fetch::{Charge, FetchError, Fetcher, FetcherError, Resolver},
    policy::{
        client_document::{self, Allowed, Member},
        client_rules::{Standing, Tier},
        client_url::{self, Rules},
    },
    protocol::{
        client::{Client, Digest},
        client_id::ClientId,
        client_url::ClientUrl,
        redirect_uri::{self, RedirectUri, RedirectUriError},
    },
    store::{Accepted, Store},
    time::{Clock, UnixTime},
};

/// Attempts that failed, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) count: usize,
    pub(super) not_before: UnixTime,
    pub(super) refusal: Refusal,
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

/// Resolves client identifiers.
#[derive(Clone, Debug)]
pub struct Clients(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) fetcher: Fetcher,
    pub(super) store: Store,
    pub(super) rules: RuleBook,
    pub(super) clock: Clock,
    pub(super) settings: crate::config::Clients,
    pub(super) max_bytes: usize,
    pub(super) max_logo_bytes: usize,
    /// Logos that are looked for, by their clients.
    pub(super) logos: SingleFlight<()>,
    /// Logos as they are shown.
    pub(super) pictures: Pictures,
    /// Held while a logo is decoded.
    pub(super) decoding: tokio::sync::Mutex<()>,
    loopback: bool,
    special_names: bool,
    /// What documents may say beyond their grammar, where no rule says otherwise.
    allowed: Allowed,
    own_host: String,
    own_origin: String,
    /// Where documents of clients in development are served, if they are.
    development: Option<String>,
    resource_origins: Vec<String>,
    pub(super) memory: Memory,
    pub(super) failures: Cache<ClientUrl, Failure>,
    pub(super) flights: SingleFlight<Arc<Client>>,
    /// Places for those who wait for a host.
    waiting: Semaphore,
    /// The same for programs that prove themselves: they have fewer places in all.
    programs_waiting: Semaphore,
    pub(super) key_sets: KeySets,
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
            rules: RuleBook::new(config),
            clock: clock.clone(),
            settings: config.clients.clone(),
            max_bytes: usize::try_from(config.fetch.max_bytes.get()).unwrap_or(usize::MAX),
            max_logo_bytes: usize::try_from(config.fetch.max_logo_bytes.get())
                .unwrap_or(usize::MAX),
            logos: SingleFlight::new(),
            pictures: Pictures::new(),
            decoding: tokio::sync::Mutex::default(),
            loopback: config.danger.allow_loopback_clients,
            special_names: config.danger.allow_loopback_clients
                || !config.fetch.allow_networks.is_empty(),
            allowed: Allowed {
                private_use_schemes: config.policy.private_use_schemes,
                same_origin: config.policy.same_origin.clone(),
                same_site: config.policy.same_site.clone(),
            },
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
            flights: SingleFlight::new(),
            waiting: Semaphore::new(half(config.server.max_requests.get().saturating_mul(8))),
            programs_waiting: Semaphore::new(half(config.server.max_requests.get())),
            key_sets: KeySets::new(config),
        })))
    }

    /// What the administrator's rules make of clients.
    pub fn rules(&self) -> &RuleBook {
        &self.0.rules
    }

    /// Reads the administrator's rules anew and forgets every copy in memory, if something changed since.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn notice_changes(&self) -> Result<(), crate::store::StoreError> {
        if self.0.store.client_revision().await? != self.0.rules.revision() {
            self.0.rules.reload(&self.0.store).await?;
            self.0.memory.clear();
            self.0.key_sets.clear();
            self.0.failures.invalidate_all();
        }
        Ok(())
    }

    /// Judges an identifier by our policy, before anything is looked up.
    ///
    /// # Errors
    ///
    /// The rule that refuses it.
    pub fn check_url(&self, client_id: &ClientUrl) -> Result<(), Refusal> {
        if self.is_in_development(client_id) {
            return Ok(());
        }
        client_url::check(client_id, &self.url_rules())
            .map_err(|rule| Refusal::invalid(rule.name, rule.told))
    }

    /// Judges where an address in a document leads, by its host and port, before it is dialled: as a client identifier there.
    /// `member` says which it is.
    ///
    /// # Errors
    ///
    /// The rule that refuses it.
    pub(super) fn check_place(&self, member: Member, url: &Url) -> Result<(), Refusal> {
        let refuse = |rule: &'static str, told: &str| {
            Refusal::invalid(rule, told.replace("client_id", member.as_str()))
        };
        let place =
            ClientUrl::of_place(url).map_err(|error| refuse(error.rule(), &error.to_string()))?;
        client_url::check_place(&place, &self.url_rules())
            .map_err(|rule| refuse(rule.name, rule.told))
    }

    /// Is it one of the documents that we serve for developers?
    pub fn is_in_development(&self, client_id: &ClientUrl) -> bool {
        let ours = self.0.development.as_ref();
        ours.is_some_and(|prefix| client_id.as_str().starts_with(prefix))
    }

    /// Is it where we serve documents for developers, if we do?
    pub fn serves_development(&self, prefix: &str) -> bool {
        self.0.development.as_deref() == Some(prefix)
    }

    /// The document that we serve for a developer, as it is.
    ///
    /// # Errors
    ///
    /// When there is none any more, or the database fails.
    pub async fn development_document(&self, client_id: &ClientUrl) -> Result<String, Refusal> {
        self.0.development_document(client_id, self.0.now()).await
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
        let standing = self.0.rules.of(client_id, keys);
        if standing.tier == Tier::Blocked && standing.rule.is_none() && client_id.url().is_none() {
            return Err(unknown_name());
        }
        if standing.tier == Tier::Blocked {
            let mut refusal = Refusal::invalid(
                BLOCKED,
                "the administrator of this server does not accept this client",
            );
            refusal.cause = standing.why();
            return Err(refusal);
        }
        Ok(standing)
    }

    /// What a client is to us, now that its document is at hand.
    ///
    /// # Errors
    ///
    /// When a rule of the administrator blocks it or a key of it, or the policy about documents refuses its document.
    pub fn admit(&self, client: &Client) -> Result<Standing, Refusal> {
        let standing = self.standing(client.id(), &client.metadata.thumbprints())?;
        if let Some(url) = self.by_document(client) {
            let allowed = self.allowed(&standing);
            client_document::check(url, &client.metadata, &allowed)
                .map_err(|(rule, told)| Refusal::invalid(rule, told))?;
        }
        Ok(standing)
    }

    /// The redirect URI of a request, if it is the client's and may be used here.
    ///
    /// # Errors
    ///
    /// The rule that refuses it.
    pub fn redirect_uri(
        &self,
        client: &Client,
        requested: &str,
    ) -> Result<RedirectUri, RedirectUriError> {
        let metadata = &client.metadata;
        let chosen = redirect_uri::choose(&metadata.redirect_uris, requested)?;
        let (Some(scheme), Some(url)) = (chosen.private_use_scheme(), self.by_document(client))
        else {
            return Ok(chosen);
        };
        let standing = self.rules().of(client.id(), &metadata.thumbprints());
        match self.allowed(&standing).allows_scheme(url, scheme) {
            true => Ok(chosen),
            false => Err(RedirectUriError::PrivateUseScheme),
        }
    }

    /// Does a rule or its registration say whether the client's ID tokens carry the claims of their scopes?
    pub fn id_token_claims(&self, client: &Client) -> Option<bool> {
        let standing = self.rules().of(client.id(), &client.metadata.thumbprints());
        let by_rule = standing.rule.and_then(|rule| rule.id_token_claims);
        by_rule.or_else(|| {
            let registered = self.rules().registered(client.id())?;
            registered.written().id_token_claims
        })
    }

    /// The URL of the client's document, if it is known by one: the administrator writes registrations as they are to be.
    fn by_document<'a>(&self, client: &'a Client) -> Option<&'a ClientUrl> {
        let url = client.id().url()?;
        let is_registered = self.rules().registered(client.id()).is_some();
        (!is_registered).then_some(url)
    }

    /// What the document of a client of this standing may say.
    pub(super) fn allowed(&self, standing: &Standing) -> Allowed {
        let general = self.0.allowed.clone();
        match &standing.rule {
            Some(rule) => rule.allowed(general),
            None => general,
        }
    }

    /// A registered client, or the URL where the document of another one is.
    fn find<'a>(&self, client_id: &'a ClientId) -> Result<Found<'a>, Refusal> {
        match (self.rules().registered(client_id), client_id.url()) {
            (Some(registered), _) => Ok(Found::Registered(Arc::clone(&registered.client))),
            (None, Some(url)) => Ok(Found::Url(url)),
            (None, None) => Err(unknown_name()),
        }
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
        let url = match self.find(client_id)? {
            Found::Registered(client) => return Ok(Some(client)),
            Found::Url(url) => url,
        };
        let found = self.0.look_up(url).await?;
        let fresh =
            found.filter(|(cached, _)| cached.fresh_until > now && cached.gone.since.is_none());
        let Some((cached, place)) = fresh else {
            return Ok(None);
        };
        self.admit(&cached.client)?;
        self.0.store.counts.clients.add(place);
        Ok(Some(cached.client))
    }

    /// The client, from its host if need be: `asker` is charged for that.
    ///
    /// A caller that goes away does not stop the fetch that others wait for.
    ///
    /// # Errors
    ///
    /// Why there is no such client, or not now.
    pub async fn resolve(
        &self,
        client_id: &ClientId,
        asker: Asker,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        let client_id = match self.find(client_id)? {
            Found::Registered(client) => {
                self.standing(client_id, &[])?;
                return Ok(client);
            }
            Found::Url(url) => url,
        };
        self.check_url(client_id)?;
        let id = client_id.clone().into();
        self.standing(&id, &[])?;
        let client = if self.is_in_development(client_id) {
            self.0.development_client(client_id, now).await?
        } else {
            match self.0.at_hand(client_id, now).await? {
                Some((cached, place)) => {
                    let is_stale = cached.fresh_until <= now;
                    let place = if is_stale { "stale" } else { place };
                    self.0.store.counts.clients.add(place);
                    if cached.refresh_from <= now && cached.fresh_until > now {
                        // Nobody waits for it.
                        drop(self.flight(client_id, asker));
                    }
                    cached.client
                }
                None => {
                    self.0.store.counts.clients.add("host");
                    self.fetched(client_id, asker).await?
                }
            }
        };
        self.admit(&client)?;
        Ok(client)
    }

    /// The copy of a client that proves itself with its keys: it serves for a while after it was fresh, and its host
    /// is asked while nobody waits. No network.
    pub(super) async fn copy(
        &self,
        client_id: &ClientId,
        asker: Asker,
        now: UnixTime,
    ) -> Result<Copy, Refusal> {
        let url = match self.find(client_id)? {
            Found::Registered(client) => return Ok(Copy::Usable(client)),
            Found::Url(url) => url,
        };
        if self.is_in_development(url) {
            return self.0.development_client(url, now).await.map(Copy::Usable);
        }
        let bound = i64::from(self.0.settings.stale_authorization);
        match self.0.look_up(url).await? {
            Some((cached, place))
                if cached.gone.since.is_none() && now - cached.fresh_until < bound =>
            {
                self.0.store.counts.clients.add(place);
                // It has proven nothing yet.
                self.renew(url, asker, now);
                Ok(Copy::Usable(cached.client))
            }
            Some(_) => Ok(Copy::Old),
            None => Ok(Copy::None),
        }
    }

    /// The client from its host, if the copy at hand is older than half a minute: for a request that does not fit the copy
    /// and may fit a newer one. Budgets and back-off apply as ever.
    pub async fn reread(&self, client: &Client, asker: Asker, now: UnixTime) -> Reread {
        let Ok(Found::Url(client_id)) = self.find(client.id()) else {
            return Reread::Same;
        };
        if self.is_in_development(client_id) {
            return Reread::Same;
        }
        let cooldown = i64::from(self.0.settings.keys_cooldown);
        let age = now - client.fetched_at;
        if age < cooldown {
            let cause = "the document was read a moment ago";
            return Reread::NotNow(resting(cooldown - age, cause.to_owned()));
        }
        let failure = self.0.failures.get(client_id);
        if let Some(failure) = failure.filter(|failure| failure.not_before > now) {
            return Reread::NotNow(failure.refusal_during_backoff(now));
        }
        if let Some(mut cached) = self.0.memory.get(client_id) {
            cached.refresh_from = now;
            self.0.memory.insert(client_id.clone(), cached);
        }
        match self.fetched(client_id, asker).await {
            Ok(read) if read.fetched_at == client.fetched_at => {
                let cause = "the document could not be read";
                Reread::NotNow(resting(cooldown, cause.to_owned()))
            }
            Ok(read) if read.digest == client.digest => Reread::Same,
            Ok(read) => Reread::Newer(read),
            Err(refusal) => Reread::NotNow(refusal),
        }
    }

    /// Is the client's document still what its grants rest on? Asks nobody.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn footing(&self, client_id: &ClientId, now: UnixTime) -> Result<Footing, Refusal> {
        let url = match self.find(client_id)? {
            Found::Registered(_) => return Ok(Footing::Firm),
            Found::Url(url) => url,
        };
        let Some(cached) = self.0.last_good(url).await? else {
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
        let Ok(Found::Url(client_id)) = self.find(client_id) else {
            return;
        };
        self.0.memory.settle(client_id);
        self.renew(client_id, Asker::Grant, now);
    }

    /// Has the host asked when that is due, while nobody waits.
    fn renew(&self, client_id: &ClientUrl, asker: Asker, now: UnixTime) {
        let Some(cached) = self.0.memory.get(client_id) else {
            return;
        };
        // What may not be stored is for the login under way only.
        let is_due = cached.may_go_stale && cached.refresh_from <= now;
        if is_due && !self.0.is_given_time(client_id, now) {
            drop(self.flight(client_id, asker));
        }
    }

    /// The last version that was read, however old. No network.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn last_known(
        &self,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<Option<Arc<Client>>, Refusal> {
        let url = match self.find(client_id)? {
            Found::Registered(client) => return Ok(Some(client)),
            Found::Url(url) => url,
        };
        if self.is_in_development(url) {
            return Ok(self.0.development_client(url, now).await.ok());
        }
        Ok(self.0.last_good(url).await?.map(|cached| cached.client))
    }

    /// The same, where the client would be let in: its redirect URIs say where a refusal may go. No network.
    ///
    /// # Errors
    ///
    /// When it is blocked, or the database fails.
    pub async fn last_good_copy(
        &self,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<Option<Arc<Client>>, Refusal> {
        let Some(client) = self.last_known(client_id, now).await? else {
            return Ok(None);
        };
        self.admit(&client)?;
        Ok(Some(client))
    }

    /// When we first read its document.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn first_seen(&self, client_id: &ClientId) -> Result<Option<UnixTime>, Refusal> {
        let Found::Url(client_id) = self.find(client_id)? else {
            return Ok(None);
        };
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
        let gone = || {
            Refusal::invalid(
                "document.version",
                "the version of the client's document that this is about is gone",
            )
        };
        let client_id = match self.find(client_id)? {
            // Of a registration there is one version.
            Found::Registered(client) if client.digest == *digest => return Ok(client),
            Found::Registered(_) => return Err(gone()),
            Found::Url(url) => url,
        };
        let cached = self.0.memory.get(client_id);
        if let Some(cached) = cached.filter(|cached| cached.client.digest == *digest) {
            return Ok(cached.client);
        }
        let document = self.0.store.client_document(client_id, digest).await?;
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
        client_id: &ClientUrl,
        accept: bool,
    ) -> Result<Arc<Client>, Refusal> {
        self.check_url(client_id)?;
        if self.is_in_development(client_id) {
            return self.0.development_client(client_id, self.0.now()).await;
        }
        let (wire, fetched) = self.0.fetch(client_id, Charge::Administrator).await;
        let last_good = self.0.last_good(client_id).await?;
        // A copy that serves while the host is down is no answer to whoever asked for a new one.
        let unread = fetched.as_ref().err().map(Refusal::from);
        let taken = self
            .0
            .take(client_id, &wire, fetched, last_good, accept)
            .await;
        match (taken, unread) {
            (Ok(_), Some(refusal)) => Err(refusal),
            (taken, _) => taken,
        }
    }

    /// Waits for the client from its host. So many may wait at a time: half as many as there are places for requests of
    /// people, so that slow hosts leave some for everybody else. If it is us who have no time to ask, the last good copy
    /// serves as if its host were down.
    async fn fetched(&self, client_id: &ClientUrl, asker: Asker) -> Result<Arc<Client>, Refusal> {
        let read = match self.0.waiting.try_acquire() {
            Ok(_place) => self.flight(client_id, asker).await,
            Err(_) => Err(Refusal::from(&FetchError::Busy)),
        };
        match read {
            Err(refusal) if refusal.is_ours() => {
                let last_good = self.0.last_good(client_id).await?;
                let stale = self.0.stale(last_good, self.0.now());
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
    fn flight(&self, client_id: &ClientUrl, asker: Asker) -> Flight<Arc<Client>> {
        let flights = &self.0.flights;
        let start = || {
            let (inner, id) = (self.0.clone(), client_id.clone());
            async move { inner.load(&id, asker).await }
        };
        match asker.is_anonymous() && !flights.are_under_way(client_id.as_str()) {
            true => flights.join(&format!("for a stranger: {client_id}"), start),
            false => flights.join(client_id.as_str(), start),
        }
    }
}

/// Of so many places for requests those that may wait for hosts.
fn half(places: u32) -> usize {
    let places = usize::try_from(places).unwrap_or(usize::MAX);
    (places / 2).clamp(1, Semaphore::MAX_PERMITS)
}

/// What came of reading a document once more.
pub enum Reread {
    Newer(Arc<Client>),
    /// It is as it was, or what is known of the client is not read from a host.
    Same,
    /// It could not be read, or not now.
    NotNow(Refusal),
}

/// What is at hand of a client.
pub(super) enum Copy {
    Usable(Arc<Client>),
    /// It has to be read again.
    Old,
    None,
}

/// Where a client is to be found.
enum Found<'a> {
    Registered(Arc<Client>),
    Url(&'a ClientUrl),
}

pub(super) const DEVELOPMENT_GONE: &str = "development.gone";

fn unknown_name() -> Refusal {
    Refusal::invalid(
        "client_id.unknown",
        "no client of this name is registered here; the client_id of any other client is the https URL of its document",
    )
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

impl Inner {
    /// The last good copy, from memory or else from the database.
    pub(super) async fn last_good(&self, client_id: &ClientUrl) -> Result<Option<Cached>, Refusal> {
        let found = self.look_up(client_id).await?;
        Ok(found.map(|(cached, _)| cached))
    }

    /// The same, and where it was: as [`Counts::clients`](crate::counts::Counts::clients) names it.
    async fn look_up(
        &self,
        client_id: &ClientUrl,
    ) -> Result<Option<(Cached, &'static str)>, Refusal> {
        if let Some(cached) = self.memory.get(client_id) {
            return Ok(Some((cached, "memory")));
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
        Ok(Some((cached, "database")))
    }

    /// The last good copy, while it may serve new authorizations although its host is down.
    pub(super) fn stale(&self, last_good: Option<Cached>, now: UnixTime) -> Option<Cached> {
        let bound = i64::from(self.settings.stale_authorization);
        last_good.filter(|cached| {
            cached.may_go_stale && cached.gone.since.is_none() && now - cached.fresh_until < bound
        })
    }

    pub(super) fn is_given_time(&self, client_id: &ClientUrl, now: UnixTime) -> bool {
        let failure = self.failures.get(client_id);
        failure.is_some_and(|failure| failure.not_before > now)
    }

    /// The answer that needs no network, and where it was: a fresh copy, or what is left while its host is given time.
    pub(super) async fn at_hand(
        &self,
        client_id: &ClientUrl,
        now: UnixTime,
    ) -> Result<Option<(Cached, &'static str)>, Refusal> {
        let (last_good, place) = self.look_up(client_id).await?.unzip();
        let place = place.unwrap_or_default();
        let is_fresh = |cached: &&Cached| cached.fresh_until > now && cached.gone.since.is_none();
        if let Some(cached) = last_good.as_ref().filter(is_fresh) {
            return Ok(Some((cached.clone(), place)));
        }
        match self
            .failures
            .get(client_id)
            .filter(|failure| failure.not_before > now)
        {
            Some(failure) => self
                .stale(last_good, now)
                .map(|cached| Some((cached, place)))
                .ok_or_else(|| failure.refusal_during_backoff(now)),
            None => Ok(None),
        }
    }

    /// A document of ours for a developer, while its time lasts.
    pub(super) async fn development_document(
        &self,
        client_id: &ClientUrl,
        now: UnixTime,
    ) -> Result<String, Refusal> {
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
                DEVELOPMENT_GONE,
                "there is no such client in development, or its time is over; make a new one",
            )
        };
        document.ok_or_else(gone)
    }

    /// The client of such a document: it is as good as its row, and no better.
    async fn development_client(
        &self,
        client_id: &ClientUrl,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        let document = self.development_document(client_id, now).await?;
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
}
