//! Headers of every response.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config::Config;

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Pages between an app and its answer, which the app may have opened in a window of its own (see [`isolate`]).
const ON_THE_WAY: [&str; 4] = ["/authorize", "/login", "/consent", "/logout"];

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

/// Keeps a page apart from the windows of other sites (HTML §7.1.3), except those on the way to a client: an app in the
/// browser opens `/authorize` in a window and hears of the answer from its own page in there, by `window.opener`. Any
/// `Cross-Origin-Opener-Policy` on the way, also `same-origin-allow-popups`, cuts that for good, and to the app the window
/// looks closed. `page`: the route below the issuer's path.
pub(crate) fn isolate(page: Option<&str>, headers: &mut HeaderMap) {
    let is_page = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|it| it.as_bytes().starts_with(b"text/html"));
    if is_page && !page.is_some_and(|page| ON_THE_WAY.contains(&page)) {
        headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    }
}
