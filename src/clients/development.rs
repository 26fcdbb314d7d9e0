//! Documents that this server serves for developers. CIMD App. A.

use std::sync::Arc;

use super::{document_cache::read, refusal::Refusal};
use crate::{
    config::Config,
    protocol::{client::Client, client_url::ClientUrl},
    store::{Accepted, Store},
    time::UnixTime,
};

/// The rule of a document whose time is over.
pub(super) const GONE: &str = "development.gone";

#[derive(Debug)]
pub(super) struct Development {
    /// Where they are, if there are any.
    prefix: Option<String>,
    store: Store,
}

impl Development {
    pub(super) fn new(config: &Config, store: Store) -> Self {
        let is_on = config.development.clients;
        Self {
            prefix: is_on.then(|| config.issuer.join("/dev-clients/")),
            store,
        }
    }

    pub(super) fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    pub(super) fn has(&self, client_id: &ClientUrl) -> bool {
        let prefix = self.prefix();
        prefix.is_some_and(|prefix| client_id.as_str().starts_with(prefix))
    }

    /// A document of ours for a developer, while its time lasts.
    pub(super) async fn document(
        &self,
        client_id: &ClientUrl,
        now: UnixTime,
    ) -> Result<String, Refusal> {
        let prefix = self.prefix().unwrap_or_default();
        let id = client_id
            .as_str()
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(".json"));
        let document = match id {
            Some(id) => self.store.dev_client(id, now).await?,
            None => None,
        };
        let gone = || {
            Refusal::invalid(
                GONE,
                "there is no such client in development, or its time is over; make a new one",
            )
        };
        document.ok_or_else(gone)
    }

    /// The client of such a document: it is as good as its row, and no better.
    pub(super) async fn client(
        &self,
        client_id: &ClientUrl,
        now: UnixTime,
    ) -> Result<Arc<Client>, Refusal> {
        let document = self.document(client_id, now).await?;
        let client = read(client_id, document.as_bytes(), now)?;
        let kept = self
            .store
            .client_document(client_id, &client.digest)
            .await?;
        if kept.is_none() {
            // The version that a login is about is kept as every other.
            let accepted = Accepted {
                client_id: client_id.clone(),
                digest: client.digest.clone(),
                document,
                fetched_at: now,
                fresh_until: None,
                event: None,
                revoke: None,
            };
            self.store.keep_client(accepted).await?;
        }
        Ok(Arc::new(client))
    }
}
