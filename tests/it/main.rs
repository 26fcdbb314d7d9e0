//! Conversations with the real server: one file per term, on both databases.
#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may panic as the test itself may"
)]

mod authorize;
mod caps;
mod chromium;
mod client_document;
mod client_policy;
mod commands;
mod configuration;
mod coverage;
mod discovery;
mod doctor;
mod documents;
mod fuzz_seeds;
mod interleaved;
mod keys;
mod layers;
mod login;
mod metrics;
mod operations;
mod other_clients;
mod overload;
mod people;
mod process;
mod refusals;
mod registrations;
mod rows_address;
mod rows_cache;
mod rows_clients;
mod rows_device;
mod rows_dns;
mod rows_document;
mod rows_dpop;
mod rows_field;
mod rows_flood;
mod rows_http;
mod rows_keys;
mod rows_listener;
mod rows_log;
mod rows_pushed;
mod rows_redirect;
mod rows_tls;
mod rows_token;
mod rows_tokens;
mod rows_url;
mod sign_in_limits;
mod store;
mod support;
mod token;
mod traces;
mod two_instances;
mod webfinger;
