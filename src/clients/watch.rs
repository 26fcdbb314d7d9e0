//! What administrators see of clients while the server runs: refusals, and hosts that are given time.

use std::sync::PoisonError;

use super::{Clients, Refusal};
use crate::{protocol::client_url::ClientUrl, time::UnixTime};

/// Refusals that are remembered.
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
    pub client_id: ClientUrl,
    pub failures: usize,
    pub not_before: UnixTime,
    pub refusal: Refusal,
}

impl Clients {
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
        self.0.flights.len()
    }

    /// Clients in memory.
    pub fn in_memory(&self) -> u64 {
        self.0.memory.len()
    }

    pub(super) fn remember(&self, client_id: &str, refusal: &Refusal, now: UnixTime) {
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
}
