//! Redirect URIs: OAuth 2.1 §2.3, RFC 8252 §7.3.

use url::Url;
use wayleave::protocol::{
    private_use_scheme,
    redirect_uri::{self, Destination, RedirectUri, RedirectUriError},
};

/// The input is a URI in each line: those of the document, and at last that of the request.
pub fn redirect_uri(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines: Vec<_> = text.split('\n').collect();
    let requested = lines.pop().unwrap_or_default();
    let registered: Vec<_> = lines
        .iter()
        .filter_map(|line| RedirectUri::registered(line).ok())
        .collect();
    for uri in &registered {
        check_uri(uri);
        assert_eq!(
            redirect_uri::choose(&registered, uri.as_str()).as_ref(),
            Ok(uri)
        );
    }
    match redirect_uri::choose(&registered, requested) {
        Ok(chosen) => check_choice(&registered, requested, &chosen),
        Err(error) => {
            assert_eq!(error, RedirectUriError::NotRegistered);
            assert!(registered.iter().all(|uri| uri.as_str() != requested));
        }
    }
}

/// The browser goes where the text says.
fn check_uri(uri: &RedirectUri) {
    let text = uri.as_str();
    assert_eq!(
        RedirectUri::registered(text).as_ref(),
        Ok(uri),
        "read again"
    );
    assert_eq!(uri.to_string(), text);
    assert!(text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic()));
    assert!(!text.contains(['#', '\\', '*', '"', '<', '>']));
    let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let host = url.host_str().unwrap_or_default();
    match uri.destination() {
        Destination::Host(written) => {
            assert!(host.eq_ignore_ascii_case(written), "{text}: {host}");
            // No byte of it could end a word in a header.
            assert!(!written.contains(['\'', ',', ';', '%']), "{text}");
        }
        Destination::App(scheme) => {
            assert_eq!(scheme, url.scheme());
            assert!(private_use_scheme::is_available(scheme), "{text}");
        }
    }
    assert_eq!((url.username(), url.password()), ("", None), "{text}");
    assert_eq!(url.fragment(), None);
    assert_ne!(url.port(), Some(0));
    match url.scheme() {
        "https" => assert!(!uri.is_loopback() && !uri.leads_to_device()),
        "http" => {
            assert!(uri.is_loopback());
            assert!(["127.0.0.1", "[::1]", "localhost"].contains(&host));
        }
        other => assert_eq!(uri.private_use_scheme(), Some(other), "{text}"),
    }
    check_params(uri, &url);
}

/// RFC 6749 §4.1.2: parameters are added, and nothing else changes.
fn check_params(uri: &RedirectUri, url: &Url) {
    let params = [("code", "a b&c=d"), ("iss", "https://as.example.net")];
    let text = uri.with_params(&params);
    assert!(text.starts_with(uri.as_str()));
    let answer = Url::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(answer.scheme(), url.scheme());
    assert_eq!(answer.host_str(), url.host_str());
    assert_eq!(answer.port(), url.port());
    assert_eq!(answer.path(), url.path());
    let owned = params.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let expected = url.query_pairs().into_owned().chain(owned);
    assert!(answer.query_pairs().into_owned().eq(expected), "{text}");
    assert_eq!(uri.with_params(&[]), uri.as_str());
}

fn check_choice(registered: &[RedirectUri], requested: &str, chosen: &RedirectUri) {
    assert_eq!(chosen.as_str(), requested);
    check_uri(chosen);
    if registered.contains(chosen) {
        return;
    }
    assert!(chosen.is_loopback(), "only loopback may differ");
    let rest = without_port(chosen);
    let is_same = |uri: &RedirectUri| uri.is_loopback() && without_port(uri) == rest;
    assert!(registered.iter().any(is_same), "{requested}");
}

/// The text without `:digits` after the host.
fn without_port(uri: &RedirectUri) -> String {
    let Destination::Host(host) = uri.destination() else {
        return uri.as_str().to_owned();
    };
    let scheme = if uri.is_loopback() {
        "http://"
    } else {
        "https://"
    };
    let start = format!("{scheme}{host}");
    let rest = uri.as_str().strip_prefix(&start).expect("scheme and host");
    let rest = match rest.strip_prefix(':') {
        Some(after) => after.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    format!("{start}{rest}")
}
