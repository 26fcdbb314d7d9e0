//! One fetch at a time for each address, owned by a task: who goes away does not stop it for the others.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tracing::Instrument;

use super::refusal::{Refusal, RefusalKind};

/// A fetch that is under way.
pub(super) type Flight<T> = Shared<BoxFuture<'static, Result<T, Refusal>>>;

/// The fetches that are under way, by what they fetch.
#[derive(Debug)]
pub(super) struct SingleFlight<T>(Arc<Mutex<HashMap<String, Flight<T>>>>)
where
    T: Clone + 'static;

impl<T: Clone + Send + Sync + 'static> SingleFlight<T> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Joins the fetch of `key`, or starts it with `work`.
    pub(super) fn join<W>(&self, key: &str, work: impl FnOnce() -> W) -> Flight<T>
    where
        W: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key) {
            return flight.clone();
        }
        let (all, own, work) = (Arc::clone(&self.0), key.to_owned(), work());
        let work = async move {
            let result = AssertUnwindSafe(work).catch_unwind().await;
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&own);
            result.unwrap_or_else(|_| Err(failed("reading it panicked")))
        };
        // For a collector it belongs to whoever asked first.
        let task = tokio::spawn(work.in_current_span());
        let flight = async move {
            task.await
                .unwrap_or_else(|error| Err(failed(&error.to_string())))
        };
        let flight = flight.boxed().shared();
        flights.insert(key.to_owned(), flight.clone());
        flight
    }

    /// Is this being fetched?
    pub(super) fn are_under_way(&self, key: &str) -> bool {
        let flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.contains_key(key)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn failed(cause: &str) -> Refusal {
    Refusal {
        kind: RefusalKind::Internal,
        rule: "internal",
        told: "the server could not read what the client published".to_owned(),
        cause: cause.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn callers_share_one_flight_and_a_panic_ends_it() {
        let flights = SingleFlight::<usize>::new();
        let begun = Arc::new(AtomicUsize::new(0));
        let fetch = || {
            let begun = Arc::clone(&begun);
            async move {
                tokio::task::yield_now().await;
                Ok(begun.fetch_add(1, Ordering::SeqCst) + 1)
            }
        };
        let first = flights.join("a", fetch);
        let (second, other) = (flights.join("a", fetch), flights.join("b", fetch));
        assert_eq!(flights.len(), 2);
        // The one who began it goes away.
        drop(first);
        let (second, other) = (second.await.unwrap(), other.await.unwrap());
        assert_eq!(second + other, 3, "two fetches in all");
        let broken = flights.join("a", || async { panic!("broken") });
        assert_eq!(broken.await.unwrap_err().kind, RefusalKind::Internal);
        assert_eq!(flights.len(), 0);
        assert_eq!(
            flights.join("a", fetch).await.unwrap(),
            3,
            "the next begins anew"
        );
    }
}
