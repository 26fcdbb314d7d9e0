//! Who is asking? From a client identifier to a client: from memory, from the database, or from its host.

mod authenticate;
mod cimd;
mod explain;
mod logos;
mod memory;
mod refusal;
mod standings;

pub use self::{
    authenticate::{AuthenticatedClient, METHODS, authenticate},
    cimd::{BackedOff, Clients, Footing, Refused},
    explain::{Facts, Line, Report, Summary, Verdict},
    refusal::{Refusal, RefusalKind},
    standings::Standings,
};
