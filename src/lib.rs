//! Wayleave: an OAuth 2.1 authorization server whose clients need no registration.
//!
//! Four rings; imports point down. `docs/architecture.md` has the picture.
//!
//! | ring | modules |
//! |---|---|
//! | 3: speaks HTTP and HTML | [`cli`], [`server`], `endpoints`, `pages`, `web` |
//! | 2: acts for one request | [`grants`], [`tokens`], [`app`] |
//! | 1: touches the world | [`clients`], [`keys`], [`accounts`], [`refusals`], [`store`], [`fetch`], [`limits`], [`config`] |
//! | 0: knows nothing but values | [`policy`], [`protocol`], [`time`], [`secret`]; [`words`]; [`counts`], [`spans`] for monitoring |

pub mod accounts;
pub mod app;
pub mod cli;
pub mod clients;
pub mod config;
pub mod counts;
mod endpoints;
pub mod fetch;
#[cfg(test)]
mod generated;
pub mod grants;
pub mod keys;
pub mod limits;
mod pages;
pub mod policy;
pub mod protocol;
pub mod refusals;
pub mod secret;
pub mod server;
pub mod spans;
pub mod store;
pub mod time;
pub mod tokens;
mod web;
pub mod words;
