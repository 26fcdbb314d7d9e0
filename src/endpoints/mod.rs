//! For machines: one file per endpoint.

pub(crate) mod authorize;
pub(crate) mod device_authorization;
pub(crate) mod discovery;
pub(crate) mod health;
pub(crate) mod introspect;
pub(crate) mod jwks;
pub(crate) mod logo;
pub(crate) mod par;
pub(crate) mod revoke;
pub(crate) mod token;
pub(crate) mod userinfo;
pub(crate) mod webfinger;
