//! How often: requests of one network, and wrong guesses. In memory of one process; `limits.scale` multiplies each.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter, clock::Clock as _, middleware::NoOpMiddleware, nanos::Nanos,
    state::keyed::HashMapStateStore,
};

use moka::sync::Cache;

use crate::{
    config::Config,
    protocol::device::Pace,
    time::{Clock, UnixTime},
};

/// Keys that a limiter may hold before it forgets those that are idle.
const KEYS: usize = 10_000;
/// How often waiting devices are counted in the database, at most.
const COUNTED_EVERY: Duration = Duration::from_secs(5);

/// What strangers may do how often, beside what they may have fetched.
#[derive(Debug)]
pub struct Limits {
    /// Devices that one network may start.
    pub device_requests: Rate,
    /// Devices that wait.
    pub devices: Devices,
    /// Authorization requests that one network may push for clients that prove nothing.
    pub pushed_requests: Rate,
    /// User codes that are wrong, RFC 8628 §5.1.
    pub user_codes: Guesses,
}

impl Limits {
    /// Nothing is charged yet.
    pub fn new(config: &Config, clock: &Clock) -> Self {
        let scale = config.limits.scale;
        let ten = const { NonZeroU32::MIN.saturating_add(9) };
        Self {
            device_requests: Rate::new(Quota::per_minute(ten.saturating_mul(scale)), clock),
            devices: Devices::new(scale, clock),
            pushed_requests: Rate::new(Quota::per_minute(ten.saturating_mul(scale)), clock),
            user_codes: Guesses::new(scale, clock),
        }
    }
}

/// Devices that wait for a person: how many there are, and how often each asks.
#[derive(Debug)]
pub struct Devices {
    most: i64,
    clock: Clock,
    /// When they were counted in the database, and how many there were, with those that started since.
    counted: Mutex<Option<(Duration, i64)>>,
    paces: Cache<String, Pace>,
}

impl Devices {
    fn new(scale: NonZeroU32, clock: &Clock) -> Self {
        Self {
            most: i64::from(scale.get()).saturating_mul(10_000),
            clock: clock.clone(),
            counted: Mutex::default(),
            paces: Cache::builder()
                .max_capacity(100_000)
                .time_to_idle(Duration::from_secs(120))
                .build(),
        }
    }

    /// May another one wait? `None`: they have to be [counted](Self::counted) first.
    ///
    /// Other processes' devices count as of the last counting, which is five seconds ago at most.
    pub fn begin(&self) -> Option<bool> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, count) = counted.as_mut()?;
        if self.clock.monotonic().saturating_sub(*at) >= COUNTED_EVERY {
            return None;
        }
        let may = *count < self.most;
        *count += i64::from(may);
        Some(may)
    }

    /// So many wait, says the database.
    pub fn counted(&self, waiting: i64) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        *counted = Some((self.clock.monotonic(), waiting));
    }

    /// A device asks by its code: is that too early? Remembered by this process alone, and not for long: it only keeps
    /// devices from asking too often.
    pub fn asks_too_early(&self, code: &str, wait: i64, now: UnixTime) -> bool {
        let mut early = false;
        self.paces
            .entry_by_ref(code)
            .and_upsert_with(|known| match known {
                None => Pace::begin(now, wait),
                Some(entry) => {
                    let (next, was_early) = entry.into_value().again(now);
                    early = was_early;
                    next
                }
            });
        early
    }
}

/// The network of an address, as limits count them: an IPv4 address or an IPv6 /64.
pub fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
    }
}

/// Our clock, as the limiter reads it.
#[derive(Clone, Debug)]
struct Ticks(Clock);

impl governor::clock::Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.monotonic())
    }
}

/// So many of one key in so much time.
#[derive(Debug)]
pub struct Rate {
    clock: Ticks,
    limiter: RateLimiter<String, HashMapStateStore<String>, Ticks, NoOpMiddleware<Nanos>>,
}

impl Rate {
    /// Every key has the whole quota.
    pub fn new(quota: Quota, clock: &Clock) -> Self {
        let clock = Ticks(clock.clone());
        Self {
            limiter: RateLimiter::new(quota, HashMapStateStore::default(), clock.clone()),
            clock,
        }
    }

    /// Charges one to a key.
    ///
    /// # Errors
    ///
    /// How long to wait, when its quota is spent.
    pub fn charge(&self, key: String) -> Result<(), Duration> {
        if self.limiter.len() > KEYS {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(&key)
            .map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

/// Wrong guesses at something that people type: of one network, of one person, and of all.
#[derive(Debug)]
pub struct Guesses {
    by_network: Failures,
    by_person: Failures,
    of_all: Failures,
}

/// A guess under way. It counts as a wrong one unless it [was right](Guess::was_right).
#[derive(Debug)]
#[must_use]
pub struct Guess<'a>(Vec<(&'a Failures, String, Duration)>);

impl Guesses {
    /// Of one network and of one person five in ten minutes, of all sixty in an hour.
    fn new(scale: NonZeroU32, clock: &Clock) -> Self {
        let failures = |most: u32, span| Failures {
            most: usize::try_from(scale.get().saturating_mul(most)).unwrap_or(usize::MAX),
            span: Duration::from_secs(span),
            clock: clock.clone(),
            of: Mutex::default(),
        };
        Self {
            by_network: failures(5, 600),
            by_person: failures(5, 600),
            of_all: failures(60, 3_600),
        }
    }

    /// Begins a guess; guesses at the same time cannot all pass before the first of them has failed.
    ///
    /// # Errors
    ///
    /// How long to wait, when too many were wrong.
    pub fn begin(&self, source: IpAddr, person: &str) -> Result<Guess<'_>, Duration> {
        let mut guess = Guess(Vec::new());
        let keys = [
            (&self.of_all, String::new()),
            (&self.by_network, network(source).to_string()),
            (&self.by_person, person.to_owned()),
        ];
        for (failures, key) in keys {
            match failures.take(&key) {
                Ok(at) => guess.0.push((failures, key, at)),
                Err(wait) => {
                    guess.was_right();
                    return Err(wait);
                }
            }
        }
        Ok(guess)
    }
}

impl Guess<'_> {
    /// It was no wrong guess: nothing is counted.
    pub fn was_right(self) {
        for (failures, key, at) in self.0 {
            failures.give_back(&key, at);
        }
    }
}

/// Failures of each key within a span of time.
#[derive(Debug)]
struct Failures {
    most: usize,
    span: Duration,
    clock: Clock,
    of: Mutex<HashMap<String, VecDeque<Duration>>>,
}

impl Failures {
    /// Counts a failure before it is one, and says when that was.
    fn take(&self, key: &str) -> Result<Duration, Duration> {
        let now = self.clock.monotonic();
        let is_recent = |at: &Duration| now.saturating_sub(*at) < self.span;
        let mut of = self.lock();
        if of.len() > KEYS {
            of.retain(|_, times| times.back().is_some_and(is_recent));
        }
        let times = of.entry(key.to_owned()).or_default();
        times.retain(is_recent);
        match times.front() {
            Some(first) if times.len() >= self.most => {
                Err((*first + self.span).saturating_sub(now))
            }
            _ => {
                times.push_back(now);
                Ok(now)
            }
        }
    }

    fn give_back(&self, key: &str, at: Duration) {
        let mut of = self.lock();
        let Some(times) = of.get_mut(key) else { return };
        if let Some(position) = times.iter().position(|time| *time == at) {
            times.remove(position);
        }
        if times.is_empty() {
            of.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Duration>>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;

    fn limits() -> (Limits, Clock) {
        let clock = Clock::manual(UnixTime(0));
        (Limits::new(&Config::default(), &clock), clock)
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn v_10_a_network_starts_ten_devices_a_minute() {
        let (limits, clock) = limits();
        let start = || limits.device_requests.charge("192.0.2.1".to_owned());
        assert!((0..10).all(|_| start().is_ok()));
        assert!(start().is_err_and(|wait| wait <= Duration::from_secs(6)));
        clock.advance(6);
        assert!(start().is_ok() && start().is_err());
        assert!(
            limits
                .device_requests
                .charge("192.0.2.2".to_owned())
                .is_ok()
        );
    }

    #[test]
    fn v_02_five_wrong_guesses_of_one_network_or_one_person_are_enough() {
        let (limits, clock) = limits();
        let wrong = |source: IpAddr, person: &str| limits.user_codes.begin(source, person).is_ok();
        assert!((0..5).all(|n| wrong(address(1), &format!("person {n}"))));
        assert!(!wrong(address(1), "another"));
        assert!((0..5).all(|n| wrong(address(10 + n), "ada")));
        assert!(!wrong(address(100), "ada"));
        assert!(wrong(address(100), "grace"));
        clock.advance(599);
        assert!(!wrong(address(1), "another") && !wrong(address(100), "ada"));
        clock.advance(1);
        assert!(wrong(address(1), "another") && wrong(address(100), "ada"));
    }

    #[test]
    fn v_02_a_thousand_networks_have_sixty_wrong_guesses_an_hour_together() {
        let (limits, clock) = limits();
        let wrong = |n: u32| {
            let guess = limits.user_codes.begin(address(n), &n.to_string());
            guess.is_ok()
        };
        assert_eq!((0..1_000).filter(|n| wrong(*n)).count(), 60);
        clock.advance(3_599);
        assert!(!wrong(5_000));
        clock.advance(1);
        assert_eq!((0..1_000).filter(|n| wrong(*n)).count(), 60);
    }

    #[test]
    fn what_is_right_counts_nowhere() {
        let (limits, _) = limits();
        for _ in 0..100 {
            limits
                .user_codes
                .begin(address(1), "ada")
                .unwrap()
                .was_right();
        }
        assert!(limits.user_codes.of_all.lock().is_empty());
        // Guesses at the same time: each has its place before any is judged.
        let under_way: Vec<_> = (0..6)
            .map(|_| limits.user_codes.begin(address(1), "ada"))
            .collect();
        assert_eq!(under_way.iter().filter(|guess| guess.is_ok()).count(), 5);
    }

    #[test]
    fn a_network_is_an_address_or_a_64() {
        assert_eq!(network(address(7)), address(7));
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}
