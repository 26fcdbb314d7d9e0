//! Documents at hand: in memory, in two parts, so that strangers never push out those that have grants; and in the database.

use std::sync::Arc;

use moka::sync::Cache;

use super::refusal::Refusal;
use crate::{
    protocol::{
        client::{Client, Digest},
        client_metadata,
        client_url::ClientUrl,
    },
    store::{Gone, KeptClient, Store},
    time::UnixTime,
};

/// A client in memory, and what its host said last.
#[derive(Clone, Debug)]
pub(super) struct Cached {
    pub(super) client: Arc<Client>,
    /// Its document, for comparing with the next.
    pub(super) document: Arc<str>,
    pub(super) first_seen_at: UnixTime,
    pub(super) fresh_until: UnixTime,
    /// From when its host is asked again while nobody waits.
    pub(super) refresh_from: UnixTime,
    /// May the last good copy serve while its host is down?
    pub(super) may_go_stale: bool,
    /// Did the last attempt fail?
    pub(super) failing: bool,
    pub(super) gone: Gone,
}

impl Cached {
    /// The copy of a client that the database keeps.
    pub(super) fn kept(client: Client, kept: &KeptClient) -> Self {
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

#[derive(Debug)]
pub(super) struct Memory {
    settled: Cache<ClientUrl, Cached>,
    strangers: Cache<ClientUrl, Cached>,
}

impl Memory {
    /// Each part holds so many clients.
    pub(super) fn new(entries: u64) -> Self {
        Self {
            settled: Cache::new(entries),
            strangers: Cache::new(entries),
        }
    }

    pub(super) fn get(&self, client_id: &ClientUrl) -> Option<Cached> {
        self.settled
            .get(client_id)
            .or_else(|| self.strangers.get(client_id))
    }

    pub(super) fn insert(&self, client_id: ClientUrl, cached: Cached) {
        if self.settled.contains_key(&client_id) {
            self.settled.insert(client_id, cached);
        } else {
            self.strangers.insert(client_id, cached);
        }
    }

    /// The client has a grant: it is no stranger any more.
    pub(super) fn settle(&self, client_id: &ClientUrl) {
        if self.settled.contains_key(client_id) {
            return;
        }
        if let Some(cached) = self.strangers.remove(client_id) {
            self.settled.insert(client_id.clone(), cached);
        }
    }

    pub(super) fn is_settled(&self, client_id: &ClientUrl) -> bool {
        self.settled.contains_key(client_id)
    }

    pub(super) fn remove(&self, client_id: &ClientUrl) {
        self.settled.invalidate(client_id);
        self.strangers.invalidate(client_id);
    }

    pub(super) fn clear(&self) {
        self.settled.invalidate_all();
        self.strangers.invalidate_all();
    }

    /// How many there are, exactly: what was counted but not yet sorted in is sorted in now.
    pub(super) fn len(&self) -> u64 {
        self.settled.run_pending_tasks();
        self.strangers.run_pending_tasks();
        self.settled.entry_count() + self.strangers.entry_count()
    }
}

/// The documents that were read, as far as they are kept.
#[derive(Debug)]
pub(super) struct DocumentCache {
    pub(super) memory: Memory,
    store: Store,
    /// Seconds that the last good copy serves new authorizations while its host is down.
    pub(super) stale_authorization: i64,
}

impl DocumentCache {
    /// With an empty memory.
    pub(super) fn new(settings: &crate::config::Clients, store: Store) -> Self {
        Self {
            memory: Memory::new(settings.cache_entries.get().into()),
            store,
            stale_authorization: settings.stale_authorization.into(),
        }
    }

    /// The last good copy, from memory or else from the database.
    pub(super) async fn last_good(&self, client_id: &ClientUrl) -> Result<Option<Cached>, Refusal> {
        let found = self.look_up(client_id).await?;
        Ok(found.map(|(cached, _)| cached))
    }

    /// The same, and where it was: as [`Counts::clients`](crate::counts::Counts::clients) names it.
    pub(super) async fn look_up(
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

    /// One version, as it was kept; `None` when it is not kept any more.
    pub(super) async fn version(
        &self,
        client_id: &ClientUrl,
        digest: &Digest,
        fetched_at: UnixTime,
    ) -> Result<Option<Arc<Client>>, Refusal> {
        let cached = self.memory.get(client_id);
        if let Some(cached) = cached.filter(|cached| cached.client.digest == *digest) {
            return Ok(Some(cached.client));
        }
        let Some(document) = self.store.client_document(client_id, digest).await? else {
            return Ok(None);
        };
        let client = read(client_id, document.as_bytes(), fetched_at)?;
        Ok(Some(Arc::new(client)))
    }

    /// The last good copy, while it may serve new authorizations although its host is down.
    pub(super) fn stale(&self, last_good: Option<Cached>, now: UnixTime) -> Option<Cached> {
        last_good.filter(|cached| {
            cached.may_go_stale
                && cached.gone.since.is_none()
                && now - cached.fresh_until < self.stale_authorization
        })
    }

    /// What may not be stored is not remembered beyond its second.
    pub(super) fn put(&self, client_id: &ClientUrl, cached: Cached) {
        match cached.may_go_stale {
            true => self.memory.insert(client_id.clone(), cached),
            false => self.memory.remove(client_id),
        }
    }
}

pub(super) fn read(
    client_id: &ClientUrl,
    document: &[u8],
    fetched_at: UnixTime,
) -> Result<Client, Refusal> {
    let metadata = client_metadata::parse(client_id, document)
        .map_err(|error| Refusal::invalid(error.rule().name(), error.to_string()))?;
    Ok(Client {
        metadata,
        digest: Digest::of(document),
        fetched_at,
        is_registered: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cached(client_id: &ClientUrl) -> Cached {
        let document = format!(
            r#"{{"client_id":"{client_id}","redirect_uris":["https://a.example.com/cb"]}}"#
        );
        Cached {
            client: Arc::new(Client {
                metadata: client_metadata::parse(client_id, document.as_bytes()).unwrap(),
                digest: Digest::of(document.as_bytes()),
                fetched_at: UnixTime(0),
                is_registered: false,
            }),
            document: document.into(),
            first_seen_at: UnixTime(0),
            fresh_until: UnixTime(600),
            refresh_from: UnixTime(480),
            may_go_stale: true,
            failing: false,
            gone: Gone::default(),
        }
    }

    #[test]
    fn c_14_a_hundred_thousand_strangers_push_out_nobody_with_a_grant() {
        let memory = Memory::new(1_000);
        let id = |kind: &str, n: usize| -> ClientUrl {
            format!("https://a.example.com/{kind}/{n}").parse().unwrap()
        };
        for n in 0..100 {
            memory.insert(id("granted", n), cached(&id("granted", n)));
            memory.settle(&id("granted", n));
        }
        let one = cached(&id("stranger", 0));
        for n in 0..100_000 {
            memory.insert(id("stranger", n), one.clone());
        }
        memory.settled.run_pending_tasks();
        memory.strangers.run_pending_tasks();
        assert!((0..100).all(|n| memory.get(&id("granted", n)).is_some()));
        assert!(memory.len() <= 1_100, "{}", memory.len());
        // A newer version of a settled client settles as well.
        memory.insert(id("granted", 0), cached(&id("granted", 0)));
        assert!(memory.settled.contains_key(&id("granted", 0)));
        memory.remove(&id("granted", 0));
        assert!(memory.get(&id("granted", 0)).is_none());
        memory.clear();
        assert!(memory.get(&id("granted", 1)).is_none());
    }
}
