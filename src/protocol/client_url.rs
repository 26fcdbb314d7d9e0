//! The client identifier URL, draft-ietf-oauth-client-id-metadata-document-02 §3.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;
use url::Url;

/// A client identifier, byte for byte as the client wrote it. Two of them are equal only if their text is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientUrl {
    text: Arc<str>,
    host_end: usize,
    path_start: usize,
    port: u16,
}

const SCHEME: &str = "https://";
const MAX_BYTES: usize = 2048;
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

impl ClientUrl {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn host(&self) -> &str {
        &self.text[SCHEME.len()..self.host_end]
    }

    /// `https://host`, with the port where the identifier has one.
    pub fn origin(&self) -> &str {
        &self.text[..self.path_start]
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What goes into the request line, unchanged.
    pub fn path_and_query(&self) -> &str {
        &self.text[self.path_start..]
    }

    /// The host and the port where a URL leads, as the identifier of nothing but them.
    ///
    /// # Errors
    ///
    /// The rule of the grammar that no identifier there could keep: it is no `https` URL, its host is an address, browsers
    /// block its port.
    pub fn of_place(url: &Url) -> Result<Self, ClientUrlError> {
        if url.scheme() != "https" {
            return Err(ClientUrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ClientUrlError::Userinfo);
        }
        let host = url.host_str().unwrap_or_default();
        match url.port() {
            Some(port) => format!("{SCHEME}{host}:{port}/").parse(),
            None => format!("{SCHEME}{host}/").parse(),
        }
    }

    pub fn has_query(&self) -> bool {
        self.path_and_query().contains('?')
    }

    /// Does it stand below `prefix`, an origin with a path that ends in a slash? However a host reads the percent-encoding:
    /// the grammar has no encoded slash and no dot segment, so what begins below a prefix stays there.
    pub fn is_below(&self, prefix: &str) -> bool {
        self.text.starts_with(prefix)
    }

    /// The same for a host that decodes what it is asked for before it looks it up: `/%61/` and `/a/` are one folder to it.
    pub fn is_below_decoded(&self, prefix: &str) -> bool {
        let (text, prefix) = (fully_decoded(&self.text), fully_decoded(prefix));
        text.starts_with(&prefix)
    }
}

impl fmt::Display for ClientUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for ClientUrl {
    type Err = ClientUrlError;

    fn from_str(text: &str) -> Result<Self, ClientUrlError> {
        if text.len() > MAX_BYTES {
            return Err(ClientUrlError::Length);
        }
        let parts = Parts::of(text);
        match RULES.iter().find(|rule| rule.is_broken_by(&parts)) {
            Some(rule) => Err(*rule),
            None => Ok(Self {
                text: text.into(),
                host_end: SCHEME.len() + parts.host.len(),
                path_start: SCHEME.len() + parts.authority.len(),
                port: parts.port.and_then(|port| port.parse().ok()).unwrap_or(443),
            }),
        }
    }
}

/// A text, cut where a client identifier would be; whether it is one is for the rules to say.
struct Parts<'a> {
    text: &'a str,
    authority: &'a str,
    host: &'a str,
    port: Option<&'a str>,
    path_and_query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let rest = text.strip_prefix(SCHEME).unwrap_or_default();
        let (authority, path_and_query) =
            rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.split_once(':') {
            // The colons of an IPv6 address are not about ports.
            Some((host, port)) if !authority.starts_with('[') => (host, Some(port)),
            _ => (authority, None),
        };
        Self {
            text,
            authority,
            host,
            port,
            path_and_query,
        }
    }

    fn decoded(&self) -> Option<String> {
        String::from_utf8(percent_decode(self.path_and_query)?).ok()
    }

    fn path(&self) -> &'a str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }
}

/// Every rule of the grammar, in the order in which they are asked: the first that is broken refuses.
pub const RULES: &[ClientUrlError] = &[
    ClientUrlError::Length,
    ClientUrlError::Character,
    ClientUrlError::Scheme,
    ClientUrlError::Fragment,
    ClientUrlError::Userinfo,
    ClientUrlError::Host,
    ClientUrlError::Address,
    ClientUrlError::Port,
    ClientUrlError::DefaultPort,
    ClientUrlError::ForbiddenPort,
    ClientUrlError::NoPath,
    ClientUrlError::EmptyQuery,
    ClientUrlError::PercentEncoding,
    ClientUrlError::EncodedControl,
    ClientUrlError::EncodedSlash,
    ClientUrlError::DotSegment,
    ClientUrlError::NotCanonical,
];

impl ClientUrlError {
    fn is_broken_by(self, parts: &Parts<'_>) -> bool {
        let port = parts.port.and_then(|port| port.parse::<u16>().ok());
        match self {
            Self::Length => parts.text.len() > MAX_BYTES,
            Self::Character => !parts
                .text
                .bytes()
                .all(|b| matches!(b, 0x21..=0x7e) && b != b'\\'),
            Self::Scheme => !parts.text.starts_with(SCHEME),
            Self::Fragment => parts.text.contains('#'),
            Self::Userinfo => parts.authority.contains('@'),
            Self::Host => {
                !parts.host.starts_with('[')
                    && (parts.host.len() > MAX_HOST || !parts.host.split('.').all(is_label))
            }
            // RFC 1123 §2.1: a top-level label begins with a letter; without one this is some spelling of an IPv4 address.
            Self::Address => {
                let top = parts.host.rsplit('.').next().unwrap_or_default();
                parts.host.starts_with('[') || !top.starts_with(|c: char| c.is_ascii_lowercase())
            }
            Self::Port => parts.port.is_some_and(|text| {
                !text.bytes().all(|b| b.is_ascii_digit()) || text.starts_with('0') || port.is_none()
            }),
            Self::DefaultPort => port == Some(443),
            Self::ForbiddenPort => {
                port.is_some_and(|port| port < 1_024 || BAD_PORTS.contains(&port))
            }
            Self::NoPath => !parts.path_and_query.starts_with('/'),
            Self::EmptyQuery => parts
                .path_and_query
                .split_once('?')
                .is_some_and(|(_, query)| query.is_empty()),
            Self::PercentEncoding => parts.decoded().is_none(),
            Self::EncodedControl => parts
                .decoded()
                .is_some_and(|text| text.contains(char::is_control)),
            // Hosts and the proxies before them decode once, twice or not at all: what is a slash to one of them leaves the
            // folder that a rule is about.
            Self::EncodedSlash => {
                let slashes = |path: &[u8]| path.iter().filter(|b| b"/\\".contains(b)).count();
                slashes(&fully_decoded(parts.path())) != slashes(parts.path().as_bytes())
            }
            Self::DotSegment => fully_decoded(parts.path())
                .split(|b| *b == b'/')
                .any(is_dot_segment),
            // Defence in depth: whatever a URL library would repair is not an identifier.
            Self::NotCanonical => {
                !Url::parse(parts.text).is_ok_and(|url| url.as_str() == parts.text)
            }
        }
    }
}

/// The Fetch standard's "bad ports" above 1023: services that are not HTTP.
const BAD_PORTS: [u16; 19] = [
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669,
    6679, 6697, 10080,
];

/// RFC 1123 §2.1: letters, digits and hyphens; here lower-case letters only.
fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Also with parameters, which some servers take off before they look (`..;x`).
fn is_dot_segment(segment: &[u8]) -> bool {
    let name = segment.split(|b| *b == b';').next().unwrap_or_default();
    matches!(name, b"." | b"..")
}

/// A text whose percent-encoding is decoded until there is none left, also one that comes from decoding.
fn fully_decoded(text: &str) -> Vec<u8> {
    let mut decoded: Vec<u8> = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        decoded.push(byte);
        while let [.., b'%', high, low] = decoded[..] {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let (Some(high), Some(low)) = (digit(high), digit(low)) else {
                break;
            };
            decoded.truncate(decoded.len() - 3);
            decoded.extend(u8::try_from(high * 16 + low));
        }
    }
    decoded
}

/// The bytes behind the percent-encoding; `None` where it is malformed.
pub(super) fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        });
    }
    Some(decoded)
}

/// Is this a host name that means something only inside somebody's network, or nothing at all? Single labels, and the
/// special-use names of RFC 6761, 6762 (appendix G), 7686, 8375, 9476 with their habitual relatives.
pub fn is_special_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.rsplit_once('.') {
        None => true,
        Some((_, top)) => SPECIAL_TOP_LABELS
            .iter()
            .any(|special| top.eq_ignore_ascii_case(special)),
    }
}

const SPECIAL_TOP_LABELS: [&str; 20] = [
    "alt",
    "arpa",
    "corp",
    "domain",
    "example",
    "home",
    "host",
    "internal",
    "intra",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "mail",
    "onion",
    "private",
    "svc",
    "test",
];

/// Why a text is no client identifier. The sentences are for the client's developer and never repeat the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClientUrlError {
    #[error("client_id is longer than 2048 bytes")]
    Length,
    #[error(
        "client_id may contain only visible ASCII characters and no backslash; percent-encode everything else"
    )]
    Character,
    #[error("client_id must begin with https:// in lower case")]
    Scheme,
    #[error("client_id must not contain a fragment (#)")]
    Fragment,
    #[error("client_id must not contain a user name or password (@ before the path)")]
    Userinfo,
    #[error("the host of client_id must be a DNS name, not an IP address")]
    Address,
    #[error(
        "the host of client_id must be a DNS name in lower case: letters, digits and hyphens, \
         internationalised names as xn--, no empty label and no trailing dot"
    )]
    Host,
    #[error("the port of client_id must be a number from 1 to 65535 without leading zeros")]
    Port,
    #[error("client_id must not spell out :443, the default port of https")]
    DefaultPort,
    #[error("the port of client_id must be 443 or above 1023, and none that browsers block")]
    ForbiddenPort,
    #[error("client_id must have a path, at least the slash after the host")]
    NoPath,
    #[error("client_id must not end in an empty query (?)")]
    EmptyQuery,
    #[error("the path of client_id must not contain an encoded slash or backslash (%2f, %5c)")]
    EncodedSlash,
    #[error(
        "client_id must not contain . or .. as a path segment, not even percent-encoded or with parameters (..;)"
    )]
    DotSegment,
    #[error(
        "the percent-encoding in client_id must be two hexadecimal digits each and spell valid UTF-8"
    )]
    PercentEncoding,
    #[error("client_id must not contain percent-encoded control characters")]
    EncodedControl,
    #[error("client_id must be spelled the way URL libraries write it: they would change it")]
    NotCanonical,
}

impl ClientUrlError {
    /// A stable name for logs, metrics and `wayleave explain`.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Length => "client_id.length",
            Self::Character => "client_id.character",
            Self::Scheme => "client_id.scheme",
            Self::Fragment => "client_id.fragment",
            Self::Userinfo => "client_id.userinfo",
            Self::Address => "client_id.address",
            Self::Host => "client_id.host",
            Self::Port => "client_id.port",
            Self::DefaultPort => "client_id.default_port",
            Self::ForbiddenPort => "client_id.forbidden_port",
            Self::NoPath => "client_id.path",
            Self::EmptyQuery => "client_id.empty_query",
            Self::EncodedSlash => "client_id.encoded_slash",
            Self::DotSegment => "client_id.dot_segment",
            Self::PercentEncoding => "client_id.percent_encoding",
            Self::EncodedControl => "client_id.encoded_control",
            Self::NotCanonical => "client_id.canonical",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ClientUrlError as E;
    use super::*;

    fn accepted(table: &[(&str, &[&str])]) {
        for (id, inputs) in table {
            for input in *inputs {
                let parsed: Result<ClientUrl, E> = input.parse();
                assert_eq!(
                    parsed.as_ref().map(ClientUrl::as_str),
                    Ok(*input),
                    "{id}: {input}"
                );
            }
        }
    }

    fn refused(table: &[(&str, E, &[&str])]) {
        for (id, error, inputs) in table {
            for input in *inputs {
                assert_eq!(input.parse::<ClientUrl>(), Err(*error), "{id}: {input:?}");
            }
        }
    }

    #[test]
    fn an_identifier_that_follows_the_draft_is_accepted_byte_for_byte() {
        accepted(&[
            ("U-01", &["https://client.example.com/oauth/cimd.json"]),
            ("U-02", &["https://client.example.com/"]),
            (
                "U-05",
                &[
                    "https://client.example.com/c?v=1",
                    "https://client.example.com/c??",
                ],
            ),
            (
                "U-12",
                &[
                    "https://client.example.com:8443/c",
                    "https://client.example.com:1024/c",
                    "https://client.example.com:6379/c",
                    "https://client.example.com:11211/c",
                    "https://client.example.com:65535/c",
                ],
            ),
            (
                "U-16",
                &[
                    "https://client.example.com/...",
                    "https://client.example.com/.well-known/x",
                    "https://client.example.com/a.b/..c",
                    "https://client.example.com/c?x=/../y",
                    "https://client.example.com/c?x=%2f%5c..%252f",
                    "https://client.example.com/a;..;b/c",
                ],
            ),
            (
                "U-17",
                &[
                    "https://client.example.com//c",
                    "https://client.example.com/c//d",
                ],
            ),
            ("U-28", &["https://client.example.com/%C3%A9"]),
            (
                "U-29",
                &[
                    "https://client.example.com/%c3%a9",
                    "https://client.example.com/%41",
                    "https://client.example.com/A",
                ],
            ),
            ("U-31", &["https://xn--pple-43d.example.com/c"]),
            (
                "U-42",
                &[
                    "https://client.example.com/c;x=1",
                    "https://client.example.com/c,1",
                    "https://client.example.com/c'",
                    "https://client.example.com/c(1)",
                    "https://client.example.com/c*",
                    "https://client.example.com/c~",
                    "https://client.example.com/@me",
                    "https://client.example.com/a:b",
                ],
            ),
        ]);
    }

    #[test]
    fn y_07_the_place_of_an_address_is_judged_as_that_of_an_identifier() {
        let table = [
            (
                "https://cdn.example.com/a%2fb.png?w=64#x",
                Ok("https://cdn.example.com/"),
            ),
            (
                "https://CDN.example.com:443/logo.png",
                Ok("https://cdn.example.com/"),
            ),
            (
                "https://cdn.example.com:8443/logo.png",
                Ok("https://cdn.example.com:8443/"),
            ),
            ("https://cdn.example.com:22/logo.png", Err(E::ForbiddenPort)),
            ("https://cdn.example.com:80/logo.png", Err(E::ForbiddenPort)),
            (
                "https://cdn.example.com:6000/logo.png",
                Err(E::ForbiddenPort),
            ),
            ("https://10.0.0.1/logo.png", Err(E::Address)),
            ("https://0x7f.1/logo.png", Err(E::Address)),
            ("https://[::1]/logo.png", Err(E::Address)),
            ("https://cdn.example.com./logo.png", Err(E::Host)),
            (
                "https://ada:secret@cdn.example.com/logo.png",
                Err(E::Userinfo),
            ),
            ("http://cdn.example.com/logo.png", Err(E::Scheme)),
        ];
        for (text, expected) in table {
            let place = ClientUrl::of_place(&Url::parse(text).unwrap());
            let place = place.as_ref().map(ClientUrl::as_str);
            assert_eq!(place, expected.as_ref().copied(), "{text}");
        }
    }

    #[test]
    fn a_malformed_identifier_is_refused() {
        refused(&[
            ("U-03", E::NoPath, &["https://client.example.com"]),
            (
                "U-04",
                E::NoPath,
                &[
                    "https://client.example.com?x=1",
                    "https://client.example.com?",
                ],
            ),
            ("U-06", E::EmptyQuery, &["https://client.example.com/c?"]),
            (
                "U-07",
                E::Fragment,
                &[
                    "https://client.example.com/c#",
                    "https://client.example.com/c#f",
                    "https://client.example.com/c?#",
                    "https://client.example.com/c?x#f",
                    "https://client.example.com#/c",
                ],
            ),
            (
                "U-08",
                E::Scheme,
                &[
                    "http://client.example.com/c",
                    "ftp://client.example.com/c",
                    "file:///etc/passwd",
                    "javascript:alert(1)",
                    "data:,x",
                    "ws://client.example.com/c",
                    "gopher://client.example.com/c",
                    "HTTPS-x://client.example.com/c",
                ],
            ),
            (
                "U-09",
                E::Scheme,
                &[
                    "HTTPS://client.example.com/c",
                    "hTTps://client.example.com/c",
                ],
            ),
            (
                "U-10",
                E::Host,
                &[
                    "https://CLIENT.example.com/c",
                    "https://client.example.coM/c",
                ],
            ),
            (
                "U-11",
                E::DefaultPort,
                &["https://client.example.com:443/c"],
            ),
            (
                "U-11",
                E::Port,
                &[
                    "https://client.example.com:0443/c",
                    "https://client.example.com:/c",
                ],
            ),
            (
                "U-12",
                E::ForbiddenPort,
                &[
                    "https://client.example.com:22/c",
                    "https://client.example.com:25/c",
                    "https://client.example.com:1/c",
                    "https://client.example.com:80/c",
                    "https://client.example.com:1023/c",
                    "https://client.example.com:2049/c",
                    "https://client.example.com:6000/c",
                    "https://client.example.com:6667/c",
                    "https://client.example.com:10080/c",
                ],
            ),
            (
                "U-13",
                E::Port,
                &[
                    "https://client.example.com:0/c",
                    "https://client.example.com:65536/c",
                    "https://client.example.com:99999999999999999999/c",
                    "https://client.example.com:-1/c",
                    "https://client.example.com:+8443/c",
                    "https://client.example.com:443a/c",
                    "https://client.example.com:8443:1/c",
                    "https://client.example.com:08443/c",
                ],
            ),
            (
                "U-13",
                E::Character,
                &[
                    "https://client.example.com:4 43/c",
                    "https://client.example.com:０443/c",
                ],
            ),
        ]);
    }

    #[test]
    fn a_path_that_libraries_would_change_is_refused() {
        refused(&[
            (
                "U-14",
                E::DotSegment,
                &[
                    "https://client.example.com/./c",
                    "https://client.example.com/../c",
                    "https://client.example.com/a/../c",
                    "https://client.example.com/c/.",
                    "https://client.example.com/c/..",
                    "https://client.example.com/c/..?x",
                ],
            ),
            (
                "U-15",
                E::DotSegment,
                &[
                    "https://client.example.com/%2e/c",
                    "https://client.example.com/%2E/c",
                    "https://client.example.com/%2e%2e/c",
                    "https://client.example.com/.%2e/c",
                    "https://client.example.com/%2E./c",
                    "https://client.example.com/c/%2e%2E",
                ],
            ),
            (
                // Since November 2026 also those of U-16 that only become one when decoded twice.
                "Y-03",
                E::DotSegment,
                &[
                    "https://client.example.com/%252e%252e/c",
                    "https://client.example.com/%25252e/c",
                    "https://client.example.com/oauth/..;/uploads/x.json",
                    "https://client.example.com/oauth/.;a/x.json",
                    "https://client.example.com/oauth/%2e%2e%3b/x.json",
                ],
            ),
            (
                "Y-03",
                E::EncodedSlash,
                &[
                    "https://client.example.com/oauth/..%2fuploads%2fx.json",
                    "https://client.example.com/oauth/..%2Fx.json",
                    "https://client.example.com/oauth/..%5cuploads%5cx.json",
                    "https://client.example.com/oauth/..%252fx.json",
                    "https://client.example.com/a%25252fb",
                    "https://client.example.com/a%2f",
                ],
            ),
            (
                "U-25",
                E::EncodedControl,
                &[
                    "https://client.example.com/c%00",
                    "https://client.example.com/c%0d%0aX:1",
                    "https://client.example.com/c%0a",
                    "https://client.example.com/c%09",
                    "https://client.example.com/c%7f",
                    "https://client.example.com/c%1b[2J",
                    "https://client.example.com/c%C2%85",
                    "https://client.example.com/c?x=%00",
                ],
            ),
            (
                "U-26",
                E::PercentEncoding,
                &[
                    "https://client.example.com/c%zz",
                    "https://client.example.com/c%f",
                    "https://client.example.com/c%",
                    "https://client.example.com/c%ff",
                    "https://client.example.com/c%+1",
                    "https://client.example.com/c?%C3",
                    "https://client.example.com/%C3?%A9",
                    "https://client.example.com/c%ed%a0%80",
                ],
            ),
            (
                "U-27",
                E::Character,
                &[
                    "https://client.example.com/a b",
                    "https://client.example.com/a\u{7f}",
                ],
            ),
            (
                "U-27",
                E::NotCanonical,
                &[
                    "https://client.example.com/\"",
                    "https://client.example.com/<",
                    "https://client.example.com/>",
                    "https://client.example.com/`",
                    "https://client.example.com/{",
                    "https://client.example.com/}",
                    "https://client.example.com/c?<",
                ],
            ),
            (
                "U-28",
                E::Character,
                &[
                    "https://client.example.com/é",
                    "https://client.example.com/e\u{301}",
                ],
            ),
        ]);
    }

    #[test]
    fn an_authority_that_can_be_read_twice_is_refused() {
        refused(&[
            (
                "U-18",
                E::Userinfo,
                &[
                    "https://user@client.example.com/c",
                    "https://user:pw@client.example.com/c",
                    "https://@client.example.com/c",
                    "https://:@client.example.com/c",
                ],
            ),
            (
                "U-19",
                E::Userinfo,
                &["https://client.example.com@169.254.169.254/c"],
            ),
            (
                "U-20",
                E::Host,
                &["https://client.example.com%40evil.com/c"],
            ),
            (
                "U-20",
                E::Character,
                &["https://evil.com\u{2044}@client.example.com/c"],
            ),
            (
                "U-21",
                E::Character,
                &[
                    "https:\\\\client.example.com\\c",
                    "https://client.example.com\\c",
                    "https://client.example.com\\@127.0.0.1/c",
                    "https://127.0.0.1\\@client.example.com/c",
                ],
            ),
            (
                "U-22",
                E::Scheme,
                &[
                    "https:/client.example.com/c",
                    "https:client.example.com/c",
                    "//client.example.com/c",
                    "/c",
                    "c",
                    "",
                ],
            ),
            (
                "U-22",
                E::Host,
                &[
                    "https:///client.example.com/c",
                    "https:////client.example.com/c",
                    "https:///",
                    "https://",
                ],
            ),
            (
                "U-23",
                E::Character,
                &[
                    " https://client.example.com/c",
                    "https://client.example.com/c ",
                    "https://client.example.com/c\n",
                    "\thttps://client.example.com/c",
                    "https://client.exa\tmple.com/c",
                    "https://client.example.com/\r\nc",
                    "https://client.example.com/c\u{b}",
                    "https://client.example.com/c\u{a0}",
                    "\u{feff}https://client.example.com/c",
                    "https://client.example\u{200b}.com/c",
                ],
            ),
            (
                "U-24",
                E::Character,
                &[
                    "https://client\0.example.com/c",
                    "https://client.example.com/c\0",
                ],
            ),
        ]);
    }

    #[test]
    fn a_host_that_is_no_plain_dns_name_is_refused() {
        let label = format!("https://{}.example.com/c", "a".repeat(64));
        let name = format!("https://{}com/c", "abcdefg.".repeat(31) + "abc.");
        assert_eq!(name.len(), SCHEME.len() + 255 + 2);
        refused(&[
            (
                "U-30",
                E::Character,
                &[
                    "https://\u{430}pple.example/c",
                    "https://faß.example/c",
                    "https://a\u{3002}example/c",
                    "https://a\u{ff0e}example/c",
                    "https://ⓐ.example/c",
                ],
            ),
            (
                "U-32",
                E::Host,
                &["https://xn--/c", "https://xn--example-.org/c"],
            ),
            (
                "U-32",
                E::NotCanonical,
                &["https://xn--a/c", "https://xn--a.example.com/c"],
            ),
            (
                "U-33",
                E::Host,
                &[
                    "https://client.example.com./c",
                    "https://client.example.com../c",
                    "https://.client.example.com/c",
                    "https://a..b/c",
                    "https://localhost./c",
                ],
            ),
            (
                "U-34",
                E::Host,
                &[
                    "https://a_b.example.com/c",
                    "https://-a.example.com/c",
                    "https://a-.example.com/c",
                    &label,
                    &name,
                ],
            ),
            (
                "U-37",
                E::Character,
                &["https://loc\u{ad}alhost/c", "https://ⓛocalhost/c"],
            ),
            (
                "U-37",
                E::Host,
                &["https://a%2eexample.com/c", "https://a%00.com/c"],
            ),
            (
                "U-38",
                E::Character,
                &[
                    "https://a\u{202e}b.example.com/c",
                    "https://a\u{200d}b.example.com/c",
                    "https://client.example.com/\u{202e}c",
                ],
            ),
        ]);
    }

    #[test]
    fn no_spelling_of_an_ip_address_is_a_host() {
        let table: &[(&str, &[&str])] = &[
            ("L-01", &["127.0.0.1", "169.254.169.254", "10.0.0.1"]),
            ("L-02", &["2130706433", "2852039166"]),
            (
                "L-03",
                &[
                    "0x7f000001",
                    "0xa9fea9fe",
                    "0xA9.0xFE.0xA9.0xFE",
                    "0xa9.0xfe.0xa9.0xfe",
                ],
            ),
            (
                "L-04",
                &[
                    "0177.0.0.1",
                    "017700000001",
                    "025177524776",
                    "0251.0376.0251.0376",
                ],
            ),
            ("L-05", &["127.1", "127.0.1", "169.254.43518", "0", "0.0"]),
            (
                "L-06",
                &["0x7f.1", "0x7f.0.0.0x1", "127.0.0.01", "0x.0x.0x.0x"],
            ),
            ("L-07", &["127.0.0.1.", "169.254.169.254."]),
            (
                "L-08",
                &[
                    "①②⑦.⓪.⓪.①",
                    "１２７.０.０.１",
                    "127。0。0。1",
                    "¹²⁷.0.0.1",
                    "𝟏𝟐𝟕.0.0.1",
                ],
            ),
            ("L-09", &["%31%32%37.0.0.1", "127%2e0.0.1", "%30"]),
            ("L-10", &["256.1.1.1", "1.2.3.4.5", "127.0.0.1x"]),
            ("L-11", &["[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[0000::1]"]),
            (
                "L-12",
                &[
                    "[::ffff:127.0.0.1]",
                    "[::ffff:7f00:1]",
                    "[0:0:0:0:0:ffff:a9fe:a9fe]",
                    "[::FFFF:A9FE:A9FE]",
                ],
            ),
            ("L-13", &["[::127.0.0.1]", "[::a9fe:a9fe]"]),
            ("L-14", &["[::ffff:0:127.0.0.1]"]),
            (
                "L-15",
                &[
                    "[64:ff9b::7f00:1]",
                    "[64:ff9b::a9fe:a9fe]",
                    "[64:ff9b:1::7f00:1]",
                ],
            ),
            (
                "L-16",
                &["[2002:7f00:1::]", "[2002:a9fe:a9fe::]", "[2002:c0a8:1::1]"],
            ),
            ("L-17", &["[2001:0:4136:e378:8000:63bf:80ff:fffe]"]),
            (
                "L-18",
                &[
                    "[2a00::5efe:a9fe:a9fe]",
                    "[2a00::200:5efe:a9fe:a9fe]",
                    "[fe80::5efe:7f00:1]",
                ],
            ),
            (
                "L-19",
                &["[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1%25lo]"],
            ),
            (
                "L-20",
                &[
                    "[fec0::1]",
                    "[fd00:ec2::254]",
                    "[ff02::1]",
                    "[100::1]",
                    "[2001:db8::1]",
                ],
            ),
            (
                "L-21",
                &["[v1.fe]", "[127.0.0.1]", "[::1].", "[::1]x", "[::1", "::1"],
            ),
            (
                "L-22",
                &[
                    "168.63.129.16",
                    "100.100.100.200",
                    "192.0.0.192",
                    "169.254.170.2",
                ],
            ),
            ("L-23", &["1.1.1.1", "[2606:4700:4700::1111]"]),
        ];
        for (id, hosts) in table {
            for host in *hosts {
                for port in ["", ":8443"] {
                    let input = format!("https://{host}{port}/c");
                    assert!(input.parse::<ClientUrl>().is_err(), "{id}: {input}");
                }
            }
        }
        assert_eq!("https://127.0.0.1/c".parse::<ClientUrl>(), Err(E::Address));
        assert_eq!("https://[::1]/c".parse::<ClientUrl>(), Err(E::Address));
    }

    #[test]
    fn a_special_name_is_recognised() {
        let table: &[(&str, &[&str])] = &[
            (
                "U-35",
                &[
                    "localhost",
                    "localhost.",
                    "foo.localhost",
                    "metadata",
                    "kubernetes",
                ],
            ),
            (
                "U-36",
                &[
                    "a.local",
                    "a.test",
                    "a.invalid",
                    "a.example",
                    "a.onion",
                    "a.internal",
                    "a.home.arpa",
                    "1.168.192.in-addr.arpa",
                    "a.alt",
                    "a.lan",
                    "a.corp",
                    "a.home",
                    "a.intranet",
                    "a.svc",
                    "a.svc.cluster.local",
                    "metadata.google.internal",
                    "kubernetes.default.svc",
                    "A.LOCAL",
                    "a.b.Internal.",
                ],
            ),
        ];
        for (id, hosts) in table {
            for host in *hosts {
                assert!(is_special_name(host), "{id}: {host}");
            }
        }
        for host in [
            "client.example.com",
            "local.example.com",
            "notlocal.dev",
            "test.org",
        ] {
            assert!(!is_special_name(host), "{host}");
        }
    }

    #[test]
    fn two_thousand_and_forty_eight_bytes_are_the_limit() {
        let base = "https://client.example.com/";
        let text = |length: usize| format!("{base}{}", "a".repeat(length - base.len()));
        accepted(&[("U-39", &[&text(2048)])]);
        refused(&[(
            "U-39",
            E::Length,
            &[&text(2049), &text(64 << 10), &text(1 << 20)],
        )]);
    }

    #[test]
    fn the_parts_are_slices_of_the_text() {
        let id: ClientUrl = "https://client.example.com:8443/a/b?x=1".parse().unwrap();
        assert_eq!(id.host(), "client.example.com");
        assert_eq!(id.origin(), "https://client.example.com:8443");
        assert_eq!(id.port(), 8443);
        assert_eq!(id.path_and_query(), "/a/b?x=1");
        assert!(id.has_query());
        assert_eq!(id.to_string(), id.as_str());

        let id: ClientUrl = "https://client.example.com/".parse().unwrap();
        assert_eq!(
            (id.origin(), id.port()),
            ("https://client.example.com", 443)
        );
        assert_eq!((id.path_and_query(), id.has_query()), ("/", false));
    }

    #[test]
    fn spellings_of_one_resource_are_different_clients() {
        let parse = |path: &str| {
            format!("https://client.example.com{path}")
                .parse::<ClientUrl>()
                .unwrap()
        };
        let spellings = [
            "/%c3%a9", "/%C3%A9", "/%41", "/A", "/a", "/a/", "//a", "/a?b",
        ];
        for (i, one) in spellings.iter().enumerate() {
            for (j, other) in spellings.iter().enumerate() {
                assert_eq!(parse(one) == parse(other), i == j, "U-29: {one} {other}");
            }
        }
    }
}
