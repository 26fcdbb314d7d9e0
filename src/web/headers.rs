//! Headers of every response.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config::Config;

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// On what pages of any site may read.
pub(crate) const FOR_EVERYBODY: (HeaderName, &str) = (RESOURCE_POLICY, "cross-origin");

/// Adds what every response carries, unless its handler chose otherwise.
pub(crate) fn secure(config: &Config, headers: &mut HeaderMap) {
    let mut default = |name, value| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(header::REFERRER_POLICY, "no-referrer");
    default(
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=()",
    );
    default(RESOURCE_POLICY, "same-origin");
    // For a year. Other hosts below the issuer's are the administrator's to decide about.
    if config.issuer.is_https() {
        let value = match config.server.hsts_include_subdomains {
            true => "max-age=31536000; includeSubDomains",
            false => "max-age=31536000",
        };
        default(header::STRICT_TRANSPORT_SECURITY, value);
    }
}
