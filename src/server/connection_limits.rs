//! Who may be here at a time: counted by network, so that nobody fills a room alone.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;

use crate::limits::networks;

/// What one network may have of `most`, where the smallest network may have `one`: a wider one has the quotas of many
/// small ones, and never more than half of all.
pub(super) fn share(one: u32, quotas: u32, most: u32) -> u32 {
    one.saturating_mul(quotas).min((most / 2).max(one))
}

/// So many places in all, and so many of them for one network that is no trusted proxy's.
#[derive(Debug)]
pub(super) struct Places {
    most: u32,
    /// Of an IPv4 address or an IPv6 /64; wider networks have their [`share`].
    most_per_network: u32,
    trusted: Vec<IpNet>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    networks: HashMap<IpNet, u32>,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    /// `None` for a trusted proxy.
    peer: Option<IpAddr>,
}

impl Places {
    /// All are free.
    pub(super) fn new(most: u32, most_per_network: u32, trusted: &[IpNet]) -> Self {
        Self {
            most,
            most_per_network,
            trusted: trusted.to_vec(),
            taken: Mutex::default(),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a peer, if there is one.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let is_proxy = self.trusted.iter().any(|proxies| proxies.contains(&peer));
        let peer = (!is_proxy).then_some(peer);
        let mut taken = self.taken();
        let is_full = |(network, quotas)| {
            let here = taken.networks.get(&network).copied().unwrap_or(0);
            here >= share(self.most_per_network, quotas, self.most)
        };
        if taken.all >= self.most || peer.into_iter().flat_map(networks).any(is_full) {
            return None;
        }
        for (network, _) in peer.into_iter().flat_map(networks) {
            *taken.networks.entry(network).or_default() += 1;
        }
        taken.all += 1;
        drop(taken);
        Some(Place {
            places: self.clone(),
            peer,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        for (network, _) in self.peer.into_iter().flat_map(networks) {
            if let Some(here) = taken.networks.get_mut(&network) {
                *here -= 1;
                if *here == 0 {
                    taken.networks.remove(&network);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_network_and_in_all() {
        let places = Arc::new(Places::new(6, 2, &["10.0.0.0/8".parse().unwrap()]));
        let take = |peer: &str| places.take(peer.parse().unwrap());
        let first = take("2001:db8::1");
        let second = take("2001:db8::2");
        assert!(first.is_some() && second.is_some());
        assert!(take("2001:db8:0:0:ffff::3").is_none(), "one /64");
        let other = take("2001:db8:0:1::1");
        assert!(other.is_some(), "another /64");
        drop(first);
        let proxied: Vec<_> = (0..4).map(|_| take("10.0.0.1")).collect();
        assert!(proxied.iter().all(Option::is_some), "a trusted proxy");
        assert!(
            take("10.0.0.1").is_none() && take("192.0.2.1").is_none(),
            "all are taken"
        );
        drop((second, other, proxied));
        let taken = places.taken();
        assert_eq!((taken.all, taken.networks.len()), (0, 0));
    }

    #[test]
    fn w_19_y_06_a_hundred_networks_of_one_subscriber_do_not_take_the_places_of_others() {
        // As many as the configuration has of itself.
        let server = crate::config::Server::default();
        let (most, one) = (
            server.max_connections.get(),
            server.max_connections_per_address.get(),
        );
        let places = Arc::new(Places::new(most, one, &[]));
        let take = |text: String| places.take(text.parse().unwrap());
        let in_one_56 = |n: u32| format!("2001:db8:0:{:x}::{n:x}", n % 100);
        let silent: Vec<_> = (0..10_000).filter_map(|n| take(in_one_56(n))).collect();
        assert_eq!(silent.len(), 400, "a /56 has the places of four /64");
        assert!(
            take("2001:db8:0:ff::1".to_owned()).is_none(),
            "another /64 of it"
        );
        for other in ["2001:db8:0:100::1", "2001:db8:1::1", "192.0.2.1"] {
            assert!(take(other.to_owned()).is_some(), "{other}");
        }
        let in_one_48 = |n: u32| format!("2001:db8:0:{:x}::1", n % 65_536);
        let more: Vec<_> = (0..65_536).filter_map(|n| take(in_one_48(n))).collect();
        assert_eq!(silent.len() + more.len(), 1_600, "a /48 those of sixteen");
        assert!(take("2001:db8:1::1".to_owned()).is_some());
        assert!(take("192.0.2.1".to_owned()).is_some());
        drop((silent, more));
        let taken = places.taken();
        assert_eq!((taken.all, taken.networks.len()), (0, 0));
    }

    #[test]
    fn a_wide_network_has_half_of_the_places_at_most() {
        let places = Arc::new(Places::new(100, 10, &[]));
        let take = |n: u32| places.take(format!("2001:db8:0:{n:x}::1").parse().unwrap());
        let of_a_48: Vec<_> = (0..65_536).filter_map(take).collect();
        assert_eq!(of_a_48.len(), 50);
    }
}
