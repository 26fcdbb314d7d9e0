//! Clients in memory, in two parts: strangers never push out those that have grants.

use std::sync::Arc;

use moka::sync::Cache;

use crate::{
    protocol::{client::Client, client_url::ClientUrl},
    store::{Gone, KeptClient},
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{client::Digest, client_metadata};

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
