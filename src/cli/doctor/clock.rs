//! The clock, beside those of others: tokens end when it says so.

use super::Finding;
use crate::{
    store::{Store, StoreError},
    time::{Clock, in_rfc_3339},
};

/// Seconds from which a difference is told, and from which it fails.
const WARN: i64 = 5;
const FAIL: i64 = 60;

const ADVICE: &str = "have the clocks of this machine and of the database's set by NTP: `timedatectl set-ntp true`, or \
                      chrony";

pub(super) async fn check(store: &Store, clock: &Clock) -> Vec<Finding> {
    let before = clock.now();
    let theirs = store.clock().await;
    let after = clock.now();
    let of_database = match theirs {
        Ok(None) => None,
        Ok(Some(theirs)) => {
            // It was said some time between the two.
            let ahead = (before - theirs).max(0) - (theirs - after).max(0);
            Some(beside_the_database(ahead))
        }
        Err(error) => Some(unknown("clock.database", &error)),
    };
    let written = match store.newest_time().await {
        Ok(None) => Finding::ok("clock.written", "nothing was written down yet"),
        Ok(Some(newest)) => beside_what_was_written(newest - clock.now(), &in_rfc_3339(newest)),
        Err(error) => unknown("clock.written", &error),
    };
    of_database.into_iter().chain([written]).collect()
}

fn unknown(check: &'static str, error: &StoreError) -> Finding {
    Finding::failed(check, error.to_string(), "mend the database first")
}

/// We are so many seconds ahead; behind, where that is negative.
fn beside_the_database(ahead: i64) -> Finding {
    const CHECK: &str = "clock.database";
    let found = match ahead {
        0 => "the clocks of this machine and of the database agree".to_owned(),
        1.. => format!("this machine is {ahead} s ahead of the database's"),
        _ => format!("this machine is {} s behind the database's", -ahead),
    };
    match ahead.saturating_abs() {
        FAIL.. => Finding::failed(CHECK, found, ADVICE),
        WARN.. => Finding::warning(CHECK, found, ADVICE),
        _ => Finding::ok(CHECK, found),
    }
}

/// The newest time in the database lies so many seconds ahead of us.
fn beside_what_was_written(ahead: i64, newest: &str) -> Finding {
    const CHECK: &str = "clock.written";
    let found =
        format!("the newest time in the database, {newest}, is {ahead} s ahead of this machine");
    let advice = format!(
        "if this machine's clock was set back: {ADVICE}. If it was ahead when that was written, that passes"
    );
    match ahead {
        FAIL.. => Finding::failed(CHECK, found, advice),
        WARN.. => Finding::warning(CHECK, found, advice),
        _ => Finding::ok(
            CHECK,
            format!("nothing in the database is of the future; the newest is of {newest}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    #[test]
    fn five_seconds_are_told_and_sixty_fail() {
        for (seconds, expected) in [
            (0, Status::Ok),
            (4, Status::Ok),
            (5, Status::Warning),
            (59, Status::Warning),
            (60, Status::Failed),
            (i64::MAX, Status::Failed),
        ] {
            let (ahead, behind) = (beside_the_database(seconds), beside_the_database(-seconds));
            assert_eq!(
                (ahead.status, behind.status),
                (expected, expected),
                "{seconds}"
            );
            assert_eq!(
                beside_what_was_written(seconds, "").status,
                expected,
                "{seconds}"
            );
            assert_eq!(
                beside_what_was_written(-seconds, "").status,
                Status::Ok,
                "{seconds}"
            );
        }
    }
}
