//! How much fetching each kind of caller may cause: by network, by what is asked, in all.
//!
//! Each kind has a share of its own, of rate and of places: however much callers cause who show nothing, people who are
//! signed in and clients that people here use find theirs untouched.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    config::Config,
    limits::{Quota, Rate, Taken, networks},
    time::Clock,
};

/// Who causes a fetch, and so whose share it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// A caller of this network who is not signed in, for a client that people here do not use. `is_new`: its document was
    /// never read.
    Stranger { source: IpAddr, is_new: bool },
    /// A person in this network who is signed in.
    Person { source: IpAddr, is_new: bool },
    /// A client that people here use, or that the administrator names; from this network if somebody asks for it now.
    Known(Option<IpAddr>),
    /// The administrator, who wants to see: nothing is charged.
    Administrator,
}

/// Those who have budgets of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Strangers,
    People,
    Known,
}

/// A charge that is one: who pays.
#[derive(Clone, Copy, Debug)]
struct Payer {
    kind: Kind,
    source: Option<IpAddr>,
    is_new: bool,
}

impl Charge {
    fn payer(self) -> Option<Payer> {
        let (kind, source, is_new) = match self {
            Self::Stranger { source, is_new } => (Kind::Strangers, Some(source), is_new),
            Self::Person { source, is_new } => (Kind::People, Some(source), is_new),
            Self::Known(source) => (Kind::Known, source, false),
            Self::Administrator => return None,
        };
        Some(Payer {
            kind,
            source,
            is_new,
        })
    }

    pub(super) fn is_strangers(self) -> bool {
        matches!(self, Self::Stranger { .. })
    }
}

/// A budget is spent: whose, and when to come back.
#[derive(Clone, Debug, thiserror::Error)]
#[error("over the budget for {whose}")]
pub struct OverBudget {
    pub whose: &'static str,
    pub wait: Duration,
    /// Is it that of whoever asks, and not one that others spend, too?
    pub is_own: bool,
}

/// All budgets. `limits.scale` multiplies each rate.
#[derive(Debug)]
pub struct Budgets {
    /// New clients of one network, and documents that were read before.
    new: Rate,
    again: Rate,
    /// Strangers' new clients, of networks that have brought none for a while.
    first: Rate,
    first_of_network: Rate,
    /// Strangers' other new clients.
    more: Rate,
    /// Documents that strangers have read again.
    strangers_again: Rate,
    /// All that people and known clients cause.
    others: Rate,
    /// What one network has asked of a domain or an address, and what all of its kind have.
    target: Rate,
    target_of_all: Rate,
    all: Arc<Semaphore>,
    of_strangers: Arc<Semaphore>,
    most: usize,
    most_of_strangers: usize,
    most_per_host: usize,
    waited_for: Mutex<HashMap<Queue, Weak<Semaphore>>>,
}

/// Where fetches wait for each other.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Queue {
    /// Strangers wait apart: whoever holds their places with slow answers holds nobody else's.
    Host {
        host: String,
        of_strangers: bool,
    },
    Network(IpNet),
}

/// The right to fetch, while it is held.
#[derive(Debug)]
pub(super) struct Place {
    _held: Vec<OwnedSemaphorePermit>,
}

impl Budgets {
    /// Rates, before they are scaled. By network: ten new clients and sixty other documents a minute, counted apart for
    /// each kind. In all ten fetches a second: five for people and known clients, and of strangers' new clients
    /// three of networks that have brought none for five minutes and one of the others; one is for what strangers have read
    /// again.
    /// Of one domain or address: thirty a minute for one network, a hundred and twenty for all of one kind.
    pub(super) fn new(config: &Config, clock: &Clock) -> Self {
        let scale = config.limits.scale.get();
        let per_minute = |count: u32, burst: u32| {
            let count = NonZeroU32::MIN.saturating_add(count - 1);
            let quota = Quota::per_minute(count).at_once(burst);
            Rate::new(quota.times(scale), clock)
        };
        let count = |value: NonZeroU32| {
            usize::try_from(value.get())
                .unwrap_or(usize::MAX)
                .min(Semaphore::MAX_PERMITS)
        };
        let most = count(config.fetch.max_in_flight);
        let most_of_strangers = (most / 2).max(1);
        Self {
            new: per_minute(10, 10),
            again: per_minute(60, 60),
            first: per_minute(180, 30),
            first_of_network: Rate::new(Quota::one_in(300).times(scale), clock),
            more: per_minute(60, 5),
            strangers_again: per_minute(60, 5),
            others: per_minute(300, 30),
            target: per_minute(30, 10),
            target_of_all: per_minute(120, 20),
            all: Arc::new(Semaphore::new(most)),
            of_strangers: Arc::new(Semaphore::new(most_of_strangers)),
            most,
            most_of_strangers,
            most_per_host: count(config.fetch.max_in_flight_per_host),
            waited_for: Mutex::default(),
        }
    }

    /// Charges a fetch to the network that asks, to the share of its kind, and to the domain of the host; or nothing of it.
    pub(super) fn take(&self, charge: Charge, host: &str) -> Result<Taken, OverBudget> {
        let Some(payer) = charge.payer() else {
            return Ok(Taken::default());
        };
        let domain = psl::domain_str(host).unwrap_or(host);
        self.of_network(payer)?
            .and(self.of_share(payer))?
            .and(self.of_target(payer, ("domain", domain), "the domain of the client"))
    }

    /// Charges a fetch to an address that may be dialled.
    pub(super) fn take_address(
        &self,
        charge: Charge,
        address: IpAddr,
    ) -> Result<Taken, OverBudget> {
        let Some(payer) = charge.payer() else {
            return Ok(Taken::default());
        };
        let address = address.to_string();
        let whose = "the address of the client's host";
        self.of_target(payer, ("address", &address), whose)
    }

    fn of_network(&self, payer: Payer) -> Result<Taken, OverBudget> {
        let Some(source) = payer.source else {
            return Ok(Taken::default());
        };
        let rate = match payer.is_new {
            true => &self.new,
            false => &self.again,
        };
        let taken = rate.take_by_network(source, &payer.kind);
        taken.map_err(|wait| OverBudget {
            whose: "the network the request came from",
            wait,
            is_own: true,
        })
    }

    fn of_share(&self, payer: Payer) -> Result<Taken, OverBudget> {
        let (rate, whose) = match (payer.kind, payer.is_new) {
            (Kind::Strangers, true) => {
                if let Some(first) = payer.source.and_then(|source| self.as_first(source)) {
                    return Ok(first);
                }
                (&self.more, "new clients of callers who are not signed in")
            }
            (Kind::Strangers, false) => (
                &self.strangers_again,
                "clients that callers ask for who are not signed in",
            ),
            (Kind::People | Kind::Known, _) => (&self.others, "the server as a whole"),
        };
        rate.take("").map_err(shared(whose))
    }

    /// The network that has asked least goes first: many networks that never stop leave something to one that comes anew.
    fn as_first(&self, source: IpAddr) -> Option<Taken> {
        let of_network = self.first_of_network.take_by_network(source, "").ok()?;
        of_network.and(self.first.take("")).ok()
    }

    /// A host's domain or address. Keyed with who asks, as far as it can be: behind one address there may be many clients.
    fn of_target(
        &self,
        payer: Payer,
        target: (&str, &str),
        whose: &'static str,
    ) -> Result<Taken, OverBudget> {
        let of_network = match payer.source.and_then(widest) {
            Some(network) => self.target.take(&(payer.kind, network, target)),
            None => Ok(Taken::default()),
        };
        of_network
            .and_then(|taken| taken.and(self.target_of_all.take(&(payer.kind, target))))
            .map_err(shared(whose))
    }

    /// Fetches under way.
    pub fn under_way(&self) -> usize {
        self.most - self.all.available_permits()
    }

    /// A place among the fetches under way: waits for its host's, `None` when all places of its kind are taken. Strangers
    /// have half of the places, one network of theirs a quarter of those.
    pub(super) async fn place(&self, host: &str, charge: Charge) -> Option<Place> {
        let of_strangers = charge.is_strangers();
        let mut held = Vec::new();
        if let Charge::Stranger { source, .. } = charge
            && let Some(network) = widest(source)
        {
            let most = (self.most_of_strangers / 4).max(1);
            let of_network = self.queue(Queue::Network(network), most);
            held.push(of_network.try_acquire_owned().ok()?);
        }
        let most = match of_strangers {
            true => (self.most_per_host / 2).max(1),
            false => self.most_per_host,
        };
        let host = host.to_owned();
        let of_host = self.queue(Queue::Host { host, of_strangers }, most);
        held.push(of_host.acquire_owned().await.ok()?);
        // Hosts that keep us waiting must not keep others waiting: when all places are taken, this one comes again.
        if of_strangers {
            held.push(self.of_strangers.clone().try_acquire_owned().ok()?);
        }
        held.push(self.all.clone().try_acquire_owned().ok()?);
        Some(Place { _held: held })
    }

    fn queue(&self, queue: Queue, most: usize) -> Arc<Semaphore> {
        let mut all = self
            .waited_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, semaphore| semaphore.strong_count() > 0);
        if let Some(semaphore) = all.get(&queue).and_then(Weak::upgrade) {
            return semaphore;
        }
        let semaphore = Arc::new(Semaphore::new(most));
        all.insert(queue, Arc::downgrade(&semaphore));
        semaphore
    }
}

fn shared(whose: &'static str) -> impl FnOnce(Duration) -> OverBudget {
    move |wait| OverBudget {
        whose,
        wait,
        is_own: false,
    }
}

/// The widest network of an address that is counted.
fn widest(source: IpAddr) -> Option<IpNet> {
    networks(source).last().map(|(network, _)| network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;

    fn budgets() -> (Budgets, Clock) {
        let clock = Clock::manual(UnixTime(0));
        (Budgets::new(&Config::default(), &clock), clock)
    }

    fn stranger(source: IpAddr) -> Charge {
        let is_new = true;
        Charge::Stranger { source, is_new }
    }

    fn person(source: IpAddr) -> Charge {
        let is_new = true;
        Charge::Person { source, is_new }
    }

    fn again(source: IpAddr) -> Charge {
        let is_new = false;
        Charge::Stranger { source, is_new }
    }

    fn ipv4(number: u32) -> IpAddr {
        IpAddr::V4((0xc612_0000 + number).into())
    }

    /// Another host for each question, as far as a flood can choose.
    fn host(number: u32) -> String {
        format!("client.h{number}.com")
    }

    #[test]
    fn a_source_may_bring_ten_new_clients_a_minute() {
        let (budgets, clock) = budgets();
        let (a, same_64, other) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
            "192.0.2.1".parse().unwrap(),
        );
        let charge = |source, n| budgets.take(person(source), &host(n)).map(drop);
        for n in 0..10 {
            charge(a, n).unwrap();
        }
        let over = charge(same_64, 10).unwrap_err();
        assert!(over.is_own && over.wait <= Duration::from_secs(6));
        charge(other, 11).unwrap();
        clock.advance(6);
        charge(a, 12).unwrap();
        assert!(charge(a, 13).is_err());
    }

    /// The row, by the budgets alone: how much of a flood from these networks is let in, and how many of 75 newcomers.
    fn flooded(source: impl Fn(u32) -> IpAddr) -> (u32, u32) {
        let (budgets, clock) = budgets();
        let (mut n, mut let_in, mut newcomers) = (0, 0, 0);
        for second in 0..75 {
            for _ in 0..600 {
                n += 1;
                let charge = budgets.take(stranger(source(n)), &host(n));
                let_in += u32::from(charge.is_ok());
            }
            // People who are signed in, each in a network of its own, and in those of the flood.
            for (source, n) in [(ipv4(1_000 + second), 1), (source(second), 2)] {
                let host = format!("honest{n}.h{second}.net");
                assert!(budgets.take(person(source), &host).is_ok(), "{second}");
            }
            let known = format!("known.k{second}.net");
            assert!(budgets.take(Charge::Known(None), &known).is_ok());
            let known = format!("known.q{second}.net");
            let charge = Charge::Known(Some(source(second)));
            assert!(budgets.take(charge, &known).is_ok());
            // Somebody whose network has brought nothing yet.
            let newcomer = stranger(ipv4(2_000 + second));
            let host = format!("newcomer.n{second}.net");
            newcomers += u32::from(budgets.take(newcomer, &host).is_ok());
            clock.advance(1);
        }
        (let_in, newcomers)
    }

    #[test]
    fn y_01_strangers_spend_a_share_of_their_own() {
        let in_a_56 = |n: u32| format!("2001:db8:0:{:x}::1", n % 120).parse().unwrap();
        let (let_in, newcomers) = flooded(in_a_56);
        assert!((70..=90).contains(&let_in), "{let_in}");
        assert_eq!(newcomers, 75);
        let (let_in, newcomers) = flooded(|n| ipv4(n % 120));
        assert!((190..=210).contains(&let_in), "{let_in}");
        assert!(newcomers >= 40, "{newcomers}");
    }

    #[test]
    fn y_01_clients_that_only_strangers_know_have_a_share_apart() {
        let (budgets, clock) = budgets();
        let mut read = 0;
        for second in 0..60 {
            for n in 0..1_000 {
                let charge = again(ipv4(n));
                read += u32::from(budgets.take(charge, &host(1_000 * second + n)).is_ok());
            }
            let new = stranger(ipv4(5_000 + second));
            assert!(budgets.take(new, &format!("n{second}.net")).is_ok());
            let known = Charge::Known(Some(ipv4(second)));
            assert!(budgets.take(known, &format!("k{second}.net")).is_ok());
            clock.advance(1);
        }
        assert!((60..=66).contains(&read), "{read}");
    }

    #[test]
    fn y_01_one_network_has_one_share_of_a_domain_and_all_have_four() {
        let (budgets, clock) = budgets();
        let (mut one, mut all) = (0, 0);
        for second in 0..60 {
            for n in 0..20 {
                let host = format!("a{second}-{n}.example.com");
                one += u32::from(budgets.take(again(ipv4(1)), &host).is_ok());
            }
            clock.advance(1);
        }
        assert!((39..=40).contains(&one), "{one}");
        let other = budgets.take(again(ipv4(2)), "b.example.com");
        assert!(other.is_ok(), "one network locks nobody out");
        for second in 0..60 {
            for n in 0..100 {
                let charge = person(ipv4(100 + second * 100 + n));
                all += u32::from(budgets.take(charge, "example.com").is_ok());
            }
            let source = ipv4(20_000 + second);
            assert!(budgets.take(again(source), "example.com").is_ok());
            assert!(budgets.take(Charge::Known(None), "example.com").is_ok());
            clock.advance(1);
        }
        assert!((118..=140).contains(&all), "{all}");
    }

    #[test]
    fn y_01_an_address_is_charged_for_those_who_ask() {
        let (budgets, clock) = budgets();
        let address = "203.0.113.1".parse().unwrap();
        let take = |charge| budgets.take_address(charge, address).is_ok();
        assert_eq!((0..100).filter(|_| take(stranger(ipv4(1)))).count(), 10);
        assert!(take(stranger(ipv4(2))) && take(person(ipv4(1))));
        assert_eq!((0..100).filter(|n| take(stranger(ipv4(10 + n)))).count(), 9);
        assert!(take(person(ipv4(3))) && take(Charge::Known(None)));
        clock.advance(1);
        assert_eq!(
            (0..100).filter(|n| take(stranger(ipv4(200 + n)))).count(),
            2
        );
    }

    #[test]
    fn y_01_a_refusal_charges_nothing() {
        let (budgets, clock) = budgets();
        for n in 0..1_000 {
            let taken = budgets.take(person(ipv4(n)), "one.example.com");
            assert_eq!(taken.is_ok(), n < 20, "{n}");
        }
        // The domain refused: neither their networks nor the server were charged.
        let left = (0..100).filter(|n| budgets.take(person(ipv4(*n)), &host(*n)).is_ok());
        assert_eq!(left.count(), 10);
        clock.advance(60);
        let source = ipv4(999);
        let of_network = (0..100).filter(|n| budgets.take(person(source), &host(*n)).is_ok());
        assert_eq!(of_network.count(), 10);
    }

    #[tokio::test]
    async fn y_01_slow_answers_to_strangers_hold_no_place_of_others() {
        let (budgets, _) = budgets();
        let mut held = Vec::new();
        // One network: a quarter of strangers' places.
        for n in 0..100 {
            let place = budgets.place(&host(n), stranger(ipv4(1))).await;
            held.extend(place);
        }
        assert_eq!(held.len(), 4);
        for n in 100..1_000 {
            let place = budgets.place(&host(n), stranger(ipv4(n))).await;
            held.extend(place);
        }
        assert_eq!((held.len(), budgets.under_way()), (16, 16));
        assert!(
            budgets
                .place("a.com", stranger(ipv4(9_999)))
                .await
                .is_none()
        );
        // At a host that answers strangers slowly, the others have their own places.
        held.clear();
        let slow = budgets.place("slow.com", stranger(ipv4(1))).await.unwrap();
        let waits = budgets.place("slow.com", stranger(ipv4(2)));
        tokio::pin!(waits);
        assert!(futures_util::poll!(&mut waits).is_pending());
        let first = budgets.place("slow.com", person(ipv4(3))).await;
        let second = budgets.place("slow.com", Charge::Known(None)).await;
        assert!(first.is_some() && second.is_some());
        let third = budgets.place("slow.com", Charge::Known(None));
        tokio::pin!(third);
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(slow);
        assert!(waits.await.is_some());
    }
}
