//! What has to hold for any input of the parsers that read strangers' bytes: one function a fuzz target. It panics
//! where a promise is broken. `tests/it/fuzz_seeds.rs` includes this file and runs it over `fuzz/seeds/`.

mod client_assertion;
mod client_id;
mod document;
mod dpop;
mod http_cache;
mod jws;
mod key_set;
mod media_type;
mod params;
mod redirect_uri;

pub use client_assertion::client_assertion;
pub use client_id::client_id;
pub use document::document;
pub use dpop::dpop;
pub use http_cache::http_cache;
pub use jws::jws;
pub use key_set::key_set;
pub use media_type::media_type;
pub use params::params;
pub use redirect_uri::redirect_uri;
