//! Who may be here at a time: counted by network, so that nobody fills a room alone.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;

use crate::limits::network;

/// So many places in all, and so many of them for one network that is no trusted proxy.
#[derive(Debug)]
pub(super) struct Places {
    most: u32,
    most_per_network: u32,
    trusted: Vec<IpNet>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    networks: HashMap<IpAddr, u32>,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    /// `None` for a trusted proxy.
    network: Option<IpAddr>,
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
        let network = (!is_proxy).then(|| network(peer));
        let mut taken = self.taken();
        if taken.all >= self.most {
            return None;
        }
        if let Some(network) = network {
            let here = taken.networks.entry(network).or_default();
            if *here >= self.most_per_network {
                return None;
            }
            *here += 1;
        }
        taken.all += 1;
        drop(taken);
        Some(Place {
            places: self.clone(),
            network,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(network) = self.network
            && let Some(here) = taken.networks.get_mut(&network)
        {
            *here -= 1;
            if *here == 0 {
                taken.networks.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_network_and_in_all() {
        let places = Arc::new(Places::new(5, 2, &["10.0.0.0/8".parse().unwrap()]));
        let take = |peer: &str| places.take(peer.parse().unwrap());
        let first = take("2001:db8::1");
        let second = take("2001:db8::2");
        assert!(first.is_some() && second.is_some());
        assert!(take("2001:db8:0:0:ffff::3").is_none(), "one /64");
        let other = take("2001:db8:0:1::1");
        assert!(other.is_some(), "another /64");
        drop(first);
        let proxied: Vec<_> = (0..3).map(|_| take("10.0.0.1")).collect();
        assert!(proxied.iter().all(Option::is_some), "a trusted proxy");
        assert!(
            take("10.0.0.1").is_none() && take("192.0.2.1").is_none(),
            "all are taken"
        );
        drop((second, other, proxied));
        let taken = places.taken();
        assert_eq!((taken.all, taken.networks.len()), (0, 0));
    }
}
