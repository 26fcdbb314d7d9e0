//! Time as OAuth speaks of it: RFC 7519 §2 NumericDate, whole seconds.

use std::{
    ops::{Add, Sub},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::words::counted;

/// Seconds since 1970-01-01T00:00:00Z: a NumericDate and a BIGINT column alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub i64);

impl Add<i64> for UnixTime {
    type Output = Self;

    fn add(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

impl Sub for UnixTime {
    type Output = i64;

    fn sub(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Seconds by which the clocks of servers on one database may differ, and a clock may step back: what serves once is
/// remembered for so much longer.
pub const CLOCKS_DIFFER: i64 = 60;

/// The only source of time: the system's, or one that a test moves.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant },
    Manual { start: i64, now: Arc<AtomicI64> },
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self(Source::System {
            started: Instant::now(),
        })
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn manual(start: UnixTime) -> Self {
        Self(Source::Manual {
            start: start.0,
            now: Arc::new(AtomicI64::new(start.0)),
        })
    }

    /// Is it the machine's own, which can be compared with those of other machines?
    pub fn is_of_this_machine(&self) -> bool {
        matches!(self.0, Source::System { .. })
    }

    /// The wall clock, for everything that is written down or sent.
    pub fn now(&self) -> UnixTime {
        match &self.0 {
            Source::System { .. } => {
                #[expect(clippy::disallowed_methods, reason = "this is the clock")]
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
            }
            Source::Manual { now, .. } => UnixTime(now.load(Ordering::SeqCst)),
        }
    }

    /// Time since the clock was made, for budgets: a step of the wall clock does not move it.
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System { started } => started.elapsed(),
            Source::Manual { start, now } => {
                let passed = now.load(Ordering::SeqCst).saturating_sub(*start);
                Duration::from_secs(u64::try_from(passed).unwrap_or(0))
            }
        }
    }

    /// Moves a manual clock by `seconds`. The system's clock is not moved.
    pub fn advance(&self, seconds: i64) {
        if let Source::Manual { now, .. } = &self.0 {
            now.fetch_add(seconds, Ordering::SeqCst);
        }
    }
}

/// A length of time in words, for pages: the largest unit that divides it.
pub fn in_words(seconds: i64) -> String {
    let (count, unit) = match seconds {
        s if s >= 86_400 && s % 86_400 == 0 => (s / 86_400, "day"),
        s if s >= 3_600 && s % 3_600 == 0 => (s / 3_600, "hour"),
        s if s >= 60 && s % 60 == 0 => (s / 60, "minute"),
        s => (s, "second"),
    };
    counted(count, unit)
}

/// A wait in words, for pages: never too short, and no more precise than anybody needs.
pub fn roughly(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let up_to = |unit: i64| (seconds / unit + i64::from(seconds % unit > 0)).saturating_mul(unit);
    in_words(match seconds {
        ..=90 => seconds,
        91..=5_400 => up_to(60),
        _ => up_to(3_600),
    })
}

/// A day as people read it, UTC.
pub fn in_date(at: UnixTime) -> String {
    match time::OffsetDateTime::from_unix_timestamp(at.0) {
        Ok(time) => format!("{} {} {}", time.day(), time.month(), time.year()),
        Err(_) => "long ago".to_owned(),
    }
}

/// A time as administrators read it: RFC 3339, UTC.
pub fn in_rfc_3339(at: UnixTime) -> String {
    use time::{OffsetDateTime, format_description::well_known::Rfc3339};
    OffsetDateTime::from_unix_timestamp(at.0)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{} s since 1970", at.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(UnixTime(100));
        assert_eq!(
            (clock.now(), clock.monotonic()),
            (UnixTime(100), Duration::ZERO)
        );
        clock.advance(60);
        assert_eq!(
            (clock.now(), clock.monotonic()),
            (UnixTime(160), Duration::from_secs(60))
        );
    }

    #[test]
    fn a_length_of_time_reads_as_a_person_would_say_it() {
        for (seconds, words) in [
            (1, "1 second"),
            (90, "90 seconds"),
            (600, "10 minutes"),
            (7_776_000, "90 days"),
        ] {
            assert_eq!(in_words(seconds), words);
        }
    }

    #[test]
    fn a_time_is_written_as_rfc_3339_has_it() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_800_000_000, "2027-01-15T08:00:00Z"),
            (i64::MAX, "9223372036854775807 s since 1970"),
        ] {
            assert_eq!(in_rfc_3339(UnixTime(seconds)), text);
        }
    }
}
