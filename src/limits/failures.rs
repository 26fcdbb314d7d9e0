//! What is allowed to fail, and how often.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{KEYS, network};
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
pub struct Guess<'a>(pub(super) Vec<(&'a Failures, String, Duration)>);

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
pub struct Failures {
    most: usize,
    span: Duration,
    clock: Clock,
    of: Mutex<HashMap<String, VecDeque<Duration>>>,
}

impl Failures {
    /// `most` of one key within `span` seconds.
    pub(super) fn new(most: u32, span: u64, scale: NonZeroU32, clock: &Clock) -> Self {
        Self {
            most: usize::try_from(scale.get().saturating_mul(most)).unwrap_or(usize::MAX),
            span: Duration::from_secs(span),
            clock: clock.clone(),
            of: Mutex::default(),
        }
    }

    /// Counts a failure, perhaps before it is one, and says when that was.
    ///
    /// # Errors
    ///
    /// How long to wait, when there were too many: then it is not counted.
    pub fn take(&self, key: &str) -> Result<Duration, Duration> {
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
        assert!(guesses.of_all.lock().is_empty());
        // Guesses at the same time: each has its place before any is judged.
        let under_way: Vec<_> = (0..6).map(|_| guesses.begin(address(1), "ada")).collect();
        assert_eq!(under_way.iter().filter(|guess| guess.is_ok()).count(), 5);
    }
}
