//! Who asks for a client, and so whose budget its host is asked at.

use std::net::IpAddr;

use super::{cimd::Inner, refusal::Refusal};
use crate::{
    fetch::Charge,
    policy::client_rules::{Pattern, Tier},
    protocol::client_id::ClientId,
    time::UnixTime,
};

/// Who asks for a client.
#[derive(Clone, Copy, Debug)]
pub enum Asker {
    /// A caller of this network of whom nothing is known: a program, or a browser in which nobody is signed in.
    Anonymous(IpAddr),
    /// A person in this network who is signed in.
    SignedIn(IpAddr),
    /// Nobody waits: a grant of the client was used.
    Grant,
}

impl Asker {
    pub(super) fn is_anonymous(self) -> bool {
        matches!(self, Self::Anonymous(_))
    }
}

impl Inner {
    /// Who is charged when this client's host is asked. `is_new`: its document was never read.
    pub(super) async fn charge(
        &self,
        client_id: &ClientId,
        asker: Asker,
        is_new: bool,
        now: UnixTime,
    ) -> Result<Charge, Refusal> {
        Ok(match asker {
            Asker::Grant => Charge::Known(None),
            Asker::SignedIn(source) => Charge::Person { source, is_new },
            Asker::Anonymous(source) if self.is_in_use(client_id, is_new, now).await? => {
                Charge::Known(Some(source))
            }
            Asker::Anonymous(source) => Charge::Stranger { source, is_new },
        })
    }

    /// Does the administrator name this client, or does anybody here use it? That its document was read before is not
    /// enough: strangers bring as many as they like.
    async fn is_in_use(
        &self,
        client_id: &ClientId,
        is_new: bool,
        now: UnixTime,
    ) -> Result<bool, Refusal> {
        let standing = self.rules.of(client_id, &[]);
        if standing.registered {
            return Ok(true);
        }
        let is_listed = standing.tier >= Tier::Listed;
        if is_new {
            // Below a prefix or a host that is listed a stranger invents as many identifiers as below any other.
            let pattern = standing.rule.map(|rule| rule.pattern);
            return Ok(is_listed && matches!(pattern, Some(Pattern::Url(_))));
        }
        if is_listed {
            return Ok(true);
        }
        let Some(url) = client_id.url() else {
            return Ok(false);
        };
        if self.memory.is_settled(url) {
            return Ok(true);
        }
        let is_used = self.store.is_client_used(client_id, now).await?;
        if is_used {
            self.memory.settle(url);
        }
        Ok(is_used)
    }
}
