//! What is allowed to fail, and how often.

use std::{
    collections::VecDeque,
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{network, per_key::PerKey};
use crate::time::Clock;

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
pub struct Guess(Vec<Counted>);

impl Guesses {
    /// Of one network and of one person five in ten minutes, of all sixty in an hour.
    pub(super) fn new(scale: NonZeroU32, clock: &Clock) -> Self {
        let failures = |most, span| Failures::new(most, span, scale, clock);
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
    pub fn begin(&self, source: IpAddr, person: &str) -> Result<Guess, Duration> {
        let mut guess = Guess(Vec::new());
        match self.count(&mut guess.0, source, person) {
            Ok(()) => Ok(guess),
            Err(wait) => {
                guess.was_right();
                Err(wait)
            }
        }
    }

    fn count(
        &self,
        counted: &mut Vec<Counted>,
        source: IpAddr,
        person: &str,
    ) -> Result<(), Duration> {
        counted.push(self.of_all.count("")?);
        counted.push(self.by_network.count(&network(source))?);
        counted.push(self.by_person.count(person)?);
        Ok(())
    }
}

impl Guess {
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

    /// Counts a failure.
    ///
    /// # Errors
    ///
    /// How long to wait, when there were too many: then it is not counted.
    pub fn failed(&self, key: &(impl Hash + ?Sized)) -> Result<(), Duration> {
        self.count(key).map(drop)
    }

    /// Counts what is a failure unless it is [given back](Guess::was_right).
    pub(super) fn begin(&self, key: &(impl Hash + ?Sized)) -> Result<Guess, Duration> {
        Ok(Guess(vec![self.count(key)?]))
    }

    fn count(&self, key: &(impl Hash + ?Sized)) -> Result<Counted, Duration> {
        let now = self.clock.monotonic();
        let times = self.of.of(key, Times::default);
        let mut failed = times.lock().unwrap_or_else(PoisonError::into_inner);
        while failed
            .front()
            .is_some_and(|at| now.saturating_sub(*at) >= self.span)
        {
            failed.pop_front();
        }
        match failed.front() {
            Some(first) if failed.len() >= self.most => {
                Err((*first + self.span).saturating_sub(now))
            }
            _ => {
                failed.push_back(now);
                drop(failed);
                Ok(Counted { times, at: now })
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
    fn v_02_a_thousand_networks_have_sixty_wrong_guesses_an_hour_together() {
        let (guesses, clock) = guesses();
        let wrong = |n: u32| {
            let guess = guesses.begin(address(n), &n.to_string());
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
}
