//! Registered clients that may come without a PKCE challenge: which are they?

use super::Finding;
use crate::{config::Config, protocol::pkce::Pkce, store::Store};

pub(super) async fn check(config: &Config, store: &Store) -> Finding {
    const CHECK: &str = "clients.pkce";
    let stored = match store.registered_clients().await {
        Ok(stored) => stored,
        Err(error) => {
            return Finding::failed(CHECK, error.to_string(), "mend the database first");
        }
    };
    let names = |pkce: Pkce| {
        let all = config.clients.registered.iter().chain(&stored);
        let such = all.filter(|client| client.written().pkce == pkce);
        such.map(|client| client.id().as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (nonce, optional) = (names(Pkce::Nonce), names(Pkce::Optional));
    if !optional.is_empty() {
        return Finding::warning(
            CHECK,
            format!("need neither a PKCE challenge nor a nonce: {optional}"),
            "a code that is stolen from them can be slipped into another person's session; register them with pkce \
             \"nonce\" once they compare one, or \"required\" once they do PKCE",
        );
    }
    match nonce.as_str() {
        "" => Finding::ok(CHECK, "every registered client needs a PKCE challenge"),
        nonce => Finding::ok(
            CHECK,
            format!("need a nonce, but no PKCE challenge: {nonce}"),
        ),
    }
}
