//! Who is asking? From a client identifier to a client: from memory, from the database, or from its host.

mod activity;
mod advice;
mod asker;
mod authenticate;
mod cimd;
mod explain;
mod history;
mod key_sets;
mod logos;
mod memory;
mod pictures;
mod reading;
mod refusal;
mod rule_book;
mod single_flight;

pub use self::{
    activity::BackedOff,
    asker::Asker,
    authenticate::{Attempt, AuthenticatedClient, LookUp, METHODS, claimed, refused, unproven},
    cimd::{Clients, Footing, Reread},
    explain::{Facts, Line, Report, Summary, Verdict},
    pictures::Picture,
    refusal::{BLOCKED, Refusal, RefusalKind},
    rule_book::RuleBook,
};
