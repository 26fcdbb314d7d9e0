//! The sections of the configuration, each with its defaults. Times are seconds, sizes bytes.

use std::{fmt, net::SocketAddr, num::NonZeroU32, path::PathBuf, str::FromStr};

use super::passwords;
use crate::{
    policy::{
        client_document::{Member, PrivateUseSchemes},
        client_pattern::Pattern,
        client_rules::{Rule, Tier},
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
    /// `[server]`: where the server listens, and what one peer may use.
    Server {
        /// The address and port to listen on. Behind a proxy on the same machine a loopback address, in a container
        /// `0.0.0.0:8080`.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// Ends TLS in this process, without a proxy: needs `cert_file` and `key_file`.
        #[serde(skip_serializing_if = "Option::is_none")]
        tls: Option<Tls> = None,
        /// Networks of your reverse proxies. The server takes the client's address from `X-Forwarded-For` only if a
        /// connection comes from one of them. Rate limits count by that address.
        trusted_proxies: Vec<IpNet> = Vec::new(),
        /// The most connections at a time.
        max_connections: NonZeroU32 = at_least_one(10_000),
        /// The most connections at a time from one address. Of IPv6 a /64 counts as one address, a /56 has four times and a
        /// /48 sixteen times as many. Trusted proxies have no such limit.
        max_connections_per_address: NonZeroU32 = at_least_one(100),
        /// The most requests of programs that are worked on at a time. Browsers have eight times as many places of their
        /// own, programs that begin a sign-in half as many. Others wait for half a second, then get 503 with `Retry-After`.
        /// One address (IPv6: a /64) has a quarter at most, a /56 or /48 half.
        max_requests: NonZeroU32 = at_least_one(256),
        /// The longest time for the head of a request, and for a TLS handshake, in seconds.
        header_timeout: NonZeroU32 = at_least_one(10),
        /// The longest time for the body of a request, in seconds.
        body_timeout: NonZeroU32 = at_least_one(10),
        /// The longest time from the head of a request to its answer, in seconds.
        request_timeout: NonZeroU32 = at_least_one(30),
        /// The longest time between an answer and the next request on the same connection, in seconds.
        idle_timeout: NonZeroU32 = at_least_one(30),
        /// The longest time for which a peer may accept nothing of an answer, in seconds. Then the connection is closed.
        write_timeout: NonZeroU32 = at_least_one(30),
        /// How long the server still accepts connections after it was told to stop, in seconds. Meanwhile `/readyz` answers
        /// 503, so that a proxy sends its requests elsewhere. With an issuer on a loopback host the server stops at once.
        lame_duck: u32 = 5,
        /// Adds `includeSubDomains` to `Strict-Transport-Security`, which is sent for a year where the issuer is https. Set
        /// it only if every host below the issuer's has https, for ever.
        hsts_include_subdomains: bool = false,
    }
}

/// `[server.tls]`: TLS in this process. The server reads renewed files by itself. The issuer must be an `https` URL.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate with its chain, a PEM file.
    pub cert_file: PathBuf,
    /// Its private key, a PEM file.
    pub key_file: PathBuf,
}

section! {
    /// `[database]`: where the server keeps its data.
    Database {
        /// `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST/DATABASE` with parameters such as `?sslmode=verify-full`. It is
        /// a secret if it has a password: name a file by `WAYLEAVE_DATABASE__URL_FILE` instead.
        #[serde(with = "text")]
        url: DatabaseUrl = DatabaseUrl::Sqlite(PathBuf::from("wayleave-data/wayleave.db")),
        /// The most connections of this server to PostgreSQL. SQLite does not use it.
        max_connections: NonZeroU32 = at_least_one(10),
    }
}

/// Which database, and where. Its `Debug` and `Display` show no password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    Sqlite(PathBuf),
    Postgres(String),
}

/// PostgreSQL's own names, libpq §34.1.2.
const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

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
            let url = url::Url::parse(text).map_err(|_| EXPECTED)?;
            let mut modes = url.query_pairs().filter(|(name, _)| name == "sslmode");
            match modes.all(|(_, mode)| SSL_MODES.contains(&&*mode)) {
                true => Ok(Self::Postgres(text.to_owned())),
                false => {
                    Err("an sslmode of disable, allow, prefer, require, verify-ca or verify-full")
                }
            }
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
    /// `[fetch]`: limits on what the server downloads from clients' hosts (the guard against SSRF).
    Fetch {
        /// A PEM file with certificate authorities that are trusted besides the system's.
        #[serde(skip_serializing_if = "Option::is_none")]
        extra_ca_file: Option<PathBuf> = None,
        /// The longest time for one document in all, in seconds.
        timeout: NonZeroU32 = at_least_one(5),
        /// The longest time to resolve its host, in seconds.
        dns_timeout: NonZeroU32 = at_least_one(2),
        /// The longest time for TCP and TLS together, in seconds.
        connect_timeout: NonZeroU32 = at_least_one(2),
        /// The largest document, in bytes.
        max_bytes: NonZeroU32 = at_least_one(10_240),
        /// The most downloads at a time. Callers who are not signed in have half of them.
        max_in_flight: NonZeroU32 = at_least_one(32),
        /// The most downloads at a time from one host.
        max_in_flight_per_host: NonZeroU32 = at_least_one(2),
        /// The largest key set (`jwks_uri`), in bytes.
        max_key_set_bytes: NonZeroU32 = at_least_one(65_536),
        /// The largest logo, in bytes.
        max_logo_bytes: NonZeroU32 = at_least_one(524_288),
        /// Name servers such as `["9.9.9.9:53"]`. Empty: those of the system, and its hosts file.
        nameservers: Vec<SocketAddr> = Vec::new(),
        /// Networks that the server may connect to although they are not public, such as `["10.1.0.0/16"]`.
        allow_networks: Vec<IpNet> = Vec::new(),
        /// Networks that the server never connects to. Wins over `allow_networks`.
        deny_networks: Vec<IpNet> = Vec::new(),
        /// Behind NAT64 only: allows addresses in `64:ff9b::/96` if the IPv4 address inside is public.
        allow_nat64: bool = false,
    }
}

section! {
    /// `[clients]`: how clients' documents are read and cached.
    Clients {
        /// How long a document is fresh. Its HTTP headers decide, between `least` and `most` seconds; `absent` applies
        /// where they say nothing.
        fresh: Fresh = Fresh { least: 60, absent: 600, most: 86_400 },
        /// While a document cannot be read: how long after it was fresh the last good copy still serves new sign-ins, in
        /// seconds.
        stale_authorization: u32 = 3_600,
        /// While a document cannot be read: how long after it was fresh the last good copy still serves refresh tokens, in
        /// seconds.
        stale_refresh: u32 = 86_400,
        /// How long a key set (`jwks_uri`) is fresh, by the same rule as `fresh`.
        keys_fresh: Fresh = Fresh { least: 30, absent: 300, most: 3_600 },
        /// An assertion with an unknown key makes the server read the keys again. This is the shortest time between two
        /// such reads, in seconds.
        keys_cooldown: u32 = 30,
        /// Allows a query in a `client_id`.
        allow_query: bool = true,
        /// The only ports that a `client_id` may have. Empty: 443, and ports from 1024 that browsers do not block.
        allowed_ports: Vec<u16> = Vec::new(),
        /// The most documents in the memory cache.
        cache_entries: NonZeroU32 = at_least_one(4_096),
        /// Clients that are known without a document, one `[[clients.registered]]` for each. `wayleave client add` keeps
        /// them in the database instead.
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
    /// `[tokens]`: how long codes and tokens live.
    Tokens {
        /// Lifetime of an authorization code, in seconds.
        code: NonZeroU32 = at_least_one(60),
        /// Lifetime of an access token, in seconds. A resource server that checks tokens by itself accepts a revoked one
        /// until then.
        access: NonZeroU32 = at_least_one(600),
        /// How long a refresh token of a public client works without use, in seconds. Each use makes a new one.
        refresh_idle: NonZeroU32 = at_least_one(14 * 86_400),
        /// How long such a grant lives in all, in seconds. Then the person has to sign in again.
        refresh_absolute: NonZeroU32 = at_least_one(90 * 86_400),
        /// How long a used refresh token still gives the same successor, in seconds. A client that lost the answer may ask
        /// again.
        refresh_grace: u32 = 30,
        /// How long a refresh token of a client that authenticates works without use, in seconds. Such tokens are not
        /// rotated.
        confidential_refresh_idle: NonZeroU32 = at_least_one(90 * 86_400),
        /// How long such a grant lives in all, in seconds.
        confidential_refresh_absolute: NonZeroU32 = at_least_one(365 * 86_400),
        /// Lifetime of a pushed authorization request (`request_uri`, PAR), in seconds.
        pushed_request: NonZeroU32 = at_least_one(300),
        /// How long a device waits for its person, in seconds.
        device_code: NonZeroU32 = at_least_one(600),
        /// The shortest time between two requests of such a device, in seconds.
        device_interval: NonZeroU32 = at_least_one(5),
        /// Puts the claims of the granted scopes into ID tokens, as `/userinfo` has them. `false`: only `/userinfo` has
        /// them.
        id_token_claims: bool = true,
        /// Requires a nonce of this server in every DPoP proof.
        dpop_nonce_required: bool = true,
    }
}

section! {
    /// `[metrics]`: numbers for Prometheus.
    Metrics {
        /// The address and port of a listener of its own for `/metrics`. Not set: there is none. Only your monitoring
        /// should reach it.
        listen: Option<SocketAddr> = None,
    }
}

section! {
    /// `[traces]`: spans of requests for a collector, by OTLP over HTTP (protobuf). They have routes, results and
    /// durations, no client addresses and no secrets.
    Traces {
        /// The collector's URL, such as `http://127.0.0.1:4318/v1/traces`. Not set: nothing is sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoint: Option<CollectorUrl> = None,
        /// How many of a thousand requests are traced.
        per_thousand: u32 = 1_000,
        /// Continues the trace that the header `traceparent` names, and samples as it says. Set it only behind a proxy that
        /// sets the header: otherwise strangers decide.
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
        /// How long a session lives without use, in seconds.
        session_idle: NonZeroU32 = at_least_one(12 * 3_600),
        /// How long a session lives in all, in seconds.
        session_absolute: NonZeroU32 = at_least_one(7 * 86_400),
        /// How long a person may take for one page, in seconds.
        interaction: NonZeroU32 = at_least_one(900),
        /// Lifetime of the link that makes the first account, in seconds. A server without accounts prints one when it
        /// starts.
        setup: NonZeroU32 = at_least_one(3_600),
    }
}

section! {
    /// `[policy]`: which clients may do what, and how often people are asked.
    Policy {
        /// How long the server remembers a consent, in seconds. `0`: people are asked every time.
        consent: u32 = 90 * 86_400,
        /// Accepts authorization requests only by way of `/par` (RFC 9126).
        require_pushed_authorization_requests: bool = false,
        /// The tier of clients that no rule matches: any but `first_party`. `blocked` makes your rules an allow-list.
        unlisted: Tier = Tier::Unknown,
        /// Allows the device grant (RFC 8628): people sign in a device while they look at another screen.
        devices: bool = true,
        /// Which private-use URI schemes a document's redirect URIs may have (RFC 8252). `bound`: its own domain in reverse
        /// order, such as `com.example.app:/` for `https://app.example.com/`. `any`: all but those that browsers and
        /// systems use themselves. `off`: none. A registered client may have any.
        private_use_schemes: PrivateUseSchemes = PrivateUseSchemes::Bound,
        /// Members of a document that must be on the origin of its `client_id`: any of `redirect_uris`, `logo_uri`,
        /// `jwks_uri`, `client_uri`, `tos_uri`, `policy_uri`. Loopback redirect URIs and bound schemes are always allowed.
        same_origin: Vec<Member> = Vec::new(),
        /// Members of a document that must be on the registrable domain of its `client_id`. Same values as `same_origin`.
        same_site: Vec<Member> = Vec::new(),
        /// The `id` of a `[[resources]]`. An access token is for it if the request names no resource, and if its scopes do
        /// not all belong to one resource. Not set: the token is for this server.
        #[serde(skip_serializing_if = "Option::is_none")]
        default_resource: Option<String> = None,
        /// Rules about clients, one `[[policy.clients]]` for each. `wayleave client trust` and `block` keep them in the
        /// database instead.
        clients: Vec<Rule> = Vec::new(),
        /// Clients and the tier that your rules must give them, one `[[policy.examples]]` for each. `wayleave config check`
        /// fails if one comes out differently.
        examples: Vec<Example> = Vec::new(),
    }
}

/// `[[policy.examples]]`: a client, and what the rules must make of it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The client's URL.
    #[serde(with = "text")]
    pub client_id: ClientUrl,
    /// The tier that it must have.
    pub tier: Tier,
    /// The `match` of the rule that must decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Pattern>,
}

section! {
    /// `[webfinger]`: for apps that begin with a person's address, such as `ada@example.com` (RFC 7033).
    WebFinger {
        /// Domains of such addresses, for example `["example.com"]`. `/.well-known/webfinger` has to be reachable at each.
        /// Empty: there is no such page.
        domains: Vec<Domain> = Vec::new(),
    }
}

section! {
    /// `[development]`: documents that this server publishes for clients on developers' own machines.
    Development {
        /// Lets people who are signed in publish such documents at `/development`. The issuer must be an `https` URL.
        clients: bool = false,
        /// How long such a document lives, in seconds.
        lifetime: NonZeroU32 = at_least_one(8 * 3_600),
        /// The most such documents of one person at a time.
        per_person: NonZeroU32 = at_least_one(5),
    }
}

section! {
    /// `[keys]`: signing keys, and the key that encrypts them in the database.
    Keys {
        /// 32 bytes in base64 (`openssl rand -base64 32`). Encrypts signing keys and the server's secrets in the database.
        /// Not set: they are stored in clear text. Better name a file.
        #[serde(skip_serializing_if = "Option::is_none")]
        encryption_key: Option<Sensitive> = None,
        /// A file with that key.
        #[serde(skip_serializing_if = "Option::is_none")]
        encryption_key_file: Option<PathBuf> = None,
        /// The key before it, while you replace it. The server encrypts everything with the new key when it starts.
        #[serde(skip_serializing_if = "Option::is_none")]
        old_encryption_key: Option<Sensitive> = None,
        /// A file with that one.
        #[serde(skip_serializing_if = "Option::is_none")]
        old_encryption_key_file: Option<PathBuf> = None,
        /// How long a signing key signs before the next one takes over, in seconds. The next one is published a day
        /// earlier.
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
    /// `[limits]`: rate limits.
    Limits {
        /// Multiplies every rate limit and budget. Raise it if many people share few addresses.
        scale: NonZeroU32 = at_least_one(1),
    }
}

section! {
    /// `[log]`: log lines, on standard error.
    Log {
        /// `text`, `json`, or `auto`: text on a terminal, JSON elsewhere.
        format: LogFormat = LogFormat::Auto,
        /// Which events are logged, such as `debug` or `info,wayleave=debug` (the filter syntax of `tracing`).
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
    /// `[danger]`: settings that weaken security.
    Danger {
        /// For development: accepts a `client_id` on this machine, such as `https://localhost:9444/client.json`. Works only
        /// while `server.listen` is a loopback address.
        allow_loopback_clients: bool = false,
    }
}

const fn at_least_one(value: u32) -> NonZeroU32 {
    match NonZeroU32::new(value) {
        Some(value) => value,
        None => NonZeroU32::MIN,
    }
}
