//! What was refused, kept for the administrator who is asked why. Keeping one never holds up the answer, and strangers can
//! fill neither the memory nor the database with it.

use std::{
    collections::VecDeque,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    limits::{Quota, Rate},
    secret::random,
    store::{NewRefusal, Store, StoreError},
    time::Clock,
};

/// Letters and digits of a reference that nobody mistakes for each other (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of a reference: 50 bits.
const LENGTH: usize = 10;
/// Refusals that wait to be written. More are in the log alone.
const WAITING: usize = 100;
/// How long the writer rests after each batch.
const REST: Duration = Duration::from_secs(1);
/// Refusals of one network that are kept at once.
const AT_ONCE: u32 = 20;
/// After those, one is kept in so many seconds.
const ONE_IN: u64 = 30;

/// What a person reads out to the administrator, and what the log and the list of refusals know the refusal by.
pub fn new_reference() -> String {
    let letter = |byte: u8| char::from(ALPHABET[usize::from(byte % 32)]);
    random::<LENGTH>().into_iter().map(letter).collect()
}

/// A reference as it is kept, of one that was typed: in capitals, with spaces or dashes, with letters for digits.
pub fn typed_reference(text: &str) -> String {
    let letters = text.chars().filter(char::is_ascii_alphanumeric);
    let read = |c: char| match c.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        c => c,
    };
    letters.take(64).map(read).collect()
}

/// Where refusals wait until they are written. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Refusals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    of_network: Rate,
    waiting: Mutex<Waiting>,
    /// Held while a batch is written.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    rows: VecDeque<NewRefusal>,
    has_writer: bool,
}

impl Refusals {
    /// Nothing waits yet.
    pub fn new(store: Store, scale: NonZeroU32, clock: &Clock) -> Self {
        let quota = Quota::one_in(ONE_IN).at_once(AT_ONCE).times(scale.get());
        Self(Arc::new(Inner {
            store,
            of_network: Rate::new(quota, clock),
            waiting: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }))
    }

    /// Has it kept, soon, unless its network or all of them together have too many.
    pub fn keep(&self, refusal: NewRefusal, source: IpAddr) {
        if self.0.of_network.charge(source).is_err() {
            return;
        }
        let mut waiting = self.waiting();
        if waiting.rows.len() >= WAITING {
            return;
        }
        waiting.rows.push_back(refusal);
        if !waiting.has_writer
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            waiting.has_writer = true;
            runtime.spawn(self.clone().write());
        }
    }

    /// Writes what waits now: for whoever wants to read all of it.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.0.writing.lock().await;
        let rows = std::mem::take(&mut self.waiting().rows);
        self.0.store.keep_refusals(rows.into()).await
    }

    /// Writes until nothing waits.
    async fn write(self) {
        loop {
            if let Err(error) = self.flush().await {
                // The log has each of them.
                tracing::debug!(%error, "refusals could not be kept");
            }
            tokio::time::sleep(REST).await;
            let mut waiting = self.waiting();
            if waiting.rows.is_empty() {
                waiting.has_writer = false;
                return;
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_found_however_it_is_typed() {
        let reference = new_reference();
        assert_eq!(reference.len(), LENGTH);
        assert_eq!(typed_reference(&reference), reference);
        let table = [
            ("K3F9X-2MWQP", "k3f9x2mwqp"),
            (" k3f9x 2mwqp\n", "k3f9x2mwqp"),
            ("lO0iI", "10011"),
            ("'; DROP", "drop".replace('o', "0").as_str()),
            ("ü\u{202e}", ""),
        ]
        .map(|(typed, kept)| (typed, kept.to_owned()));
        for (typed, kept) in table {
            assert_eq!(typed_reference(typed), kept, "{typed:?}");
        }
    }
}
