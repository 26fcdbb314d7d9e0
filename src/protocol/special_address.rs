//! Addresses that are never dialled: the IANA special-purpose address registries (RFC 6890, RFC 8190) as they lie in
//! `data/`, multicast (RFC 5771, RFC 4291 §2.7) and IPv6 forms that embed such an IPv4 address.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use ipnet::{IpNet, Ipv6Net};

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
    TABLE.find(ip.into())
}

/// IPv6 is an allow-list: only global unicast, minus the special blocks in it.
fn special_v6(ip: Ipv6Addr) -> Option<&'static str> {
    // The embedded address is asked first: its name says more than that of the block around it.
    let embedded = embedded_v4(ip).into_iter().flatten().find_map(special_v4);
    let outside =
        || (!GLOBAL_UNICAST.contains(&ip)).then_some("outside IPv6 Global Unicast 2000::/3");
    embedded.or_else(|| TABLE.find(ip.into())).or_else(outside)
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

/// IANA IPv6 Address Space: the only block that is assigned for global unicast.
const GLOBAL_UNICAST: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// IANA's registries, in the form in which IANA publishes them; `data/README.md` says how to renew them.
const REGISTRIES: [&str; 2] = [
    include_str!("../../data/iana-ipv4-special-registry-1.csv"),
    include_str!("../../data/iana-ipv6-special-registry-1.csv"),
];

/// What is special without being in those registries.
const BESIDE: &[(&str, &str)] = &[
    ("168.63.129.16/32", "Azure WireServer (Microsoft)"),
    ("224.0.0.0/4", "Multicast [RFC5771]"),
    ("::/96", "IPv4-compatible [RFC4291]"),
    ("::ffff:0:0:0/96", "IPv4-translated [RFC2765]"),
    ("200::/7", "OSI NSAP-mapped [RFC4048]"),
    ("fec0::/10", "Site-local [RFC3879]"),
    ("ff00::/8", "Multicast [RFC4291]"),
];

static TABLE: LazyLock<Table> = LazyLock::new(Table::compile);

/// Blocks with their names, the most specific first, so that the name is the best one.
struct Table {
    blocks: Vec<(IpNet, String)>,
    /// Were all rows read? If not, nothing is public.
    complete: bool,
}

impl Table {
    fn compile() -> Self {
        let mut table = Self {
            blocks: Vec::new(),
            complete: true,
        };
        for text in REGISTRIES {
            match rows(text) {
                Some(rows) => rows.iter().for_each(|row| table.add_row(row)),
                None => table.complete = false,
            }
        }
        for (block, name) in BESIDE {
            table.add(block, name);
        }
        table
            .blocks
            .sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
        table
    }

    /// A row of a registry: its blocks, with the marks of its footnotes, its name and its source.
    fn add_row(&mut self, row: &[String]) {
        let [blocks, name, source, ..] = row else {
            self.complete = false;
            return;
        };
        let name = format!("{name} {}", source.split(',').next().unwrap_or_default());
        for block in blocks.split(',') {
            self.add(
                block.split('[').next().unwrap_or_default().trim(),
                name.trim(),
            );
        }
    }

    fn add(&mut self, block: &str, name: &str) {
        match block.parse::<IpNet>() {
            Ok(net) if net == net.trunc() => self.blocks.push((net, name.to_owned())),
            _ => self.complete = false,
        }
    }

    fn find(&self, ip: IpAddr) -> Option<&str> {
        if !self.complete {
            return Some("the table of special addresses cannot be read");
        }
        let block = self.blocks.iter().find(|(net, _)| net.contains(&ip));
        block.map(|(_, name)| name.as_str())
    }
}

/// The rows of a CSV text below its header, RFC 4180; `None` where it is malformed.
fn rows(text: &str) -> Option<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (field, after) = field(rest)?;
        row.push(field);
        rest = match after.strip_prefix(',') {
            Some(after) => after,
            None => {
                rows.push(std::mem::take(&mut row));
                after.trim_start_matches(['\r', '\n'])
            }
        };
    }
    let header = rows.first()?;
    let is_right =
        header.first()? == "Address Block" && rows.iter().all(|row| row.len() == header.len());
    is_right.then(|| rows.split_off(1))
}

/// One field, and what follows it: a comma, the end of the line, or of the text.
fn field(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let (field, rest) = text.split_at(text.find([',', '\r', '\n']).unwrap_or(text.len()));
        return (!field.contains('"')).then(|| (field.to_owned(), rest));
    };
    let mut value = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        value.push_str(part);
        // Two quotes stand for one.
        match after.strip_prefix('"') {
            Some(after) => {
                value.push('"');
                rest = after;
            }
            None if after.is_empty() || after.starts_with([',', '\r', '\n']) => {
                return Some((value, after));
            }
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_registries_is_compiled_and_refused() {
        assert!(TABLE.complete);
        let mut blocks = 0;
        for text in REGISTRIES {
            for row in rows(text).unwrap() {
                for block in row[0].split(',') {
                    let net: IpNet = block.split('[').next().unwrap().trim().parse().unwrap();
                    blocks += 1;
                    assert!(
                        !is_public(net.network()) && !is_public(net.broadcast()),
                        "{block}"
                    );
                }
            }
        }
        assert_eq!(TABLE.blocks.len(), blocks + BESIDE.len());
    }

    #[test]
    fn a_registry_is_read_as_iana_writes_it() {
        let text = "Address Block,Name,RFC\r\n192.0.0.0/24 [2],\"IETF \"\"Protocol\"\" Assignments\",\"[RFC6890],\n Section 2.1\"\r\n\
                    \"192.0.0.170/32, 192.0.0.171/32\",NAT64,[RFC8880]\r\n";
        let rows = rows(text).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0][1], "IETF \"Protocol\" Assignments");
        let mut table = Table {
            blocks: Vec::new(),
            complete: true,
        };
        rows.iter().for_each(|row| table.add_row(row));
        assert!(table.complete);
        assert_eq!(table.blocks.len(), 3);
        assert_eq!(table.blocks[0].1, "IETF \"Protocol\" Assignments [RFC6890]");
        // What cannot be read makes nothing public.
        for bad in ["10.0.0.0/33", "10.0.0.1/8", "ten", ""] {
            table.complete = true;
            table.add(bad, "bad");
            assert!(!table.complete, "{bad}");
        }
        assert!(table.find("1.1.1.1".parse().unwrap()).is_some());
        for bad in [
            "",
            "Name\n10.0.0.0/8\n",
            "Address Block,Name\n10.0.0.0/8\n",
            "Address Block\n\"10",
        ] {
            assert!(super::rows(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn the_name_of_a_block_is_the_most_specific_one() {
        for (ip, name) in [
            ("10.1.2.3", "Private-Use [RFC1918]"),
            ("192.0.0.9", "Port Control Protocol Anycast [RFC7723]"),
            ("::ffff:127.0.0.1", "Loopback [RFC1122]"),
            ("2002:a00:1::", "Private-Use [RFC1918]"),
            ("4000::1", "outside IPv6 Global Unicast 2000::/3"),
        ] {
            assert_eq!(special_block(ip.parse().unwrap()), Some(name), "{ip}");
        }
        assert_eq!(special_block("1.1.1.1".parse().unwrap()), None);
    }
}
