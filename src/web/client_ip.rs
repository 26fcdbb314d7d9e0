//! Whose request is it? The peer, or what a trusted proxy says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};
use ipnet::IpNet;

/// Whose request it is: found once for each, and noted with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    address: IpAddr,
    is_proxy: bool,
}

impl Source {
    /// Of the chain that trusted proxies report, the last that is not a proxy.
    pub(crate) fn of(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |info| info.0.ip());
        let address = resolve(peer.to_canonical(), headers, trusted);
        Self {
            address,
            is_proxy: trusted.iter().any(|network| network.contains(&address)),
        }
    }

    /// The address that counts for its networks: a trusted proxy speaks for many, and what it says no address of is
    /// nobody's in particular.
    pub(crate) fn counted(self) -> Option<IpAddr> {
        (!self.is_proxy).then_some(self.address)
    }
}

/// The address that a request comes from.
pub(crate) fn client_ip(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let noted = extensions.get::<Source>().copied();
    noted
        .unwrap_or_else(|| Source::of(extensions, headers, trusted))
        .address
}

fn resolve(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_proxy = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_proxy(&peer) {
        return peer;
    }
    let chain = headers
        .get_all("x-forwarded-for")
        .iter()
        .rev()
        .filter_map(|value| value.to_str().ok());
    let mut last = peer;
    for text in chain.flat_map(|value| value.rsplit(',')).take(32) {
        let Ok(address) = text.trim().parse::<IpAddr>() else {
            return last;
        };
        last = address.to_canonical();
        if !is_proxy(&last) {
            return last;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let table = [
            ("192.0.2.1", "198.51.100.9", "192.0.2.1"),
            ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
            (
                "10.0.0.1",
                "1.2.3.4, 198.51.100.9, 10.0.0.2",
                "198.51.100.9",
            ),
            ("10.0.0.1", "garbage", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.9, garbage, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "::ffff:198.51.100.9", "198.51.100.9"),
        ];
        for (peer, forwarded, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            let got = resolve(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(got.to_string(), expected, "{peer} {forwarded}");
        }
    }
}
