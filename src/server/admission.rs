//! How many requests are worked on at a time, and who is sent away when there are more: each kind has places of its own,
//! so that one does not starve the others, and of each kind one network has its part alone. Health and what is the same
//! for everybody need no place.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ipnet::IpNet;
use tokio::sync::Semaphore;

use super::connection_limits::share;
use crate::{counts::Counts, limits::networks};

/// Longest wait for a place: whoever has waited longer is better served by coming again.
const LONGEST: Duration = Duration::from_millis(500);
/// An IPv4 address or an IPv6 /64 has one place in so many; so it has of the room to wait.
const OF_ONE_NETWORK: u32 = 4;
/// Networks are counted under so many locks, that requests may not wait for each other.
const SHARDS: usize = 16;

/// The places of one kind of request.
#[derive(Debug)]
pub(super) struct Admission {
    all: Arc<Part>,
    networks: Networks,
    class: &'static str,
    counts: Arc<Counts>,
}

impl Admission {
    /// So many at a time; four times as many may wait.
    pub(super) fn new(most: u32, class: &'static str, counts: &Arc<Counts>) -> Self {
        Self {
            all: Arc::new(Part::new(most)),
            networks: Networks {
                most,
                shards: Default::default(),
                hasher: RandomState::new(),
            },
            class,
            counts: Arc::clone(counts),
        }
    }

    /// A place, at once or soon; `None`: come again. `source`: the address that asks; `None` where that is nobody's, as a
    /// trusted proxy's.
    pub(super) async fn enter(&self, source: Option<IpAddr>) -> Option<Place<'_>> {
        let mut place = Place {
            admission: self,
            source,
            parts: Vec::with_capacity(4),
            held: 0,
        };
        if let Some(source) = source {
            self.networks.enter(source, &mut place.parts);
        }
        place.parts.push(Arc::clone(&self.all));
        if place.take() || place.wait().await {
            return Some(place);
        }
        self.counts.turned_away.add(self.class);
        None
    }
}

/// The places of one network, or all of them, and the room for those that wait for one.
#[derive(Debug)]
struct Part {
    places: Semaphore,
    waiting: AtomicU32,
    most_waiting: u32,
}

impl Part {
    fn new(most: u32) -> Self {
        Self {
            places: Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS)),
            waiting: AtomicU32::new(0),
            most_waiting: most.saturating_mul(4),
        }
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    admission: &'a Admission,
    source: Option<IpAddr>,
    /// Those of its networks, the smallest first, and then the one of everybody.
    parts: Vec<Arc<Part>>,
    /// In how many of them it has its place.
    held: usize,
}

impl Place<'_> {
    /// Has it one in all of them now?
    fn take(&mut self) -> bool {
        for part in &self.parts[self.held..] {
            let Ok(place) = part.places.try_acquire() else {
                return false;
            };
            place.forget();
            self.held += 1;
        }
        true
    }

    /// The same, soon.
    async fn wait(&mut self) -> bool {
        let Self { parts, held, .. } = self;
        let waits = parts.iter().map(|part| Waits::begin(part));
        let Some(_waits) = waits.collect::<Option<Vec<_>>>() else {
            return false;
        };
        let all = async {
            for part in &parts[*held..] {
                let Ok(place) = part.places.acquire().await else {
                    return false;
                };
                place.forget();
                *held += 1;
            }
            true
        };
        tokio::time::timeout(LONGEST, all).await.unwrap_or(false)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        for part in &self.parts[..self.held] {
            part.places.add_permits(1);
        }
        if let Some(source) = self.source {
            self.admission.networks.leave(source, &mut self.parts);
        }
    }
}

/// The parts of the networks that have a request here.
#[derive(Debug)]
struct Networks {
    most: u32,
    shards: [Mutex<HashMap<IpNet, Arc<Part>>>; SHARDS],
    hasher: RandomState,
}

impl Networks {
    /// All networks of an address are in the shard of the widest.
    fn shard(&self, source: IpAddr) -> MutexGuard<'_, HashMap<IpNet, Arc<Part>>> {
        let widest = networks(source).last();
        let hash = self.hasher.hash_one(widest.map(|(network, _)| network));
        let shard = &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, source: IpAddr, parts: &mut Vec<Arc<Part>>) {
        let one = (self.most / OF_ONE_NETWORK).max(1);
        let mut known = self.shard(source);
        parts.extend(networks(source).map(|(network, quotas)| {
            let new = || Arc::new(Part::new(share(one, quotas, self.most)));
            Arc::clone(known.entry(network).or_insert_with(new))
        }));
    }

    /// Parts are handed out and given back under the lock: who finds that nobody else has one takes it away.
    fn leave(&self, source: IpAddr, parts: &mut Vec<Arc<Part>>) {
        let mut known = self.shard(source);
        parts.clear();
        for (network, _) in networks(source) {
            if known
                .get(&network)
                .is_some_and(|part| Arc::strong_count(part) == 1)
            {
                known.remove(&network);
            }
        }
    }
}

/// One that waits, until it is dropped.
struct Waits<'a>(&'a AtomicU32);

impl<'a> Waits<'a> {
    fn begin(part: &'a Part) -> Option<Self> {
        let before = part.waiting.fetch_add(1, Ordering::Relaxed);
        let waits = Self(&part.waiting);
        (before < part.most_waiting).then_some(waits)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    impl Admission {
        fn known_networks(&self) -> usize {
            let shards = self.networks.shards.iter();
            shards.map(|shard| shard.lock().unwrap().len()).sum()
        }
    }

    #[tokio::test]
    async fn over_the_places_some_wait_and_the_rest_is_sent_away_at_once() {
        let admission = Admission::new(2, "programs", &Counts::new());
        let (first, second) = (admission.enter(None).await, admission.enter(None).await);
        assert!(first.is_some() && second.is_some());
        let mut all: Vec<_> = (0..20).map(|_| Box::pin(admission.enter(None))).collect();
        let mut waiting = 0;
        for enters in &mut all {
            waiting += u32::from(poll!(enters).is_pending());
        }
        assert_eq!(waiting, 8, "four times as many as there are places");
        assert_eq!(admission.all.waiting.load(Ordering::Relaxed), 8);
        drop(all);
        let waits = (0..8).map(|_| admission.enter(None));
        let answers = futures_util::future::join_all(waits).await;
        assert!(answers.iter().all(Option::is_none), "not for long");
        assert_eq!(admission.all.waiting.load(Ordering::Relaxed), 0);

        let waits = admission.enter(None);
        tokio::pin!(waits);
        assert!(poll!(&mut waits).is_pending());
        drop(first);
        assert!(waits.await.is_some(), "a place became free");
    }

    /// Those that have a place at once, those that wait, and how many are sent away.
    async fn come<'a, F>(
        admission: &'a Admission,
        addresses: impl Iterator<Item = String>,
        enter: impl Fn(&'a Admission, IpAddr) -> F,
    ) -> (Vec<Place<'a>>, Vec<std::pin::Pin<Box<F>>>, usize)
    where
        F: Future<Output = Option<Place<'a>>>,
    {
        let (mut places, mut waiting, mut sent_away) = (Vec::new(), Vec::new(), 0);
        for address in addresses {
            let mut enters = Box::pin(enter(admission, address.parse().unwrap()));
            match poll!(&mut enters) {
                std::task::Poll::Ready(Some(place)) => places.push(place),
                std::task::Poll::Ready(None) => sent_away += 1,
                std::task::Poll::Pending => waiting.push(enters),
            }
        }
        (places, waiting, sent_away)
    }

    #[tokio::test]
    async fn y_04_one_network_has_a_quarter_of_the_places_and_of_the_room_to_wait() {
        let admission = Admission::new(16, "programs", &Counts::new());
        let enter = |admission: &'static Admission, source| admission.enter(Some(source));
        let admission: &'static Admission = Box::leak(Box::new(admission));
        let same = |address: &'static str| std::iter::repeat_n(address.to_owned(), 100);

        let (places, mut waiting, sent_away) = come(admission, same("192.0.2.1"), enter).await;
        assert_eq!((places.len(), waiting.len(), sent_away), (4, 16, 80));
        let (others, ..) = come(admission, same("192.0.2.2"), enter).await;
        assert_eq!(others.len(), 4, "another has its own");
        drop(others);

        // A place of its own that becomes free is the next one's of those who wait.
        let mut places = places;
        drop(places.pop());
        let first = waiting.remove(0).await;
        assert!(first.is_some());
        assert!(!matches!(
            poll!(&mut waiting[0]),
            std::task::Poll::Ready(Some(_))
        ));
        drop((places, waiting, first));
        assert_eq!(admission.known_networks(), 0, "nobody is remembered");
    }

    #[tokio::test]
    async fn y_04_the_networks_of_one_subscriber_have_half_of_the_places() {
        let admission: &'static Admission =
            Box::leak(Box::new(Admission::new(16, "programs", &Counts::new())));
        let enter = |admission: &'static Admission, source| admission.enter(Some(source));
        let of_a_56 = (0..256).map(|n| format!("2001:db8:0:{n:x}::1"));
        let (places, waiting, _) = come(admission, of_a_56, enter).await;
        assert_eq!((places.len(), waiting.len()), (8, 32));
        let of_a_48 = (0..256).map(|n| format!("2001:db8:0:{:x}::1", n * 256));
        let (more, still, _) = come(admission, of_a_48, enter).await;
        assert_eq!((more.len(), still.len()), (0, 0), "a /48 no more");
        for other in ["2001:db8:1::1", "192.0.2.1"] {
            let place = admission.enter(Some(other.parse().unwrap())).await;
            assert!(place.is_some(), "{other}");
        }
        drop((places, waiting));
        assert_eq!(admission.known_networks(), 0);
    }

    #[tokio::test]
    async fn whoever_waits_and_leaves_takes_no_place_along() {
        let admission = Admission::new(4, "programs", &Counts::new());
        let source = Some("192.0.2.1".parse().unwrap());
        let first = admission.enter(source).await;
        for _ in 0..100 {
            let mut waits = Box::pin(admission.enter(source));
            assert!(poll!(&mut waits).is_pending());
        }
        drop(first);
        assert!(admission.enter(source).await.is_some());
        assert_eq!(admission.known_networks(), 0);
        assert_eq!(admission.all.places.available_permits(), 4);
    }
}
