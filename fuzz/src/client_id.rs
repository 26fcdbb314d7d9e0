//! The client identifier URL, CIMD §3, and the patterns that administrators write about them.

use http::uri::PathAndQuery;
use url::{Host, Url};
use wayleave::{
    policy::client_pattern::Pattern,
    protocol::{
        client_id::ClientId,
        client_url::{self, ClientUrl},
    },
};

/// The input is a text: as it stands, and as the rest of an identifier that began well.
pub fn client_id(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for start in ["", "https://", "https://client.example.com/"] {
        check_identifier(&format!("{start}{text}"));
        check_pattern(&format!("{start}{text}"));
    }
    client_url::is_special_name(&text);
}

fn check_identifier(text: &str) {
    let id = match text.parse::<ClientUrl>() {
        Ok(id) => id,
        Err(error) => {
            assert!(
                client_url::RULES.contains(&error),
                "{error:?} is not listed"
            );
            return;
        }
    };
    assert_eq!(id.as_str(), text);
    assert_eq!(id.to_string(), text);
    assert_eq!(format!("{}{}", id.origin(), id.path_and_query()), text);
    assert!(text.len() <= 2048);
    assert!(text.bytes().all(|b| b.is_ascii_graphic()), "visible ASCII");
    assert!(!text.contains(['#', '\\']));
    check_url(&id);

    let path = id.path_and_query().split('?').next().unwrap_or_default();
    let is_dots = |segment: &str| matches!(decoded(segment).as_slice(), b"." | b"..");
    assert!(!path.split('/').any(is_dots), "dot segment in {text}");
    let decoded = String::from_utf8(decoded(id.path_and_query()));
    let decoded = decoded.unwrap_or_else(|_| panic!("{text} does not spell UTF-8"));
    assert!(!decoded.contains(char::is_control), "control in {text}");
}

/// A URL library and the request line see what we see.
fn check_url(id: &ClientUrl) {
    let url = Url::parse(id.as_str()).unwrap_or_else(|error| panic!("{id}: {error}"));
    assert_eq!(url.as_str(), id.as_str());
    assert_eq!(url.scheme(), "https");
    assert_eq!((url.username(), url.password()), ("", None), "{id}");
    assert_eq!(url.fragment(), None, "{id}");
    assert_eq!(url.host_str(), Some(id.host()));
    assert!(matches!(url.host(), Some(Host::Domain(_))), "{id}");
    assert_eq!(url.port_or_known_default(), Some(id.port()), "{id}");
    assert_eq!(url.origin().ascii_serialization(), id.origin());
    assert_eq!(url.query().is_some(), id.has_query(), "{id}");
    let line: Result<PathAndQuery, _> = id.path_and_query().parse();
    assert_eq!(
        line.as_ref().map(PathAndQuery::as_str).ok(),
        Some(id.path_and_query())
    );
}

/// A pattern says what it was written as, and is about somebody.
fn check_pattern(text: &str) {
    let Ok(pattern) = text.parse::<Pattern>() else {
        return;
    };
    assert_eq!(pattern.to_string(), text);
    assert_eq!(pattern.to_string().parse().as_ref(), Ok(&pattern));
    match &pattern {
        Pattern::Key(thumbprint) => {
            let id = identifier("https://client.example.com/c").into();
            assert!(pattern.matches(&id, std::slice::from_ref(thumbprint)));
            assert!(!pattern.matches(&id, &[]));
        }
        Pattern::Url(id) => assert!(pattern.matches(&id.clone().into(), &[])),
        Pattern::Name(_) => {
            let id = pattern.client().expect("it names one client");
            assert!(pattern.matches(&id, &[]) && id.url().is_none(), "{text}");
            let other = identifier("https://client.example.com/c").into();
            assert!(!pattern.matches(&other, &[]), "{text}");
        }
        Pattern::Path(prefix) => {
            let id = identifier(prefix);
            assert!(!id.has_query(), "{text}");
            assert!(pattern.matches(&id.into(), &[]));
        }
        Pattern::Host(host) => check_host(&pattern, host),
        Pattern::Domain(domain) => {
            check_host(&pattern, domain);
            if let Ok(below) = format!("https://below.{domain}/c").parse::<ClientUrl>() {
                let below = ClientId::from(below);
                assert!(pattern.matches(&below, &[]), "{text} and {below}");
            }
            if let Ok(other) = format!("https://other{domain}/c").parse::<ClientUrl>() {
                let other = ClientId::from(other);
                assert!(!pattern.matches(&other, &[]), "{text} and {other}");
            }
        }
    }
}

fn check_host(pattern: &Pattern, host: &str) {
    let id = identifier(&format!("https://{host}/"));
    assert_eq!(id.host(), host, "{pattern:?} is about no host");
    let id = ClientId::from(id);
    assert!(pattern.matches(&id, &[]), "{pattern:?} and {id}");
}

fn identifier(text: &str) -> ClientUrl {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Percent-decoded; what is malformed stays as it is.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes();
    let mut decoded = Vec::new();
    while let [first, rest @ ..] = bytes {
        let byte = match rest {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        decoded.push(byte.map_or(*first, |(high, low)| high * 16 + low));
        bytes = &rest[if byte.is_some() { 2 } else { 0 }..];
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
