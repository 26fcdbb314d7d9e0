//! How long somebody waits after wrong passwords. NIST SP 800-63B-4 §3.2.2.

use crate::time::UnixTime;

/// Wrong passwords in a row that cost nothing.
const FREE: u32 = 5;
/// Wrong passwords in a row after which none is tried any more.
pub const MOST: u32 = 100;
/// Seconds: the longest wait.
const LONGEST: i64 = 900;

/// Wrong passwords in a row for one name, and when the last was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    pub count: i64,
    pub last: UnixTime,
}

/// May a password be tried?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    Now,
    /// In so many seconds.
    In(i64),
    /// Not before an administrator says so.
    Locked,
}

/// The wait doubles with each failure after the first five, up to a quarter of an hour. `scale` multiplies both numbers.
pub fn trial(failures: Failures, scale: u32, now: UnixTime) -> Trial {
    let scaled = |number: u32| i64::from(number.saturating_mul(scale));
    let beyond = failures.count - scaled(FREE);
    if beyond < 0 {
        return Trial::Now;
    }
    if failures.count >= scaled(MOST) {
        return Trial::Locked;
    }
    let wait = 1_i64 << beyond.min(20);
    match failures.last + wait.min(LONGEST) - now {
        left @ 1.. => Trial::In(left.min(LONGEST)),
        _ => Trial::Now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_and_ends_in_a_lock() {
        let table: &[(i64, i64, Trial)] = &[
            (0, 0, Trial::Now),
            (4, 0, Trial::Now),
            (5, 0, Trial::In(1)),
            (5, 1, Trial::Now),
            (6, 0, Trial::In(2)),
            (9, 0, Trial::In(16)),
            (9, 15, Trial::In(1)),
            (14, 0, Trial::In(512)),
            (15, 0, Trial::In(900)),
            (99, 0, Trial::In(900)),
            (99, 900, Trial::Now),
            (100, 0, Trial::Locked),
            (100, 1_000_000, Trial::Locked),
            // A clock that was set back.
            (15, -1_000, Trial::In(900)),
        ];
        for (count, later, expected) in table {
            let failures = Failures {
                count: *count,
                last: UnixTime(1_000),
            };
            let got = trial(failures, 1, UnixTime(1_000 + later));
            assert_eq!(got, *expected, "{count} failures, {later} s later");
            if *count == 100 {
                assert_eq!(trial(failures, 1_000, UnixTime(1_000)), Trial::Now);
            }
        }
    }
}
