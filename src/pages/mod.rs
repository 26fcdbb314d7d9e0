//! For people: one file per page.

pub(crate) mod admin;
mod administrator;
mod client_summary;
pub(crate) mod consent;
pub(crate) mod development;
pub(crate) mod device;
pub(crate) mod home;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod refusals;
pub(crate) mod setup;
