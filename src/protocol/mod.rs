//! The rules: no async, no IO, no clock. They take values and `now`.
//!
//! | document | file |
//! |---|---|
//! | RFC 6749 §2.3.1, RFC 7617 Basic credentials | [`basic`] |
//! | RFC 6749 §3.1, §3.2 parameters | [`params`] |
//! | RFC 6749 §3.1.2, RFC 8252 §7 redirect URIs | [`redirect_uri`], [`private_use_scheme`] |
//! | RFC 6749 §3.3 scope | [`scope`] |
//! | RFC 6749 §4.1.1 authorization request | [`authorize`] |
//! | RFC 6749 §4.1.2, RFC 9207 authorization response | [`response`] |
//! | RFC 6749 §4.1.3 redeeming a code | [`authorization_code`] |
//! | RFC 6749 §5.2 errors | [`error`] |
//! | RFC 6749 §6, RFC 9700 §4.14 refresh | [`refresh`] |
//! | RFC 6750 §2.1, RFC 9449 §7.1 presenting a token | [`bearer`] |
//! | RFC 7515, RFC 8725 signed tokens | [`jws`] |
//! | RFC 7523, RFC 10070 client assertions | [`client_assertion`] |
//! | RFC 7517, 7518, 7638, 8037 key sets | [`key_set`] |
//! | RFC 7591, CIMD §4, RP Metadata Choices | [`client_metadata`], [`json`] |
//! | RFC 7636 PKCE | [`pkce`] |
//! | RFC 8628 §3.5 asking for a device, §6.1 user codes | [`device`], [`user_code`] |
//! | RFC 7033 WebFinger | [`webfinger`] |
//! | RFC 7662 introspection | [`introspection`] |
//! | RFC 8414, OpenID Connect Discovery §3 metadata | [`discovery`], [`issuer`] |
//! | RFC 8707 resource indicators | [`resource`] |
//! | RFC 8265 §3.3 names that people sign in with | [`username`] |
//! | RFC 9068 JWT access tokens | [`access_token`] |
//! | RFC 9449 proofs of possession | [`dpop`] |
//! | RFC 9126 pushed authorization requests | [`pushed`] |
//! | RFC 9110 §7.2, RFC 9112 §3.2 the host of a request | [`host`] |
//! | RFC 9110 §8.3 media types | [`media_type`] |
//! | RFC 9111 caching | [`http_cache`] |
//! | RFC 6749 §2.2 client identifier, CIMD §3 | [`client_id`], [`client_url`] |
//! | RFC 9728 metadata of resources | [`resource_metadata`] |
//! | CIMD §8.6, IANA special-purpose registries | [`special_address`] |
//! | OpenID Connect Core §2, §3.1.3.6 ID tokens | [`id_token`] |
//! | OpenID Connect Core §3.1.2.1 prompt | [`prompt`] |
//! | OpenID Connect Core §5 claims about people | [`userinfo`] |

pub mod access_token;
pub mod authorization_code;
pub mod authorize;
pub mod basic;
pub mod bearer;
pub mod client;
pub mod client_assertion;
pub mod client_id;
pub mod client_metadata;
pub mod client_url;
pub mod device;
pub mod discovery;
pub mod dpop;
pub mod error;
pub mod etag;
pub mod host;
pub mod http_cache;
pub mod id_token;
pub mod introspection;
pub mod issuer;
pub mod json;
pub mod jws;
pub mod key_set;
pub mod media_type;
pub mod params;
pub mod pkce;
pub mod private_use_scheme;
pub mod prompt;
pub mod pushed;
pub mod redirect_uri;
pub mod refresh;
pub mod resource;
pub mod resource_metadata;
pub mod response;
pub mod scope;
pub mod special_address;
pub mod user_code;
pub mod userinfo;
pub mod username;
pub mod webfinger;
