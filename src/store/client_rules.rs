//! Rows of the administrator's rules about clients. Blocking ends what a client has in the same unit of work.

use std::collections::BTreeSet;

use super::{
    Store, StoreError,
    clients::{EventKind, NewEvent, write_event},
    db::{Query, Tx},
    locks::stop_giving,
    registered_clients::keys_of,
    revocation::{Ended, end_client},
    statements,
};
use crate::{
    policy::{
        client_pattern::Pattern,
        client_rules::{Rule, Tier},
    },
    protocol::{client_id::ClientId, client_metadata, client_url::ClientUrl},
    time::UnixTime,
};

statements! {
    LIST = "SELECT rule FROM client_rules ORDER BY pattern";
    PUT = "INSERT INTO client_rules (pattern, rule, created_at) VALUES ($1, $2, $3) \
           ON CONFLICT (pattern) DO UPDATE SET rule = $2, created_at = $3";
    REMOVE = "DELETE FROM client_rules WHERE pattern = $1";
    BUMP = "UPDATE revisions SET value = value + 1 WHERE name = 'clients'";
    REVISION = "SELECT value FROM revisions WHERE name = 'clients'";
    HOLDERS = "SELECT client_id, digest FROM grants WHERE revoked_at IS NULL \
               UNION SELECT client_id, digest FROM authorization_codes c WHERE c.spent_at IS NULL \
               AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.id = c.grant_id) \
               UNION SELECT client_id, digest FROM interactions WHERE spent_at IS NULL \
               UNION SELECT client_id, digest FROM device_codes c WHERE c.spent_at IS NULL \
               AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.id = c.grant_id) \
               UNION SELECT client_id, digest FROM consents \
               UNION SELECT client_id, digest FROM clients";
    DOCUMENT = "SELECT document FROM client_documents WHERE digest = $1";
}

impl Store {
    /// The rules, and the revision they belong to.
    ///
    /// # Errors
    ///
    /// When the database fails, as for every method here; when a rule cannot be read, for it may be one that blocks.
    pub async fn client_rules(&self) -> Result<(i64, Vec<Rule>), StoreError> {
        // The revision first: rules that come with a later one are read again.
        let revision: i64 = self.db.one(Query::new(REVISION)).await?;
        let texts: Vec<String> = self.db.all(Query::new(LIST)).await?;
        let rules = texts.iter().map(|text| serde_json::from_str(text));
        let rules = rules
            .collect::<Result<_, _>>()
            .map_err(|error| StoreError::Unusable(format!("a row of client_rules: {error}")))?;
        Ok((revision, rules))
    }

    /// Puts a rule in the place of the one with its pattern. When it blocks, everything that its clients have ends in
    /// the same unit of work: grants, codes, open questions, devices that wait and consents.
    pub async fn put_client_rule(&self, rule: Rule, now: UnixTime) -> Result<Ended, StoreError> {
        let text = serde_json::to_string(&rule)
            .map_err(|error| StoreError::Unusable(format!("a rule about clients: {error}")))?;
        self.db
            .write(async move |mut tx| {
                if rule.tier == Tier::Blocked {
                    stop_giving(&mut tx).await?;
                }
                let pattern = rule.pattern.to_string();
                tx.execute(Query::new(PUT).bind(&pattern).bind(&text).bind(now))
                    .await?;
                tx.execute(Query::new(BUMP)).await?;
                let mut ended = Ended::default();
                if rule.tier != Tier::Blocked {
                    return Ok(ended);
                }
                let because = format!("blocked: {pattern}");
                for id in concerned(&mut tx, &rule).await? {
                    let (grants, logins) = end_client(&mut tx, &id, &because, now).await?;
                    let event = NewEvent {
                        kind: EventKind::Blocked,
                        digest: None,
                        changes: "[]".to_owned(),
                        answer: format!(
                            "rule {pattern}: {grants} grants and {logins} logins ended"
                        ),
                    };
                    write_event(&mut tx, &id, now, &event).await?;
                    ended.clients += 1;
                    ended.grants += grants;
                    ended.logins += logins;
                }
                Ok(ended)
            })
            .await
    }

    /// Takes a rule away. False: there was none with this pattern.
    pub async fn remove_client_rule(&self, pattern: String) -> Result<bool, StoreError> {
        self.db
            .write(async move |mut tx| {
                let removed = tx.execute(Query::new(REMOVE).bind(&pattern)).await?;
                tx.execute(Query::new(BUMP)).await?;
                Ok(removed > 0)
            })
            .await
    }
}

/// The clients that have anything and that the rule is about.
async fn concerned(tx: &mut Tx, rule: &Rule) -> Result<BTreeSet<String>, StoreError> {
    let holders: Vec<(String, String)> = tx.all(Query::new(HOLDERS)).await?;
    let mut ids = BTreeSet::new();
    for (id, digest) in holders {
        let Ok(client_id) = id.parse::<ClientId>() else {
            continue;
        };
        let keys = match (&rule.pattern, client_id.url()) {
            (Pattern::Key(_), url) => match keys_of(tx, &client_id).await? {
                Some(registered) => registered,
                None => match url {
                    Some(url) => published(tx, url, &digest).await?,
                    None => Vec::new(),
                },
            },
            _ => Vec::new(),
        };
        if rule.is_about(&client_id, &keys) {
            ids.insert(id);
        }
    }
    Ok(ids)
}

/// The thumbprints of the keys in one version of a document.
async fn published(
    tx: &mut Tx,
    client_id: &ClientUrl,
    digest: &str,
) -> Result<Vec<String>, StoreError> {
    let document: Option<String> = tx.optional(Query::new(DOCUMENT).bind(digest)).await?;
    let metadata =
        document.and_then(|text| client_metadata::parse(client_id, text.as_bytes()).ok());
    Ok(metadata.map_or_else(Vec::new, |metadata| metadata.thumbprints()))
}
