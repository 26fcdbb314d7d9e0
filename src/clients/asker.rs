//! Who asks for a client, and so whose budget its host is asked at.

use std::net::IpAddr;

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
