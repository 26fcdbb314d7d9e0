//! How often: requests of one network, and what fails. In memory of one process; `limits.scale` multiplies each.

mod failures;
mod per_key;
mod rate;
mod sign_ins;

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use moka::sync::Cache;

pub use self::{
    failures::{Failures, Guess, Guesses},
    rate::{Quota, Rate, Taken},
    sign_ins::SignIns,
};
use crate::{
    config::Config,
    protocol::device::Pace,
    time::{Clock, UnixTime},
};

/// How often waiting devices are counted in the database, at most.
const COUNTED_EVERY: Duration = Duration::from_secs(5);

/// What strangers may do how often, beside what they may have fetched.
#[derive(Debug)]
pub struct Limits {
    /// Devices that one network may start.
    pub device_requests: Rate,
    /// Devices that wait.
    pub devices: Devices,
    /// Authorization requests that one network may push for clients that prove nothing.
    pub pushed_requests: Rate,
    /// User codes that are wrong, RFC 8628 §5.1.
    pub user_codes: Guesses,
    /// People who sign in.
    pub sign_ins: SignIns,
    /// Requests for tokens that one client fails with from one network.
    pub token_failures: Failures,
}

impl Limits {
    /// Nothing is charged yet.
    pub fn new(config: &Config, clock: &Clock) -> Self {
        let scale = config.limits.scale;
        let ten = const { NonZeroU32::MIN.saturating_add(9) };
        Self {
            device_requests: Rate::new(Quota::per_minute(ten.saturating_mul(scale)), clock),
            devices: Devices::new(scale, clock),
            pushed_requests: Rate::new(Quota::per_minute(ten.saturating_mul(scale)), clock),
            user_codes: Guesses::new(scale, clock),
            sign_ins: SignIns::new(scale, clock),
            token_failures: Failures::new(30, 60, scale, clock),
        }
    }
}

/// Devices that wait for a person: how many there are, and how often each asks.
#[derive(Debug)]
pub struct Devices {
    most: i64,
    clock: Clock,
    /// When they were counted in the database, and how many there were, with those that started since.
    counted: Mutex<Option<(Duration, i64)>>,
    /// Of as many as may wait.
    paces: Cache<String, Pace>,
}

impl Devices {
    fn new(scale: NonZeroU32, clock: &Clock) -> Self {
        Self {
            most: i64::from(scale.get()).saturating_mul(10_000),
            clock: clock.clone(),
            counted: Mutex::default(),
            paces: Cache::builder()
                .max_capacity(10_000)
                .time_to_idle(Duration::from_secs(120))
                .build(),
        }
    }

    /// May another one wait? `None`: whoever asks has to have them [counted](Self::counted) first.
    ///
    /// One at a time is told so, and the others go by the last counting meanwhile: to count many takes long, and all of them
    /// at once would do nothing else. So other processes' devices count as of five to ten seconds ago.
    pub fn begin(&self) -> Option<bool> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, count) = counted.as_mut()?;
        let now = self.clock.monotonic();
        if now.saturating_sub(*at) >= COUNTED_EVERY {
            *at = now;
            return None;
        }
        let may = *count < self.most;
        *count += i64::from(may);
        Some(may)
    }

    /// So many wait, says the database.
    pub fn counted(&self, waiting: i64) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        *counted = Some((self.clock.monotonic(), waiting));
    }

    /// A device asks by its code: is that too early? Remembered by this process alone, and not for long: it only keeps
    /// devices from asking too often.
    pub fn asks_too_early(&self, code: &str, wait: i64, now: UnixTime) -> bool {
        let mut early = false;
        self.paces
            .entry_by_ref(code)
            .and_upsert_with(|known| match known {
                None => Pace::begin(now, wait),
                Some(entry) => {
                    let (next, was_early) = entry.into_value().again(now);
                    early = was_early;
                    next
                }
            });
        early
    }
}

/// The smallest network of an address: an IPv4 address or an IPv6 /64.
pub fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
    }
}

/// The networks of an address, the smallest first, each with how many times the smallest one's quota it has: an IPv4
/// address alone; of an IPv6 address its /64, /56 and /48, because providers give out each of them to one subscriber.
pub fn networks(source: IpAddr) -> impl Iterator<Item = (IpNet, u32)> {
    let of = move |prefix: u8, quotas: u32| {
        let net = IpNet::new_assert(source, prefix);
        (net.trunc(), quotas)
    };
    let (first, wider): (_, &[(u8, u32)]) = match source {
        IpAddr::V4(_) => (of(32, 1), &[]),
        IpAddr::V6(_) => (of(64, 1), &[(56, 4), (48, 16)]),
    };
    std::iter::once(first).chain(
        wider
            .iter()
            .map(move |(prefix, quotas)| of(*prefix, *quotas)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;

    fn limits() -> (Limits, Clock) {
        let clock = Clock::manual(UnixTime(0));
        (Limits::new(&Config::default(), &clock), clock)
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn v_10_a_network_starts_ten_devices_a_minute() {
        let (limits, clock) = limits();
        let start = || limits.device_requests.charge(address(1));
        assert!((0..10).all(|_| start().is_ok()));
        assert!(start().is_err_and(|wait| wait <= Duration::from_secs(6)));
        clock.advance(6);
        assert!(start().is_ok() && start().is_err());
        assert!(limits.device_requests.charge(address(2)).is_ok());
    }

    #[test]
    fn one_at_a_time_counts_the_devices_that_wait() {
        let (limits, clock) = limits();
        let devices = &limits.devices;
        assert_eq!(devices.begin(), None);
        devices.counted(9_999);
        assert_eq!(devices.begin(), Some(true));
        assert_eq!(devices.begin(), Some(false));
        clock.advance(5);
        assert_eq!(devices.begin(), None, "it is time to count");
        assert_eq!(devices.begin(), Some(false), "somebody does");
        devices.counted(0);
        assert_eq!(devices.begin(), Some(true));
        clock.advance(5);
        assert_eq!(devices.begin(), None);
        clock.advance(5);
        assert_eq!(devices.begin(), None, "whoever counted has left");
    }

    #[test]
    fn a_network_is_an_address_or_a_64() {
        assert_eq!(network(address(7)), address(7));
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }

    #[test]
    fn wider_networks_of_an_ipv6_address_have_more_of_a_quota() {
        let of = |text: &str| -> Vec<_> {
            networks(text.parse().unwrap())
                .map(|(network, quotas)| (network.to_string(), quotas))
                .collect()
        };
        let expected = |all: &[(&str, u32)]| -> Vec<_> {
            all.iter()
                .map(|(net, quotas)| ((*net).to_owned(), *quotas))
                .collect()
        };
        assert_eq!(of("192.0.2.7"), expected(&[("192.0.2.7/32", 1)]));
        assert_eq!(
            of("2001:db8:1:2ab::7"),
            expected(&[
                ("2001:db8:1:2ab::/64", 1),
                ("2001:db8:1:200::/56", 4),
                ("2001:db8:1::/48", 16)
            ])
        );
    }
}
