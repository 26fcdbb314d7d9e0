//! Who is asking? From a client identifier to a client: from memory, from the database, or from its host.
//!
//! [`Clients`] is what the rest of the server sees. It asks parts that each own one thing:
//!
//! - [`RuleBook`]: what the administrator says of clients, in the configuration and in the database.
//! - `UrlPolicy`: which identifiers are accepted beyond their grammar.
//! - `DocumentCache`: the documents that were read, in memory and in the database. Strangers never push out a client that has
//!   a grant.
//! - `DocumentHost`: asks the hosts of documents, one fetch at a time for each, with a budget and a back-off; judges what comes
//!   and keeps it. Nothing invalid is ever kept.
//! - `KeySets`: the keys at clients' `jwks_uri`s. `Logos` and `Pictures`: what is shown of them.
//! - `Development`: documents that this server serves for developers.
//!
//! What holds always: no lock is held and no connection to the database is taken while a host is waited for; a refusal that
//! was ours (no budget, no place) is held against no client; one login uses one version of a document; a document that was
//! withdrawn is not used any more once its host has confirmed that.

mod activity;
mod advice;
mod asker;
mod authenticate;
mod development;
mod document_cache;
mod document_host;
mod explain;
mod history;
mod key_sets;
mod logos;
mod pictures;
mod refusal;
mod rule_book;
mod single_flight;
mod url_policy;

use std::sync::Arc;

pub use self::{
    activity::BackedOff,
    asker::Asker,
    authenticate::{Attempt, AuthenticatedClient, LookUp, METHODS, claimed, refused, unproven},
    explain::{Facts, Line, Report, Summary, Verdict},
    pictures::Picture,
    refusal::{BLOCKED, Refusal, RefusalKind},
    rule_book::RuleBook,
};
use self::{
    development::Development,
    document_cache::DocumentCache,
    document_host::DocumentHost,
    key_sets::{KeySets, resting},
    logos::Logos,
    pictures::Pictures,
    url_policy::UrlPolicy,
};
use crate::{
    config::Config,
    fetch::{Charge, FetcherError, Resolver},
    policy::{
        client_document::{self, Allowed},
        client_rules::{Tier, TrustDecision},
    },
    protocol::{
        client::{Client, Digest},
        client_id::ClientId,
        client_url::ClientUrl,
        redirect_uri::{self, RedirectUri, RedirectUriError},
    },
    store::Store,
    time::{Clock, UnixTime},
};

/// How much of a client a caller needs.
#[derive(Clone, Copy, Debug)]
pub enum Need<'a> {
    /// The client as its host describes it: from there if no fresh copy is at hand, charged to the caller. Always there.
    Fetch(Asker),
    /// A fresh copy. No network.
    CachedFresh,
    /// The copy of a client that proves itself with its keys: it serves for a while after it was fresh, and its host is asked
    /// in the background. No network; not admitted yet.
    CachedUsable(Asker),
    /// The last version that was read, however old. No network; not admitted.
    LastKnown,
    /// This version, as it was kept, read at this time. No network; not admitted.
    Version(&'a Digest, UnixTime),
}

/// The client of an answer that has to have one.
///
/// # Errors
///
/// That its version is gone.
pub fn found(client: Option<Arc<Client>>) -> Result<Arc<Client>, Refusal> {
    client.ok_or_else(|| {
        Refusal::invalid(
            "document.version",
            "the version of the client's document that this is about is gone",
        )
    })
}

/// Is a client's document still what its grants rest on?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentState {
    /// It is, or its host is given time.
    Firm,
    /// Its host has been down for too long. Holds the seconds after which a retry makes sense.
    Lost(u32),
    /// Its host took it away, and confirmed that.
    Withdrawn,
}

/// What came of reading a document once more.
pub enum Reread {
    Newer(Arc<Client>),
    /// It is as it was, or what is known of the client is not read from a host.
    Same,
    /// It could not be read, or not now.
    NotNow(Refusal),
}

/// Where a client is to be found.
enum Found<'a> {
    Registered(Arc<Client>),
    Url(&'a ClientUrl),
}

/// Resolves client identifiers. Cheap to clone.
#[derive(Clone)]
pub struct Clients(Arc<Parts>);

struct Parts {
    rules: Arc<RuleBook>,
    identifiers: UrlPolicy,
    cache: Arc<DocumentCache>,
    host: DocumentHost,
    key_sets: KeySets,
    logos: Logos,
    pictures: Pictures,
    development: Development,
    /// What documents may say beyond their grammar, where no rule says otherwise.
    allowed: Allowed,
    settings: crate::config::Clients,
    store: Store,
    clock: Clock,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clients({} in memory)", self.0.cache.memory.len())
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
        let rules = Arc::new(RuleBook::new(config));
        let cache = Arc::new(DocumentCache::new(&config.clients, store.clone()));
        let shared = (Arc::clone(&cache), Arc::clone(&rules));
        let host = DocumentHost::new(config, shared, store.clone(), resolver, clock)?;
        Ok(Self(Arc::new(Parts {
            rules,
            identifiers: UrlPolicy::new(config),
            cache,
            key_sets: KeySets::new(config, host.clone()),
            logos: Logos::new(config),
            host,
            pictures: Pictures::new(),
            development: Development::new(config, store.clone()),
            allowed: Allowed {
                private_use_schemes: config.policy.private_use_schemes,
                same_origin: config.policy.same_origin.clone(),
                same_site: config.policy.same_site.clone(),
            },
            settings: config.clients.clone(),
            store,
            clock: clock.clone(),
        })))
    }

    /// What the administrator says of clients.
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
            self.0.cache.memory.clear();
            self.0.key_sets.clear();
            self.0.host.forget_failures();
        }
        Ok(())
    }

    /// Judges an identifier by our policy, before anything is looked up.
    ///
    /// # Errors
    ///
    /// The rule that refuses it.
    pub fn check_url(&self, client_id: &ClientUrl) -> Result<(), Refusal> {
        match self.is_in_development(client_id) {
            true => Ok(()),
            false => self.0.identifiers.check(client_id),
        }
    }

    /// Is it one of the documents that we serve for developers?
    pub fn is_in_development(&self, client_id: &ClientUrl) -> bool {
        self.0.development.has(client_id)
    }

    /// Is it where we serve documents for developers, if we do?
    pub fn serves_development(&self, prefix: &str) -> bool {
        self.0.development.prefix() == Some(prefix)
    }

    /// The document that we serve for a developer, as it is.
    ///
    /// # Errors
    ///
    /// When there is none any more, or the database fails.
    pub async fn development_document(&self, client_id: &ClientUrl) -> Result<String, Refusal> {
        let now = self.0.clock.now();
        self.0.development.document(client_id, now).await
    }

    /// What a client is to us.
    ///
    /// # Errors
    ///
    /// When a rule of the administrator blocks it.
    pub fn standing(
        &self,
        client_id: &ClientId,
        keys: &[String],
    ) -> Result<TrustDecision, Refusal> {
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
    pub fn admit(&self, client: &Client) -> Result<TrustDecision, Refusal> {
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
    pub(super) fn allowed(&self, standing: &TrustDecision) -> Allowed {
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

    /// The client of this identifier, as far as it is needed. `None`: there is none at hand, or its version is gone.
    ///
    /// # Errors
    ///
    /// When no such client may be here, it is blocked, its document cannot be read now, or the database fails.
    pub async fn client(
        &self,
        client_id: &ClientId,
        need: Need<'_>,
        now: UnixTime,
    ) -> Result<Option<Arc<Client>>, Refusal> {
        let url = match self.find(client_id)? {
            Found::Registered(client) => return self.registered(client, need),
            Found::Url(url) => url,
        };
        match need {
            Need::Fetch(asker) => self.fetched(url, asker, now).await.map(Some),
            Need::CachedFresh => self.cached_fresh(url, now).await,
            Need::CachedUsable(asker) => self.cached_usable(url, asker, now).await,
            Need::LastKnown if self.is_in_development(url) => {
                Ok(self.0.development.client(url, now).await.ok())
            }
            Need::LastKnown => {
                let cached = self.0.cache.last_good(url).await?;
                Ok(cached.map(|cached| cached.client))
            }
            Need::Version(digest, fetched_at) => {
                self.0.cache.version(url, digest, fetched_at).await
            }
        }
    }

    /// A registration is always at hand, in one version.
    fn registered(
        &self,
        client: Arc<Client>,
        need: Need<'_>,
    ) -> Result<Option<Arc<Client>>, Refusal> {
        match need {
            Need::Fetch(_) | Need::CachedFresh => {
                self.standing(client.id(), &[])?;
                Ok(Some(client))
            }
            Need::CachedUsable(_) | Need::LastKnown => Ok(Some(client)),
            Need::Version(digest, _) => Ok((client.digest == *digest).then_some(client)),
        }
    }

    /// A caller that goes away does not stop the fetch that others wait for.
    async fn fetched(
        &self,
        url: &ClientUrl,
        asker: Asker,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        let (host, counts) = (&self.0.host, &self.0.store.counts.clients);
        self.check_url(url)?;
        self.standing(&url.clone().into(), &[])?;
        let client = if self.is_in_development(url) {
            self.0.development.client(url, now).await?
        } else {
            match host.at_hand(url, now).await? {
                Some((cached, place)) => {
                    let is_stale = cached.fresh_until <= now;
                    counts.add(if is_stale { "stale" } else { place });
                    if cached.refresh_from <= now && cached.fresh_until > now {
                        // In the background.
                        drop(host.flight(url, asker));
                    }
                    cached.client
                }
                None => {
                    counts.add("host");
                    host.fetched(url, asker).await?
                }
            }
        };
        self.admit(&client)?;
        Ok(client)
    }

    async fn cached_fresh(
        &self,
        url: &ClientUrl,
        now: UnixTime,
    ) -> Result<Option<Arc<Client>>, Refusal> {
        self.standing(&url.clone().into(), &[])?;
        let found = self.0.cache.look_up(url).await?;
        let fresh =
            found.filter(|(cached, _)| cached.fresh_until > now && cached.gone.since.is_none());
        let Some((cached, place)) = fresh else {
            return Ok(None);
        };
        self.admit(&cached.client)?;
        self.0.store.counts.clients.add(place);
        Ok(Some(cached.client))
    }

    async fn cached_usable(
        &self,
        url: &ClientUrl,
        asker: Asker,
        now: UnixTime,
    ) -> Result<Option<Arc<Client>>, Refusal> {
        if self.is_in_development(url) {
            return self.0.development.client(url, now).await.map(Some);
        }
        let bound = self.0.cache.stale_authorization;
        let found = self.0.cache.look_up(url).await?;
        let usable = found
            .filter(|(cached, _)| cached.gone.since.is_none() && now - cached.fresh_until < bound);
        Ok(usable.map(|(cached, place)| {
            self.0.store.counts.clients.add(place);
            // It has proven nothing yet.
            self.0.host.renew(url, asker, now);
            cached.client
        }))
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
        if let Some(refusal) = self.0.host.in_back_off(client_id, now) {
            return Reread::NotNow(refusal);
        }
        if let Some(mut cached) = self.0.cache.memory.get(client_id) {
            cached.refresh_from = now;
            self.0.cache.memory.insert(client_id.clone(), cached);
        }
        match self.0.host.fetched(client_id, asker).await {
            Ok(read) if read.fetched_at == client.fetched_at => {
                let cause = "the document could not be read";
                Reread::NotNow(resting(cooldown, cause.to_owned()))
            }
            Ok(read) if read.digest == client.digest => Reread::Same,
            Ok(read) => Reread::Newer(read),
            Err(refusal) => Reread::NotNow(refusal),
        }
    }

    /// Is the client's document still what its grants rest on? No network.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn footing(
        &self,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<DocumentState, Refusal> {
        let url = match self.find(client_id)? {
            Found::Registered(_) => return Ok(DocumentState::Firm),
            Found::Url(url) => url,
        };
        let Some(cached) = self.0.cache.last_good(url).await? else {
            return Ok(DocumentState::Firm);
        };
        if cached.gone.confirmed_at.is_some() {
            return Ok(DocumentState::Withdrawn);
        }
        let too_long = i64::from(self.0.settings.stale_refresh);
        match cached.failing && now - cached.fresh_until >= too_long {
            true => Ok(DocumentState::Lost(60)),
            false => Ok(DocumentState::Firm),
        }
    }

    /// A grant of the client was used: strangers do not push it out of memory, and its host is asked in the
    /// background when that is due.
    pub fn used(&self, client_id: &ClientId, now: UnixTime) {
        let Ok(Found::Url(client_id)) = self.find(client_id) else {
            return;
        };
        self.0.cache.memory.settle(client_id);
        self.0.host.renew(client_id, Asker::Grant, now);
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
            .cache
            .last_good(client_id)
            .await?
            .map(|cached| cached.first_seen_at))
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
            return self
                .0
                .development
                .client(client_id, self.0.clock.now())
                .await;
        }
        let (wire, fetched) = self.0.host.fetch(client_id, Charge::Administrator).await;
        let last_good = self.0.cache.last_good(client_id).await?;
        // The caller asked for a new copy: one that serves while the host is down is no answer.
        let unread = fetched.as_ref().err().map(Refusal::from);
        let taken = self
            .0
            .host
            .take(client_id, &wire, fetched, last_good, accept)
            .await;
        match (taken, unread) {
            (Ok(_), Some(refusal)) => Err(refusal),
            (taken, _) => taken,
        }
    }
}

fn unknown_name() -> Refusal {
    Refusal::invalid(
        "client_id.unknown",
        "no client of this name is registered here; the client_id of any other client is the https URL of its document",
    )
}
