//! What a new version of a document means beside the one that was known. CIMD §8.4.

use super::{document_cache::Cached, refusal::Refusal};
use crate::{
    policy::metadata_change::{self, Answer, Change},
    protocol::{client::Client, client_metadata::ClientMetadata},
    store::{EventKind, NewEvent},
};

/// The line of history that a version makes, and the reason to end grants if there is one.
pub(super) fn what_happened(
    client: &Client,
    document: &str,
    last_good: Option<&Cached>,
) -> (Option<NewEvent>, Option<&'static str>) {
    let event = |kind, changes: &[Change], answer: &str| NewEvent {
        kind,
        digest: Some(client.digest.clone()),
        changes: written(changes),
        answer: answer.to_owned(),
    };
    let Some(known) = last_good else {
        return (Some(event(EventKind::First, &[], "accepted")), None);
    };
    if known.client.digest == client.digest && known.gone.since.is_none() {
        return (None, None);
    }
    let changes = metadata_change::between(
        (known.document.as_bytes(), &known.client.metadata),
        (document.as_bytes(), &client.metadata),
    );
    let (answer, revoke) = match metadata_change::answer(&changes) {
        Answer::Log => ("accepted", None),
        Answer::AskAgain => ("accepted; people are asked for consent again", None),
        Answer::Revoke => (
            "accepted; its grants were revoked and people are asked for consent again",
            Some("the client no longer proves its identity with a key"),
        ),
    };
    tracing::info!(client_id = %client.id(), digest = client.digest.as_str(), fields = changes.len(), answer, "a client's document changed");
    (Some(event(EventKind::Changed, &changes, answer)), revoke)
}

/// Longest text of changes that is kept of one version, in bytes.
const CHANGES: usize = 16 * 1_024;

/// As JSON. Of too many changes the gravest are kept.
fn written(changes: &[Change]) -> String {
    let text = |changes: &[&Change]| serde_json::to_string(changes).unwrap_or_default();
    let mut kept: Vec<&Change> = changes.iter().collect();
    let mut all = text(&kept);
    if all.len() > CHANGES {
        kept.sort_by_key(|change| std::cmp::Reverse(change.answer));
    }
    while all.len() > CHANGES {
        kept.pop();
        all = text(&kept);
    }
    all
}

/// A `kid` that stands for another key than before.
pub(super) fn key_replaced<'a>(then: &ClientMetadata, now: &'a ClientMetadata) -> Option<&'a str> {
    now.jwks.as_ref()?.replaced(then.jwks.as_ref()?)
}

pub(super) fn key_changed(kid: &str) -> Refusal {
    let mut refusal = Refusal::invalid(
        "document.jwks.kid",
        "a key in jwks has the kid of another key that was published before; give the new key a kid of its own",
    );
    refusal.cause = format!(
        "the key {} changed under its kid; `wayleave client refresh URL --accept-keys` accepts it",
        kid.escape_debug()
    );
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::metadata_change::Grade;

    #[test]
    fn of_too_many_changes_the_gravest_are_kept() {
        let change = |number: usize, answer| Change {
            field: format!("field {number}"),
            grade: Grade::Cosmetic,
            answer,
            before: Some("\"".repeat(400)),
            after: None,
        };
        let few = [change(0, Answer::Log), change(1, Answer::Revoke)];
        assert_eq!(written(&few), serde_json::to_string(&few).unwrap());
        let mut many: Vec<_> = (0..100).map(|n| change(n, Answer::Log)).collect();
        many.push(change(100, Answer::Revoke));
        let text = written(&many);
        assert!(
            text.len() <= CHANGES && text.len() > CHANGES / 2,
            "{}",
            text.len()
        );
        let kept: Vec<Change> = serde_json::from_str(&text).unwrap();
        assert_eq!(kept[0].field, "field 100");
    }
}
