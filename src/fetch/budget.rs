//! How much fetching strangers may cause: per source, per target, in all.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use governor::Quota;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    config::Config,
    limits::{Rate, network},
    time::Clock,
};

/// A budget is spent: whose, and when to come back.
#[derive(Debug)]
pub struct OverBudget {
    pub whose: &'static str,
    pub wait: Duration,
}

/// All budgets. `limits.scale` multiplies each.
#[derive(Debug)]
pub struct Budgets {
    sources: Rate,
    hosts: Rate,
    all: Rate,
    places: Arc<Semaphore>,
    most_places: usize,
    places_per_host: usize,
    hosts_under_way: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// The right to fetch, while it is held.
#[derive(Debug)]
pub(super) struct Place {
    _host: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Budgets {
    pub(super) fn new(config: &Config, clock: &Clock) -> Self {
        let scaled = |count: NonZeroU32| count.saturating_mul(config.limits.scale);
        let limiter = |quota| Rate::new(quota, clock);
        let count = |value: NonZeroU32| {
            usize::try_from(value.get())
                .unwrap_or(usize::MAX)
                .min(Semaphore::MAX_PERMITS)
        };
        Self {
            sources: limiter(Quota::per_minute(scaled(TEN))),
            hosts: limiter(Quota::per_minute(scaled(THIRTY)).allow_burst(scaled(TEN))),
            all: limiter(Quota::per_second(scaled(TEN))),
            places: Arc::new(Semaphore::new(count(config.fetch.max_in_flight))),
            most_places: count(config.fetch.max_in_flight),
            places_per_host: count(config.fetch.max_in_flight_per_host),
            hosts_under_way: Mutex::default(),
        }
    }

    /// Charges one new client to the network that asked for it: an IPv4 address or an IPv6 /64.
    ///
    /// # Errors
    ///
    /// When it asked for more than ten within a minute.
    pub fn charge_source(&self, source: IpAddr) -> Result<(), OverBudget> {
        charge(
            &self.sources,
            &network(source),
            "the network the request came from",
        )
    }

    /// Charges a fetch to the server as a whole, to its host, and to the domain the host belongs to.
    pub(super) fn charge_host(&self, host: &str) -> Result<(), OverBudget> {
        charge(&self.all, "", "the server as a whole")?;
        let domain = psl::domain_str(host).unwrap_or(host);
        charge(&self.hosts, &("domain", domain), "the domain of the client")
    }

    /// Charges a fetch to the address that is to be dialled.
    pub(super) fn charge_address(&self, address: IpAddr) -> Result<(), OverBudget> {
        charge(
            &self.hosts,
            &("address", address),
            "the address of the client's host",
        )
    }

    /// Fetches under way.
    pub fn under_way(&self) -> usize {
        self.most_places - self.places.available_permits()
    }

    /// A place among the fetches under way: waits for its host's, `None` when all places of the server are taken.
    pub(super) async fn place(&self, host: &str) -> Option<Place> {
        let of_host = {
            let mut hosts = self
                .hosts_under_way
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            hosts.retain(|_, semaphore| semaphore.strong_count() > 0);
            match hosts.get(host).and_then(Weak::upgrade) {
                Some(semaphore) => semaphore,
                None => {
                    let semaphore = Arc::new(Semaphore::new(self.places_per_host));
                    hosts.insert(host.to_owned(), Arc::downgrade(&semaphore));
                    semaphore
                }
            }
        };
        let host = of_host.acquire_owned().await.ok()?;
        // Hosts that keep us waiting must not keep others waiting: when all places are taken, this one comes again.
        let all = self.places.clone().try_acquire_owned().ok()?;
        Some(Place {
            _host: host,
            _all: all,
        })
    }
}

fn charge(rate: &Rate, key: &(impl Hash + ?Sized), whose: &'static str) -> Result<(), OverBudget> {
    rate.charge(key).map_err(|wait| OverBudget { whose, wait })
}

const TEN: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
const THIRTY: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;

    #[test]
    fn a_source_may_bring_ten_new_clients_a_minute() {
        let clock = Clock::manual(UnixTime(0));
        let budgets = Budgets::new(&Config::default(), &clock);
        let (a, same_64, other) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
            "192.0.2.1".parse().unwrap(),
        );
        for _ in 0..10 {
            budgets.charge_source(a).unwrap();
        }
        assert!(
            budgets
                .charge_source(same_64)
                .is_err_and(|over| over.wait <= Duration::from_secs(6))
        );
        budgets.charge_source(other).unwrap();
        clock.advance(6);
        budgets.charge_source(a).unwrap();
        assert!(budgets.charge_source(a).is_err());
    }

    #[test]
    fn one_domain_gets_a_burst_of_ten_and_thirty_a_minute() {
        let clock = Clock::manual(UnixTime(0));
        let budgets = Budgets::new(&Config::default(), &clock);
        let mut allowed = 0;
        for second in 0..60 {
            for name in ["a", "b"] {
                allowed += u32::from(
                    budgets
                        .charge_host(&format!("{name}{second}.example.com"))
                        .is_ok(),
                );
            }
            clock.advance(1);
        }
        assert!((38..=40).contains(&allowed), "{allowed}");
    }
}
