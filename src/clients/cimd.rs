//! Client ID Metadata Documents: fetch, validate, keep. One fetch at a time per URL, owned by a task. CIMD §5.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use moka::sync::Cache;

use crate::{
    config::Config,
    fetch::{FetchError, Fetched, Fetcher, FetcherError, Resolver},
    policy::client_url::{self, Rules},
    protocol::{
        client::{Client, Digest},
        client_id::ClientId,
        client_metadata,
        http_cache::{self, Bounds},
    },
    store::{Store, StoreError},
    time::{Clock, UnixTime},
};

/// Seconds between attempts after failures: the first, the second, … and all later ones.
const BACKOFF: [i64; 5] = [5, 10, 20, 40, 60];

/// Why a client is not known.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// The rule that refused, by its stable name.
    pub rule: &'static str,
    /// For the client's developer. What would make us a scanner of networks is not in it.
    pub told: String,
    /// For the administrator.
    pub cause: String,
}

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The identifier or the document is not acceptable.
    Invalid,
    /// The same request may succeed in so many seconds.
    Temporary(u32),
    /// Something of ours failed.
    Internal,
}

impl Refusal {
    fn invalid(rule: &'static str, told: impl Into<String>) -> Self {
        let told = told.into();
        Self {
            kind: RefusalKind::Invalid,
            rule,
            cause: told.clone(),
            told,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let kind = if error.is_temporary() {
            RefusalKind::Temporary(5)
        } else {
            RefusalKind::Internal
        };
        Self {
            kind,
            rule: "store",
            told: "the server could not look the client up".to_owned(),
            cause: error.to_string(),
        }
    }
}

/// A client in memory, and how long without asking its host again.
#[derive(Clone, Debug)]
struct Cached {
    client: Arc<Client>,
    fresh_until: UnixTime,
    /// May the last good copy serve while its host is down?
    may_go_stale: bool,
}

#[derive(Clone, Debug)]
struct Failure {
    count: usize,
    not_before: UnixTime,
    refusal: Refusal,
}

type Flight = Shared<BoxFuture<'static, Result<Arc<Client>, Refusal>>>;

/// Resolves client identifiers.
#[derive(Clone, Debug)]
pub struct Clients(Arc<Inner>);

struct Inner {
    fetcher: Fetcher,
    store: Store,
    clock: Clock,
    settings: crate::config::Clients,
    loopback: bool,
    own_host: String,
    own_origin: String,
    resource_origins: Vec<String>,
    memory: Cache<ClientId, Cached>,
    failures: Cache<ClientId, Failure>,
    flights: Mutex<HashMap<ClientId, Flight>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clients({} in memory)", self.memory.entry_count())
    }
}

impl Clients {
    /// With an empty memory.
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
            url::Url::parse(id)
                .ok()
                .map(|url| url.origin().ascii_serialization())
        };
        let entries = u64::from(config.clients.cache_entries.get());
        Ok(Self(Arc::new(Inner {
            fetcher: Fetcher::new(config, resolver, clock)?,
            store,
            clock: clock.clone(),
            settings: config.clients.clone(),
            loopback: config.danger.allow_loopback_clients,
            own_host: config.issuer.host().to_owned(),
            own_origin: config.issuer.origin().to_owned(),
            resource_origins: config
                .resources
                .0
                .iter()
                .map(|resource| &resource.id)
                .filter_map(origin)
                .collect(),
            memory: Cache::new(entries),
            failures: Cache::new(entries),
            flights: Mutex::default(),
        })))
    }

    /// Judges an identifier by our policy, before anything is looked up.
    ///
    /// # Errors
    ///
    /// The rule that refuses it.
    pub fn check_url(&self, client_id: &ClientId) -> Result<(), Refusal> {
        let inner = &*self.0;
        let rules = Rules {
            allow_query: inner.settings.allow_query,
            allowed_ports: &inner.settings.allowed_ports,
            loopback: inner.loopback,
            own_host: &inner.own_host,
            own_origin: &inner.own_origin,
            resource_origins: &inner.resource_origins,
        };
        client_url::check(client_id, &rules)
            .map_err(|refused| Refusal::invalid(refused.rule, refused.told))
    }

    /// The client, if a fresh copy is at hand: no network.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn known(
        &self,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<Option<Arc<Client>>, Refusal> {
        Ok(self
            .0
            .last_good(client_id)
            .await?
            .filter(|cached| cached.fresh_until > now)
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
        self.check_url(client_id)?;
        match self.0.at_hand(client_id, now).await? {
            Some(client) => Ok(client),
            None => self.flight(client_id, source).await,
        }
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
        if let Some(cached) = self
            .0
            .memory
            .get(client_id)
            .filter(|cached| cached.client.digest == *digest)
        {
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
    async fn last_good(&self, client_id: &ClientId) -> Result<Option<Cached>, Refusal> {
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
        let cached = Cached {
            client: Arc::new(client),
            fresh_until: kept.fresh_until,
            may_go_stale: true,
        };
        self.memory.insert(client_id.clone(), cached.clone());
        Ok(Some(cached))
    }

    /// The last good copy, while it may serve new authorizations although its host is down.
    fn stale(&self, last_good: Option<Cached>, now: UnixTime) -> Option<Arc<Client>> {
        let bound = i64::from(self.settings.stale_authorization);
        last_good
            .filter(|cached| cached.may_go_stale && now - cached.fresh_until < bound)
            .map(|cached| cached.client)
    }

    /// The answer that needs no network: a fresh copy, or what is left while its host is given time.
    async fn at_hand(
        &self,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<Option<Arc<Client>>, Refusal> {
        let last_good = self.last_good(client_id).await?;
        if let Some(cached) = last_good.as_ref().filter(|cached| cached.fresh_until > now) {
            return Ok(Some(cached.client.clone()));
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

    /// Fetches, validates and keeps a document. Nothing invalid is ever kept.
    async fn load(&self, client_id: &ClientId, source: IpAddr) -> Result<Arc<Client>, Refusal> {
        // Another flight may have landed while this one was called for.
        if let Some(client) = self.at_hand(client_id, self.clock.now()).await? {
            return Ok(client);
        }
        let last_good = self.last_good(client_id).await?;
        if last_good.is_none() {
            let charged = self.fetcher.budgets().charge_source(source);
            charged.map_err(|over| over_budget(over.whose, over.wait))?;
        }
        let fetched = self.fetcher.document(client_id).await;
        let now = self.clock.now();
        let read = match fetched {
            Ok(fetched) => check_answer(client_id, &fetched, now).map(|client| (client, fetched)),
            Err(error) => Err(explain(&error)),
        };
        match read {
            Ok((client, fetched)) => {
                self.failures.invalidate(client_id);
                self.keep(client, &fetched, now).await
            }
            Err(refusal) => self.failed(client_id, last_good, refusal, now).await,
        }
    }

    async fn keep(
        &self,
        client: Client,
        fetched: &Fetched,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
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
        let freshness = http_cache::freshness(&headers, &bounds);
        // One fetch still serves all requests of the same second when nothing may be stored.
        let lifetime = if freshness.store {
            jittered(freshness.lifetime, client.digest.as_str())
        } else {
            1
        };
        let fresh_until = now + lifetime;
        let document = String::from_utf8_lossy(&fetched.body).into_owned();
        let (id, digest) = (client.id().clone(), client.digest.clone());
        self.store
            .keep_client(
                id.clone(),
                digest,
                document,
                now,
                freshness.store.then_some(fresh_until),
            )
            .await?;
        let client = Arc::new(client);
        tracing::info!(client_id = %id, digest = client.digest.as_str(), lifetime, bytes = fetched.body.len(), "read a client's document");
        let cached = Cached {
            client: client.clone(),
            fresh_until,
            may_go_stale: freshness.store,
        };
        self.memory.insert(id, cached);
        Ok(client)
    }

    /// Backs off; serves the last good copy if its host is only down.
    async fn failed(
        &self,
        client_id: &ClientId,
        last_good: Option<Cached>,
        refusal: Refusal,
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
        tracing::warn!(client_id = %client_id, rule = refusal.rule, cause = %refusal.cause.escape_debug(), "could not read a client's document");
        if refusal.kind == RefusalKind::Invalid {
            // 404, 410 and an invalid document are the host's own word: no copy outlives it.
            self.memory.invalidate(client_id);
            self.store.forget_client(client_id.clone()).await?;
            return Err(refusal);
        }
        self.stale(last_good, now).ok_or(refusal)
    }
}

fn read(client_id: &ClientId, document: &[u8], fetched_at: UnixTime) -> Result<Client, Refusal> {
    let metadata = client_metadata::parse(client_id, document)
        .map_err(|error| Refusal::invalid(error.rule(), error.to_string()))?;
    Ok(Client {
        metadata,
        digest: Digest::of(document),
        fetched_at,
    })
}

fn check_answer(client_id: &ClientId, fetched: &Fetched, now: UnixTime) -> Result<Client, Refusal> {
    client_metadata::check_media_type(&fetched.header_values("content-type"))
        .map_err(|error| Refusal::invalid(error.rule(), error.to_string()))?;
    read(client_id, &fetched.body, now)
}

/// Lifetimes spread by up to a tenth, so that what was read together is not read again together.
fn jittered(lifetime: i64, digest: &str) -> i64 {
    let spread = i64::from(
        digest
            .bytes()
            .fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)),
    );
    let tenth = lifetime / 10;
    lifetime - tenth + (2 * tenth * spread) / 255
}

fn over_budget(whose: &'static str, wait: std::time::Duration) -> Refusal {
    let wait = u32::try_from(wait.as_secs()).unwrap_or(60).clamp(1, 60);
    let told =
        format!("too many clients are being looked up at the moment; try again in {wait} seconds");
    Refusal {
        kind: RefusalKind::Temporary(wait),
        rule: "fetch.budget",
        told,
        cause: format!("over the budget for {whose}"),
    }
}

/// What a failed fetch means. Whatever lies below HTTP is told in one sentence: which of resolving, connecting and
/// TLS failed, and where, would make this server a scanner.
fn explain(error: &FetchError) -> Refusal {
    let cause = error.to_string();
    let temporary = |rule, told: String, wait| Refusal {
        kind: RefusalKind::Temporary(wait),
        rule,
        told,
        cause: cause.clone(),
    };
    let invalid = |rule, told: &str| Refusal {
        kind: RefusalKind::Invalid,
        rule,
        told: told.to_owned(),
        cause: cause.clone(),
    };
    match error {
        FetchError::Budget(whose, wait) => over_budget(whose, *wait),
        FetchError::Busy => temporary(
            "fetch.busy",
            "too many clients are being looked up at the moment".to_owned(),
            5,
        ),
        FetchError::Literal
        | FetchError::Dns(_)
        | FetchError::NotPublic(_)
        | FetchError::Connect(_)
        | FetchError::Timeout(_) => {
            let told = "the document could not be reached: its host must have a public address and answer over https \
                        with a valid certificate within 5 seconds";
            temporary("fetch.reach", told.to_owned(), 5)
        }
        FetchError::Broken(_) => temporary(
            "fetch.broken",
            "the answer broke off before its end".to_owned(),
            5,
        ),
        FetchError::Status {
            status,
            retry_after,
        } if *status == 429 || *status >= 500 => {
            let told = format!("the document's host answered with status {status}");
            temporary("fetch.status", told, retry_after.unwrap_or(5).clamp(1, 60))
        }
        FetchError::Status { status, .. } => {
            let told = match status {
                300..400 => format!(
                    "the document's host answered with a redirect ({status}); redirects are not followed"
                ),
                _ => format!("the document's host answered with status {status}; only 200 counts"),
            };
            invalid("fetch.status", &told)
        }
        FetchError::Encoded => invalid(
            "fetch.encoding",
            "the document has a content-encoding, although none was accepted",
        ),
        FetchError::TooLarge(limit) => invalid(
            "fetch.size",
            &format!("the document is larger than {limit} bytes"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_spreads_by_a_tenth_and_stays_the_same_for_one_document() {
        let all: Vec<i64> = (0..200)
            .map(|n| jittered(1_000, &format!("digest{n}")))
            .collect();
        assert!(
            all.iter().all(|lifetime| (900..=1_100).contains(lifetime)),
            "{all:?}"
        );
        assert!(all.iter().max() > all.iter().min());
        assert_eq!(jittered(1_000, "digest1"), jittered(1_000, "digest1"));
    }

    #[test]
    fn what_lies_below_http_is_told_in_one_sentence() {
        let causes = [
            FetchError::Dns("no address".to_owned()),
            FetchError::NotPublic("10.0.0.1".parse().unwrap()),
            FetchError::Connect("connection refused".to_owned()),
            FetchError::Timeout(5),
        ];
        let told: Vec<_> = causes
            .iter()
            .map(|error| (explain(error).told, explain(error).kind))
            .collect();
        assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:?}");
    }
}
