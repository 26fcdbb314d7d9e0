//! When a signing key of ours is published, signs, and goes: nobody who keeps `/jwks` for as long as we say ever meets
//! a token whose key they do not have.

use crate::time::UnixTime;

/// Seconds for which others may keep what `/jwks` answered: its `max-age`.
pub const CACHED: i64 = 3_600;
/// Seconds between a key's publication and its first signature.
pub const AHEAD: i64 = 86_400;
/// Seconds by which others' clocks may differ from ours.
const SKEW: i64 = 300;

/// How long keys live.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Seconds for which a key signs.
    pub signs_for: i64,
    /// Seconds for which the longest token lives that it signs.
    pub longest_token: i64,
}

/// What a key does at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Published; signs from then on.
    Waits(UnixTime),
    Signs,
    /// Published until then, for what it has signed.
    Verifies(UnixTime),
}

impl Schedule {
    /// When the successor of a key begins to sign, if it is time to publish it. `newest`: since when the newest key of
    /// the algorithm signs, or from when on it will.
    pub fn successor(&self, newest: UnixTime, now: UnixTime) -> Option<UnixTime> {
        let due = newest + self.signs_for;
        (now + AHEAD >= due).then(|| due.max(now + AHEAD))
    }

    /// When a key goes whose successor signs since, or from, then.
    pub fn ends(&self, successor: UnixTime) -> UnixTime {
        successor + self.kept()
    }

    /// Keys whose successors signed at that time, or before, may go.
    pub fn over(&self, now: UnixTime) -> UnixTime {
        now + -self.kept()
    }

    /// What each key of an algorithm does, by the times they sign from, in the order in which they were made.
    pub fn duties(&self, signs_from: &[UnixTime], now: UnixTime) -> Vec<Duty> {
        let signs = signer(signs_from.iter().copied(), now);
        let places = signs_from.iter().copied().enumerate();
        let duty = |(place, from): (usize, UnixTime)| {
            let later = places.clone().filter(|(p, at)| (*at, *p) > (from, place));
            match later.map(|(_, at)| at).min() {
                _ if signs == Some(place) => Duty::Signs,
                Some(next) if next <= now => Duty::Verifies(self.ends(next)),
                _ => Duty::Waits(from),
            }
        };
        places.clone().map(duty).collect()
    }

    fn kept(&self) -> i64 {
        self.longest_token + CACHED + SKEW
    }
}

/// Which of these keys signs, by the times they sign from: the last that has begun. Should none have, because another
/// process's clock runs ahead of ours, the first.
pub fn signer(signs_from: impl Iterator<Item = UnixTime>, now: UnixTime) -> Option<usize> {
    signs_from
        .enumerate()
        .max_by_key(|(place, from)| match *from <= now {
            true => (true, from.0, *place),
            false => (false, -from.0, *place),
        })
        .map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const SCHEDULE: Schedule = Schedule {
        signs_for: 90 * DAY,
        longest_token: 600,
    };

    #[test]
    fn a_successor_is_published_a_day_before_it_signs() {
        let table: &[(&str, i64, Option<i64>)] = &[
            ("young", 10 * DAY, None),
            ("a second early", 89 * DAY - 1, None),
            ("a day before", 89 * DAY, Some(90 * DAY)),
            // The server stood still: still a day ahead.
            ("at its end", 90 * DAY, Some(91 * DAY)),
            ("long after", 200 * DAY, Some(201 * DAY)),
        ];
        for (case, now, expected) in table {
            let got = SCHEDULE.successor(UnixTime(0), UnixTime(*now));
            assert_eq!(got, expected.map(UnixTime), "{case}");
        }
    }

    #[test]
    fn the_last_that_has_begun_signs() {
        let table: &[(&str, &[i64], i64, Option<usize>)] = &[
            ("no key", &[], 10, None),
            ("one", &[5], 10, Some(0)),
            ("one that waits", &[5, 20], 10, Some(0)),
            ("in any order", &[20, 7, 5], 10, Some(1)),
            ("at its second", &[5, 10], 10, Some(1)),
            ("two of one second: the newer", &[5, 5], 10, Some(1)),
            ("our clock is behind", &[30, 20], 10, Some(1)),
        ];
        for (case, from, now, expected) in table {
            let from = from.iter().map(|from| UnixTime(*from));
            assert_eq!(signer(from, UnixTime(*now)), *expected, "{case}");
        }
    }

    #[test]
    fn a_key_stays_as_long_as_anybody_may_need_it() {
        let duties = |from: &[i64]| {
            let from: Vec<_> = from.iter().map(|from| UnixTime(*from)).collect();
            SCHEDULE.duties(&from, UnixTime(150))
        };
        // Ten minutes for tokens, an hour for who keeps our keys, five minutes for clocks.
        let first = Duty::Verifies(UnixTime(100 + 600 + 3_600 + 300));
        let last = Duty::Waits(UnixTime(200));
        assert_eq!(duties(&[0, 100, 200]), [first, Duty::Signs, last]);
        assert_eq!(duties(&[100, 100]), [first, Duty::Signs]);
        assert_eq!(duties(&[200]), [Duty::Signs]);
        let end = SCHEDULE.ends(UnixTime(100));
        assert_eq!(SCHEDULE.over(end), UnixTime(100));
    }
}
