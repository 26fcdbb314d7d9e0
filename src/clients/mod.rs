//! Who is asking? From a client identifier to a client: from memory, from the database, or from its host.

mod authenticate;
mod cimd;

pub use self::{
    authenticate::{AuthenticatedClient, METHODS, authenticate},
    cimd::{Clients, Refusal, RefusalKind},
};
