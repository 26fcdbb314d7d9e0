//! Cookies: RFC 6265bis §4.1.3, one host, not for scripts, not for other sites' requests but top-level navigation.

use http::{HeaderMap, HeaderValue, header};

use crate::{
    app::App,
    secret::{Kind, Secret, Visitor},
};

/// The cookie of a signed-in browser.
pub(crate) const SESSION: &str = "wayleave_session";
/// The cookie of a browser that is not.
pub(crate) const VISITOR: &str = "wayleave_visitor";

/// The cookie of a browser in which somebody has signed in before.
pub(crate) const KNOWN: &str = "wayleave_known";

/// `__Host-` wants TLS; a server on loopback without TLS goes without.
fn full_name(app: &App, name: &str) -> String {
    if app.config.issuer.is_https() {
        format!("__Host-{name}")
    } else {
        name.to_owned()
    }
}

/// The secret in a cookie.
pub(crate) fn read<K: Kind>(app: &App, headers: &HeaderMap, name: &str) -> Option<Secret<K>> {
    text(app, headers, name)?.parse().ok()
}

/// The text of a cookie. Of two cookies of one name neither is believed.
pub(crate) fn text<'h>(app: &App, headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let name = full_name(app, name);
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(';'));
    let mut values = pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(known, _)| *known == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

/// What a browser is known by although nobody may be signed in there, and the header that tells it, if it did not know.
pub(crate) fn visitor(app: &App, headers: &HeaderMap) -> (Secret<Visitor>, Option<HeaderValue>) {
    match read(app, headers, VISITOR) {
        Some(known) => (known, None),
        None => {
            let visitor = Secret::generate();
            let header = set(app, VISITOR, &visitor);
            (visitor, Some(header))
        }
    }
}

/// The header that sets a cookie until the browser is closed or the server forgets it.
pub(crate) fn set<K: Kind>(app: &App, name: &str, secret: &Secret<K>) -> HeaderValue {
    header_value(app, name, secret.expose(), "")
}

/// The header that sets a cookie for so many seconds.
pub(crate) fn keep(app: &App, name: &str, text: &str, seconds: i64) -> HeaderValue {
    header_value(app, name, text, &format!("; Max-Age={seconds}"))
}

/// The header that removes a cookie.
pub(crate) fn clear(app: &App, name: &str) -> HeaderValue {
    header_value(app, name, "", "; Max-Age=0")
}

fn header_value(app: &App, name: &str, value: &str, extra: &str) -> HeaderValue {
    let secure = if app.config.issuer.is_https() {
        "; Secure"
    } else {
        ""
    };
    let text = format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{extra}",
        full_name(app, name)
    );
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}
