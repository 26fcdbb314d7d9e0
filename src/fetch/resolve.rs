//! From a name to the addresses that may be dialled: looked up once, each checked, one bad address refuses them all.
//! CIMD §8.6.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    system_conf::read_system_conf,
};
use ipnet::IpNet;

use super::FetchError;
use crate::{
    config::Config,
    protocol::{
        client_url::is_special_name,
        special_address::{nat64_embedded, special_block},
    },
    time::Clock,
};

/// Most addresses a name may have.
const MOST: usize = 32;
/// How long the addresses of our own issuer are remembered.
const OWN_FRESH: Duration = Duration::from_secs(300);
/// How long nobody is asked for them again after nobody said.
const OWN_UNKNOWN: Duration = Duration::from_secs(10);

/// Where names are looked up. Always absolute names: a search list is never used.
#[derive(Clone, Debug)]
pub enum Resolver {
    /// The system's name servers and hosts file, read anew for each name.
    System,
    /// These name servers, and no hosts file.
    Servers(Vec<SocketAddr>),
    /// A fixed table, for tests; names that it lacks do not exist.
    Table(Arc<HashMap<String, Vec<IpAddr>>>),
}

impl Resolver {
    /// The resolver that the configuration asks for.
    pub fn of(config: &Config) -> Self {
        match config.fetch.nameservers.as_slice() {
            [] => Self::System,
            servers => Self::Servers(servers.to_vec()),
        }
    }

    /// Who is asked, for an administrator.
    ///
    /// # Errors
    ///
    /// Why the system does not say.
    pub fn servers(&self) -> Result<Vec<String>, String> {
        match self {
            Self::System => match read_system_conf() {
                Ok((config, _)) => {
                    let servers = config.name_servers().iter();
                    Ok(servers.map(|server| server.ip.to_string()).collect())
                }
                Err(error) => Err(error.to_string()),
            },
            Self::Servers(servers) => Ok(servers.iter().map(ToString::to_string).collect()),
            Self::Table(_) => Ok(Vec::new()),
        }
    }

    /// All addresses of a name, in order, each once. One question per address family.
    ///
    /// # Errors
    ///
    /// When there are none, too many, or nobody says in time.
    pub async fn addresses(&self, host: &str, limit: Duration) -> Result<Vec<IpAddr>, FetchError> {
        let mut addresses = match self {
            Self::Table(table) => table.get(host).cloned().unwrap_or_default(),
            // RFC 6761 §6.3: nobody else is asked.
            _ if host == "localhost" || host.ends_with(".localhost") => {
                vec![IpAddr::from([127, 0, 0, 1])]
            }
            Self::System => {
                let (servers, hosts) = match read_system_conf() {
                    Ok((config, _)) => (config.name_servers().to_vec(), ResolveHosts::Always),
                    // Without name servers the hosts file is all there is.
                    Err(_) => (Vec::new(), ResolveHosts::Always),
                };
                look_up(servers, hosts, host, limit).await?
            }
            Self::Servers(servers) => {
                let servers = servers.iter().map(|server| {
                    let connections =
                        [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                            connection.port = server.port();
                            connection
                        });
                    NameServerConfig::new(server.ip(), true, connections.to_vec())
                });
                look_up(servers.collect(), ResolveHosts::Never, host, limit).await?
            }
        };
        addresses.sort();
        addresses.dedup();
        match addresses.len() {
            0 => Err(FetchError::Dns("the name has no address".to_owned())),
            1..=MOST => Ok(addresses),
            many => Err(FetchError::Dns(format!("the name has {many} addresses"))),
        }
    }
}

async fn look_up(
    servers: Vec<NameServerConfig>,
    hosts: ResolveHosts,
    host: &str,
    limit: Duration,
) -> Result<Vec<IpAddr>, FetchError> {
    let has_others = servers.len() > 1;
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let mut options = ResolverOpts::default();
    // The name is absolute and nothing is remembered: what is dialled is what was just asked for.
    options.cache_size = 0;
    // Half of the time is for another server. Asking the same one again gains nothing: over UDP that is done anyway.
    options.attempts = usize::from(has_others);
    options.timeout = if has_others { limit / 2 } else { limit };
    options.num_concurrent_reqs = 1;
    options.use_hosts_file = hosts;
    let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .map_err(|error| failed(&error, host))?;
    let looked_up = tokio::time::timeout(limit, resolver.lookup_ip(format!("{host}."))).await;
    let looked_up = looked_up.map_err(|_| FetchError::Dns("no answer in time".to_owned()))?;
    Ok(looked_up
        .map_err(|error| failed(&error, host))?
        .iter()
        .collect())
}

/// What a name server said, for an administrator.
fn failed(error: &NetError, host: &str) -> FetchError {
    FetchError::Dns(match error {
        error if error.is_nx_domain() => format!("there is no name {host}"),
        error if error.is_no_records_found() => format!("{host} has neither A nor AAAA records"),
        NetError::NoConnections => "no name server could be asked".to_owned(),
        error => error.to_string(),
    })
}

/// Which addresses may be dialled.
#[derive(Debug)]
pub(super) struct Guard {
    resolver: Resolver,
    limit: Duration,
    loopback: bool,
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    nat64: bool,
    clock: Clock,
    /// The issuer's own name, unless it is an address or a name of this machine.
    own_name: Option<String>,
    /// Its addresses as they were said last, and until when they are not asked for.
    own: Mutex<(Duration, Arc<[IpAddr]>)>,
}

impl Guard {
    pub(super) fn new(config: &Config, resolver: Resolver, clock: &Clock) -> Self {
        let name = config.issuer.host();
        let is_name = name.parse::<IpAddr>().is_err() && !name.starts_with('[');
        Self {
            resolver,
            limit: Duration::from_secs(config.fetch.dns_timeout.get().into()),
            loopback: config.danger.allow_loopback_clients,
            allow: config.fetch.allow_networks.clone(),
            deny: config.fetch.deny_networks.clone(),
            nat64: config.fetch.allow_nat64,
            clock: clock.clone(),
            own_name: (is_name && !is_special_name(name)).then(|| name.to_owned()),
            own: Mutex::default(),
        }
    }

    /// All addresses of a host, each allowed to be dialled; `seen` gets them whatever becomes of them.
    pub(super) async fn resolve(
        &self,
        host: &str,
        seen: &mut Vec<IpAddr>,
    ) -> Result<Vec<IpAddr>, FetchError> {
        let (addresses, own) = tokio::join!(
            self.resolver.addresses(host, self.limit),
            self.own_addresses()
        );
        let addresses = addresses?;
        seen.clone_from(&addresses);
        let special = is_special_name(host);
        for address in &addresses {
            if let Err(why) = self.check(*address, special, &own) {
                return Err(FetchError::NotPublic(*address, why));
            }
        }
        Ok(addresses)
    }

    fn check(&self, address: IpAddr, special: bool, own: &[IpAddr]) -> Result<(), &'static str> {
        let inside = |networks: &[IpNet]| networks.iter().any(|net| net.contains(&address));
        if inside(&self.deny) {
            return Err("in fetch.deny_networks");
        }
        if inside(&self.allow) || self.loopback && address.is_loopback() {
            return Ok(());
        }
        // Development opens this machine: a special name means it, or nothing.
        if special {
            return Err(
                "the name is for private networks, the address is not in fetch.allow_networks",
            );
        }
        let nat64 = match address {
            IpAddr::V6(v6) if self.nat64 => nat64_embedded(v6).map(IpAddr::V4),
            _ => None,
        };
        if let Some(block) = special_block(nat64.unwrap_or(address)) {
            return Err(block);
        }
        if own.contains(&address) {
            return Err("an address of this server's issuer; fetch.allow_networks can allow it");
        }
        if is_of_this_machine(address) {
            return Err("an address of this machine; fetch.allow_networks can allow it");
        }
        Ok(())
    }

    /// The addresses that our own issuer is published with: a document there would come from ourselves.
    async fn own_addresses(&self) -> Arc<[IpAddr]> {
        let Some(name) = &self.own_name else {
            return Arc::default();
        };
        let now = self.clock.monotonic();
        let known = || self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, last) = known().clone();
        if now < until {
            return last;
        }
        // A name server that says nothing does not open what was closed.
        let (own, fresh) = match self.resolver.addresses(name, self.limit).await {
            Ok(own) => (own.into(), OWN_FRESH),
            Err(_) => (last, OWN_UNKNOWN),
        };
        *known() = (now + fresh, Arc::clone(&own));
        own
    }
}

/// Only an address of an interface of ours can be bound to.
fn is_of_this_machine(address: IpAddr) -> bool {
    // Where everything can be bound (`ip_nonlocal_bind`), binding says nothing.
    const NOBODYS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    let binds = |address| UdpSocket::bind(SocketAddr::new(address, 0)).is_ok();
    binds(address) && !binds(NOBODYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(variables: impl FnOnce(&mut Config)) -> Guard {
        let mut config = Config::default();
        variables(&mut config);
        let table = HashMap::new();
        Guard::new(
            &config,
            Resolver::Table(Arc::new(table)),
            &Clock::manual(crate::time::UnixTime(0)),
        )
    }

    async fn resolves(mut guard: Guard, host: &str, addresses: &[&str]) -> bool {
        let ips = addresses.iter().map(|text| text.parse().unwrap()).collect();
        guard.resolver = Resolver::Table(Arc::new([(host.to_owned(), ips)].into()));
        guard.resolve(host, &mut Vec::new()).await.is_ok()
    }

    #[tokio::test]
    async fn one_address_that_is_not_public_refuses_the_host() {
        let table: &[(&[&str], bool, bool)] = &[
            (&["1.1.1.1"], false, true),
            (&["1.1.1.1", "2606:4700:4700::1111"], false, true),
            (&["1.1.1.1", "10.0.0.5"], false, false),
            (&["10.0.0.5", "1.1.1.1"], true, false),
            (&["127.0.0.1"], false, false),
            (&["127.0.0.1"], true, true),
            (&["::1"], true, true),
            (&["::ffff:127.0.0.1"], true, false),
            (&["169.254.169.254"], true, false),
            (&[], true, false),
        ];
        for (addresses, loopback, accepted) in table {
            let guard = guard(|config| config.danger.allow_loopback_clients = *loopback);
            let got = resolves(guard, "a.example.com", addresses).await;
            assert_eq!(got, *accepted, "{addresses:?} loopback={loopback}");
        }
    }

    #[tokio::test]
    async fn a_special_name_means_this_machine_or_nothing() {
        for (address, loopback, accepted) in [
            ("127.0.0.1", true, true),
            ("1.1.1.1", true, false),
            ("127.0.0.1", false, false),
        ] {
            let guard = guard(|config| config.danger.allow_loopback_clients = loopback);
            let got = resolves(guard, "app.internal", &[address]).await;
            assert_eq!(got, accepted, "{address} loopback={loopback}");
        }
    }

    /// IP-91 and D-21.
    #[tokio::test]
    async fn ip_91_the_administrator_allows_and_denies_networks_and_deny_wins() {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let table: &[(&[&str], &[&str], &str, bool)] = &[
            (&["10.0.0.0/8"], &[], "10.0.0.5", true),
            (&["10.0.0.0/8"], &[], "192.168.0.1", false),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.0.1", false),
            (&[], &["1.1.1.0/24"], "1.1.1.1", false),
            (&["fd00::/8"], &[], "fd00::1", true),
            (&["0.0.0.0/0"], &["127.0.0.0/8"], "127.0.0.1", false),
        ];
        for (allow, deny, address, accepted) in table {
            let guard = guard(|config| {
                config.fetch.allow_networks = nets(allow);
                config.fetch.deny_networks = nets(deny);
            });
            let got = resolves(guard, "a.example.com", &[address]).await;
            assert_eq!(got, *accepted, "{allow:?} {deny:?} {address}");
        }
        for (nat64, address, accepted) in [
            (false, "64:ff9b::101:101", false),
            (true, "64:ff9b::101:101", true),
            (true, "64:ff9b::a00:5", false),
            (true, "64:ff9b:1::101:101", false),
        ] {
            let guard = guard(|config| config.fetch.allow_nat64 = nat64);
            let got = resolves(guard, "a.example.com", &[address]).await;
            assert_eq!(got, accepted, "D-21 {nat64} {address}");
        }
    }

    /// IP-90 and D-19: what the issuer is published with is refused for everybody else's name, too.
    #[tokio::test]
    async fn ip_90_our_own_addresses_are_refused() {
        let mut guard = guard(|config| config.issuer = "https://id.example.com".parse().unwrap());
        let table = [
            ("id.example.com", "1.1.1.1"),
            ("hairpin.example.net", "1.1.1.1"),
            ("other.example.net", "1.0.0.1"),
        ];
        let table = table.map(|(name, address)| (name.to_owned(), vec![address.parse().unwrap()]));
        guard.resolver = Resolver::Table(Arc::new(table.into()));
        let mut seen = Vec::new();
        assert!(matches!(
            guard.resolve("hairpin.example.net", &mut seen).await,
            Err(FetchError::NotPublic(..))
        ));
        assert_eq!(seen.len(), 1);
        assert!(guard.resolve("other.example.net", &mut seen).await.is_ok());
        // A name server that fails later does not open it.
        guard.resolver = Resolver::Table(Arc::new(
            [(
                "hairpin.example.net".to_owned(),
                vec!["1.1.1.1".parse().unwrap()],
            )]
            .into(),
        ));
        for _ in 0..3 {
            guard.clock.advance(301);
            let hairpin = guard.resolve("hairpin.example.net", &mut seen).await;
            assert!(matches!(hairpin, Err(FetchError::NotPublic(..))));
        }
        // The interfaces of this machine: only loopback is sure to be there.
        assert!(is_of_this_machine("127.0.0.1".parse().unwrap()));
        assert!(!is_of_this_machine("1.1.1.1".parse().unwrap()));
    }
}
