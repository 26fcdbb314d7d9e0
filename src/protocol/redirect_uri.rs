//! Redirect URIs: OAuth 2.1 §2.3 (exact match), RFC 8252 §7.1 (private-use schemes) and §7.3 (the port of a loopback
//! redirect), RFC 9700 §4.1.3.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use thiserror::Error;
use url::{Url, form_urlencoded};

use super::private_use_scheme;

/// A redirect URI that may stand in a client's document, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RedirectUri {
    text: String,
    kind: Kind,
    /// Of a private-use scheme: that of the scheme.
    host_start: usize,
    host_end: usize,
    path_start: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Https,
    /// `http` to this very device, RFC 8252 §7.3.
    Loopback,
    /// `http` within a private network: for registered clients only.
    PrivateNetwork,
    /// RFC 8252 §7.1.
    PrivateUse,
}

/// Where a redirect URI leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// To a host, as it is written; IPv6 addresses in their brackets.
    Host(&'a str),
    /// To the app on the person's device that opens this scheme.
    App(&'a str),
}

/// The redirect URI of a request, if the client registered it: equal bytes, or a loopback redirect that differs in
/// nothing but the port.
pub fn choose(
    registered: &[RedirectUri],
    requested: &str,
) -> Result<RedirectUri, RedirectUriError> {
    if let Some(equal) = registered.iter().find(|entry| entry.text == requested) {
        return Ok(equal.clone());
    }
    let requested =
        RedirectUri::registered(requested).map_err(|_| RedirectUriError::NotRegistered)?;
    let differs_in_port_only = |entry: &RedirectUri| {
        entry.is_loopback()
            && entry.destination() == requested.destination()
            && entry.path_and_query() == requested.path_and_query()
    };
    if requested.is_loopback() && registered.iter().any(differs_in_port_only) {
        Ok(requested)
    } else {
        Err(RedirectUriError::NotRegistered)
    }
}

impl RedirectUri {
    /// An entry of `redirect_uris`: https anywhere, http to this very device, or a private-use scheme. Which schemes a client
    /// may have is for the policy to say.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn registered(text: &str) -> Result<Self, RedirectUriError> {
        let uri = Self::parse(text)?;
        match uri.kind {
            Kind::PrivateNetwork => Err(RedirectUriError::NotLoopback),
            _ => Ok(uri),
        }
    }

    /// The same where an administrator allows http within a private network, to an address or a single-label name of it.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn registered_on_private_network(text: &str) -> Result<Self, RedirectUriError> {
        Self::parse(text)
    }

    fn parse(text: &str) -> Result<Self, RedirectUriError> {
        if text.len() > MAX_BYTES {
            return Err(RedirectUriError::Length);
        }
        if !text.bytes().all(is_allowed_byte) {
            return Err(RedirectUriError::Character);
        }
        let Some(scheme) = SCHEMES.into_iter().find(|scheme| text.starts_with(scheme)) else {
            return Self::private_use(text);
        };
        let rest = &text[scheme.len()..];
        if rest.contains('#') {
            return Err(RedirectUriError::Fragment);
        }
        if rest.contains('*') {
            return Err(RedirectUriError::Wildcard);
        }
        let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
        let host = check_authority(authority)?;
        let kind = match scheme {
            HTTP if LOOPBACK_HOSTS.contains(&host) => Kind::Loopback,
            HTTP if is_on_private_network(host) => Kind::PrivateNetwork,
            HTTP => return Err(RedirectUriError::NotLoopback),
            _ => Kind::Https,
        };
        // What a browser would connect to must be the host that is written there.
        let url = Url::parse(text).map_err(|_| RedirectUriError::Host)?;
        if !url
            .host_str()
            .is_some_and(|seen| seen.eq_ignore_ascii_case(host))
        {
            return Err(RedirectUriError::Host);
        }
        Ok(Self {
            text: text.to_owned(),
            kind,
            host_start: scheme.len(),
            host_end: scheme.len() + host.len(),
            path_start: scheme.len() + authority.len(),
        })
    }

    /// RFC 8252 §7.1: `SCHEME:/path` or `SCHEME://…`.
    fn private_use(text: &str) -> Result<Self, RedirectUriError> {
        let (scheme, rest) = text.split_once(':').ok_or(RedirectUriError::Scheme)?;
        if !private_use_scheme::is_available(scheme) || !rest.starts_with('/') {
            return Err(RedirectUriError::Scheme);
        }
        if rest.contains('#') {
            return Err(RedirectUriError::Fragment);
        }
        if rest.contains('*') {
            return Err(RedirectUriError::Wildcard);
        }
        let authority = rest.strip_prefix("//").unwrap_or_default();
        let authority = authority.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(RedirectUriError::Userinfo);
        }
        // What a browser would hand to the app must be what is written there.
        if !Url::parse(text).is_ok_and(|url| url.as_str() == text) {
            return Err(RedirectUriError::Host);
        }
        Ok(Self {
            text: text.to_owned(),
            kind: Kind::PrivateUse,
            host_start: 0,
            host_end: scheme.len(),
            path_start: scheme.len() + 1,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it leads.
    pub fn destination(&self) -> Destination<'_> {
        let name = &self.text[self.host_start..self.host_end];
        match self.kind {
            Kind::PrivateUse => Destination::App(name),
            _ => Destination::Host(name),
        }
    }

    /// The private-use scheme, if it has one.
    pub fn private_use_scheme(&self) -> Option<&str> {
        match self.destination() {
            Destination::App(scheme) => Some(scheme),
            Destination::Host(_) => None,
        }
    }

    /// RFC 8252 §7.3: does it lead to a program on the user's own device, by http?
    pub fn is_loopback(&self) -> bool {
        self.kind == Kind::Loopback
    }

    /// Does it lead to the user's own device, where any program may listen in the client's name (RFC 8252 §8.6)?
    pub fn leads_to_device(&self) -> bool {
        matches!(self.kind, Kind::Loopback | Kind::PrivateUse)
    }

    /// Does the answer go through a private network in clear?
    pub fn is_in_clear(&self) -> bool {
        self.kind == Kind::PrivateNetwork
    }

    /// The URI with parameters at the end of its query. Nothing that was there changes.
    pub fn with_params(&self, params: &[(&str, &str)]) -> String {
        let added = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(params)
            .finish();
        let joint = match self.text.find('?') {
            _ if added.is_empty() => "",
            None => "?",
            Some(start) if start + 1 == self.text.len() || self.text.ends_with('&') => "",
            Some(_) => "&",
        };
        format!("{}{joint}{added}", self.text)
    }

    fn path_and_query(&self) -> &str {
        &self.text[self.path_start..]
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

const HTTP: &str = "http://";
const SCHEMES: [&str; 2] = ["https://", HTTP];
const LOOPBACK_HOSTS: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];
const MAX_BYTES: usize = 2048;

/// RFC 3986 §2 has no place for the others, and browsers disagree about them.
fn is_allowed_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !b"\\\"<>^`{|}".contains(&byte)
}

/// The host of `host[:port]`.
fn check_authority(authority: &str) -> Result<&str, RedirectUriError> {
    if authority.contains('@') {
        return Err(RedirectUriError::Userinfo);
    }
    let host_end = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    if !is_host(host) {
        return Err(RedirectUriError::Host);
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(host),
        Some(digits) if is_port(digits) => Ok(host),
        _ => Err(RedirectUriError::Port),
    }
}

/// RFC 1123 §2.1: labels of letters, digits and hyphens; or an IP literal.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match bracketed(host) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.len() <= 253 && host.split('.').all(is_label),
    }
}

/// An address that is not for the public Internet (RFC 1918, RFC 4193, RFC 3927, RFC 6598), or a single-label name.
fn is_on_private_network(host: &str) -> bool {
    let address = bracketed(host).unwrap_or(host).parse::<IpAddr>();
    match address {
        Ok(IpAddr::V4(v4)) => {
            let is_shared = (v4.to_bits() ^ Ipv4Addr::new(100, 64, 0, 0).to_bits()) >> 22 == 0;
            v4.is_private() || v4.is_link_local() || is_shared
        }
        Ok(IpAddr::V6(v6)) => v6.is_unique_local() || v6.is_unicast_link_local(),
        Err(_) => !host.contains('.') && !host.eq_ignore_ascii_case("localhost"),
    }
}

fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

fn is_port(digits: &str) -> bool {
    digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
        && digits.parse::<u16>().is_ok()
}

/// Why a redirect URI is refused. The sentences are for the client's developer and never repeat the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RedirectUriError {
    #[error("a redirect URI is longer than 2048 bytes")]
    Length,
    #[error("a redirect URI contains a character that a URL cannot have; percent-encode it")]
    Character,
    #[error(
        "a redirect URI must begin with https://, with http:// and a loopback host, or with a private-use scheme such as \
         com.example.app:/ that no browser or system has for itself"
    )]
    Scheme,
    #[error("a redirect URI must not contain a fragment (#)")]
    Fragment,
    #[error(
        "a redirect URI must not contain a wildcard (*): they are compared character by character"
    )]
    Wildcard,
    #[error("a redirect URI must not contain a user name or password (@ before the path)")]
    Userinfo,
    #[error("the host of a redirect URI is missing, or is not written the way browsers read it")]
    Host,
    #[error("the port of a redirect URI must be a number from 1 to 65535 without leading zeros")]
    Port,
    #[error(
        "a redirect URI with http:// must have the host 127.0.0.1, [::1] or localhost; use https:// elsewhere"
    )]
    NotLoopback,
    #[error(
        "this server does not accept the private-use scheme of this redirect URI from this client: policy.private_use_schemes \
         lets a client have schemes that begin with its own domain in reverse order, such as com.example.app:/, or a rule \
         about the client lets it have others"
    )]
    PrivateUseScheme,
    #[error(
        "redirect_uri is not among the client's redirect_uris: it must be equal character by character; \
         only the port of an http loopback redirect may differ"
    )]
    NotRegistered,
}

impl RedirectUriError {
    /// A stable name for logs, metrics and `wayleave explain`.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Length => "redirect_uri.length",
            Self::Character => "redirect_uri.character",
            Self::Scheme => "redirect_uri.scheme",
            Self::Fragment => "redirect_uri.fragment",
            Self::Wildcard => "redirect_uri.wildcard",
            Self::Userinfo => "redirect_uri.userinfo",
            Self::Host => "redirect_uri.host",
            Self::Port => "redirect_uri.port",
            Self::NotLoopback => "redirect_uri.not_loopback",
            Self::PrivateUseScheme => "policy.private_use_schemes",
            Self::NotRegistered => "redirect_uri.not_registered",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RedirectUriError as E;
    use super::*;

    const APP: &str = "https://app.example.com/cb";

    fn matches(id: &str, listed: &str, accepted: &[&str], refused: &[&str]) {
        let registered = [RedirectUri::registered(listed).unwrap()];
        for requested in accepted {
            let chosen = choose(&registered, requested);
            assert_eq!(
                chosen.as_ref().map(RedirectUri::as_str),
                Ok(*requested),
                "{id}"
            );
        }
        for requested in refused {
            let chosen = choose(&registered, requested);
            assert_eq!(chosen, Err(E::NotRegistered), "{id}: {requested:?}");
        }
    }

    #[test]
    fn https_redirects_match_byte_by_byte() {
        let table: &[(&str, &str, &[&str], &[&str])] = &[
            (
                "R-02",
                APP,
                &[APP],
                &[
                    "https://app.example.com/cb/",
                    "https://app.example.com/CB",
                    "https://app.example.com/cb?x=1",
                    "https://app.example.com/cb?",
                    "https://app.example.com/cb#f",
                    "https://app.example.com/cb#",
                    "https://app.example.com/cb%20",
                    "https://app.example.com/c%62",
                    "https://app.example.com/./cb",
                    "https://app.example.com/x/../cb",
                    "https://app.example.com/cb;x",
                    "https://app.example.com//cb",
                ],
            ),
            (
                "R-03",
                APP,
                &[APP],
                &[
                    "https://APP.example.com/cb",
                    "HTTPS://app.example.com/cb",
                    "https://app.example.com:443/cb",
                    "https://app.example.com:8443/cb",
                    "https://app.example.com./cb",
                    "http://app.example.com/cb",
                ],
            ),
            (
                "R-04",
                APP,
                &[],
                &[
                    "https://app.example.com@evil.com/cb",
                    "https://evil.com\\@app.example.com/cb",
                    "https://app.example.com.evil.com/cb",
                    "https://evilapp.example.com/cb",
                    "https://app.example.com%2f@evil.com",
                ],
            ),
            (
                "R-05",
                APP,
                &[],
                &[
                    "https://app.example.com/cb ",
                    " https://app.example.com/cb",
                    "https://app.example.com/cb\t",
                    "https://app.example.com/cb\0",
                    "https://app.example.com/cb\r\n",
                    "https://app.example.com/cb%0d%0a",
                    "\u{feff}https://app.example.com/cb",
                    "https://ａpp.example.com/cb",
                    "",
                ],
            ),
            (
                "R-06",
                "https://app.example.com/cb?tenant=1",
                &["https://app.example.com/cb?tenant=1"],
                &[
                    "https://app.example.com/cb",
                    "https://app.example.com/cb?tenant=2",
                    "https://app.example.com/cb?tenant=1&x=2",
                ],
            ),
            (
                "R-13",
                "https://other-origin.example.net/cb",
                &["https://other-origin.example.net/cb"],
                &[APP],
            ),
            (
                "R-26",
                "https://localhost/cb",
                &["https://localhost/cb"],
                &["https://localhost:9/cb"],
            ),
            (
                "R-26",
                "https://127.0.0.1/cb",
                &["https://127.0.0.1/cb"],
                &["https://127.0.0.1:9/cb"],
            ),
        ];
        for (id, listed, accepted, refused) in table {
            matches(id, listed, accepted, refused);
        }
    }

    #[test]
    fn a_loopback_redirect_may_differ_in_its_port_only() {
        let table: &[(&str, &str, &[&str], &[&str])] = &[
            (
                "R-20",
                "http://127.0.0.1/cb",
                &[
                    "http://127.0.0.1/cb",
                    "http://127.0.0.1:51353/cb",
                    "http://127.0.0.1:1/cb",
                    "http://127.0.0.1:65535/cb",
                ],
                &["https://127.0.0.1:51353/cb"],
            ),
            (
                "R-21",
                "http://localhost/callback",
                &["http://localhost:51212/callback"],
                &["http://LOCALHOST:1/callback"],
            ),
            (
                "R-22",
                "http://127.0.0.1:3000/cb",
                &["http://127.0.0.1:4000/cb", "http://127.0.0.1/cb"],
                &[],
            ),
            (
                "R-23",
                "http://[::1]/cb",
                &["http://[::1]:9/cb"],
                &["http://[0:0:0:0:0:0:0:1]:9/cb", "http://[::1]9/cb"],
            ),
            (
                "R-24",
                "http://127.0.0.1/cb",
                &[],
                &[
                    "http://localhost:9/cb",
                    "http://[::1]:9/cb",
                    "http://127.0.0.2:9/cb",
                    "http://127.1:9/cb",
                    "http://2130706433:9/cb",
                    "http://0.0.0.0:9/cb",
                    "http://[::ffff:127.0.0.1]:9/cb",
                ],
            ),
            (
                "R-25",
                "http://127.0.0.1/cb",
                &[],
                &[
                    "http://127.0.0.1:9/cb/",
                    "http://127.0.0.1:9/cb?x",
                    "http://127.0.0.1:9/../cb",
                    "http://127.0.0.1:9/cb#f",
                    "http://127.0.0.1:0/cb",
                    "http://127.0.0.1:65536/cb",
                    "http://127.0.0.1:09/cb",
                    "http://127.0.0.1:+9/cb",
                    "http://127.0.0.1:/cb",
                    "http://u@127.0.0.1:9/cb",
                    "http://127.0.0.1:9@evil.com/cb",
                    "http://127.0.0.1:9",
                ],
            ),
            (
                "query of a loopback redirect",
                "http://localhost/cb?a=1",
                &["http://localhost:7/cb?a=1"],
                &["http://localhost:7/cb", "http://localhost:7/cb?a=2"],
            ),
            (
                "loopback redirect without a path",
                "http://localhost",
                &["http://localhost:7"],
                &["http://localhost:7/"],
            ),
        ];
        for (id, listed, accepted, refused) in table {
            matches(id, listed, accepted, refused);
        }
    }

    #[test]
    fn an_entry_that_is_not_allowed_in_a_document_is_refused() {
        let long = format!("{:a<2049}", "https://app.example.com/");
        let table: &[(&str, E, &[&str])] = &[
            (
                "R-07",
                E::Wildcard,
                &[
                    "https://*.example.com/cb",
                    "https://app.example.com/*",
                    "https://app.example.com/cb*",
                    "http://localhost:*/cb",
                ],
            ),
            (
                "R-07",
                E::Character,
                &[
                    "https://app.example.com/^.+$",
                    "https://app.example.com/(a|b)",
                ],
            ),
            (
                "R-08",
                E::Fragment,
                &[
                    "https://app.example.com/cb#x",
                    "https://app.example.com/cb#",
                ],
            ),
            (
                "R-08",
                E::Userinfo,
                &[
                    "https://u:p@app.example.com/cb",
                    "https://@app.example.com/cb",
                    "http://u@127.0.0.1/cb",
                ],
            ),
            (
                "R-08",
                E::Scheme,
                &[
                    "/cb",
                    "//app.example.com/cb",
                    "https:/app.example.com/cb",
                    "https:app.example.com",
                    "",
                ],
            ),
            (
                "R-08",
                E::Host,
                &["https:///cb", "https://:8443/cb", "https://", "https://?x"],
            ),
            (
                "R-09",
                E::NotLoopback,
                &[
                    "http://app.example.com/cb",
                    "http://10.0.0.5/cb",
                    "http://127.0.0.1.nip.io/cb",
                    "http://localhost.evil.com/cb",
                    "http://LOCALHOST/cb",
                    "http://127.0.0.2/cb",
                    "http://127.1/cb",
                    "http://[::ffff:127.0.0.1]/cb",
                    "http://[0:0:0:0:0:0:0:1]/cb",
                ],
            ),
            (
                "R-10",
                E::Scheme,
                &[
                    "https:/cb",
                    "ms-settings:network",
                    "javascript:alert(1)//https://",
                    "data:text/html,x",
                    "vbscript:x",
                    "file:///etc/passwd",
                    "blob:https://app.example.com/x",
                    "about:blank",
                    "view-source:https://app.example.com/cb",
                    "filesystem:https://app.example.com/x",
                    "ftp://app.example.com/cb",
                    "ws://app.example.com/cb",
                    "intent://x#Intent;end",
                    "ms-appx://x",
                    "JaVaScRiPt:alert(1)",
                    "HTTPS://app.example.com/cb",
                ],
            ),
            (
                "R-10",
                E::Character,
                &[
                    "java\tscript:alert(1)",
                    " https://app.example.com/cb",
                    "https://app.example.com/\\",
                ],
            ),
            (
                "F-02",
                E::Host,
                &[
                    "https://a;b.example.com/cb",
                    "https://a,b.example.com/cb",
                    "https://a'b.example.com/cb",
                    "https://a_b.example.com/cb",
                    "https://-a.example.com/cb",
                    "https://a..example.com/cb",
                    "https://a.example.com./cb",
                    // As not loopback before November 2026.
                    "http://localhost./cb",
                    "https://[::1;x]/cb",
                    "https://[fe80::1%25eth0]/cb",
                ],
            ),
            (
                "F-02",
                E::Character,
                &["https://a b.example.com/cb", "https://a\tb.example.com/cb"],
            ),
            (
                "F-09",
                E::Scheme,
                &[
                    "com.example.app:cb",
                    "com.example.app:",
                    "Com.example.app:/cb",
                    "my_app:/cb",
                    "ms-appx:/x",
                ],
            ),
            ("F-09", E::Fragment, &["com.example.app:/cb#x"]),
            ("F-09", E::Wildcard, &["com.example.app:/*"]),
            ("F-09", E::Userinfo, &["myapp://u@host/cb"]),
            ("F-09", E::Host, &["com.example.app:/a/../cb"]),
            ("M-15", E::Length, &[&long]),
            (
                "L- another spelling of an address",
                E::Host,
                &[
                    "https://2130706433/cb",
                    "https://0x7f.1/cb",
                    "https://a%2eexample.com/cb",
                    "https://[::0001]/cb",
                    "https://[::1]]/cb",
                    "https://[::1",
                ],
            ),
            (
                "ports",
                E::Port,
                &[
                    "https://app.example.com:/cb",
                    "https://app.example.com:0/cb",
                    "https://app.example.com:065/cb",
                    "https://app.example.com:65536/cb",
                    "https://app.example.com:8443x/cb",
                    "https://app.example.com:1:2/cb",
                    "http://[::1]x/cb",
                ],
            ),
        ];
        for (id, error, entries) in table {
            for entry in *entries {
                assert_eq!(
                    RedirectUri::registered(entry),
                    Err(*error),
                    "{id}: {entry:?}"
                );
            }
        }
    }

    #[test]
    fn a_redirect_uri_leads_to_a_host_or_to_an_app() {
        use Destination::{App, Host};
        // text, destination, to the device, in clear
        let table = [
            (APP, Host("app.example.com"), false, false),
            (
                "https://app.example.com:8443?x=/",
                Host("app.example.com"),
                false,
                false,
            ),
            ("http://[::1]:7/cb", Host("[::1]"), true, false),
            ("http://localhost", Host("localhost"), true, false),
            ("https://localhost/cb", Host("localhost"), false, false),
            (
                "https://[2606:4700::1]/cb",
                Host("[2606:4700::1]"),
                false,
                false,
            ),
            // R-11 refused these before November 2026; now the policy decides.
            ("com.example.app:/cb", App("com.example.app"), true, false),
            ("com.example.app://cb", App("com.example.app"), true, false),
            ("myapp://cb", App("myapp"), true, false),
            ("vscode://x/y", App("vscode"), true, false),
            ("cursor://a/b?x=1", App("cursor"), true, false),
        ];
        for (text, destination, to_device, in_clear) in table {
            let uri = RedirectUri::registered(text).unwrap();
            assert_eq!((uri.as_str(), uri.to_string().as_str()), (text, text));
            assert_eq!(
                (uri.destination(), uri.leads_to_device(), uri.is_in_clear()),
                (destination, to_device, in_clear)
            );
            assert_eq!(choose(std::slice::from_ref(&uri), text), Ok(uri), "{text}");
        }
    }

    #[test]
    fn http_within_a_private_network_is_for_registered_clients_only() {
        let private = [
            "http://nas:8080/cb",
            "http://192.168.1.5/cb",
            "http://10.0.0.5:3000/cb",
            "http://172.31.0.1/cb",
            "http://100.127.255.255/cb",
            "http://169.254.1.1/cb",
            "http://[fd00::1]/cb",
            "http://[fe80::1]/cb",
        ];
        for text in private {
            assert_eq!(RedirectUri::registered(text), Err(E::NotLoopback), "{text}");
            let uri = RedirectUri::registered_on_private_network(text).unwrap();
            assert!(uri.is_in_clear() && !uri.leads_to_device(), "{text}");
        }
        for text in [
            "http://app.example.com/cb",
            "http://nas.local/cb",
            "http://8.8.8.8/cb",
            "http://172.32.0.1/cb",
            "http://100.128.0.1/cb",
            "http://[2606:4700::1]/cb",
            "http://LOCALHOST/cb",
            "http://0.0.0.0/cb",
        ] {
            let refused = RedirectUri::registered_on_private_network(text);
            assert_eq!(refused, Err(E::NotLoopback), "{text}");
        }
        let uri = RedirectUri::registered_on_private_network("http://127.0.0.1/cb").unwrap();
        assert!(uri.is_loopback());
    }

    #[test]
    fn parameters_are_added_without_changing_what_is_there() {
        type Row = (
            &'static str,
            &'static [(&'static str, &'static str)],
            &'static str,
        );
        let table: &[Row] = &[
            (
                APP,
                &[("code", "a"), ("state", "x=/+ é&")],
                "?code=a&state=x%3D%2F%2B+%C3%A9%26",
            ),
            (APP, &[], ""),
            (
                "https://app.example.com/cb?tenant=%31+b",
                &[("code", "a")],
                "&code=a",
            ),
            ("https://app.example.com/cb?", &[("code", "a")], "code=a"),
            ("https://app.example.com/cb?x&", &[("code", "a")], "code=a"),
            ("com.example.app:/cb", &[("code", "a")], "?code=a"),
            (
                "https://app.example.com",
                &[("iss", "https://as.example")],
                "?iss=https%3A%2F%2Fas.example",
            ),
        ];
        for (uri, params, added) in table {
            let sent = RedirectUri::registered(uri).unwrap().with_params(params);
            assert_eq!(sent, format!("{uri}{added}"));
        }
    }
}
