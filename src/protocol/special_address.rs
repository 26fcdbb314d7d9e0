//! Addresses that are never dialled: the IANA special-purpose address registries (RFC 6890, RFC 8190), multicast
//! (RFC 5771, RFC 4291 §2.7) and IPv6 forms that embed such an IPv4 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Is this an address of the public Internet, so that a stranger may name it and we may connect to it?
pub fn is_public(ip: IpAddr) -> bool {
    special_block(ip).is_none()
}

/// The name of the block that makes an address special; `None` for a public address.
pub fn special_block(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

/// The IPv4 address in an address of the well-known NAT64 prefix, RFC 6052 §2.1.
pub fn nat64_embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

fn special_v4(ip: Ipv4Addr) -> Option<&'static str> {
    SPECIAL_V4
        .iter()
        .find(|(network, bits, _)| ip.to_bits() >> (32 - bits) == network.to_bits() >> (32 - bits))
        .map(|(_, _, name)| *name)
}

/// IPv6 is an allow-list: only global unicast, minus the special blocks in it.
fn special_v6(ip: Ipv6Addr) -> Option<&'static str> {
    // The embedded address is asked first: its name says more than "outside 2000::/3".
    if let Some(name) = embedded_v4(ip).into_iter().flatten().find_map(special_v4) {
        return Some(name);
    }
    let inside = |network: &Ipv6Addr, bits: u32| {
        ip.to_bits() >> (128 - bits) == network.to_bits() >> (128 - bits)
    };
    if !inside(&GLOBAL_UNICAST.0, GLOBAL_UNICAST.1) {
        return Some("outside IPv6 Global Unicast 2000::/3 (RFC 4291)");
    }
    SPECIAL_V6
        .iter()
        .find(|(network, bits, _)| inside(network, *bits))
        .map(|(_, _, name)| *name)
}

/// Every IPv4 address that a router or translator might read out of an IPv6 address.
fn embedded_v4(ip: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let s = ip.segments();
    let v4 =
        |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    let last = v4(s[6], s[7]);
    match s {
        // compatible (::/96), mapped (::ffff:0:0/96), translated (::ffff:0:0:0/96), NAT64 (64:ff9b::/96)
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..] => [last, None, None, None],
        // NAT64 for local use (RFC 8215): the prefix length is the operator's choice (RFC 6052 §2.2)
        [0x64, 0xff9b, 1, ..] => [
            last,
            v4(s[3], (s[4] << 8) | (s[5] >> 8)),
            v4((s[4] << 8) | (s[5] >> 8), (s[5] << 8) | (s[6] >> 8)),
            None,
        ],
        // 6to4, and what may be ISATAP below it
        [0x2002, ..] => [v4(s[1], s[2]), isatap_v4(s), None, None],
        // Teredo: the server in clear, the client inverted
        [0x2001, 0, ..] => [v4(s[2], s[3]), v4(!s[6], !s[7]), isatap_v4(s), None],
        _ => [isatap_v4(s), None, None, None],
    }
}

/// RFC 5214 §6.1: an interface identifier of `[02]00:5efe` and an IPv4 address, below any /64.
fn isatap_v4(s: [u16; 8]) -> Option<Ipv4Addr> {
    let is_isatap = matches!(s[4], 0 | 0x0200) && s[5] == 0x5efe;
    is_isatap.then(|| Ipv4Addr::from_bits(u32::from(s[6]) << 16 | u32::from(s[7])))
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

const fn v6(a: u16, b: u16, c: u16, d: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
}

/// IANA IPv4 Special-Purpose Address Registry, globally reachable rows too, and what is special without being in it.
/// More specific blocks come first, so that the name is the best one.
const SPECIAL_V4: &[(Ipv4Addr, u32, &str)] = &[
    (v4(0, 0, 0, 0), 32, "this host on this network (RFC 1122)"),
    (v4(0, 0, 0, 0), 8, "this network (RFC 791)"),
    (v4(10, 0, 0, 0), 8, "private use (RFC 1918)"),
    (v4(100, 64, 0, 0), 10, "shared address space (RFC 6598)"),
    (v4(127, 0, 0, 0), 8, "loopback (RFC 1122)"),
    (v4(168, 63, 129, 16), 32, "Azure WireServer (Microsoft)"),
    (v4(169, 254, 0, 0), 16, "link local (RFC 3927)"),
    (v4(172, 16, 0, 0), 12, "private use (RFC 1918)"),
    (v4(192, 0, 0, 0), 29, "IPv4 service continuity (RFC 7335)"),
    (v4(192, 0, 0, 8), 32, "IPv4 dummy address (RFC 7600)"),
    (v4(192, 0, 0, 9), 32, "PCP anycast (RFC 7723)"),
    (v4(192, 0, 0, 10), 32, "TURN anycast (RFC 8155)"),
    (v4(192, 0, 0, 170), 32, "NAT64/DNS64 discovery (RFC 8880)"),
    (v4(192, 0, 0, 171), 32, "NAT64/DNS64 discovery (RFC 8880)"),
    (v4(192, 0, 0, 0), 24, "IETF protocol assignments (RFC 6890)"),
    (v4(192, 0, 2, 0), 24, "documentation TEST-NET-1 (RFC 5737)"),
    (v4(192, 31, 196, 0), 24, "AS112-v4 (RFC 7535)"),
    (v4(192, 52, 193, 0), 24, "AMT (RFC 7450)"),
    (v4(192, 88, 99, 2), 32, "6a44 relay anycast (RFC 6751)"),
    (v4(192, 88, 99, 0), 24, "6to4 relay anycast (RFC 7526)"),
    (v4(192, 168, 0, 0), 16, "private use (RFC 1918)"),
    (
        v4(192, 175, 48, 0),
        24,
        "direct delegation AS112 (RFC 7534)",
    ),
    (v4(198, 18, 0, 0), 15, "benchmarking (RFC 2544)"),
    (
        v4(198, 51, 100, 0),
        24,
        "documentation TEST-NET-2 (RFC 5737)",
    ),
    (
        v4(203, 0, 113, 0),
        24,
        "documentation TEST-NET-3 (RFC 5737)",
    ),
    (v4(224, 0, 0, 0), 4, "multicast (RFC 5771)"),
    (v4(255, 255, 255, 255), 32, "limited broadcast (RFC 919)"),
    (v4(240, 0, 0, 0), 4, "reserved (RFC 1112)"),
];

/// IANA IPv6 Address Space: the only block that is assigned for global unicast.
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (v6(0x2000, 0, 0, 0), 3);

/// IANA IPv6 Special-Purpose Address Registry: the rows inside `GLOBAL_UNICAST`, more specific blocks first.
const SPECIAL_V6: &[(Ipv6Addr, u32, &str)] = &[
    (v6(0x2001, 0, 0, 0), 32, "Teredo (RFC 4380)"),
    (
        Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1),
        128,
        "PCP anycast (RFC 7723)",
    ),
    (
        Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2),
        128,
        "TURN anycast (RFC 8155)",
    ),
    (
        Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 3),
        128,
        "DNS-SD SRP anycast (RFC 9665)",
    ),
    (v6(0x2001, 2, 0, 0), 48, "benchmarking (RFC 5180)"),
    (v6(0x2001, 3, 0, 0), 32, "AMT (RFC 7450)"),
    (v6(0x2001, 4, 0x112, 0), 48, "AS112-v6 (RFC 7535)"),
    (v6(0x2001, 0x10, 0, 0), 28, "ORCHID (RFC 4843)"),
    (v6(0x2001, 0x20, 0, 0), 28, "ORCHIDv2 (RFC 7343)"),
    (
        v6(0x2001, 0x30, 0, 0),
        28,
        "drone remote identification (RFC 9374)",
    ),
    (
        v6(0x2001, 0, 0, 0),
        23,
        "IETF protocol assignments (RFC 2928)",
    ),
    (v6(0x2001, 0xdb8, 0, 0), 32, "documentation (RFC 3849)"),
    (v6(0x2002, 0, 0, 0), 16, "6to4 (RFC 3056)"),
    (
        v6(0x2620, 0x4f, 0x8000, 0),
        48,
        "direct delegation AS112 (RFC 7534)",
    ),
    (v6(0x3fff, 0, 0, 0), 20, "documentation (RFC 9637)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    );

    fn check(table: &[Row]) {
        for (id, refused, accepted) in table {
            for ip in *refused {
                assert!(!is_public(ip.parse().unwrap()), "{id}: {ip} was accepted");
            }
            for ip in *accepted {
                assert!(is_public(ip.parse().unwrap()), "{id}: {ip} was refused");
            }
        }
    }

    #[test]
    fn the_first_and_last_ipv4_address_of_a_block_are_refused_and_the_neighbours_are_not() {
        check(&[
            ("IP4-01", &["0.0.0.0", "0.255.255.255"], &["1.0.0.0"]),
            ("IP4-02", &["0.0.0.0"], &[]),
            (
                "IP4-03",
                &["10.0.0.0", "10.255.255.255"],
                &["9.255.255.255", "11.0.0.0"],
            ),
            (
                "IP4-04",
                &["100.64.0.0", "100.127.255.255"],
                &["100.63.255.255", "100.128.0.0"],
            ),
            (
                "IP4-05",
                &["127.0.0.0", "127.255.255.255"],
                &["126.255.255.255", "128.0.0.0"],
            ),
            (
                "IP4-06",
                &["169.254.0.0", "169.254.255.255"],
                &["169.253.255.255", "169.255.0.0"],
            ),
            (
                "IP4-07",
                &["172.16.0.0", "172.31.255.255"],
                &["172.15.255.255", "172.32.0.0"],
            ),
            (
                "IP4-08",
                &["192.0.0.0", "192.0.0.255"],
                &["191.255.255.255", "192.0.1.0"],
            ),
            ("IP4-09", &["192.0.0.0", "192.0.0.7"], &["191.255.255.255"]),
            ("IP4-10", &["192.0.0.8"], &[]),
            ("IP4-11", &["192.0.0.9"], &[]),
            ("IP4-12", &["192.0.0.10"], &[]),
            ("IP4-13", &["192.0.0.170"], &[]),
            ("IP4-14", &["192.0.0.171"], &[]),
            (
                "IP4-15",
                &["192.0.2.0", "192.0.2.255"],
                &["192.0.1.255", "192.0.3.0"],
            ),
            (
                "IP4-16",
                &["192.31.196.0", "192.31.196.255"],
                &["192.31.195.255", "192.31.197.0"],
            ),
            (
                "IP4-17",
                &["192.52.193.0", "192.52.193.255"],
                &["192.52.192.255", "192.52.194.0"],
            ),
            (
                "IP4-18",
                &["192.88.99.0", "192.88.99.255"],
                &["192.88.98.255", "192.88.100.0"],
            ),
            ("IP4-19", &["192.88.99.2"], &[]),
            (
                "IP4-20",
                &["192.168.0.0", "192.168.255.255"],
                &["192.167.255.255", "192.169.0.0"],
            ),
            (
                "IP4-21",
                &["192.175.48.0", "192.175.48.255"],
                &["192.175.47.255", "192.175.49.0"],
            ),
            (
                "IP4-22",
                &["198.18.0.0", "198.19.255.255"],
                &["198.17.255.255", "198.20.0.0"],
            ),
            (
                "IP4-23",
                &["198.51.100.0", "198.51.100.255"],
                &["198.51.99.255", "198.51.101.0"],
            ),
            (
                "IP4-24",
                &["203.0.113.0", "203.0.113.255"],
                &["203.0.112.255", "203.0.114.0"],
            ),
            ("IP4-25", &["240.0.0.0", "255.255.255.255"], &[]),
            ("IP4-26", &["255.255.255.255"], &[]),
            (
                "IP4-27",
                &["224.0.0.0", "239.255.255.255", "233.252.0.1"],
                &["223.255.255.255"],
            ),
            (
                "IP4-28",
                &["168.63.129.16"],
                &["168.63.129.15", "168.63.129.17"],
            ),
            (
                "L-22",
                &[
                    "100.100.100.200",
                    "192.0.0.192",
                    "169.254.170.2",
                    "169.254.169.254",
                ],
                &[],
            ),
        ]);
    }

    #[test]
    fn the_first_and_last_ipv6_address_of_a_block_are_refused_and_the_neighbours_are_not() {
        check(&[
            ("IP6-01", &["::1"], &[]),
            ("IP6-02", &["::"], &[]),
            (
                "IP6-03",
                &["::ffff:0:0", "::ffff:ffff:ffff", "::ffff:1.1.1.1"],
                &[],
            ),
            (
                "IP6-04",
                &["64:ff9b::", "64:ff9b::ffff:ffff", "64:ff9b::1.1.1.1"],
                &[],
            ),
            (
                "IP6-05",
                &["64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"],
                &[],
            ),
            ("IP6-06", &["100::", "100::ffff:ffff:ffff:ffff"], &[]),
            (
                "IP6-07",
                &["100:0:0:1::", "100::1:ffff:ffff:ffff:ffff"],
                &[],
            ),
            (
                "IP6-08",
                &["2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"],
                &["2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"],
            ),
            (
                "IP6-09",
                &["2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"],
                &["2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
            ),
            ("IP6-10", &["2001:1::1"], &[]),
            ("IP6-11", &["2001:1::2"], &[]),
            ("IP6-12", &["2001:1::3"], &[]),
            (
                "IP6-13",
                &["2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"],
                &[],
            ),
            (
                "IP6-14",
                &["2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff"],
                &[],
            ),
            (
                "IP6-15",
                &["2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff"],
                &[],
            ),
            (
                "IP6-16",
                &["2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff"],
                &[],
            ),
            (
                "IP6-17",
                &["2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff"],
                &[],
            ),
            (
                "IP6-18",
                &["2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff"],
                &[],
            ),
            (
                "IP6-19",
                &["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
                &["2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"],
            ),
            (
                "IP6-20",
                &[
                    "2002::",
                    "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                    "2002:101:101::1",
                ],
                &["2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"],
            ),
            (
                "IP6-21",
                &["2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"],
                &["2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", "2620:4f:8001::"],
            ),
            (
                "IP6-22",
                &["3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"],
                &["3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"],
            ),
            (
                "IP6-23",
                &["5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
                &[],
            ),
            (
                "IP6-24",
                &[
                    "fc00::",
                    "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                    "fd00:ec2::254",
                ],
                &[],
            ),
            (
                "IP6-25",
                &["fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
                &[],
            ),
            (
                "IP6-26",
                &["::", "::ffff:ffff", "::127.0.0.1", "::1.1.1.1"],
                &[],
            ),
            ("IP6-27", &["::ffff:0:0:0", "::ffff:0:ffff:ffff"], &[]),
            (
                "IP6-28",
                &["fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
                &[],
            ),
            (
                "IP6-29",
                &["ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
                &[],
            ),
            (
                "IP6-30",
                &["200::", "3ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
                &[],
            ),
            (
                "IP6-31",
                &[
                    "4000::",
                    "5fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                    "1fff:ffff::",
                ],
                &["3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"],
            ),
        ]);
    }

    #[test]
    fn well_known_public_addresses_are_accepted() {
        let public = &[
            "1.1.1.1",
            "9.9.9.9",
            "8.8.8.8",
            "2606:4700:4700::1111",
            "2620:fe::fe",
        ];
        check(&[("IP-92", &[], public)]);
    }

    #[test]
    fn an_embedded_ipv4_address_is_found_and_checked() {
        let table: &[(&str, &str)] = &[
            ("::ffff:169.254.169.254", "169.254.169.254"),
            ("::127.0.0.1", "127.0.0.1"),
            ("::ffff:0:127.0.0.1", "127.0.0.1"),
            ("64:ff9b::a9fe:a9fe", "169.254.169.254"),
            ("64:ff9b:1::7f00:1", "127.0.0.1"),
            ("64:ff9b:1:a9fe:a9:fe00::", "169.254.169.254"),
            ("2002:c0a8:1::1", "192.168.0.1"),
            ("2001:0:4136:e378:8000:63bf:80ff:fffe", "65.54.227.120"),
            ("2001:0:4136:e378:8000:63bf:80ff:fffe", "127.0.0.1"),
            ("2001:0:4136:e378:8000:63bf:5601:5601", "169.254.169.254"),
            ("2a00::5efe:a9fe:a9fe", "169.254.169.254"),
            ("2a00::200:5efe:a9fe:a9fe", "169.254.169.254"),
            ("2002:101:101::5efe:7f00:1", "127.0.0.1"),
            ("fe80::5efe:7f00:1", "127.0.0.1"),
        ];
        for (ip, embedded) in table {
            let found = embedded_v4(ip.parse().unwrap());
            assert!(
                found.contains(&Some(embedded.parse().unwrap())),
                "{ip}: {found:?}"
            );
            assert!(!is_public(ip.parse().unwrap()), "{ip} was accepted");
        }
    }

    #[test]
    fn isatap_is_refused_only_where_it_leads_to_a_special_address() {
        check(&[(
            "IP-94",
            &["2a00::5efe:10.0.0.1", "2a00:1:2:3:200:5efe:168.63.129.16"],
            &[
                "2a00::5efe:1.1.1.1",
                "2a00::300:5efe:10.0.0.1",
                "2a00::5eff:10.0.0.1",
            ],
        )]);
    }

    #[test]
    fn a_refusal_names_the_block() {
        let name = |ip: &str| special_block(ip.parse().unwrap());
        assert_eq!(name("::ffff:10.0.0.1"), Some("private use (RFC 1918)"));
        assert_eq!(name("192.0.0.9"), Some("PCP anycast (RFC 7723)"));
        assert_eq!(name("2001:1::1"), Some("PCP anycast (RFC 7723)"));
        assert_eq!(name("1.1.1.1"), None);
    }
}
