//! What administrators see of clients while the server runs: hosts in back-off.

use super::{Clients, Refusal};
use crate::{protocol::client_url::ClientUrl, time::UnixTime};

/// A host in back-off.
#[derive(Clone, Debug)]
pub struct BackedOff {
    pub client_id: ClientUrl,
    pub failures: usize,
    pub not_before: UnixTime,
    pub refusal: Refusal,
}

impl Clients {
    /// The hosts in back-off.
    pub fn backed_off(&self, now: UnixTime) -> Vec<BackedOff> {
        let failures = self.0.host.failures();
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
        self.0.host.fetcher().budgets()
    }

    /// Documents that are being read.
    pub fn flights(&self) -> usize {
        self.0.host.under_way()
    }

    /// Clients in memory.
    pub fn in_memory(&self) -> u64 {
        self.0.cache.memory.len()
    }
}
