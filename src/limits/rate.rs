//! So many in so much time: the generic cell rate algorithm, one cell for each key.

use std::{
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{networks, per_key::PerKey};
use crate::time::Clock;

/// So many at once, and one more each time that so much time has passed.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    burst: u32,
    every: Duration,
}

impl Quota {
    /// One in so many seconds.
    pub const fn one_in(seconds: u64) -> Self {
        Self {
            burst: 1,
            every: Duration::from_secs(seconds),
        }
    }

    /// So many in a minute, all of them at once if need be.
    pub fn per_minute(count: NonZeroU32) -> Self {
        Self {
            burst: count.get(),
            every: Duration::from_secs(60) / count.get(),
        }
    }

    /// The same in the long run, but only so many at once.
    pub const fn at_once(self, burst: u32) -> Self {
        Self { burst, ..self }
    }

    /// So many times this quota, in the same time.
    pub fn times(self, count: u32) -> Self {
        Self {
            burst: self.burst.saturating_mul(count),
            every: self.every / count.max(1),
        }
    }

    /// How long it takes until all of it is there again.
    fn whole(self) -> Duration {
        self.every.saturating_mul(self.burst)
    }
}

/// A quota for each key.
#[derive(Debug)]
pub struct Rate {
    quota: Quota,
    clock: Clock,
    of: PerKey<Cell>,
}

/// When the whole quota of one key will be there again.
type Cell = Mutex<Duration>;

/// What was taken of quotas. It stays taken unless it is [given back](Taken::give_back).
///
/// Several quotas are charged one after the other, and what the first ones gave is given back where a later one refuses: a
/// refusal charges nothing. In between, for less than a microsecond, another caller may find one too few; never one too
/// many.
#[derive(Debug, Default)]
#[must_use]
pub struct Taken(Vec<(Arc<Cell>, Duration)>);

impl Taken {
    /// Takes more; if that is refused, all is given back.
    ///
    /// # Errors
    ///
    /// What `more` says.
    pub fn and<E>(mut self, more: Result<Self, E>) -> Result<Self, E> {
        match more {
            Ok(more) => {
                self.0.extend(more.0);
                Ok(self)
            }
            Err(error) => {
                self.give_back();
                Err(error)
            }
        }
    }

    /// It was not used: as if nothing had been taken.
    pub fn give_back(self) {
        for (cell, every) in self.0 {
            let mut whole_at = cell.lock().unwrap_or_else(PoisonError::into_inner);
            *whole_at = whole_at.saturating_sub(every);
        }
    }
}

impl Rate {
    /// Every key has the whole quota.
    pub fn new(quota: Quota, clock: &Clock) -> Self {
        Self {
            quota,
            clock: clock.clone(),
            of: PerKey::new(quota.whole()),
        }
    }

    /// Takes one of a key's quota.
    ///
    /// # Errors
    ///
    /// How long to wait, when it is spent.
    pub fn take(&self, key: &(impl Hash + ?Sized)) -> Result<Taken, Duration> {
        self.take_of(key, self.quota)
    }

    /// Takes one of the quota that each [network](networks) of an address has for a key, or of none.
    ///
    /// # Errors
    ///
    /// How long to wait, when that of one of them is spent.
    pub fn take_by_network(
        &self,
        source: IpAddr,
        key: &(impl Hash + ?Sized),
    ) -> Result<Taken, Duration> {
        networks(source).try_fold(Taken::default(), |taken, (network, quotas)| {
            taken.and(self.take_of(&(network, key), self.quota.times(quotas)))
        })
    }

    /// Charges one to the networks of an address, or to none.
    ///
    /// # Errors
    ///
    /// How long to wait, when the quota of one of them is spent.
    pub fn charge(&self, source: IpAddr) -> Result<(), Duration> {
        self.take_by_network(source, "").map(drop)
    }

    fn take_of(&self, key: &(impl Hash + ?Sized), quota: Quota) -> Result<Taken, Duration> {
        let cell = self.of.of(key, Cell::default);
        let now = self.clock.monotonic();
        let mut whole_at = cell.lock().unwrap_or_else(PoisonError::into_inner);
        let then = whole_at.max(now).saturating_add(quota.every);
        let wait = then.saturating_sub(now.saturating_add(quota.whole()));
        if !wait.is_zero() {
            return Err(wait);
        }
        *whole_at = then;
        drop(whole_at);
        Ok(Taken(vec![(cell, quota.every)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;

    fn rate(per_minute: u32) -> (Rate, Clock) {
        let clock = Clock::manual(UnixTime(0));
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap());
        (Rate::new(quota, &clock), clock)
    }

    #[test]
    fn a_key_has_its_quota_and_gets_it_again_in_time() {
        let (rate, clock) = rate(10);
        assert!((0..10).all(|_| rate.take("a").is_ok()));
        assert_eq!(rate.take("a").unwrap_err(), Duration::from_secs(6));
        assert!(rate.take("b").is_ok());
        clock.advance(5);
        assert_eq!(rate.take("a").unwrap_err(), Duration::from_secs(1));
        clock.advance(1);
        assert!(rate.take("a").is_ok() && rate.take("a").is_err());
        // Whoever stays away for long gets no more than the whole.
        clock.advance(3_600);
        assert_eq!((0..100).filter(|_| rate.take("a").is_ok()).count(), 10);
    }

    #[test]
    fn fewer_at_once_are_as_many_in_the_long_run() {
        let clock = Clock::manual(UnixTime(0));
        let sixty = NonZeroU32::new(60).unwrap();
        let rate = Rate::new(Quota::per_minute(sixty).at_once(5), &clock);
        let mut taken = 0;
        for _ in 0..60 {
            taken += (0..10).filter(|_| rate.take("a").is_ok()).count();
            clock.advance(1);
        }
        assert_eq!(taken, 64);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (rate, _) = rate(3);
        for _ in 0..100 {
            rate.take("a").unwrap().give_back();
        }
        let mut all: Vec<_> = (0..3).map(|_| rate.take("a").unwrap()).collect();
        assert!(rate.take("a").is_err());
        all.pop().unwrap().give_back();
        assert!(rate.take("a").is_ok() && rate.take("a").is_err());
        // Of two quotas both are taken or none.
        for _ in 0..100 {
            let both = rate.take("b").unwrap().and(rate.take("a"));
            assert!(both.is_err());
        }
        assert!((0..3).all(|_| rate.take("b").is_ok()));
    }

    #[test]
    fn y_01_the_wider_networks_of_an_ipv6_address_have_four_and_sixteen_quotas() {
        let charged = |sources: &dyn Fn(u32) -> String| {
            let (rate, _) = rate(10);
            let sources = (0..2_000).map(|n| sources(n).parse().unwrap());
            sources
                .filter(|source| rate.charge(*source).is_ok())
                .count()
        };
        assert_eq!(charged(&|n| format!("2001:db8::{n:x}")), 10, "one /64");
        let in_a_56 = |n: u32| format!("2001:db8:0:{:x}::{n:x}", n % 120);
        assert_eq!(charged(&in_a_56), 40, "120 /64s of one /56");
        let in_a_48 = |n: u32| format!("2001:db8:0:{n:x}00::1");
        assert_eq!(charged(&|n| in_a_48(n % 256)), 160, "256 /56s of one /48");
        let ipv4 = |n: u32| format!("192.0.2.{}", n % 120);
        assert_eq!(charged(&ipv4), 1_200, "120 IPv4 addresses");
    }

    #[test]
    fn y_01_a_refusal_charges_none_of_the_networks() {
        let (rate, _) = rate(10);
        let charge = |address: &str| rate.charge(address.parse().unwrap());
        let flood = (0..1_000).filter(|_| charge("2001:db8::1").is_ok()).count();
        assert_eq!(flood, 10);
        let neighbours = |n: u32| charge(&format!("2001:db8:0:1::{n:x}"));
        assert_eq!((0..1_000).filter(|n| neighbours(*n).is_ok()).count(), 10);
        let rest = |n: u32| charge(&format!("2001:db8:0:{:x}::1", 2 + n % 100));
        assert_eq!((0..1_000).filter(|n| rest(*n).is_ok()).count(), 20);
    }
}
