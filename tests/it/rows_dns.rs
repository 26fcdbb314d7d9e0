//! Rows D- of the attack corpus: from a name to the one address that is dialled, CIMD §8.6.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    process::Command,
    time::{Duration, Instant},
};

use tokio::net::{TcpSocket, TcpStream};
use wayleave::{
    config::{Config, Environment},
    fetch::{Charge, DOCUMENT_ACCEPT, FetchError, Fetched, Fetcher, Resolver, Wanted, Wire},
    protocol::special_address::special_block,
    time::{Clock, UnixTime},
};

use crate::{
    process::{run, wayleave},
    rows_address,
    rows_url::report,
    support::{
        Database, TestApp,
        dns::{A, AAAA, HTTPS, NXDOMAIN, NameServer, Question, REFUSED, Record, SERVFAIL, Saying},
        hostile::{
            Act, Authority, HOST, Hostile, another, complaint_of_a_call, document, fetch, fetcher,
            ok, serving, table,
        },
    },
};

/// As strangers meet us: nothing of this machine may be dialled but these networks.
fn public(allow: &'static [&str]) -> impl FnOnce(&mut Config) {
    move |config| {
        config.danger.allow_loopback_clients = false;
        config.fetch.allow_networks = allow.iter().map(|net| net.parse().unwrap()).collect();
        config.fetch.dns_timeout = std::num::NonZeroU32::MIN;
    }
}

fn rule((_, fetched): &(Wire, Result<Fetched, FetchError>)) -> Result<(), &'static str> {
    fetched.as_ref().map(|_| ()).map_err(FetchError::rule)
}

#[tokio::test]
async fn d_01_d_25_a_name_is_asked_for_once_and_exactly_its_address_is_dialled() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    dns.say(HOST, Saying::addresses(&["127.0.0.2"]));
    let site = Hostile::https_at("127.0.0.2:0", authority.server(&[HOST])).await;
    let beside = Hostile::tcp(&format!("127.0.0.1:{}", site.port()), |_, _| async {}).await;
    let client = site.publish("/c.json");
    let fetcher = fetcher(&authority, dns.resolver(), public(&["127.0.0.0/8"]));
    let (wire, fetched) = fetch(&fetcher, &client).await;
    assert_eq!(fetched.unwrap().body, document(&client).as_bytes());
    assert_eq!(wire.dialled, Some(site.address));
    assert_eq!((site.connections(), beside.connections()), (1, 0));
    assert_eq!((dns.count(HOST, A), dns.count(HOST, AAAA)), (1, 1));
    assert_eq!(dns.questions().len(), 2, "and nothing else is asked");
}

/// IP4- and IP6- as answers. The neighbours are in the Internet: they are asked for, not dialled.
#[tokio::test]
async fn d_02_d_05_no_address_of_a_special_block_is_dialled() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    let counter = Hostile::counter().await;
    let fetcher = fetcher(&authority, dns.resolver(), public(&[]));
    let blocks: Vec<_> = rows_address::rows().collect();
    let mut failures = Vec::new();
    for (n, (id, block, refused, neighbours)) in blocks.iter().enumerate() {
        for (m, address) in refused.iter().enumerate() {
            let name = format!("h{m}.b{n}.example.org");
            dns.say(&name, Saying::addresses(&[&address.to_string()]));
            let url = format!("https://{name}:{}/c", counter.port());
            let got = fetch(&fetcher, &url).await;
            let complaint = complaint_of_a_call(&got, "fetch.address");
            failures.extend(complaint.map(|wrong| format!("{id} {block} {address}: {wrong}")));
            if got.0.addresses != [*address] {
                failures.push(format!("{id} {address} became {:?}", got.0.addresses));
            }
        }
        for neighbour in neighbours {
            if let Some(block) = special_block(*neighbour) {
                failures.push(format!("{id}: {neighbour} is none, but is in {block}"));
            }
        }
    }
    assert_eq!(counter.connections(), 0);
    report(failures, blocks.len());
}

#[tokio::test]
async fn d_03_d_04_d_17_one_address_that_is_not_public_refuses_them_all() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    let counter = Hostile::counter().await;
    // 127.0.0.3 stands for a public address: it may be dialled, and nobody answers there.
    let fetcher = fetcher(&authority, dns.resolver(), public(&["127.0.0.3/32"]));
    let table: &[(&str, &[&str])] = &[
        ("D-03", &["1.1.1.1", "10.0.0.5"]),
        ("D-03", &["10.0.0.5", "1.1.1.1"]),
        ("D-03", &["1.1.1.1", "127.0.0.1"]),
        ("D-03", &["2606:4700:4700::1111", "fd00::1"]),
        ("D-04", &["1.1.1.1", "::1"]),
        ("D-04", &["127.0.0.1", "2606:4700:4700::1111"]),
        ("D-04", &["1.1.1.1", "::ffff:127.0.0.1"]),
        ("D-17", &["127.0.0.3", "127.0.0.1"]),
        ("D-17", &["127.0.0.3", "::1"]),
        ("D-17", &["127.0.0.3", "10.0.0.5"]),
    ];
    let mut failures = Vec::new();
    for (n, (id, addresses)) in table.iter().enumerate() {
        let name = format!("n{n}.example.org");
        dns.say(&name, Saying::addresses(addresses));
        let got = fetch(&fetcher, &format!("https://{name}:{}/c", counter.port())).await;
        let complaint = complaint_of_a_call(&got, "fetch.address");
        failures.extend(complaint.map(|wrong| format!("{id} {addresses:?}: {wrong}")));
    }
    assert_eq!(counter.connections(), 0);
    report(failures, table.len());
}

#[tokio::test]
async fn d_06_a_name_that_changes_its_address_is_dialled_where_it_was_checked() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    let turns: &[&[&str]] = &[&["127.0.0.2"], &["10.0.0.5"]];
    dns.say(HOST, Saying::in_turn(turns));
    let site = Hostile::https_at("127.0.0.2:0", authority.server(&[HOST])).await;
    let client = site.publish("/c.json");
    let fetcher = fetcher(&authority, dns.resolver(), public(&["127.0.0.2/32"]));
    let (wire, fetched) = fetch(&fetcher, &client).await;
    assert!(fetched.is_ok(), "{fetched:?}");
    assert_eq!(wire.dialled, Some(site.address));
    assert_eq!((dns.count(HOST, A), dns.count(HOST, AAAA)), (1, 1));
}

/// The corpus speaks of a document and its key set: both are fetches of one fetcher, and of one host.
#[tokio::test]
async fn d_07_each_fetch_is_checked_on_its_own() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    let turns: &[&[&str]] = &[
        &["127.0.0.2"],
        &["10.0.0.5"],
        &["127.0.0.1"],
        &["127.0.0.2"],
    ];
    dns.say(HOST, Saying::in_turn(turns));
    let site = Hostile::https_at("127.0.0.2:0", authority.server(&[HOST])).await;
    let (client, keys) = (site.publish("/c.json"), site.publish("/jwks.json"));
    let fetcher = fetcher(&authority, dns.resolver(), public(&["127.0.0.2/32"]));
    assert!(fetch(&fetcher, &client).await.1.is_ok());
    for _ in 0..2 {
        let got = fetch(&fetcher, &keys).await;
        assert_eq!(complaint_of_a_call(&got, "fetch.address"), None);
    }
    assert!(fetch(&fetcher, &keys).await.1.is_ok());
    assert_eq!(site.connections(), 2);
}

#[tokio::test]
async fn d_08_no_connection_serves_a_second_fetch() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    let turns: &[&[&str]] = &[&["127.0.0.2"], &["127.0.0.3"]];
    dns.say(HOST, Saying::in_turn(turns));
    let before = Hostile::https_at("127.0.0.2:0", authority.server(&[HOST])).await;
    let at = format!("127.0.0.3:{}", before.port());
    let after = Hostile::https_at(&at, authority.server(&[HOST])).await;
    let client = before.publish("/c.json");
    let kept = |site: &Hostile| {
        let answer = ok(document(&client).as_bytes());
        site.at("/c.json", vec![Act::Say(answer), Act::Listen]);
    };
    kept(&before);
    kept(&after);
    let fetcher = fetcher(&authority, dns.resolver(), public(&["127.0.0.0/8"]));
    for site in [&before, &after] {
        let (wire, fetched) = fetch(&fetcher, &client).await;
        assert!(fetched.is_ok(), "{fetched:?}");
        assert_eq!(wire.dialled, Some(site.address));
        site.ended(1).await;
    }
    assert_eq!((before.connections(), after.connections()), (1, 1));
}

/// Directly under the URL layer, and in development, where literals of this machine would get furthest.
#[tokio::test]
async fn d_09_a_literal_is_not_dialled() {
    let authority = Authority::new();
    let counter = Hostile::counter().await;
    let fetcher = fetcher(&authority, table(&[]), |_| {});
    let hosts = [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
    ];
    let mut failures = Vec::new();
    for host in hosts {
        let url = format!("https://{host}:{}/", counter.port());
        let got = fetch(&fetcher, &url).await;
        let complaint = complaint_of_a_call(&got, "fetch.address");
        failures.extend(complaint.map(|wrong| format!("D-09 {host}: {wrong}")));
    }
    assert_eq!(counter.connections(), 0);
    report(failures, hosts.len());
}

/// A command on a database that is not there fails.
fn make_database(folder: &std::path::Path) {
    let mut command = wayleave(folder);
    command.arg("migrate");
    assert!(run(command, None).status.success());
}

#[tokio::test]
async fn d_10_d_15_the_environment_names_no_proxy_and_no_search_list() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    dns.say(HOST, Saying::addresses(&["127.0.0.1"]));
    let site = Hostile::https(authority.server(&[HOST])).await;
    let client = site.publish("/c.json");
    let proxy = Hostile::counter().await;
    let folder = tempfile::tempdir().unwrap();
    make_database(folder.path());
    let mut command = wayleave(folder.path());
    command
        .args(["explain", &client, "--json"])
        .env("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true")
        .env("WAYLEAVE_FETCH__EXTRA_CA_FILE", authority.file())
        .env(
            "WAYLEAVE_FETCH__NAMESERVERS",
            format!("['{}']", dns.address),
        )
        .env("LOCALDOMAIN", "corp.example")
        .env("RES_OPTIONS", "ndots:5");
    for name in [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env(name, format!("http://127.0.0.1:{}", proxy.port()));
    }
    command.env("NO_PROXY", "").env("no_proxy", "");
    let output = tokio::task::spawn_blocking(|| run(command, None));
    let output = output.await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let explained: serde_json::Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text} {:?}", output.stderr));
    assert_eq!(explained["accepted"], true, "{text}");
    assert_eq!((site.connections(), proxy.connections()), (1, 0));
    let names: Vec<_> = dns
        .questions()
        .into_iter()
        .map(|asked| asked.name)
        .collect();
    assert_eq!(names, [format!("{HOST}."), format!("{HOST}.")]);
}

/// In a mount namespace of its own, where `/etc/hosts` and `/etc/resolv.conf` are ours. Where nobody may make one, or
/// port 53 is not to be had, the row is left out.
#[tokio::test]
async fn d_15_d_16_the_hosts_file_is_checked_and_the_search_list_is_not_used() {
    let mut may = Command::new("unshare");
    may.args(["--map-root-user", "--mount", "true"]);
    let (Ok(true), Ok(dns)) = (
        may.status().map(|status| status.success()),
        NameServer::at("127.0.0.77:53").await,
    ) else {
        eprintln!("D-15 and D-16 are left out: no mount namespace or no port 53");
        return;
    };
    let counter = Hostile::counter().await;
    let folder = tempfile::tempdir().unwrap();
    make_database(folder.path());
    let (hosts, resolv) = (folder.path().join("hosts"), folder.path().join("resolv"));
    let named = "10.0.0.5 private.example.com\n127.0.0.1 here.example.com\n";
    std::fs::write(&hosts, named).unwrap();
    let settings = "nameserver 127.0.0.77\nsearch corp.example\noptions ndots:5\n";
    std::fs::write(&resolv, settings).unwrap();
    dns.say("client.example.com", Saying::code(NXDOMAIN));
    dns.say(
        "client.example.com.corp.example",
        Saying::addresses(&["1.1.1.1"]),
    );
    for (name, expected) in [
        ("private.example.com", "fetch.address"),
        ("here.example.com", "fetch.address"),
        ("client.example.com", "fetch.dns"),
    ] {
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .arg("mount --bind \"$1\" /etc/hosts && mount --bind \"$2\" /etc/resolv.conf && shift 2 && exec \"$@\"")
            .arg("sh")
            .args([&hosts, &resolv])
            .args([env!("CARGO_BIN_EXE_wayleave"), "explain"])
            .arg(format!("https://{name}:{}/c", counter.port()))
            .arg("--json")
            .current_dir(folder.path());
        let output = tokio::task::spawn_blocking(|| run(command, None));
        let output = output.await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let explained: serde_json::Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text} {:?}", output.stderr));
        let lines = explained["rules"].as_array().unwrap();
        let failed = lines.iter().find(|line| line["verdict"] == "fail").unwrap();
        assert_eq!(failed["rule"], expected, "{name}: {text}");
    }
    assert_eq!(counter.connections(), 0);
    let asked: Vec<_> = dns
        .questions()
        .into_iter()
        .map(|asked| asked.name)
        .collect();
    let searched = asked.iter().find(|name| name.ends_with("corp.example."));
    assert_eq!(searched, None);
    assert!(asked.contains(&"client.example.com.".to_owned()));
}

#[tokio::test]
async fn d_11_an_alias_is_followed_to_checked_addresses_and_not_far() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    let counter = Hostile::counter().await;
    dns.say("private.example.org", Saying::addresses(&["10.0.0.5"]));
    dns.say("here.example.org", Saying::addresses(&["127.0.0.1"]));
    dns.say("to-localhost.example.org", Saying::alias("localhost"));
    dns.say(
        "to-private.example.org",
        Saying::alias("private.example.org"),
    );
    dns.say("to-here.example.org", Saying::alias("here.example.org"));
    let whole = |target: &'static str, address: &'static str| {
        Saying::by(move |asked| {
            let alias = Record::alias(&asked.name, target);
            let address = Record::address(target, address.parse().unwrap());
            let records = [alias, address];
            Some(asked.answer(&records[..if asked.kind == A { 2 } else { 1 }]))
        })
    };
    dns.say(
        "whole.example.org",
        whole("internal.example.net", "127.0.0.1"),
    );
    dns.say(
        "whole2.example.org",
        whole("internal.example.net", "10.0.0.5"),
    );
    for n in 0..20 {
        let target = format!("chain{}.example.org", n + 1);
        dns.say(&format!("chain{n}.example.org"), Saying::alias(&target));
    }
    dns.say("chain20.example.org", Saying::addresses(&["127.0.0.3"]));
    dns.say(
        "long.example.org",
        Saying::by(|asked| {
            let name = |n: usize| match n {
                0 => "long.example.org".to_owned(),
                n => format!("long{n}.example.org"),
            };
            let alias = |n| Record::alias(&name(n), &name(n + 1));
            let mut records: Vec<_> = (0..20).map(alias).collect();
            if asked.kind == A {
                records.push(Record::address(&name(20), [10, 0, 0, 5].into()));
            }
            Some(asked.answer(&records))
        }),
    );
    dns.say("loop0.example.org", Saying::alias("loop1.example.org"));
    dns.say("loop1.example.org", Saying::alias("loop0.example.org"));
    dns.say("self.example.org", Saying::alias("self.example.org"));
    // A chain that would end where dialling is allowed, so that its length decides.
    let fetcher = fetcher(&authority, dns.resolver(), public(&["127.0.0.3/32"]));
    let table = [
        ("to-localhost", "fetch.address"),
        ("to-private", "fetch.address"),
        ("to-here", "fetch.address"),
        ("whole", "fetch.address"),
        ("whole2", "fetch.address"),
        ("long", "fetch.address"),
        ("chain0", "fetch.dns"),
        ("loop0", "fetch.dns"),
        ("self", "fetch.dns"),
    ];
    let mut failures = Vec::new();
    for (name, expected) in table {
        let before = dns.questions().len();
        let url = format!("https://{name}.example.org:{}/c", counter.port());
        let got = fetch(&fetcher, &url).await;
        let complaint = complaint_of_a_call(&got, expected);
        failures.extend(complaint.map(|wrong| format!("D-11 {name}: {wrong}")));
        let asked = dns.questions().len() - before;
        if asked > 24 {
            failures.push(format!("D-11 {name}: {asked} questions"));
        }
    }
    assert_eq!(counter.connections(), 0);
    report(failures, table.len());
}

/// A query is one transaction, RFC 1035 §4.1.1: over UDP it is sent again, with the same id, while nothing comes back.
#[tokio::test]
async fn d_12_a_name_server_that_fails_is_asked_twice_at_most() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    let fetcher = fetcher(&authority, dns.resolver(), |_| {});
    let truncated = || Saying::by(|asked| (!asked.over_tcp).then(|| asked.truncated()));
    let table = [
        ("NXDOMAIN", 1, Saying::code(NXDOMAIN)),
        ("SERVFAIL", 2, Saying::code(SERVFAIL)),
        ("REFUSED", 2, Saying::code(REFUSED)),
        ("no address", 1, Saying::addresses(&[])),
        ("no answer", 4, Saying::nothing()),
        ("truncated, TCP closed", 2, truncated()),
        (
            "truncated, also over TCP",
            2,
            Saying::by(|asked| Some(asked.truncated())),
        ),
        (
            "garbage",
            4,
            Saying::by(|_| Some(b"\xff\x00garbage".to_vec())),
        ),
        ("an empty message", 4, Saying::by(|_| Some(Vec::new()))),
    ];
    let count = table.len();
    let (dns, fetcher) = (&dns, &fetcher);
    let judged = table
        .into_iter()
        .enumerate()
        .map(async |(n, (case, most, saying))| {
            let name = format!("n{n}.example.org");
            dns.say(&name, saying);
            let got = fetch(fetcher, &format!("https://{name}/c")).await;
            let mut wrong = Vec::from_iter(complaint_of_a_call(&got, "fetch.dns"));
            for kind in [A, AAAA] {
                let asked = dns.questions().into_iter();
                let of_kind =
                    asked.filter(|asked| asked.name == format!("{name}.") && asked.kind == kind);
                let messages: Vec<_> = of_kind.map(|asked| (asked.id, asked.over_tcp)).collect();
                let queries: HashSet<_> = messages.iter().collect();
                if !(1..=2).contains(&queries.len()) || messages.len() > most {
                    let (queries, messages) = (queries.len(), messages.len());
                    wrong.push(format!(
                        "type {kind}: {queries} queries in {messages} messages"
                    ));
                }
            }
            (!wrong.is_empty()).then(|| format!("D-12 {case}: {wrong:?}"))
        });
    let failures = futures_util::future::join_all(judged).await;
    report(failures.into_iter().flatten().collect(), count);
}

/// Several times, because which one is asked first is a matter of luck.
#[tokio::test]
async fn d_12_a_second_name_server_is_asked_where_the_first_is_silent() {
    let (silent, dns) = (NameServer::start().await, NameServer::start().await);
    let authority = Authority::new();
    let site = Hostile::https(authority.server(&[HOST])).await;
    let client = site.publish("/c");
    silent.say(HOST, Saying::nothing());
    dns.say(HOST, Saying::addresses(&["127.0.0.1"]));
    let fetches = (0..16).map(async |_| {
        let resolver = Resolver::Servers(vec![silent.address, dns.address]);
        let fetcher = fetcher(&authority, resolver, |_| {});
        fetch(&fetcher, &client).await.1.map(|_| ())
    });
    for fetched in futures_util::future::join_all(fetches).await {
        assert!(fetched.is_ok(), "{fetched:?}");
    }
    assert!(
        silent.count(HOST, A) > 0,
        "the silent one was never the first"
    );
}

/// Nobody is there to refuse TCP: the listener of that port is another one.
#[tokio::test]
async fn d_12_a_name_server_that_is_not_there_is_a_failure() {
    let authority = Authority::new();
    let free = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    let resolver = Resolver::Servers(vec![nobody]);
    let fetcher = fetcher(&authority, resolver, public(&["127.0.0.0/8"]));
    let got = fetch(&fetcher, &format!("https://{HOST}/c")).await;
    assert_eq!(complaint_of_a_call(&got, "fetch.dns"), None);
}

/// 65,535 bytes are the most that a message may have over TCP: 4,000 addresses, or 10,000 that are only claimed.
#[tokio::test]
async fn d_13_an_answer_that_is_too_much_is_refused() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    let fetcher = fetcher(&authority, dns.resolver(), public(&["127.0.0.0/8"]));
    let over_tcp = |script: fn(&Question) -> Vec<u8>| {
        Saying::by(move |asked| match asked.over_tcp {
            true => Some(script(asked)),
            false => Some(asked.truncated()),
        })
    };
    fn many(asked: &Question, claimed: usize) -> Vec<u8> {
        let mut message = asked.head(0, false, claimed, false);
        for n in 0..4_000_u16 {
            // The name is a pointer to the question's.
            message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 3]);
            message.extend(n.to_be_bytes());
        }
        message
    }
    let table = [
        ("4,000 addresses", over_tcp(|asked| many(asked, 4_000))),
        ("10,000 claimed", over_tcp(|asked| many(asked, 10_000))),
        (
            "33 addresses",
            Saying::by(|asked| {
                let address = |n: u8| Record::address(&asked.name, [127, 3, 0, n].into());
                let records: Vec<_> = (0..33).map(address).collect();
                Some(asked.answer(&records[..if asked.kind == A { 33 } else { 0 }]))
            }),
        ),
        (
            "64 KiB of data",
            over_tcp(|asked| asked.answer(&[Record::new(&asked.name, 65_280, vec![0; 65_000])])),
        ),
        (
            "an address of 60,000 bytes",
            over_tcp(|asked| {
                asked.answer(&[Record::new(&asked.name, asked.kind, vec![1; 60_000])])
            }),
        ),
        (
            "a pointer to itself",
            Saying::by(|asked| {
                let mut message = asked.head(0, false, 1, false);
                let at = u16::try_from(message.len()).unwrap() | 0xc000;
                message.extend(at.to_be_bytes());
                message.extend([0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 2]);
                Some(message)
            }),
        ),
        (
            "two pointers to each other",
            Saying::by(|asked| {
                let mut message = asked.head(0, false, 1, false);
                let at = u16::try_from(message.len()).unwrap() | 0xc000;
                message.extend((at + 2).to_be_bytes());
                message.extend(at.to_be_bytes());
                message.extend([0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 2]);
                Some(message)
            }),
        ),
        (
            "60,000 bytes of pointers",
            over_tcp(|asked| {
                let mut message = asked.head(0, false, 1, false);
                let mut last = 12_u16;
                while message.len() < 60_000 {
                    let at = u16::try_from(message.len()).unwrap();
                    message.extend((0xc000 | last).to_be_bytes());
                    // Only the first 16 KiB can be pointed to.
                    last = at.min(0x3fff);
                }
                message
            }),
        ),
    ];
    let (mut failures, count) = (Vec::new(), table.len());
    for (n, (case, saying)) in table.into_iter().enumerate() {
        let name = format!("n{n}.example.org");
        dns.say(&name, saying);
        let begun = Instant::now();
        let got = fetch(&fetcher, &format!("https://{name}/c")).await;
        let complaint = complaint_of_a_call(&got, "fetch.dns");
        failures.extend(complaint.map(|wrong| format!("D-13 {case}: {wrong}")));
        if begun.elapsed() > Duration::from_secs(4) {
            failures.push(format!("D-13 {case}: {:?}", begun.elapsed()));
        }
    }
    report(failures, count);
}

#[tokio::test]
async fn d_14_a_service_binding_is_neither_asked_for_nor_believed() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    let elsewhere = Hostile::counter().await;
    let port = elsewhere.port();
    dns.say(
        HOST,
        Saying::by(move |asked| {
            // RFC 9460 §2.2: priority 1, the target itself, port (3), ipv4hint (4).
            let mut binding = vec![0, 1, 0, 0, 3, 0, 2];
            binding.extend(port.to_be_bytes());
            binding.extend([0, 4, 0, 4, 127, 0, 0, 3]);
            // Priority 0 is an alias.
            let alias = [&[0, 0][..], &crate::support::dns::labels("localhost")].concat();
            let mut records = vec![
                Record::new(&asked.name, HTTPS, binding),
                Record::new(&asked.name, HTTPS, alias),
            ];
            if asked.kind == A {
                records.push(Record::address(&asked.name, [127, 0, 0, 2].into()));
            }
            Some(asked.answer(&records))
        }),
    );
    let site = Hostile::https_at("127.0.0.2:0", authority.server(&[HOST])).await;
    let client = site.publish("/c.json");
    let fetcher = fetcher(&authority, dns.resolver(), public(&["127.0.0.0/8"]));
    let (wire, fetched) = fetch(&fetcher, &client).await;
    assert!(fetched.is_ok(), "{fetched:?}");
    assert_eq!(wire.dialled, Some(site.address));
    assert_eq!(elsewhere.connections(), 0);
    let kinds: Vec<_> = dns.questions().iter().map(|asked| asked.kind).collect();
    assert!(
        kinds.iter().all(|kind| [A, AAAA].contains(kind)),
        "{kinds:?}"
    );
}

/// A listener whose queue is full: the next connection attempt gets no answer.
async fn black_hole() -> (SocketAddr, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    // It is never accepted from, and lives as long as the test.
    let listener = Box::leak(Box::new(socket.listen(1).unwrap()));
    let mut held = Vec::new();
    loop {
        let attempt = TcpStream::connect(listener.local_addr().unwrap());
        match tokio::time::timeout(Duration::from_millis(300), attempt).await {
            Ok(stream) => held.push(stream.unwrap()),
            Err(_) => return (address, held),
        }
        assert!(held.len() < 1_000, "the queue is never full");
    }
}

#[tokio::test]
async fn d_18_whoever_does_not_answer_is_left_in_time_and_its_place_is_free() {
    let authority = Authority::new();
    let (hole, _held) = black_hole().await;
    let reset = Hostile::reset("127.0.0.1:0").await;
    let silent = Hostile::silent("127.0.0.1:0").await;
    let site = Hostile::https(authority.server(&[HOST])).await;
    let client = site.publish("/c.json");
    let nobody = {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        free.local_addr().unwrap()
    };
    // One place in all: whoever keeps it is noticed.
    let fetcher = fetcher(&authority, table(&[(HOST, "127.0.0.1")]), |config| {
        config.fetch.max_in_flight = std::num::NonZeroU32::MIN;
        config.fetch.connect_timeout = std::num::NonZeroU32::MIN;
    });
    let table = [
        ("no answer to SYN", hole, "fetch.connect"),
        ("nobody listens", nobody, "fetch.connect"),
        // What a reset meets is a matter of time: the connection, or TLS on it.
        ("RST", reset.address, ""),
        ("accepted, then silence", silent.address, "fetch.connect"),
    ];
    let mut failures = Vec::new();
    for (case, address, expected) in table {
        let begun = Instant::now();
        let url = format!("https://{HOST}:{}/c", address.port());
        let got = fetch(&fetcher, &url).await;
        match rule(&got) {
            Err(rule) if rule == expected => {}
            Err("fetch.connect" | "fetch.tls") if expected.is_empty() => {}
            other => failures.push(format!("D-18 {case}: {other:?} {:?}", got.1)),
        }
        if begun.elapsed() > Duration::from_secs(6) {
            failures.push(format!("D-18 {case}: {:?}", begun.elapsed()));
        }
        let after = fetch(&fetcher, &client).await;
        if after.1.is_err() {
            failures.push(format!("D-18 after {case}: {:?}", after.1));
        }
    }
    report(failures, table.len());
}

#[tokio::test]
async fn d_19_our_own_addresses_are_not_dialled() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    let counter = Hostile::counter().await;
    dns.say(
        "id.example.com",
        Saying::addresses(&["1.1.1.1", "2606:4700:4700::1111"]),
    );
    dns.say("hairpin.example.net", Saying::addresses(&["1.1.1.1"]));
    dns.say(
        "hairpin6.example.net",
        Saying::addresses(&["2606:4700:4700::1111"]),
    );
    dns.say("listener.example.net", Saying::addresses(&["127.0.0.1"]));
    let fetcher = fetcher(&authority, dns.resolver(), |config| {
        public(&[])(config);
        config.issuer = "https://id.example.com".parse().unwrap();
    });
    for name in [
        "id.example.com",
        "hairpin.example.net",
        "hairpin6.example.net",
        "listener.example.net",
    ] {
        let url = format!("https://{name}:{}/c", counter.port());
        let got = fetch(&fetcher, &url).await;
        assert_eq!(complaint_of_a_call(&got, "fetch.address"), None, "{name}");
    }
    assert_eq!(counter.connections(), 0);
}

#[tokio::test]
async fn d_20_development_opens_this_machine_and_nothing_else() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    let counter = Hostile::counter().await;
    let table: &[(&str, &[&str], bool, bool)] = &[
        ("a.example.org", &["127.0.0.1"], true, true),
        ("b.example.org", &["127.255.255.254"], true, true),
        ("c.example.org", &["::1"], true, true),
        ("d.internal", &["127.0.0.1"], true, true),
        ("e.localhost", &[], true, true),
        ("localhost", &[], true, true),
        ("f.example.org", &["127.0.0.1"], false, false),
        ("g.localhost", &[], false, false),
        ("h.example.org", &["::1"], false, false),
        ("i.example.org", &["::ffff:127.0.0.1"], true, false),
        ("j.example.org", &["0.0.0.0"], true, false),
        ("k.example.org", &["10.0.0.5"], true, false),
        ("l.example.org", &["169.254.169.254"], true, false),
        ("m.example.org", &["127.0.0.1", "10.0.0.5"], true, false),
        ("n.internal", &["1.1.1.1"], true, false),
        ("o.internal", &["10.0.0.5"], true, false),
    ];
    let mut failures = Vec::new();
    for (name, addresses, development, called) in table {
        dns.say(name, Saying::addresses(addresses));
        let fetcher = fetcher(&authority, dns.resolver(), |config| {
            config.danger.allow_loopback_clients = *development;
        });
        let before = counter.connections();
        let got = fetch(&fetcher, &format!("https://{name}:{}/c", counter.port())).await;
        let complaint = match called {
            // Whoever is called ends the connection, before or while TLS begins.
            true => match rule(&got) {
                Err("fetch.connect" | "fetch.tls") => None,
                other => Some(format!("{other:?}")),
            },
            false => complaint_of_a_call(&got, "fetch.address"),
        };
        failures.extend(complaint.map(|wrong| format!("D-20 {name} {addresses:?}: {wrong}")));
        if (counter.connections() > before) != *called {
            failures.push(format!("D-20 {name} {addresses:?}: called {}", !called));
        }
    }
    report(failures, table.len());

    // With an issuer that others can reach, it does not start.
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.toml");
    std::fs::write(&empty, "").unwrap();
    for listen in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:443"] {
        let variables = [
            ("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true"),
            ("WAYLEAVE_SERVER__LISTEN", listen),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = Environment::of(variables.into_iter());
        let error = wayleave::config::load(Some(&empty), &environment).unwrap_err();
        let told = error.to_string();
        assert!(told.contains("danger.allow_loopback_clients"), "{told}");
    }
}

/// What an embedded public address leads to is in the Internet: that it may be dialled is a test of the guard's own.
#[tokio::test]
async fn d_21_nat64_leads_to_public_addresses_only() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    let counter = Hostile::counter().await;
    let table = [
        (false, "64:ff9b::808:808"),
        (false, "64:ff9b::7f00:1"),
        (true, "64:ff9b::7f00:1"),
        (true, "64:ff9b::a00:5"),
        (true, "64:ff9b::a9fe:a9fe"),
        (true, "64:ff9b:1::808:808"),
    ];
    let mut failures = Vec::new();
    for (nat64, address) in table {
        dns.say(HOST, Saying::addresses(&[address]));
        let fetcher = fetcher(&authority, dns.resolver(), |config| {
            public(&[])(config);
            config.fetch.allow_nat64 = nat64;
        });
        let got = fetch(&fetcher, &format!("https://{HOST}:{}/c", counter.port())).await;
        let complaint = complaint_of_a_call(&got, "fetch.address");
        failures.extend(complaint.map(|wrong| format!("D-21 {address} {nat64}: {wrong}")));
    }
    assert_eq!(counter.connections(), 0);
    report(failures, table.len());
}

/// One page for whatever lies below HTTP. A status that is not 200 and a body that is not JSON are told apart from it on
/// purpose: the client's developer has to learn which rule of HTTP or of the document failed, and both are what a
/// public web server said to a public question. What the administrator blocks is no question to the network at all.
#[tokio::test]
async fn d_22_nobody_learns_what_is_reachable_from_here() {
    let authority = Authority::new();
    let trusted = [(
        "WAYLEAVE_FETCH__EXTRA_CA_FILE",
        authority.file().to_str().unwrap().to_owned(),
    )];
    let trusted = trusted
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let server = TestApp::with(Database::sqlite(), &trusted).await;
    let stranger = Authority::new();
    let with_wrong_tls = Hostile::https(stranger.server(&[HOST])).await;
    let port = with_wrong_tls.port();
    let beside = |ip: &str| format!("{ip}:{port}");
    let _silent = Hostile::silent(&beside("127.0.0.2")).await;
    let _reset = Hostile::reset(&beside("127.0.0.3")).await;
    let _banner = Hostile::plain(&beside("127.0.0.4"), b"220 mail.internal ESMTP\r\n").await;
    let late = Hostile::https_at(&beside("127.0.0.5"), authority.server(&[HOST])).await;
    late.at("/c", vec![Act::Listen]);
    let wrong_http = Hostile::https_at(&beside("127.0.0.6"), authority.server(&[HOST])).await;
    wrong_http.at("/c", vec![Act::Say(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec())]);
    let expired = {
        let mut params = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        serving(params, &authority.issuer, &[])
    };
    let _expired = Hostile::https_at(&beside("127.0.0.7"), expired).await;

    let url = format!("https://{HOST}:{port}/c");
    let table = [
        ("no such name", None, true),
        ("TLS that nobody trusts", Some("127.0.0.1"), true),
        ("silence", Some("127.0.0.2"), true),
        ("RST", Some("127.0.0.3"), true),
        ("a banner", Some("127.0.0.4"), true),
        ("no answer", Some("127.0.0.5"), true),
        ("another protocol", Some("127.0.0.6"), true),
        ("an expired certificate", Some("127.0.0.7"), true),
        ("nobody listens", Some("127.0.0.8"), true),
        ("an address of this machine", Some("127.0.0.1"), false),
        ("a private address", Some("10.0.0.5"), false),
        ("a metadata service", Some("169.254.169.254"), false),
    ];
    let mut pages = Vec::new();
    for (case, address, development) in table {
        let names: Vec<_> = address.iter().map(|address| (HOST, *address)).collect();
        let (_, mut browser) = another(&server, self::table(&names), |config| {
            config.danger.allow_loopback_clients = development;
            config.fetch.timeout = std::num::NonZeroU32::MIN.saturating_add(1);
            config.fetch.connect_timeout = std::num::NonZeroU32::MIN;
        })
        .await;
        let page = browser.get(&server.flow(&url).target()).await;
        let reference = page.text(".ref code");
        assert!(!reference.is_empty(), "{case}: {}", page.body);
        let mut headers: Vec<_> = page
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        headers.sort();
        let body = page.body.replace(&reference, "");
        let told = page.text("dl");
        let words = [
            "127.0.0", "10.0.0.5", "refused", "reset", "ESMTP", "SSH", "os error",
        ];
        let leaked = words.iter().find(|word| told.contains(**word));
        assert_eq!(leaked, None, "{case}: {told}");
        pages.push((case, page.status, headers.join("\n"), body));
    }
    let (_, status, headers, body) = &pages[0];
    assert_eq!(*status, 503);
    for (case, other_status, other_headers, other_body) in &pages {
        assert_eq!(status, other_status, "{case}");
        assert_eq!(headers, other_headers, "{case}");
        assert_eq!(body, other_body, "{case}");
    }
}

#[tokio::test]
async fn d_23_a_thousand_names_of_one_victim_call_it_at_most_as_often_as_one() {
    let authority = Authority::new();
    let victim = Hostile::counter().await;
    let names: Vec<String> = (0..1_000).map(|n| format!("h{n}.com")).collect();
    let entries: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), "127.0.0.1"))
        .collect();
    let mut config = Config::default();
    config.danger.allow_loopback_clients = true;
    config.fetch.extra_ca_file = Some(authority.file());
    let clock = Clock::manual(UnixTime(1_800_000_000));
    let fetcher = Fetcher::new(&config, table(&entries), &clock).unwrap();
    let wanted = Wanted {
        accept: DOCUMENT_ACCEPT,
        max_bytes: 10_240,
    };
    let mut over = 0;
    for (n, name) in names.iter().enumerate() {
        // Five a second: the budget of the server as a whole is not what stops it.
        if n % 5 == 4 {
            clock.advance(1);
        }
        let url = format!("https://{name}:{}/c", victim.port())
            .parse()
            .unwrap();
        // From all over one provider's network.
        let part = u16::try_from(n % 256).unwrap() << 8;
        let charge = Charge::Person {
            source: IpAddr::from([0x2001, 0xdb8, 0, part, 0, 0, 0, 1]),
            is_new: false,
        };
        let (_, fetched) = fetcher.get(&url, wanted, charge).await;
        if let Err(FetchError::Budget(spent)) = fetched {
            assert_eq!(spent.whose, "the address of the client's host");
            over += 1;
        }
    }
    // Ten at once, then thirty a minute, for two hundred seconds.
    assert!(
        (100..=111).contains(&victim.connections()),
        "{}",
        victim.connections()
    );
    assert_eq!(over + victim.connections(), 1_000);
}

#[tokio::test]
async fn d_24_answers_to_other_questions_are_dropped() {
    let (dns, authority) = (NameServer::start().await, Authority::new());
    let counter = Hostile::counter().await;
    let fetcher = fetcher(&authority, dns.resolver(), |config| {
        config.fetch.dns_timeout = std::num::NonZeroU32::MIN;
    });
    fn of_the_other_family(asked: &Question) -> Record {
        let address: IpAddr = match asked.kind {
            A => "::1".parse().unwrap(),
            _ => "127.0.0.1".parse().unwrap(),
        };
        Record::address(&asked.name, address)
    }
    fn of_its_family(name: &str, asked: &Question) -> Record {
        let address: IpAddr = match asked.kind {
            A => "127.0.0.1".parse().unwrap(),
            _ => "::1".parse().unwrap(),
        };
        Record::address(name, address)
    }
    let table = [
        (
            "the other family",
            Saying::by(|asked| Some(asked.answer(&[of_the_other_family(asked)]))),
        ),
        (
            "another name",
            Saying::by(|asked| Some(asked.answer(&[of_its_family("evil.example.net", asked)]))),
        ),
        (
            "the name below, by an alias of another name",
            Saying::by(|asked| {
                let alias = Record::alias("evil.example.net", "more.example.net");
                Some(asked.answer(&[alias, of_its_family("more.example.net", asked)]))
            }),
        ),
        (
            "another question",
            Saying::by(|asked| {
                let mut message = asked.answer(&[of_its_family(&asked.name, asked)]);
                // The first letter of the name in the question.
                message[13] = b'x';
                Some(message)
            }),
        ),
        (
            "another id",
            Saying::by(|asked| {
                let mut message = asked.answer(&[of_its_family(&asked.name, asked)]);
                message[0] ^= 0xff;
                Some(message)
            }),
        ),
        (
            "a question, not an answer",
            Saying::by(|asked| {
                let mut message = asked.answer(&[of_its_family(&asked.name, asked)]);
                message[2] &= 0x7f;
                Some(message)
            }),
        ),
    ];
    let (mut failures, count) = (Vec::new(), table.len());
    for (n, (case, saying)) in table.into_iter().enumerate() {
        let name = format!("n{n}.example.org");
        dns.say(&name, saying);
        let got = fetch(&fetcher, &format!("https://{name}:{}/c", counter.port())).await;
        let complaint = complaint_of_a_call(&got, "fetch.dns");
        failures.extend(complaint.map(|wrong| format!("D-24 {case}: {wrong}")));
    }
    assert_eq!(counter.connections(), 0);
    report(failures, count);
}
