//! What the server counts of itself, for monitoring: added to where it happens, told by `server/metrics.rs`. Labels are
//! names of ours, never a stranger's text. An addition costs no more than a lock that nobody holds for long.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use tracing_appender::non_blocking::ErrorCounter;

use crate::protocol::client_metadata::GrantType;

/// Seconds: from what a busy disk needs to what nobody should wait.
const SECONDS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
];
/// Units of work.
const UNITS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// A counter for each of a few names.
#[derive(Clone, Debug)]
pub struct ByName {
    label: &'static str,
    counts: Family<[(&'static str, &'static str); 1], Counter>,
}

impl ByName {
    /// Told from the beginning, as zero: of these names.
    fn new(label: &'static str, names: &[&'static str]) -> Self {
        let all = Self {
            label,
            counts: Family::default(),
        };
        for name in names {
            _ = all.counts.get_or_create(&[(label, *name)]);
        }
        all
    }

    /// One more of this name.
    pub fn add(&self, name: &'static str) {
        self.counts.get_or_create(&[(self.label, name)]).inc();
    }
}

/// Everything that is counted outside the listener.
#[derive(Debug)]
pub struct Counts {
    /// Seconds from handing in a unit of work to its being durable.
    pub writes: Histogram,
    /// Units of work in one commit of SQLite.
    pub commits: Histogram,
    /// Units of work that the database failed.
    pub database_failures: Counter,
    /// Seconds that a password waits for a core.
    pub hash_waits: Histogram,
    /// Seconds that hashing it takes.
    pub hashes: Histogram,
    /// Attempts to sign in, by what became of them.
    pub sign_ins: ByName,
    /// Clients that were looked up, by where their document was found.
    pub clients: ByName,
    /// Attempts at clients' documents, by what came of them: `ok`, or the rule that refused.
    pub document_fetches: ByName,
    /// Tokens, by the grant that they were issued for.
    pub tokens: ByName,
    /// Requests for tokens that were refused, by the error.
    pub token_errors: ByName,
    /// Requests that found no place, by their kind.
    pub turned_away: ByName,
    /// Connections that are open.
    pub connections: Gauge,
    /// Connections that found no place.
    pub connections_refused: Counter,
    /// Expired rows that were deleted.
    pub rows_swept: Counter,
    /// Rounds of the sweeper, by how they ended.
    pub sweeps: ByName,
    /// When the last of them ended well, in seconds since 1970.
    pub last_sweep: Gauge,
    /// Lines that the log lost, as its writer counts them.
    pub log: OnceLock<ErrorCounter>,
}

impl Counts {
    /// Nothing has happened yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            writes: Histogram::new(SECONDS),
            commits: Histogram::new(UNITS),
            database_failures: Counter::default(),
            hash_waits: Histogram::new(SECONDS),
            hashes: Histogram::new(SECONDS),
            sign_ins: ByName::new("outcome", &["signed in", "wrong", "disabled"]),
            clients: ByName::new("source", &["memory", "database", "host", "stale"]),
            document_fetches: ByName::new("result", &["ok"]),
            tokens: ByName::new("grant", &GrantType::ALL.map(GrantType::as_str)),
            token_errors: ByName::new("error", &["invalid_client", "invalid_grant"]),
            turned_away: ByName::new(
                "class",
                &[
                    "programs",
                    "new requests",
                    "browsers",
                    "bodies",
                    "files",
                    "probes",
                ],
            ),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            rows_swept: Counter::default(),
            sweeps: ByName::new("outcome", &["ok", "failed"]),
            last_sweep: Gauge::default(),
            log: OnceLock::new(),
        })
    }

    /// Has all of it told.
    pub fn register(&self, registry: &mut Registry) {
        let names = [
            ("sign_ins", "Attempts to sign in", &self.sign_ins),
            (
                "clients",
                "Clients that were looked up, by where their document was found",
                &self.clients,
            ),
            (
                "document_fetches",
                "Documents that hosts were asked for, by the rule that refused, or ok",
                &self.document_fetches,
            ),
            ("tokens", "Answers with tokens, by grant", &self.tokens),
            (
                "token_errors",
                "Requests for tokens that were refused",
                &self.token_errors,
            ),
            (
                "turned_away",
                "Requests that found no place in time",
                &self.turned_away,
            ),
            (
                "sweeps",
                "Rounds of deleting what has expired",
                &self.sweeps,
            ),
        ];
        for (name, help, by_name) in names {
            registry.register(name, help, by_name.counts.clone());
        }
        let seconds = [
            (
                "store_write",
                "From handing in a unit of work to its being durable",
                &self.writes,
            ),
            (
                "password_wait",
                "That a password waits for a core",
                &self.hash_waits,
            ),
            ("password_hash", "That hashing it takes", &self.hashes),
        ];
        for (name, help, histogram) in seconds {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
        registry.register(
            "store_commit_units",
            "Units of work in one commit of SQLite",
            self.commits.clone(),
        );
        let counters = [
            (
                "store_failures",
                "Units of work that the database failed",
                &self.database_failures,
            ),
            (
                "connections_refused",
                "Connections that found no place",
                &self.connections_refused,
            ),
            (
                "rows_swept",
                "Expired rows that were deleted",
                &self.rows_swept,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "connections_open",
            "Connections that are open",
            self.connections.clone(),
        );
        registry.register_with_unit(
            "last_sweep",
            "When a round of deleting last ended well, since 1970",
            Unit::Seconds,
            self.last_sweep.clone(),
        );
    }

    /// Lines that the log has lost.
    pub fn log_lines_lost(&self) -> u64 {
        let lost = self.log.get().map(ErrorCounter::dropped_lines);
        lost.and_then(|lost| u64::try_from(lost).ok()).unwrap_or(0)
    }
}

/// A length of time, as histograms take it.
pub fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
