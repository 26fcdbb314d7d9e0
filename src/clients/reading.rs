//! From a document's host to a client that is kept: fetch, judge, keep or back off. CIMD §5.

use std::sync::Arc;

use url::Url;

use super::{
    asker::Asker,
    cimd::{Failure, Inner},
    history::{key_changed, key_replaced, what_happened},
    memory::Cached,
    refusal::{Refusal, RefusalKind},
};
use crate::{
    fetch::{Charge, DOCUMENT_ACCEPT, FetchError, Fetched, Wanted, Wire},
    protocol::{
        client::{Client, Digest},
        client_metadata,
        client_url::ClientUrl,
        http_cache::{self, Bounds},
        media_type,
    },
    store::{Accepted, Gone},
    time::UnixTime,
};

/// Seconds between attempts after failures: the first, the second, … and all later ones.
const BACKOFF: [i64; 5] = [5, 10, 20, 40, 60];
/// Seconds after which a host that says again that there is no document is believed for refresh tokens, too.
const GONE_CONFIRMED: i64 = 3_600;

impl Inner {
    /// Fetches, validates and keeps a document. Nothing invalid is ever kept.
    pub(super) async fn load(
        &self,
        client_id: &ClientUrl,
        asker: Asker,
    ) -> Result<Arc<Client>, Refusal> {
        // Another flight may have landed while this one was called for.
        let now = self.clock.now();
        match self.at_hand(client_id, now).await? {
            Some((cached, _))
                if cached.refresh_from > now || self.is_given_time(client_id, now) =>
            {
                return Ok(cached.client);
            }
            _ => {}
        }
        let last_good = self.last_good(client_id).await?;
        let id = client_id.clone().into();
        let charge = self.charge(&id, asker, last_good.is_none(), now).await?;
        let (wire, fetched) = self.fetch(client_id, charge).await;
        self.take(client_id, &wire, fetched, last_good, false).await
    }

    /// One attempt at the document's host.
    pub(super) async fn fetch(
        &self,
        client_id: &ClientUrl,
        charge: Charge,
    ) -> (Wire, Result<Fetched, FetchError>) {
        let Ok(url) = Url::parse(client_id.as_str()) else {
            return (Wire::default(), Err(FetchError::Literal));
        };
        let wanted = Wanted {
            accept: DOCUMENT_ACCEPT,
            max_bytes: self.max_bytes,
        };
        let (wire, fetched) = self.fetcher.get(&url, wanted, charge).await;
        let result = fetched.as_ref().err().map_or("ok", FetchError::rule);
        self.store.counts.document_fetches.add(result);
        (wire, fetched)
    }

    /// Judges what came, and keeps it or backs off. Where it was us who did not ask, nothing is noted of the host.
    pub(super) async fn take(
        &self,
        client_id: &ClientUrl,
        wire: &Wire,
        fetched: Result<Fetched, FetchError>,
        last_good: Option<Cached>,
        accept: bool,
    ) -> Result<Arc<Client>, Refusal> {
        let ours = fetched.as_ref().err().map(Refusal::from);
        if let Some(refusal) = ours.filter(Refusal::is_ours) {
            tracing::debug!(%client_id, cause = %refusal.cause, "did not ask for a client's document");
            return Err(refusal);
        }
        let now = self.clock.now();
        let rule = fetched.as_ref().err().map_or("", FetchError::rule);
        tracing::info!(%client_id, rule, status = wire.status, bytes = wire.bytes, ms = wire.milliseconds(), "fetched a client's document");
        let read = match fetched {
            Ok(fetched) => check_answer(client_id, &fetched, now).map(|client| (client, fetched)),
            Err(error) => Err(Refusal::from(&error)),
        };
        let (client, fetched) = match read {
            Ok(read) => read,
            Err(refusal) => return self.failed(client_id, last_good, refusal, None, now).await,
        };
        let replaced = last_good
            .as_ref()
            .and_then(|known| key_replaced(&known.client.metadata, &client.metadata));
        if let Some(kid) = replaced.filter(|_| !accept) {
            let refusal = key_changed(kid);
            tracing::error!(%client_id, digest = client.digest.as_str(), kid = %kid.escape_debug(), "a key changed under its kid: the document is refused");
            let version = Some(client.digest.clone());
            return self
                .failed(client_id, last_good, refusal, version, now)
                .await;
        }
        self.failures.invalidate(client_id);
        self.keep(client_id, client, &fetched, last_good, now).await
    }

    async fn keep(
        &self,
        client_id: &ClientUrl,
        client: Client,
        fetched: &Fetched,
        last_good: Option<Cached>,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        let freshness = self.freshness(fetched);
        // One fetch still serves all requests of the same second when nothing may be stored.
        let lifetime = if freshness.store {
            jittered(freshness.lifetime, client_id.as_str()).clamp(
                self.settings.fresh.least.into(),
                self.settings.fresh.most.into(),
            )
        } else {
            1
        };
        let fresh_until = now + lifetime;
        let document: Arc<str> = String::from_utf8_lossy(&fetched.body).into();
        let (event, revoke) = what_happened(&client, &document, last_good.as_ref());
        let accepted = Accepted {
            client_id: client_id.clone(),
            digest: client.digest.clone(),
            document: document.to_string(),
            fetched_at: now,
            fresh_until: freshness.store.then_some(fresh_until),
            event,
            revoke,
        };
        self.store.keep_client(accepted).await?;
        tracing::info!(%client_id, digest = client.digest.as_str(), lifetime, bytes = fetched.body.len(), "read a client's document");
        let client = Arc::new(client);
        let cached = Cached {
            client: client.clone(),
            document,
            first_seen_at: last_good.map_or(now, |known| known.first_seen_at),
            fresh_until,
            refresh_from: match freshness.store {
                true => now + lifetime * 4 / 5,
                false => fresh_until,
            },
            may_go_stale: freshness.store,
            failing: false,
            gone: Gone::default(),
        };
        self.memory.insert(client_id.clone(), cached);
        Ok(client)
    }

    pub(super) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    pub(super) fn freshness(&self, fetched: &Fetched) -> http_cache::Freshness {
        let bounds = &self.settings.fresh;
        let bounds = Bounds {
            least: bounds.least.into(),
            absent: bounds.absent.into(),
            most: bounds.most.into(),
        };
        let headers: Vec<(&str, &str)> = fetched
            .headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        http_cache::freshness(&headers, &bounds)
    }

    /// Backs off; serves the last good copy if its host is only down. `version` is the document that was refused, if it
    /// is valid by itself.
    async fn failed(
        &self,
        client_id: &ClientUrl,
        last_good: Option<Cached>,
        refusal: Refusal,
        version: Option<Digest>,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        let count = self
            .failures
            .get(client_id)
            .map_or(0, |failure| failure.count);
        let wait = match refusal.kind {
            RefusalKind::Temporary(wait) => i64::from(wait),
            _ => 0,
        };
        let not_before = now + wait.clamp(BACKOFF[count.min(BACKOFF.len() - 1)], 60);
        self.failures.insert(
            client_id.clone(),
            Failure {
                count: count + 1,
                not_before,
                refusal: refusal.clone(),
            },
        );
        let (cause, rule) = (refusal.cause.escape_debug().to_string(), refusal.rule);
        tracing::warn!(client_id = %client_id, rule, %cause, "could not read a client's document");
        let Some(mut known) = last_good else {
            return Err(refusal);
        };
        known.failing = true;
        // Its host's own word that there is no document, or none that is valid: no copy outlives it.
        if refusal.kind == RefusalKind::Invalid {
            // A version that is refused for its keys says nothing against those who were granted something before.
            let confirm = version.is_none().then_some(GONE_CONFIRMED);
            known.gone = self
                .store
                .note_gone(client_id.clone(), now, rule, cause, confirm, version)
                .await?;
            self.keep_in_memory(client_id, known);
            return Err(refusal);
        }
        self.store
            .note_failure(client_id.clone(), now, rule, cause)
            .await?;
        self.keep_in_memory(client_id, known.clone());
        self.stale(Some(known), now)
            .map(|cached| cached.client)
            .ok_or(refusal)
    }

    /// What may not be stored is not remembered beyond its second.
    fn keep_in_memory(&self, client_id: &ClientUrl, cached: Cached) {
        match cached.may_go_stale {
            true => self.memory.insert(client_id.clone(), cached),
            false => self.memory.remove(client_id),
        }
    }
}

pub(super) fn read(
    client_id: &ClientUrl,
    document: &[u8],
    fetched_at: UnixTime,
) -> Result<Client, Refusal> {
    let metadata = client_metadata::parse(client_id, document)
        .map_err(|error| Refusal::invalid(error.rule().name(), error.to_string()))?;
    Ok(Client {
        metadata,
        digest: Digest::of(document),
        fetched_at,
        is_registered: false,
    })
}

/// What is told when the media type refuses.
pub(super) const MEDIA_TYPE: &str = "the document must be served with exactly one Content-Type: application/json or \
                                     application/*+json, in UTF-8";

fn check_answer(
    client_id: &ClientUrl,
    fetched: &Fetched,
    now: UnixTime,
) -> Result<Client, Refusal> {
    if !media_type::is_json(&fetched.header_values("content-type")) {
        return Err(Refusal::invalid("document.media_type", MEDIA_TYPE));
    }
    read(client_id, &fetched.body, now)
}

/// Lifetimes spread by up to a tenth, so that what was read together is not read again together.
fn jittered(lifetime: i64, client_id: &str) -> i64 {
    let spread = i64::from(u16::from_be_bytes({
        let hash = crate::secret::sha256(client_id.as_bytes());
        [hash[0], hash[1]]
    }));
    let tenth = lifetime / 10;
    lifetime - tenth + (2 * tenth * spread) / i64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn ten_thousand_clients_that_were_read_together_are_not_read_again_together() {
        let mut seconds: HashMap<i64, usize> = HashMap::new();
        for n in 0..10_000 {
            let lifetime = jittered(600, &format!("https://a.example.com/{n}"));
            assert!((540..=660).contains(&lifetime), "{lifetime}");
            *seconds.entry(lifetime).or_default() += 1;
        }
        // 121 seconds are possible: none of them gets twice its share.
        assert!(seconds.len() > 100, "{}", seconds.len());
        assert!(seconds.values().all(|count| *count < 2 * 10_000 / 121));
        assert_eq!(jittered(600, "a"), jittered(600, "a"));
    }
}
