//! How many requests are worked on at a time, and who is sent away when there are more: each kind has places of its own,
//! so that one does not starve the others. Health and what is the same for everybody need no place.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::counts::Counts;

/// Longest wait for a place: whoever has waited longer is better served by coming again.
const LONGEST: Duration = Duration::from_millis(500);

/// The places of one kind of request.
#[derive(Debug)]
pub(super) struct Admission {
    places: Semaphore,
    waiting: AtomicU32,
    most_waiting: u32,
    class: &'static str,
    counts: Arc<Counts>,
}

impl Admission {
    /// So many at a time; four times as many may wait.
    pub(super) fn new(most: u32, class: &'static str, counts: &Arc<Counts>) -> Self {
        Self {
            places: Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS)),
            waiting: AtomicU32::new(0),
            most_waiting: most.saturating_mul(4),
            class,
            counts: Arc::clone(counts),
        }
    }

    /// A place, at once or soon; `None`: come again.
    pub(super) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.places.try_acquire() {
            return Some(place);
        }
        let place = self.wait().await;
        if place.is_none() {
            self.counts.turned_away.add(self.class);
        }
        place
    }

    async fn wait(&self) -> Option<SemaphorePermit<'_>> {
        let _waits = Waits::begin(&self.waiting, self.most_waiting)?;
        let place = tokio::time::timeout(LONGEST, self.places.acquire()).await;
        place.ok()?.ok()
    }
}

/// One that waits, until it is dropped.
struct Waits<'a>(&'a AtomicU32);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a AtomicU32, most: u32) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let waits = Self(waiting);
        (before < most).then_some(waits)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn over_the_places_some_wait_and_the_rest_is_sent_away_at_once() {
        let admission = Admission::new(2, "programs", &Counts::new());
        let (first, second) = (admission.enter().await, admission.enter().await);
        assert!(first.is_some() && second.is_some());
        let mut all: Vec<_> = (0..20).map(|_| Box::pin(admission.enter())).collect();
        let mut waiting = 0;
        for enters in &mut all {
            waiting += u32::from(futures_util::poll!(enters).is_pending());
        }
        assert_eq!(waiting, 8, "four times as many as there are places");
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 8);
        drop(all);
        let waits = (0..8).map(|_| admission.enter());
        let answers = futures_util::future::join_all(waits).await;
        assert!(answers.iter().all(Option::is_none), "not for long");
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);

        let waits = admission.enter();
        tokio::pin!(waits);
        assert!(futures_util::poll!(&mut waits).is_pending());
        drop(first);
        assert!(waits.await.is_some(), "a place became free");
    }
}
