//! Conversations with the real server: one file per term, on both databases.

mod authorize;
mod client_document;
mod discovery;
mod login;
mod process;
mod support;
mod token;
