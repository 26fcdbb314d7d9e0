//! How often: requests of one network, and what fails. In memory of one process; `limits.scale` multiplies each.

mod failures;
mod per_key;
mod rate;
mod room;
mod sign_ins;

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use ipnet::IpNet;
use moka::sync::Cache;

pub use self::{
    failures::{Failures, Guess, Guesses},
    per_key::PerKey,
    rate::{Quota, Rate, Taken},
    room::Room,
    sign_ins::SignIns,
};
use crate::{
    config::Config,
    protocol::device::Pace,
    time::{Clock, UnixTime},
};

/// What strangers may do how often, beside what they may have fetched.
#[derive(Debug)]
pub struct Limits {
    /// Devices that one network may start.
    pub device_requests: Rate,
    /// Devices that wait.
    pub devices: Devices,
    /// Authorization requests that one network may push for clients that no rule lists.
    pub pushed_requests: Rate,
    /// The same for clients that a rule lists, where they prove nothing: anybody can push in their names.
    pub pushed_for_listed: Rate,
    /// Authorization requests of one person that write something down.
    pub authorizations: Rate,
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
        let per_minute = |most: u32| {
            let quota = NonZeroU32::MIN
                .saturating_add(most - 1)
                .saturating_mul(scale);
            Rate::new(Quota::per_minute(quota), clock)
        };
        Self {
            device_requests: Rate::new(Quota::per_minute(ten.saturating_mul(scale)), clock),
            devices: Devices::new(scale),
            pushed_requests: Rate::new(Quota::per_minute(ten.saturating_mul(scale)), clock),
            pushed_for_listed: per_minute(60),
            authorizations: per_minute(300),
            user_codes: Guesses::new(scale, clock),
            sign_ins: SignIns::new(scale, clock),
            token_failures: Failures::new(30, 60, scale, clock),
        }
    }
}

/// Devices that wait for a person: how many there are, and how often each asks.
#[derive(Debug)]
pub struct Devices {
    /// How many may wait.
    most: i64,
    room: Room,
    /// Of as many as may wait.
    paces: Cache<String, Pace>,
}

impl Devices {
    fn new(scale: NonZeroU32) -> Self {
        Self {
            most: i64::from(scale.get()).saturating_mul(10_000),
            room: Room::default(),
            paces: Cache::builder()
                .max_capacity(10_000)
                .time_to_idle(Duration::from_secs(120))
                .build(),
        }
    }

    /// May another one wait? `count` asks the database how many do, where it is time to.
    ///
    /// # Errors
    ///
    /// When counting fails.
    pub async fn may_wait<E>(
        &self,
        now: UnixTime,
        count: impl Future<Output = Result<i64, E>>,
    ) -> Result<bool, E> {
        self.room.take(1, self.most, now, count).await
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
