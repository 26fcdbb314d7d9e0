//! What is allowed to fail, and how often.

use std::{
    collections::VecDeque,
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{networks, per_key::PerKey};
use crate::time::Clock;

/// Wrong guesses in a day with which a person is still one who mistypes.
const MISTYPED: usize = 3;

/// Wrong guesses at user codes: of one network, of one person, and of all.
///
/// RFC 8628 §5.1: a user code is eight of twenty letters, 20⁸ ≈ 2.6 · 10¹⁰, and 10,000 devices wait at most, so a guess hits
/// one of them with a probability of 3.9 · 10⁻⁷. Only people who are signed in guess. One account has twenty guesses a day:
/// 7.8 · 10⁻⁶ with the server full of devices. All accounts that guessed wrong often have 1,440 a day together, and each its
/// first three: a thousand accounts in the hands of one attacker hit with a probability of 1.7 · 10⁻³ a day.
#[derive(Debug)]
pub struct Guesses {
    by_network: Failures,
    by_person: Failures,
    by_person_in_a_day: Failures,
    of_all: Failures,
}

/// A guess under way. It counts as a wrong one unless it [was right](Guess::was_right).
#[derive(Debug, Default)]
#[must_use]
pub struct Guess(Vec<Counted>);

impl Guesses {
    /// Of one network and of one person five in ten minutes, of one person twenty in a day; of all who guessed wrong more
    /// than three times within a day sixty in an hour.
    pub(super) fn new(scale: NonZeroU32, clock: &Clock) -> Self {
        let failures = |most, span| Failures::new(most, span, scale, clock);
        Self {
            by_network: failures(5, 600),
            by_person: failures(5, 600),
            by_person_in_a_day: failures(20, 86_400),
            of_all: failures(60, 3_600),
        }
    }

    /// Begins a guess; guesses at the same time cannot all pass before the first of them has failed.
    ///
    /// # Errors
    ///
    /// How long to wait, when too many were wrong.
    pub fn begin(&self, source: IpAddr, person: &str) -> Result<Guess, Duration> {
        let of_person = self.by_person_in_a_day.begin(person)?;
        // What others did wrong holds up nobody who mistypes: else a few people could keep all devices from signing in.
        let is_clean = of_person.0.iter().all(|it| it.others < MISTYPED);
        let of_all = match self.of_all.begin("") {
            Err(_) if is_clean => Ok(Guess::default()),
            of_all => of_all,
        };
        of_person
            .and(of_all)?
            .and(self.by_person.begin(person))?
            .and(self.by_network.begin_by_network(source, ""))
    }
}

impl Guess {
    /// Counts more; if that is refused, nothing is counted.
    fn and<E>(mut self, more: Result<Self, E>) -> Result<Self, E> {
        match more {
            Ok(more) => {
                self.0.extend(more.0);
                Ok(self)
            }
            Err(error) => {
                self.was_right();
                Err(error)
            }
        }
    }

    /// It was no wrong guess: nothing is counted.
    pub fn was_right(self) {
        self.0.into_iter().for_each(Counted::give_back);
    }
}

/// Failures of each key within a span of time.
#[derive(Debug)]
pub struct Failures {
    most: usize,
    span: Duration,
    clock: Clock,
    of: PerKey<Times>,
}

/// When one key failed, the first time first.
type Times = Mutex<VecDeque<Duration>>;

/// A failure that is counted.
#[derive(Debug)]
struct Counted {
    times: Arc<Times>,
    at: Duration,
    /// How many others of its key there were within the span.
    others: usize,
}

impl Failures {
    /// `most` of one key within `span` seconds.
    pub(super) fn new(most: u32, span: u64, scale: NonZeroU32, clock: &Clock) -> Self {
        let span = Duration::from_secs(span);
        Self {
            most: usize::try_from(scale.get().saturating_mul(most)).unwrap_or(usize::MAX),
            span,
            clock: clock.clone(),
            of: PerKey::new(span),
        }
    }

    /// Counts a failure of a key in each [network](networks) of an address, or in none.
    ///
    /// # Errors
    ///
    /// How long to wait, when there were too many: then it is not counted.
    pub fn failed(&self, source: IpAddr, key: &(impl Hash + ?Sized)) -> Result<(), Duration> {
        self.begin_by_network(source, key).map(drop)
    }

    /// Counts what is a failure unless it is [given back](Guess::was_right).
    pub(super) fn begin(&self, key: &(impl Hash + ?Sized)) -> Result<Guess, Duration> {
        Ok(Guess(vec![self.count(key, self.most)?]))
    }

    /// The same in each [network](networks) of an address, or in none.
    pub(super) fn begin_by_network(
        &self,
        source: IpAddr,
        key: &(impl Hash + ?Sized),
    ) -> Result<Guess, Duration> {
        networks(source).try_fold(Guess::default(), |guess, (network, quotas)| {
            let quotas = usize::try_from(quotas).unwrap_or(usize::MAX);
            let counted = self.count(&(network, key), self.most.saturating_mul(quotas));
            guess.and(counted.map(|counted| Guess(vec![counted])))
        })
    }

    fn count(&self, key: &(impl Hash + ?Sized), most: usize) -> Result<Counted, Duration> {
        let now = self.clock.monotonic();
        let times = self.of.of(key, Times::default);
        let mut failed = times.lock().unwrap_or_else(PoisonError::into_inner);
        while failed
            .front()
            .is_some_and(|at| now.saturating_sub(*at) >= self.span)
        {
            failed.pop_front();
        }
        let others = failed.len();
        match failed.front() {
            Some(first) if failed.len() >= most => Err((*first + self.span).saturating_sub(now)),
            _ => {
                failed.push_back(now);
                drop(failed);
                let at = now;
                Ok(Counted { times, at, others })
            }
        }
    }
}

impl Counted {
    fn give_back(self) {
        let mut failed = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = failed.iter().position(|time| *time == self.at) {
            failed.remove(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;

    fn guesses() -> (Guesses, Clock) {
        let clock = Clock::manual(UnixTime(0));
        (Guesses::new(NonZeroU32::MIN, &clock), clock)
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn v_02_five_wrong_guesses_of_one_network_or_one_person_are_enough() {
        let (guesses, clock) = guesses();
        let wrong = |source: IpAddr, person: &str| guesses.begin(source, person).is_ok();
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
    fn v_02_a_person_has_twenty_wrong_guesses_a_day_wherever_they_come_from() {
        let (guesses, clock) = guesses();
        let mut wrong = 0;
        for n in 0..86_399 / 60 {
            wrong += usize::from(guesses.begin(address(n), "ada").is_ok());
            clock.advance(60);
        }
        assert_eq!(wrong, 20);
        clock.advance(60);
        assert!(guesses.begin(address(9_999), "ada").is_ok());
    }

    #[test]
    fn v_02_a_hundred_people_in_a_thousand_networks_have_sixty_wrong_guesses_an_hour_together() {
        let (guesses, clock) = guesses();
        let wrong = |n: u32| {
            let person = format!("person {}", n % 100);
            guesses.begin(address(n), &person).is_ok()
        };
        // The first three guesses of each are its own.
        assert_eq!((0..1_000).filter(|n| wrong(*n)).count(), 300);
        clock.advance(3_599);
        assert!(!(0..100).any(wrong));
        clock.advance(1);
        assert_eq!((0..1_000).filter(|n| wrong(*n)).count(), 60);
    }

    #[test]
    fn y_20_whoever_uses_up_the_wrong_guesses_of_all_stops_nobody_else() {
        let (guesses, clock) = guesses();
        let mut wrong = 0;
        for hour in 0..48 {
            for n in 0..1_000 {
                // A few people from everywhere, who never stop.
                let attacker = format!("attacker {}", n % 13);
                let source = address(1_000 * hour + n);
                wrong += usize::from(guesses.begin(source, &attacker).is_ok());
            }
            let honest = format!("honest {hour}");
            let typo = guesses.begin(address(3_000_000_000 + hour), &honest);
            assert!(typo.is_ok(), "{hour}");
            let right = guesses.begin(address(3_100_000_000 + hour), "always right");
            right.unwrap().was_right();
            clock.advance(3_600);
        }
        assert_eq!(wrong, 2 * 20 * 13, "twenty a day of each");
    }

    #[test]
    fn y_20_guesses_of_a_56_count_together() {
        let (guesses, _) = guesses();
        let wrong = |n: u32| {
            let source = format!("2001:db8:0:{:x}::1", n % 100).parse().unwrap();
            guesses.begin(source, &format!("person {n}")).is_ok()
        };
        assert_eq!((0..1_000).filter(|n| wrong(*n)).count(), 20);
        // Nobody who was refused was counted.
        assert!((0..1_000).all(|n| {
            let guess = guesses.begin(address(n), &format!("person {n}"));
            guess.map(Guess::was_right).is_ok()
        }));
    }

    #[test]
    fn what_is_right_counts_nowhere() {
        let (guesses, _) = guesses();
        for _ in 0..100 {
            guesses.begin(address(1), "ada").unwrap().was_right();
        }
        let of_all = guesses.of_all.of.known("").unwrap();
        assert!(of_all.lock().unwrap().is_empty());
        // Guesses at the same time: each has its place before any is judged.
        let under_way: Vec<_> = (0..6).map(|_| guesses.begin(address(1), "ada")).collect();
        assert_eq!(under_way.iter().filter(|guess| guess.is_ok()).count(), 5);
    }

    #[test]
    fn y_06_the_failures_of_a_56_count_together_and_those_of_a_48() {
        let clock = Clock::manual(UnixTime(0));
        let failures = Failures::new(30, 60, NonZeroU32::MIN, &clock);
        let failed = |address: String| failures.failed(address.parse().unwrap(), "client").is_ok();
        let in_a_56 = (0..2_000).filter(|n| failed(format!("2001:db8:0:{:x}::1", n % 100)));
        assert_eq!(in_a_56.count(), 120);
        let in_a_48 = (0..3_000).filter(|n| failed(format!("2001:db8:0:{:x}::1", n % 0x1_0000)));
        assert_eq!(in_a_48.count(), 480 - 120);
        assert!(failed("2001:db8:1::1".to_owned()), "another /48");
        clock.advance(60);
        assert!(failed("2001:db8::1".to_owned()));
    }
}
