//! For people: one file per page.

pub(crate) mod consent;
pub(crate) mod home;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod setup;
