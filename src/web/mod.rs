//! Shared by endpoints and pages.

pub(crate) mod assets;
pub(crate) mod callback;
pub(crate) mod client_ip;
pub(crate) mod cookies;

pub(crate) mod client_request;
pub(crate) mod forms;
pub(crate) mod headers;
pub(crate) mod html;
pub(crate) mod known_browser;
pub(crate) mod page_error;
pub(crate) mod refused;
pub(crate) mod session;
pub(crate) mod sign_in;
pub(crate) mod token_error;
pub(crate) mod views;
