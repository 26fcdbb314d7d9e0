//! What is remembered of each of many keys, in bounded memory.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
    time::Duration,
};

use moka::{policy::EvictionPolicy, sync::Cache};

/// Keys of which something is remembered at a time.
const KEYS: u64 = 10_000;

/// Something of each key. Of too many keys the one that was asked about longest ago is forgotten: whoever comes from
/// everywhere at once costs us neither memory nor time. Keys may be strangers' text of any length; only hashes are kept.
#[derive(Debug)]
pub struct PerKey<T: Send + Sync + 'static> {
    of: Cache<u64, Arc<T>>,
    hasher: RandomState,
}

impl<T: Send + Sync + 'static> PerKey<T> {
    /// Nothing is known yet; what nobody asks about for `idle` is forgotten.
    pub fn new(idle: Duration) -> Self {
        let of = Cache::builder()
            .max_capacity(KEYS)
            .time_to_idle(idle)
            .eviction_policy(EvictionPolicy::lru());
        Self {
            of: of.build(),
            hasher: RandomState::new(),
        }
    }

    /// What is known of a key; `new` when that is nothing.
    pub fn of(&self, key: &(impl Hash + ?Sized), new: impl FnOnce() -> T) -> Arc<T> {
        self.of
            .get_with(self.hasher.hash_one(key), || Arc::new(new()))
    }

    /// The same, if anything is.
    pub fn known(&self, key: &(impl Hash + ?Sized)) -> Option<Arc<T>> {
        self.of.get(&self.hasher.hash_one(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_any_number_of_keys_some_are_remembered() {
        let of = PerKey::new(Duration::from_secs(3_600));
        let most = usize::try_from(KEYS).unwrap();
        let long = "x".repeat(2_000);
        for number in 0..3 * most {
            assert_eq!(*of.of(&format!("{number}{long}"), || number), number);
            assert_eq!(
                *of.of("always asked about", || usize::MAX - 1),
                usize::MAX - 1
            );
        }
        of.of.run_pending_tasks();
        assert!(of.of.entry_count() <= KEYS, "{}", of.of.entry_count());
        let last = 3 * most - 1;
        assert_eq!(*of.known(&format!("{last}{long}")).unwrap(), last);
        assert!(of.known("always asked about").is_some());
        assert!(of.known(&format!("0{long}")).is_none());
    }
}
