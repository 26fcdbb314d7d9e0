//! The sections of the configuration, each with its defaults. Times are seconds, sizes bytes.

use std::{fmt, net::SocketAddr, num::NonZeroU32, path::PathBuf, str::FromStr};

use super::passwords;
use crate::{
    policy::{
        client_document::{Member, PrivateUseSchemes},
        client_rules::{Pattern, Rule, Tier},
        registration::Registered,
    },
    protocol::{client_url::ClientUrl, webfinger::Domain},
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize, de::Error as _};

/// (De)serialises a value by its text.
pub(super) mod text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?
            .parse()
            .map_err(|e| D::Error::custom(format!("expected {e}")))
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty = $default:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty,)+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }
    };
}

section! {
    /// `[server]`: where it listens, and for how long it listens to one peer.
    Server {
        /// Socket address.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// TLS in process.
        #[serde(skip_serializing_if = "Option::is_none")]
        tls: Option<Tls> = None,
        /// Proxies whose `X-Forwarded-For` is believed, as networks.
        trusted_proxies: Vec<IpNet> = Vec::new(),
        /// Connections at a time.
        max_connections: NonZeroU32 = at_least_one(10_000),
        /// Connections at a time from one address (IPv6: /64) that is no trusted proxy.
        max_connections_per_address: NonZeroU32 = at_least_one(100),
        /// Requests of programs that are worked on at a time: for browsers eight times, for programs that begin a sign-in half
        /// as many. Four times as many may wait, for half a second.
        max_requests: NonZeroU32 = at_least_one(256),
        /// Longest time for the head of a request, and for TLS to begin.
        header_timeout: NonZeroU32 = at_least_one(10),
        /// Longest time for its body.
        body_timeout: NonZeroU32 = at_least_one(10),
        /// Longest time from its head to its answer.
        request_timeout: NonZeroU32 = at_least_one(30),
        /// Longest time between an answer and the next request.
        idle_timeout: NonZeroU32 = at_least_one(30),
        /// Longest time in which a peer takes nothing of what it is sent.
        write_timeout: NonZeroU32 = at_least_one(30),
        /// How long connections are still accepted after the server was told to stop; not at all on a loopback issuer.
        lame_duck: u32 = 5,
        /// Does `Strict-Transport-Security` bind the hosts below the issuer's, too?
        hsts_include_subdomains: bool = false,
    }
}

/// `[server.tls]`: certificate chain and key, PEM.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

section! {
    /// `[database]`: where state lives.
    Database {
        /// `sqlite:PATH` or `postgres://…`.
        #[serde(with = "text")]
        url: DatabaseUrl = DatabaseUrl::Sqlite(PathBuf::from("wayleave-data/wayleave.db")),
        /// Most connections to PostgreSQL.
        max_connections: NonZeroU32 = at_least_one(10),
    }
}

/// Which database, and where. Its `Debug` and `Display` show no password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    Sqlite(PathBuf),
    Postgres(String),
}

impl FromStr for DatabaseUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE";
        if let Some(path) = text.strip_prefix("sqlite:") {
            // sqlite:a, sqlite:/a and sqlite:///a: the path after any authority, which is always empty.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.contains('?') || path == ":memory:" {
                return Err("sqlite:PATH, the path of a file");
            }
            Ok(Self::Sqlite(PathBuf::from(path)))
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            url::Url::parse(text).map_err(|_| EXPECTED)?;
            Ok(Self::Postgres(text.to_owned()))
        } else {
            Err(EXPECTED)
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(text) => {
                let Ok(url) = url::Url::parse(text) else {
                    return f.write_str("postgres://…");
                };
                f.write_str(&passwords::masked(url))
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

section! {
    /// `[fetch]`: limits on what is downloaded from strangers.
    Fetch {
        /// PEM file with additional roots for outbound TLS.
        #[serde(skip_serializing_if = "Option::is_none")]
        extra_ca_file: Option<PathBuf> = None,
        /// Longest time for one document in all.
        timeout: NonZeroU32 = at_least_one(5),
        /// Longest time for resolving its host.
        dns_timeout: NonZeroU32 = at_least_one(2),
        /// Longest time for connecting, TLS included.
        connect_timeout: NonZeroU32 = at_least_one(2),
        /// Largest document.
        max_bytes: NonZeroU32 = at_least_one(10_240),
        /// Fetches under way at once.
        max_in_flight: NonZeroU32 = at_least_one(32),
        /// Fetches under way at once to one host.
        max_in_flight_per_host: NonZeroU32 = at_least_one(2),
        /// Largest key set.
        max_key_set_bytes: NonZeroU32 = at_least_one(65_536),
        /// Largest logo.
        max_logo_bytes: NonZeroU32 = at_least_one(524_288),
        /// Name servers, as address and port; empty: the system's.
        nameservers: Vec<SocketAddr> = Vec::new(),
        /// Networks that may be dialled although they are not public.
        allow_networks: Vec<IpNet> = Vec::new(),
        /// Networks that are never dialled; wins over `allow_networks`.
        deny_networks: Vec<IpNet> = Vec::new(),
        /// Networks behind NAT64 have only such addresses: may `64:ff9b::/96` be dialled where the IPv4 address in it is public?
        allow_nat64: bool = false,
    }
}

section! {
    /// `[clients]`: how clients' documents are read and kept.
    Clients {
        /// How long a document counts as fresh.
        fresh: Fresh = Fresh { least: 60, absent: 600, most: 86_400 },
        /// How long after that the last good copy serves new authorizations while its host is down.
        stale_authorization: u32 = 3_600,
        /// How long after that it serves those who have grants.
        stale_refresh: u32 = 86_400,
        /// How long a key set counts as fresh.
        keys_fresh: Fresh = Fresh { least: 30, absent: 300, most: 3_600 },
        /// How long a host is left alone after it was asked for a key set.
        keys_cooldown: u32 = 30,
        /// May a client_id have a query?
        allow_query: bool = true,
        /// The only ports a client_id may have; empty: 443 and the harmless ones from 1024.
        allowed_ports: Vec<u16> = Vec::new(),
        /// Documents kept in memory.
        cache_entries: NonZeroU32 = at_least_one(4_096),
        /// Clients that are known without a document.
        registered: Vec<Registered> = Vec::new(),
    }
}

/// Bounds of a lifetime that a stranger's header proposes.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub struct Fresh {
    pub least: u32,
    /// When the header says nothing.
    pub absent: u32,
    pub most: u32,
}

impl<'de> Deserialize<'de> for Fresh {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            least: u32,
            absent: u32,
            most: u32,
        }
        let Raw {
            least,
            absent,
            most,
        } = Raw::deserialize(deserializer)?;
        if least > most || !(least..=most).contains(&absent) {
            return Err(D::Error::custom("expected least <= absent <= most"));
        }
        Ok(Self {
            least,
            absent,
            most,
        })
    }
}

section! {
    /// `[tokens]`: how long what we issue lives.
    Tokens {
        /// An authorization code.
        code: NonZeroU32 = at_least_one(60),
        /// An access token.
        access: NonZeroU32 = at_least_one(600),
        /// A refresh token that is not used.
        refresh_idle: NonZeroU32 = at_least_one(14 * 86_400),
        /// A family of refresh tokens, however much it is used.
        refresh_absolute: NonZeroU32 = at_least_one(90 * 86_400),
        /// How long a used refresh token still gives the same successor.
        refresh_grace: u32 = 30,
        /// A refresh token of a client that authenticates, while it is not used.
        confidential_refresh_idle: NonZeroU32 = at_least_one(90 * 86_400),
        /// The same, however much it is used.
        confidential_refresh_absolute: NonZeroU32 = at_least_one(365 * 86_400),
        /// A request that was pushed.
        pushed_request: NonZeroU32 = at_least_one(300),
        /// A device that waits for its person.
        device_code: NonZeroU32 = at_least_one(600),
        /// Seconds between two questions of such a device.
        device_interval: NonZeroU32 = at_least_one(5),
        /// Do ID tokens carry the claims of their scopes, as `/userinfo` does?
        id_token_claims: bool = true,
        /// Must every DPoP proof carry a nonce of ours?
        dpop_nonce_required: bool = true,
    }
}

section! {
    /// `[metrics]`: what monitoring is told.
    Metrics {
        /// Where `/metrics` is served, as Prometheus reads it; nowhere unless set.
        listen: Option<SocketAddr> = None,
    }
}

section! {
    /// `[traces]`: what a collector is told of each request, by OTLP over HTTP.
    Traces {
        /// The collector's URL, such as `http://127.0.0.1:4318/v1/traces`; nobody is told unless set.
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoint: Option<CollectorUrl> = None,
        /// Of so many in a thousand requests.
        per_thousand: u32 = 1_000,
        /// Go on with the trace that a request's `traceparent` names, and sample as it says. Only behind a proxy that sets it:
        /// otherwise strangers decide.
        follow: bool = false,
    }
}

/// An http or https URL of a collector.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(try_from = "String")]
pub struct CollectorUrl(String);

impl CollectorUrl {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CollectorUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match url::Url::parse(&text) {
            // It is shown and logged.
            Ok(url) if !url.username().is_empty() || passwords::is_in(&url) => Err(
                "expected a URL without user and password, such as http://127.0.0.1:4318/v1/traces",
            ),
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Self(text)),
            _ => Err("expected an http or https URL, such as http://127.0.0.1:4318/v1/traces"),
        }
    }
}

section! {
    /// `[login]`: people's sessions.
    Login {
        /// A session that is not used.
        session_idle: NonZeroU32 = at_least_one(12 * 3_600),
        /// A session, however much it is used.
        session_absolute: NonZeroU32 = at_least_one(7 * 86_400),
        /// The time a person has for one page.
        interaction: NonZeroU32 = at_least_one(900),
        /// The set-up link.
        setup: NonZeroU32 = at_least_one(3_600),
    }
}

section! {
    /// `[policy]`: what is asked, and how often.
    Policy {
        /// How long a consent is remembered.
        consent: u32 = 90 * 86_400,
        /// Are authorization requests taken only when they were pushed (RFC 9126 §5)?
        require_pushed_authorization_requests: bool = false,
        /// The tier of clients that no rule is about: `blocked` makes the rules an allow-list.
        unlisted: Tier = Tier::Unknown,
        /// May devices be signed in by people who look at another screen (RFC 8628)?
        devices: bool = true,
        /// Which private-use schemes redirect URIs in documents may have (RFC 8252 §7.1).
        private_use_schemes: PrivateUseSchemes = PrivateUseSchemes::Bound,
        /// Members of documents that must be on the origin of the `client_id`.
        same_origin: Vec<Member> = Vec::new(),
        /// Members of documents that must be on its registrable domain.
        same_site: Vec<Member> = Vec::new(),
        /// What an access token is for whose request names no resource, and whose scopes do not say it either.
        #[serde(skip_serializing_if = "Option::is_none")]
        default_resource: Option<String> = None,
        /// Rules about clients.
        clients: Vec<Rule> = Vec::new(),
        /// What the rules must make of some clients: `wayleave config check` proves it.
        examples: Vec<Example> = Vec::new(),
    }
}

/// `[[policy.examples]]`: a client, and what the rules must make of it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Example {
    #[serde(with = "text")]
    pub client_id: ClientUrl,
    pub tier: Tier,
    /// The rule that must decide, by its `match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Pattern>,
}

section! {
    /// `[webfinger]`: whose people sign in here, for clients that begin with an address.
    WebFinger {
        /// Domains that `/.well-known/webfinger` answers for; empty: there is no such page.
        domains: Vec<Domain> = Vec::new(),
    }
}

section! {
    /// `[development]`: documents for clients on developers' own machines.
    Development {
        /// May people who are signed in have them made?
        clients: bool = false,
        /// How long such a document lives.
        lifetime: NonZeroU32 = at_least_one(8 * 3_600),
        /// How many one person may have at a time.
        per_person: NonZeroU32 = at_least_one(5),
    }
}

section! {
    /// `[keys]`: our signing keys.
    Keys {
        /// 32 bytes, base64: signing keys and secrets are encrypted with it in the database.
        #[serde(skip_serializing_if = "Option::is_none")]
        encryption_key: Option<Sensitive> = None,
        /// A file with such a key.
        #[serde(skip_serializing_if = "Option::is_none")]
        encryption_key_file: Option<PathBuf> = None,
        /// The one before it: what is encrypted with it is encrypted anew when the server starts.
        #[serde(skip_serializing_if = "Option::is_none")]
        old_encryption_key: Option<Sensitive> = None,
        /// A file with that one.
        #[serde(skip_serializing_if = "Option::is_none")]
        old_encryption_key_file: Option<PathBuf> = None,
        /// How long a key signs before another one does. The next one is published a day earlier.
        rotate_after: RotateAfter = RotateAfter(90 * 86_400),
    }
}

/// Seconds, two days or more: a key waits for a day before it signs.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(try_from = "u32")]
pub struct RotateAfter(u32);

impl RotateAfter {
    /// Seconds.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for RotateAfter {
    type Error = &'static str;

    fn try_from(seconds: u32) -> Result<Self, Self::Error> {
        match seconds {
            172_800.. => Ok(Self(seconds)),
            _ => Err("expected 172800 seconds (two days) or more"),
        }
    }
}

/// A secret of the administrator's: shown nowhere.
#[derive(Clone, Deserialize, PartialEq)]
#[serde(transparent)]
pub struct Sensitive(String);

impl Sensitive {
    /// The clear text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Serialize for Sensitive {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("…")
    }
}

section! {
    /// `[limits]`.
    Limits {
        /// Multiplies every rate limit and budget.
        scale: NonZeroU32 = at_least_one(1),
    }
}

section! {
    /// `[log]`.
    Log {
        /// `auto`: text on a terminal, JSON elsewhere.
        format: LogFormat = LogFormat::Auto,
        /// Which events, in `tracing`'s filter syntax.
        filter: String = "info".to_owned(),
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

section! {
    /// `[danger]`: what weakens security.
    Danger {
        /// Development only: clients on this machine.
        allow_loopback_clients: bool = false,
    }
}

const fn at_least_one(value: u32) -> NonZeroU32 {
    match NonZeroU32::new(value) {
        Some(value) => value,
        None => NonZeroU32::MIN,
    }
}
