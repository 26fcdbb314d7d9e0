//! Addresses that are never dialled: section 3(a).2 of the attack corpus.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wayleave::protocol::special_address::is_public;

const ROWS: &str = include_str!("../corpus/addresses.tsv");

/// Id, block, what must be refused, what must be accepted.
pub(crate) fn rows() -> impl Iterator<Item = (&'static str, &'static str, Vec<IpAddr>, Vec<IpAddr>)>
{
    let addresses = |text: &str| {
        text.split(' ')
            .filter(|ip| !ip.is_empty())
            .map(|ip| ip.parse().unwrap())
            .collect()
    };
    ROWS.lines()
        .filter(|line| !line.starts_with('#'))
        .map(move |line| {
            let mut columns = line.split('\t');
            let mut next = || columns.next().unwrap_or_default();
            (next(), next(), addresses(next()), addresses(next()))
        })
}

/// The first and the last address of each block are refused, and the neighbours are not.
#[test]
fn every_row_of_addresses_tsv() {
    let mut wrong = Vec::new();
    for (id, _, refused, accepted) in rows() {
        wrong.extend(
            refused
                .iter()
                .filter(|ip| is_public(**ip))
                .map(|ip| format!("{id}: {ip} was accepted")),
        );
        wrong.extend(
            accepted
                .iter()
                .filter(|ip| !is_public(**ip))
                .map(|ip| format!("{id}: {ip} was refused")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(rows().count(), 59);
}

#[test]
fn ip_92_public_neighbours_are_accepted() {
    for ip in [
        "1.1.1.1",
        "9.9.9.9",
        "8.8.8.8",
        "2606:4700:4700::1111",
        "2a00::1",
    ] {
        assert!(is_public(ip.parse().unwrap()), "{ip}");
    }
}

#[test]
fn ip_94_an_ipv4_address_inside_an_ipv6_address_is_judged_by_itself() {
    let refused = [
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::",
        "2002:c0a8:1::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2001:0:4136:e378:8000:63bf:5601:5601",
        "2a00::5efe:a9fe:a9fe",
        "2a00::200:5efe:a9fe:a9fe",
        "2a00:1:2:3:0:5efe:a00:1",
        "fe80::5efe:7f00:1",
    ];
    for ip in refused {
        assert!(!is_public(ip.parse().unwrap()), "{ip}");
    }
    // ISATAP with a public address inside is an address like others.
    assert!(is_public("2a00::5efe:101:101".parse().unwrap()));
}

/// The same table, by another hand: addresses and blocks as texts of bits.
struct Reference(Vec<(bool, String)>);

fn bits(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{:032b}", u32::from(ip)),
        IpAddr::V6(ip) => format!("{:0128b}", u128::from(ip)),
    }
}

impl Reference {
    fn new() -> Self {
        // The rows but one: what lies outside 2000::/3 is asked for below.
        let blocks = rows()
            .filter(|(id, ..)| *id != "IP6-31")
            .map(|(_, block, ..)| {
                let (ip, length) = block.split_once('/').unwrap();
                let ip: IpAddr = ip.parse().unwrap();
                (
                    ip.is_ipv4(),
                    bits(ip)[..length.parse::<usize>().unwrap()].to_owned(),
                )
            });
        Self(blocks.collect())
    }

    fn is_public(&self, ip: IpAddr) -> bool {
        let text = bits(ip);
        let in_a_block = self
            .0
            .iter()
            .any(|(v4, prefix)| *v4 == ip.is_ipv4() && text.starts_with(prefix));
        if ip.is_ipv4() {
            return !in_a_block;
        }
        let isatap = text[64..96] == format!("{:032b}", 0x5efe)
            || text[64..96] == format!("{:032b}", 0x0200_5efe);
        let inner = isatap.then(|| Ipv4Addr::from(u32::from_str_radix(&text[96..], 2).unwrap()));
        text.starts_with("001")
            && !in_a_block
            && inner.is_none_or(|inner| self.is_public(inner.into()))
    }
}

#[test]
fn ip_93_a_million_addresses_agree_with_another_reading_of_the_table() {
    let reference = Reference::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let starts: Vec<IpAddr> = rows().flat_map(|(_, _, refused, _)| refused).collect();
    let (mut public, mut wrong) = (0, Vec::new());
    for n in 0..1_000_000_u32 {
        let low = next();
        let any = u128::from(next()) << 64 | u128::from(low);
        let near = starts[usize::try_from(next() % 64).unwrap() % starts.len()];
        let ip: IpAddr = match (n % 4, near) {
            (0, _) => Ipv4Addr::from(u32::try_from(low >> 32).unwrap()).into(),
            (1, IpAddr::V4(near)) => {
                Ipv4Addr::from(u32::from(near) ^ u32::try_from(low & 0x3ff).unwrap()).into()
            }
            (1, IpAddr::V6(near)) => {
                Ipv6Addr::from(u128::from(near) ^ u128::from(low & 0xffff) << (low % 100)).into()
            }
            // Most of the rest lies where addresses are given out.
            (2, _) => Ipv6Addr::from(any >> 3 | 1 << 125).into(),
            _ if low % 8 == 0 => {
                Ipv6Addr::from((any >> 3 | 1 << 125) & !(0xffff_ffff << 32) | 0x5efe << 32).into()
            }
            _ => Ipv6Addr::from(any).into(),
        };
        let expected = reference.is_public(ip);
        public += u32::from(expected);
        if is_public(ip) != expected {
            wrong.push(ip);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} addresses, the first {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(10)]
    );
    assert!(
        (200_000..800_000).contains(&public),
        "{public}: both kinds are tried"
    );
}
