//! Sign-ins that fail: from one network, and from one browser that is known.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ipnet::IpNet;

use super::{
    failures::{Failures, Guess},
    networks,
    per_key::PerKey,
};
use crate::time::Clock;

/// Seconds in which different wrong pairs of name and password are counted.
const TRIED_WITHIN: Duration = Duration::from_secs(3 * 3_600);
/// Seconds for which a network that tried too many waits.
const SHUT_OUT: Duration = Duration::from_secs(86_400);

/// How often sign-ins may fail, in this process.
#[derive(Debug)]
pub struct SignIns {
    by_network: Failures,
    by_browser: Failures,
    lists: Lists,
}

impl SignIns {
    /// Of one network ten in a minute, and fifteen different ones in three hours; of one browser that is known ten in an
    /// hour, beside those.
    pub(super) fn new(scale: NonZeroU32, clock: &Clock) -> Self {
        Self {
            by_network: Failures::new(10, 60, scale, clock),
            by_browser: Failures::new(10, 3_600, scale, clock),
            lists: Lists {
                most: usize::try_from(scale.get().saturating_mul(15)).unwrap_or(usize::MAX),
                clock: clock.clone(),
                hasher: RandomState::new(),
                of: PerKey::new(SHUT_OUT),
            },
        }
    }

    /// Begins an attempt from a network.
    ///
    /// # Errors
    ///
    /// How long to wait, when too many were wrong.
    pub fn of_network(&self, source: IpAddr) -> Result<Guess, Duration> {
        self.lists.check(source)?;
        self.by_network.begin_by_network(source, "")
    }

    /// Begins an attempt from a browser in which the name has signed in before.
    ///
    /// # Errors
    ///
    /// How long to wait, when too many were wrong.
    pub fn of_browser(&self, browser: &str) -> Result<Guess, Duration> {
        self.by_browser.begin(browser)
    }

    /// It was wrong.
    pub fn failed(&self, source: IpAddr, username: &str, password: &str) {
        self.lists.failed(source, username, password);
    }
}

/// Networks that work through lists of stolen names and passwords: what tells them from people who mistype is that each
/// try is another pair.
#[derive(Debug)]
struct Lists {
    most: usize,
    clock: Clock,
    hasher: RandomState,
    of: PerKey<Mutex<Tried>>,
}

#[derive(Debug, Default)]
struct Tried {
    /// Pairs, by their hashes, and when each was first tried.
    pairs: VecDeque<(u64, Duration)>,
    shut_out_until: Option<Duration>,
}

impl Lists {
    /// May somebody sign in from an address? Not if one of its networks is shut out.
    fn check(&self, source: IpAddr) -> Result<(), Duration> {
        let waits = networks(source).filter_map(|(network, _)| self.check_one(&network).err());
        waits.max().map_or(Ok(()), Err)
    }

    fn check_one(&self, network: &IpNet) -> Result<(), Duration> {
        let now = self.clock.monotonic();
        let Some(tried) = self.of.known(network) else {
            return Ok(());
        };
        let tried = tried.lock().unwrap_or_else(PoisonError::into_inner);
        match tried.shut_out_until {
            Some(until) if until > now => Err(until - now),
            _ => Ok(()),
        }
    }

    fn failed(&self, source: IpAddr, username: &str, password: &str) {
        let pair = self.hasher.hash_one((username, password));
        for (network, quotas) in networks(source) {
            let quotas = usize::try_from(quotas).unwrap_or(usize::MAX);
            self.failed_in(&network, self.most.saturating_mul(quotas), pair);
        }
    }

    fn failed_in(&self, network: &IpNet, most: usize, pair: u64) {
        let now = self.clock.monotonic();
        let tried = self.of.of(network, Mutex::default);
        let mut tried = tried.lock().unwrap_or_else(PoisonError::into_inner);
        tried
            .pairs
            .retain(|(_, at)| now.saturating_sub(*at) < TRIED_WITHIN);
        if tried.pairs.iter().any(|(known, _)| *known == pair) {
            return;
        }
        tried.pairs.push_back((pair, now));
        if tried.pairs.len() >= most {
            tried.pairs.clear();
            tried.shut_out_until = Some(now + SHUT_OUT);
            tracing::warn!(%network, "too many different names and passwords were wrong: nobody signs in from there for a day, but in browsers that are known");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;

    fn limits() -> (SignIns, Clock) {
        let clock = Clock::manual(UnixTime(0));
        (SignIns::new(NonZeroU32::MIN, &clock), clock)
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn ten_wrong_sign_ins_of_a_network_in_a_minute_are_enough() {
        let (limits, clock) = limits();
        for _ in 0..100 {
            limits.of_network(address(1)).unwrap().was_right();
        }
        let wrong = |network| limits.of_network(address(network)).map(drop);
        assert!((0..10).all(|_| wrong(1).is_ok()));
        assert_eq!(wrong(1), Err(Duration::from_secs(60)));
        assert_eq!(wrong(2), Ok(()));
        clock.advance(60);
        assert_eq!(wrong(1), Ok(()));
    }

    #[test]
    fn who_works_through_a_list_is_shut_out_for_a_day_and_who_mistypes_is_not() {
        let (limits, clock) = limits();
        for number in 0..14 {
            limits.failed(address(1), &format!("name{number}"), "password");
            limits.failed(address(2), "ada", "the same wrong one");
        }
        let may = |network| limits.of_network(address(network)).map(Guess::was_right);
        assert_eq!((may(1), may(2)), (Ok(()), Ok(())));
        limits.failed(address(1), "name0", "another");
        limits.failed(address(2), "ada", "the same wrong one");
        assert_eq!((may(1), may(2)), (Err(SHUT_OUT), Ok(())));
        assert!(limits.of_browser("known").is_ok());
        clock.advance(86_399);
        assert!(may(1).is_err());
        clock.advance(1);
        assert_eq!(may(1), Ok(()));
        // Fifteen in more than three hours.
        for number in 0..40 {
            limits.failed(address(3), &format!("name{number}"), "password");
            clock.advance(1_000);
        }
        assert_eq!(may(3), Ok(()));
    }

    #[test]
    fn y_06_the_networks_that_a_56_is_cut_into_are_shut_out_with_it() {
        let (limits, clock) = limits();
        let at = |network: u32| format!("2001:db8:0:{network:x}::1").parse().unwrap();
        let mut wrong = 0;
        for n in 0..1_200 {
            let source = at(n % 100);
            if limits.of_network(source).is_ok() {
                wrong += 1;
                limits.failed(source, &format!("name{n}"), "password");
            }
            clock.advance(1);
        }
        assert_eq!(wrong, 60, "four times those of a /64");
        for network in 0..0x100 {
            assert!(limits.of_network(at(network)).is_err());
        }
        assert!(limits.of_network(at(0x100)).is_ok(), "another /56");
    }
}
