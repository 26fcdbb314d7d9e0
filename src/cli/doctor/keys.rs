//! Our signing keys: can they be read, and how old are they?

use super::Finding;
use crate::{
    config::Config,
    keys::{Inspection, KeyError, inspect},
    protocol::id_token::SigningAlg,
    store::Store,
    time::{Clock, UnixTime, in_rfc_3339},
    words::counted,
};

pub(super) async fn check(config: &Config, store: &Store, clock: &Clock) -> Vec<Finding> {
    match inspect(config, store).await {
        Ok(found) if found.keys.is_empty() => vec![Finding::warning(
            "keys",
            "there is no signing key yet",
            "`wayleave serve` makes one when it starts",
        )],
        Ok(found) => {
            let newest = found.keys.iter().map(|key| key.created_at).max();
            let most = i64::from(config.keys.rotate_after.get()) / 86_400;
            let age = newest.map(|newest| of_age(newest, most, clock.now()));
            let has_old = config.keys.old_encryption_key.is_some();
            let turn_over = has_old.then(|| turn_over(&found));
            [readable(&found)]
                .into_iter()
                .chain(turn_over)
                .chain(age)
                .collect()
        }
        Err(error) => {
            let advice = match &error {
                KeyError::EncryptionKey | KeyError::Locked => {
                    "give keys.encryption_key_file (or WAYLEAVE_KEYS__ENCRYPTION_KEY_FILE) the key that the server ran \
                     with, or keys.old_encryption_key_file if there is a newer one; if it is lost, `wayleave key reset` says \
                     what ends when you begin anew"
                }
                KeyError::OldEncryptionKey | KeyError::OldAlone => {
                    "give keys.old_encryption_key_file the key before, beside the new one, or remove it"
                }
                KeyError::Damaged(_) => {
                    "restore the table signing_keys or server_secrets from a backup"
                }
                _ => "mend the database first",
            };
            vec![Finding::failed("keys", error.to_string(), advice)]
        }
    }
}

fn readable(found: &Inspection) -> Finding {
    let keys = &found.keys;
    let is_open = found.open > 0;
    let has = |alg: &SigningAlg| keys.iter().any(|key| key.alg == *alg);
    let algs: Vec<_> = SigningAlg::ALL.iter().filter(|alg| has(alg)).collect();
    let algs: Vec<_> = algs.into_iter().map(|alg| alg.as_str()).collect();
    let count = counted(i64::try_from(keys.len()).unwrap_or(i64::MAX), "key");
    let found = format!("{count} can be read, for {}", algs.join(", "));
    if !has(&SigningAlg::Es256) {
        return Finding::warning(
            "keys",
            format!("{found}; none for ES256, which signs access tokens"),
            "restart the server: it makes one",
        );
    }
    if is_open {
        return Finding::warning(
            "keys",
            format!("{found}, but not all are encrypted although keys.encryption_key is set"),
            "restart the server: it encrypts them; backups from before have them open",
        );
    }
    Finding::ok("keys", found)
}

/// One key that encrypts ours replaces another: how far is it?
fn turn_over(found: &Inspection) -> Finding {
    const CHECK: &str = "keys.encryption";
    let (old, count) = (found.of_old_key, found.count);
    if old > 0 {
        return Finding::warning(
            CHECK,
            format!(
                "a turn-over is under way: {old} of {count} keys and secrets are still encrypted with keys.old_encryption_key"
            ),
            "restart the server with both keys: it encrypts them anew. Keep the old key until this line is gone",
        );
    }
    Finding::warning(
        CHECK,
        format!(
            "a turn-over is done: none of {count} keys and secrets needs keys.old_encryption_key any more"
        ),
        "once every server has the new key, take keys.old_encryption_key_file away; backups from before need the old key",
    )
}

/// `most`: after so many days the server makes the next one.
fn of_age(newest: UnixTime, most: i64, now: UnixTime) -> Finding {
    const CHECK: &str = "keys.age";
    let days = (now - newest).max(0) / 86_400;
    let found = format!(
        "the newest key is {} old, of {}",
        counted(days, "day"),
        in_rfc_3339(newest)
    );
    if days <= most {
        return Finding::ok(CHECK, found);
    }
    let advice = "a running server makes the next key by itself, a day before its time: see whether it runs, and what its log \
                  says of signing keys; `wayleave key rotate` makes one now";
    Finding::warning(CHECK, found, advice)
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    #[test]
    fn a_key_is_old_when_the_next_one_should_be_there() {
        for (days, expected) in [(-1, Status::Ok), (90, Status::Ok), (91, Status::Warning)] {
            let now = UnixTime(days * 86_400);
            assert_eq!(of_age(UnixTime(0), 90, now).status, expected, "{days}");
        }
    }
}
