//! Clients in memory, in two parts: strangers never push out those that have grants.

use std::sync::Arc;

use moka::sync::Cache;

use crate::{
    protocol::{client::Client, client_id::ClientId},
    store::Gone,
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

#[derive(Debug)]
pub(super) struct Memory {
    settled: Cache<ClientId, Cached>,
    strangers: Cache<ClientId, Cached>,
}

impl Memory {
    /// Each part holds so many clients.
    pub(super) fn new(entries: u64) -> Self {
        Self {
            settled: Cache::new(entries),
            strangers: Cache::new(entries),
        }
    }

    pub(super) fn get(&self, client_id: &ClientId) -> Option<Cached> {
        self.settled
            .get(client_id)
            .or_else(|| self.strangers.get(client_id))
    }

    pub(super) fn insert(&self, client_id: ClientId, cached: Cached) {
        if self.settled.contains_key(&client_id) {
            self.settled.insert(client_id, cached);
        } else {
            self.strangers.insert(client_id, cached);
        }
    }

    /// The client has a grant: it is no stranger any more.
    pub(super) fn settle(&self, client_id: &ClientId) {
        if self.settled.contains_key(client_id) {
            return;
        }
        if let Some(cached) = self.strangers.remove(client_id) {
            self.settled.insert(client_id.clone(), cached);
        }
    }

    pub(super) fn remove(&self, client_id: &ClientId) {
        self.settled.invalidate(client_id);
        self.strangers.invalidate(client_id);
    }

    pub(super) fn clear(&self) {
        self.settled.invalidate_all();
        self.strangers.invalidate_all();
    }

    pub(super) fn len(&self) -> u64 {
        self.settled.entry_count() + self.strangers.entry_count()
    }
}
