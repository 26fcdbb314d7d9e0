//! Whose things a command is about: a person's, a client's, or those of both.

use clap::Args;

use super::exit::{NotFound, Usage};
use crate::{
    accounts::Accounts,
    config::Config,
    protocol::{client_id::ClientId, client_url::ClientUrlError},
    store::{Store, Which},
};

/// A client identifier as it was typed.
pub(super) fn identifier(text: &str) -> Result<ClientId, Usage> {
    text.parse()
        .map_err(|error: ClientUrlError| Usage(error.to_string()))
}

#[derive(Debug, Args)]
pub(super) struct Whose {
    /// Of this person.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// For this client.
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<String>,
}

impl Whose {
    /// Is nothing said?
    pub(super) fn is_empty(&self) -> bool {
        self.user.is_none() && self.client.is_none()
    }

    /// The client, as far as its text says.
    fn client(&self) -> Result<Option<ClientId>, Usage> {
        let read = self.client.as_deref().map(str::parse).transpose();
        read.map_err(|error| Usage(format!("--client: {error}")))
    }

    /// What was said. The person has to be there, and a client that has no URL has to be registered.
    pub(super) async fn read(
        self,
        id: Option<String>,
        config: &Config,
        store: &Store,
    ) -> anyhow::Result<Which> {
        let client_id = self.client()?;
        let username = match &self.user {
            Some(name) => Some(username(name, store).await?),
            None => None,
        };
        if let Some(name @ ClientId::Name(_)) = &client_id {
            let configured = &config.clients.registered;
            let stored = store.registered_clients().await?;
            let mut registered = configured.iter().chain(&stored);
            if !registered.any(|known| known.id() == name) {
                return Err(no_such_name(name).into());
            }
        }
        Ok(Which {
            id,
            username,
            client_id,
        })
    }
}

/// The user name of an account that is there, of its name or the address that it signs in with.
pub(super) async fn username(name: &str, store: &Store) -> anyhow::Result<String> {
    let account = Accounts::new(store.clone()).named(name).await?;
    let unknown = || {
        NotFound(format!(
            "there is no account named {name}; `wayleave user list` shows those that there are"
        ))
    };
    Ok(account.ok_or_else(unknown)?.username)
}

/// No client has this name.
pub(super) fn no_such_name(name: &ClientId) -> NotFound {
    NotFound(format!(
        "no client is registered as {name}; `wayleave client list` shows all clients. The client_id of one that publishes a \
         document is its https URL"
    ))
}
