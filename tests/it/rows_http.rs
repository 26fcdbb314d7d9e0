//! Rows H- of the attack corpus: what may answer instead of a document, and that `explain` says what a login meets.

use std::time::Duration;

use axum::body::Body;
use futures_util::{StreamExt, stream};
use http::Request;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wayleave::{
    app::App,
    clients::Clients,
    clients::Need,
    config::Config,
    fetch::DOCUMENT_ACCEPT,
    policy::catalog::Resource,
    protocol::{client_id::ClientId, client_url::ClientUrl},
};

use crate::{
    rows_url::{expanded, report, rows},
    support::{
        Browser, Database, TestApp,
        app::anybody,
        dns::{NameServer, SERVFAIL, Saying},
        hostile::{
            Act, Authority, HOST, Hostile, another, document, fetch, fetcher, ok, serving, table,
        },
    },
};

/// One answer, and the rule that refuses it; none where it is accepted.
#[derive(Clone)]
struct Case {
    id: &'static str,
    case: String,
    client: String,
    rule: Option<&'static str>,
}

/// Answers, each at a path of its own.
struct Table<'a> {
    site: &'a Hostile,
    cases: Vec<Case>,
}

const OK: &str = "HTTP/1.1 200 OK\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

impl Table<'_> {
    /// What is done is made from the document that would be right there.
    fn acts(
        &mut self,
        id: &'static str,
        case: impl Into<String>,
        rule: impl Into<Option<&'static str>>,
        acts: impl FnOnce(&str) -> Vec<Act>,
    ) {
        let path = format!("/{}/{}", id.to_lowercase(), self.cases.len());
        let client = self.site.url(&path);
        self.site.at(&path, acts(&document(&client)));
        self.cases.push(Case {
            id,
            case: case.into(),
            client,
            rule: rule.into(),
        });
    }

    fn said(
        &mut self,
        id: &'static str,
        case: impl Into<String>,
        rule: impl Into<Option<&'static str>>,
        said: impl FnOnce(&str) -> String,
    ) {
        self.acts(id, case, rule, |document| {
            vec![Act::Say(said(document).into_bytes())]
        });
    }

    /// The right document under another head.
    fn head(
        &mut self,
        id: &'static str,
        rule: impl Into<Option<&'static str>>,
        status: &str,
        headers: &str,
    ) {
        let case = format!("{status} {headers:?}");
        let case = case.chars().take(120).collect::<String>();
        self.said(id, case, rule, |document| {
            let length = document.len();
            format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{document}")
        });
    }

    /// A good head over another body.
    fn body(&mut self, id: &'static str, rule: &'static str, body: &[u8]) {
        let case = String::from_utf8_lossy(body)
            .chars()
            .take(60)
            .collect::<String>();
        self.acts(id, case, rule, |_| vec![Act::Say(ok(body))]);
    }
}

fn all(site: &Hostile) -> Vec<Case> {
    let mut table = Table {
        site,
        cases: Vec::new(),
    };
    media_types(&mut table);
    statuses(&mut table);
    encodings(&mut table);
    sizes(&mut table);
    framing(&mut table);
    heads(&mut table);
    bodies(&mut table);
    time(&mut table);
    table.cases
}

fn media_types(table: &mut Table<'_>) {
    for kind in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=\"UTF-8\"",
        "application/vnd.x+json",
        "application/ld+json",
        "application/cimd+json",
    ] {
        let id = if kind == "application/json" {
            "H-01"
        } else {
            "H-02"
        };
        table.head(id, None, "200 OK", &format!("Content-Type: {kind}\r\n"));
    }
    for kind in [
        "text/html",
        "text/plain",
        "application/octet-stream",
        "application/jsonp",
        "application/jsonl",
        "application/json-seq",
        "application/javascript",
        "application/+json",
        "text/json",
        "text/x+json",
        "image/png",
        "image/svg+xml",
        "*/*",
        "json",
        "",
        "application/json, text/html",
        "text/html; application/json",
    ] {
        let headers = format!("Content-Type: {kind}\r\n");
        table.head("H-03", "document.media_type", "200 OK", &headers);
    }
    table.head("H-03", "document.media_type", "200 OK", "");
    for second in ["text/html", "application/json"] {
        let two = format!("{JSON}Content-Type: {second}\r\n");
        table.head("H-03", "document.media_type", "200 OK", &two);
    }
    for charset in [
        "utf-16",
        "iso-8859-1",
        "utf-7",
        "\"utf-16\"",
        "utf-8; charset=utf-16",
    ] {
        let headers = format!("Content-Type: application/json; charset={charset}\r\n");
        table.head("H-04", "document.media_type", "200 OK", &headers);
    }
}

fn statuses(table: &mut Table<'_>) {
    for status in [201, 202, 203, 205, 206, 207, 226, 299] {
        table.head("H-05", "fetch.status", &format!("{status} x"), JSON);
    }
    let no_content = "HTTP/1.1 204 No Content\r\n\r\n".to_owned();
    table.said("H-05", "204", "fetch.status", |_| no_content);

    let there = table.site.url("/good");
    table.site.publish("/good");
    for status in [301, 302, 303, 307, 308] {
        let headers = format!("{JSON}Location: {there}\r\n");
        table.head("H-10", "fetch.status", &format!("{status} x"), &headers);
        table.head(
            "H-10",
            "fetch.status",
            &format!("{status} x"),
            &format!("{JSON}Location: /good\r\n"),
        );
    }
    for target in [
        "https://other.example.net/good",
        "http://app.example.com/good",
        "https://169.254.169.254/latest/meta-data/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "//other.example.net/good",
        "",
        "\u{1}",
    ] {
        let headers = format!("{JSON}Location: {target}\r\n");
        let rule = if target == "\u{1}" {
            "fetch.head"
        } else {
            "fetch.status"
        };
        table.head("H-11", rule, "302 Found", &headers);
    }
    table.head("H-11", "fetch.status", "302 Found", JSON);
    table.head(
        "H-11",
        "fetch.status",
        "300 Multiple Choices",
        &format!("{JSON}Link: <{there}>; rel=\"alternate\"\r\n"),
    );
    let itself = table.site.url(&format!("/h-11/{}", table.cases.len()));
    table.head(
        "H-11",
        "fetch.status",
        "301 Moved",
        &format!("{JSON}Location: {itself}\r\n"),
    );

    for header in [
        format!("Refresh: 0; url={there}"),
        format!("Link: <{there}>; rel=\"canonical\""),
        "Alt-Svc: h2=\"other.example.net:443\", h3=\":443\"; ma=86400".to_owned(),
        format!("Content-Location: {there}"),
        format!("Location: {there}"),
        "Strict-Transport-Security: max-age=1".to_owned(),
    ] {
        table.head("H-12", None, "200 OK", &format!("{JSON}{header}\r\n"));
    }
    let refresh = format!("<meta http-equiv=refresh content='0;url={there}'>");
    table.body("H-12", "document.json", refresh.as_bytes());

    let not_modified = "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".to_owned();
    table.said("H-13", "304", "fetch.status", |_| not_modified);
    for status in [
        400, 401, 402, 403, 404, 405, 406, 407, 410, 418, 421, 425, 429, 451, 500, 501, 502, 503,
        504, 505, 511, 599, 600, 999,
    ] {
        let challenge = "WWW-Authenticate: Basic realm=\"x\"\r\nProxy-Authenticate: Negotiate\r\n";
        table.head(
            "H-15",
            "fetch.status",
            &format!("{status} x"),
            &format!("{JSON}{challenge}"),
        );
    }
    for (first, times) in [
        ("100 Continue", 1),
        ("102 Processing", 1),
        ("103 Early Hints\r\nLink: </style.css>; rel=preload", 1),
        ("100 Continue", 10),
    ] {
        table.said("H-16", format!("{times} x {first:?}"), None, |document| {
            let early = format!("HTTP/1.1 {first}\r\n\r\n").repeat(times);
            format!("{early}{}", good(document))
        });
    }
    let upgrade =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    table.said("H-16", "101", "fetch.status", |document| {
        format!("{upgrade}{document}")
    });
}

fn encodings(table: &mut Table<'_>) {
    for coding in [
        "gzip",
        "br",
        "zstd",
        "deflate",
        "gzip, gzip",
        "x",
        "GZIP",
        "identity, gzip",
        "aes128gcm",
    ] {
        let headers = format!("{JSON}Content-Encoding: {coding}\r\n");
        table.head("H-20", "fetch.encoding", "200 OK", &headers);
    }
    let two = format!("{JSON}Content-Encoding: identity\r\nContent-Encoding: gzip\r\n");
    table.head("H-20", "fetch.encoding", "200 OK", &two);
    // The beginning of a real one: nobody unpacks it.
    let mut bomb = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xec\xc1\x01\x01\x00\x00".to_vec();
    bomb.resize(10_000, 0);
    table.body("H-21", "document.json", &bomb);
}

/// An answer as it should be, of text.
fn good(body: &str) -> String {
    String::from_utf8(ok(body.as_bytes())).unwrap()
}

/// Spaces behind the document, as many as it lacks.
fn padded(document: &str, size: usize) -> String {
    format!("{document:size$}")
}

fn chunked(parts: &[&str]) -> String {
    let chunks = parts
        .iter()
        .map(|part| format!("{:x}\r\n{part}\r\n", part.len()));
    chunks.collect::<String>() + "0\r\n\r\n"
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

fn sizes(table: &mut Table<'_>) {
    for length in ["10241", "65536", "4294967296", "9223372036854775807"] {
        table.said("H-30", length, "fetch.size", |document| {
            format!("{OK}{JSON}Content-Length: {length}\r\n\r\n{document}")
        });
    }
    // Our HTTP client keeps the last numbers for itself.
    table.said("H-30", "2^64-1", "fetch.head", |document| {
        format!("{OK}{JSON}Content-Length: {}\r\n\r\n{document}", u64::MAX)
    });
    for (size, rule) in [(10_239, None), (10_240, None), (10_241, Some("fetch.size"))] {
        table.said("H-31", format!("{size}, with a length"), rule, |document| {
            format!(
                "{OK}{JSON}Content-Length: {size}\r\n\r\n{}",
                padded(document, size)
            )
        });
        table.said("H-31", format!("{size}, in one chunk"), rule, |document| {
            format!(
                "{OK}{JSON}{CHUNKED}\r\n{}",
                chunked(&[&padded(document, size)])
            )
        });
        table.said("H-31", format!("{size}, until the end"), rule, |document| {
            format!("{OK}{JSON}\r\n{}", padded(document, size))
        });
    }
}

fn framing(table: &mut Table<'_>) {
    let head = format!("{OK}{JSON}{CHUNKED}\r\n");
    table.said("H-32", "two chunks", None, |document| {
        let (a, b) = document.split_at(20);
        format!("{head}{}", chunked(&[a, b]))
    });
    table.said("H-32", "trailers", None, |document| {
        let trailers = "client_id: https://evil.example/\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n";
        let whole = chunked(&[document]);
        format!("{head}{}{trailers}\r\n", whole.strip_suffix("\r\n").unwrap())
    });
    table.said("H-32", "chunks of one byte", None, |document| {
        let bytes: Vec<_> = (0..document.len()).map(|n| &document[n..=n]).collect();
        format!("{head}{}", chunked(&bytes))
    });
    table.said("H-32", "a short extension", None, |document| {
        format!("{head}{:x};a=b\r\n{document}\r\n0\r\n\r\n", document.len())
    });
    for (case, size) in [
        ("64 KiB of extension", format!("5;{}", "x".repeat(65_536))),
        ("a size that is too large", "ffffffffffffffff1".to_owned()),
        ("a negative size", "-5".to_owned()),
        ("a size with a sign", "+5".to_owned()),
        ("a size with a prefix", "0x5".to_owned()),
        ("no size", String::new()),
        ("a size in words", "five".to_owned()),
    ] {
        table.said("H-32", case, "fetch.body", |document| {
            format!("{head}{size}\r\n{document}\r\n0\r\n\r\n")
        });
    }
    table.said("H-32", "64 KiB of trailers", "fetch.body", |document| {
        let whole = chunked(&[document]);
        format!(
            "{head}{}x: {}\r\n\r\n",
            whole.strip_suffix("\r\n").unwrap(),
            "x".repeat(65_536)
        )
    });

    table.said(
        "H-34",
        "a length that is too large",
        "fetch.body",
        |document| {
            format!(
                "{OK}{JSON}Content-Length: {}\r\n\r\n{document}",
                document.len() + 7
            )
        },
    );
    table.said(
        "H-34",
        "a length that is too small for what follows",
        None,
        |document| {
            format!(
                "{OK}{JSON}Content-Length: {}\r\n\r\n{document}HTTP/1.1 200 OK\r\n\r\n{{}}",
                document.len()
            )
        },
    );
    table.said(
        "H-34",
        "a length that is too small for it",
        "document.json",
        |document| {
            format!(
                "{OK}{JSON}Content-Length: {}\r\n\r\n{document}",
                document.len() - 1
            )
        },
    );
    for lengths in [
        "Content-Length: {n}\r\nContent-Length: {n}\r\n",
        "Content-Length: {n}\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: {n}\r\n",
        "Content-Length: {n}, {n}\r\n",
        "Content-Length: {n}, 5\r\n",
        "Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: {n}\r\n",
        "Content-Length: +{n}\r\n",
        "Content-Length: 0x{x}\r\n",
        "Content-Length: -{n}\r\n",
        "Content-Length: {n}.0\r\n",
        "Content-Length: {n} {n}\r\n",
        "Content-Length: {n};\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999\r\n",
    ] {
        table.said("H-34", format!("{lengths:?}"), "fetch.head", |document| {
            let n = document.len();
            let lengths = lengths.replace("{n}", &n.to_string());
            let lengths = lengths.replace("{x}", &format!("{n:x}"));
            let body = match lengths.contains("chunked") {
                true => chunked(&[document]),
                false => document.to_owned(),
            };
            format!("{OK}{JSON}{lengths}\r\n{body}")
        });
    }
}

fn heads(table: &mut Table<'_>) {
    table.said("H-35", "HTTP/1.0 with a length", None, |document| {
        format!(
            "HTTP/1.0 200 OK\r\n{JSON}Content-Length: {}\r\n\r\n{document}",
            document.len()
        )
    });
    table.said("H-35", "HTTP/1.0 until the end", None, |document| {
        format!("HTTP/1.0 200 OK\r\n{JSON}\r\n{document}")
    });
    table.said("H-35", "no reason", None, |document| {
        format!(
            "HTTP/1.1 200\r\n{JSON}Content-Length: {}\r\n\r\n{document}",
            document.len()
        )
    });
    table.said("H-35", "HTTP/0.9", "fetch.head", str::to_owned);
    let long = format!("HTTP/1.1 200 {}", "x".repeat(65_536));
    for line in [
        "HTTP/1.1 2OO OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 -200 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1",
        "HTTP/2 200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/1.10 200 OK",
        "http/1.1 200 OK",
        "ICY 200 OK",
        "RTSP/1.0 200 OK",
        "200 OK",
        &long,
    ] {
        let case = line.chars().take(40).collect::<String>();
        table.said("H-35", case, "fetch.head", |document| {
            format!(
                "{line}\r\n{JSON}Content-Length: {}\r\n\r\n{document}",
                document.len()
            )
        });
    }
    let lines = |count: usize| {
        (0..count)
            .map(|n| format!("X-{n}: x\r\n"))
            .collect::<String>()
    };
    // Two lines are the media type and the length.
    for (count, rule) in [
        (62, None),
        (63, Some("fetch.head")),
        (998, Some("fetch.head")),
    ] {
        table.head("H-36", rule, "200 OK", &format!("{JSON}{}", lines(count)));
    }
    for (size, rule) in [
        (15_000, None),
        (16_400, Some("fetch.head")),
        (65_536, Some("fetch.head")),
    ] {
        let headers = format!("{JSON}X-Large: {}\r\n", "x".repeat(size));
        table.head("H-36", rule, "200 OK", &headers);
    }
    let many = (0..60)
        .map(|n| format!("X-{n}: {}\r\n", "x".repeat(300)))
        .collect::<String>();
    table.head("H-36", "fetch.head", "200 OK", &format!("{JSON}{many}"));
    for header in [
        "X-Folded: a\r\n b",
        "X-Folded: a\r\n\tb",
        " X-Folded: a",
        "X-Nul: a\0b",
        "X-Return: a\rb",
        "X-Return: a\r",
        "X-Escape: a\u{1b}[2Jb",
        "X Space: a",
        "X-Nul\0: a",
        ": a",
        "no colon",
    ] {
        table.head(
            "H-36",
            "fetch.head",
            "200 OK",
            &format!("{JSON}{header}\r\n"),
        );
    }
    table.acts("H-38", "the connection is kept open", None, |document| {
        vec![Act::Say(ok(document.as_bytes())), Act::Listen]
    });
    // What an h2 server says first (RFC 9113 §3.4), and what floods are made of, to a request in HTTP/1.1.
    let frame = |kind: u8, flags: u8| vec![0, 0, 0, kind, flags, 0, 0, 0, 1];
    for (case, kind) in [
        ("SETTINGS", 4),
        ("CONTINUATION", 9),
        ("DATA", 0),
        ("RST_STREAM", 3),
    ] {
        table.acts("H-50", case, "fetch.head", |_| {
            vec![Act::Say(
                [frame(4, 0), frame(kind, 0).repeat(1_000)].concat(),
            )]
        });
    }
}

fn bodies(table: &mut Table<'_>) {
    table.body("H-39", "document.json", b"");
    table.body("H-39", "document.json", b" \r\n\t ");
    table.body("H-39", "document.object", b"null");
    table.body("H-39", "document.client_id", b"{}");
    table.said("H-40", "JSONP", "document.json", |document| {
        good(&format!("cb({document});"))
    });
    table.said(
        "H-40",
        "a guard against scripts",
        "document.json",
        |document| good(&format!(")]}}',\n{document}")),
    );
    table.said("H-40", "a byte order mark", "document.json", |document| {
        good(&format!("\u{feff}{document}"))
    });
    table.said("H-40", "line ends around it", None, |document| {
        good(&format!("\n\r\n{document}\n"))
    });
}

/// The limit is 2 s here.
fn time(table: &mut Table<'_>) {
    let second = Duration::from_secs(1);
    table.acts("H-33", "a body without end", "fetch.size", |_| {
        let head = format!("{OK}{JSON}\r\n").into_bytes();
        vec![
            Act::Say(head),
            Act::Repeat(vec![b' '; 512], Duration::from_millis(1)),
        ]
    });
    table.acts("H-33", "chunks without end", "fetch.size", |_| {
        let head = format!("{OK}{JSON}{CHUNKED}\r\n").into_bytes();
        vec![
            Act::Say(head),
            Act::Repeat(
                [&b"200\r\n"[..], &[b' '; 512], b"\r\n"].concat(),
                Duration::ZERO,
            ),
        ]
    });
    for (case, pause) in [
        ("a byte a second", second),
        ("a byte in four seconds", 4 * second),
    ] {
        table.acts("H-33", case, "fetch.body", |document| {
            let head = format!("{OK}{JSON}Content-Length: {}\r\n\r\n", document.len());
            vec![
                Act::Say(head.into_bytes()),
                Act::Drip(document.as_bytes().to_vec(), pause),
            ]
        });
    }
    table.acts("H-33", "all but the last byte", "fetch.body", |document| {
        let answer = ok(document.as_bytes());
        let (most, last) = answer.split_at(answer.len() - 1);
        vec![
            Act::Say(most.to_vec()),
            Act::Wait(10 * second),
            Act::Say(last.to_vec()),
        ]
    });
    table.acts("H-33", "a head without end", "fetch.head", |_| {
        vec![
            Act::Say(OK.as_bytes().to_vec()),
            Act::Repeat(b"x".to_vec(), Duration::from_millis(100)),
        ]
    });
    table.acts(
        "H-33",
        "a head, a byte a second",
        "fetch.head",
        |document| vec![Act::Drip(ok(document.as_bytes()), second)],
    );
    table.acts("H-33", "no answer", "fetch.head", |_| vec![Act::Listen]);
    table.acts(
        "H-33",
        "the end instead of an answer",
        "fetch.head",
        |_| vec![],
    );
    table.acts("H-33", "TCP cut instead of an answer", "fetch.head", |_| {
        vec![Act::Cut]
    });
    table.acts("H-16", "100 without end", "fetch.head", |_| {
        let early = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
        vec![Act::Repeat(early, Duration::from_millis(1))]
    });
}

/// A hostile site, and servers for which the time is short and its host has places enough.
struct Bench {
    authority: Authority,
    site: Hostile,
    server: TestApp,
}

impl Bench {
    async fn new() -> Self {
        let authority = Authority::new();
        let site = Hostile::https(authority.server(&[HOST])).await;
        let server = TestApp::new(Database::sqlite()).await;
        Self {
            authority,
            site,
            server,
        }
    }

    async fn app(&self, resolver: wayleave::fetch::Resolver) -> (App, Browser) {
        let number = |n: u32| std::num::NonZeroU32::new(n).unwrap();
        another(&self.server, resolver, |config| {
            config.fetch.extra_ca_file = Some(self.authority.file());
            // A busy machine makes nobody late.
            config.fetch.timeout = number(6);
            config.fetch.connect_timeout = number(3);
            config.fetch.dns_timeout = number(2);
            config.fetch.max_in_flight = number(1_000);
            config.fetch.max_in_flight_per_host = number(1_000);
        })
        .await
    }

    /// An authorization request as the documents of the site allow it.
    fn target(&self, client: &str) -> String {
        let flow = self.server.flow(client);
        flow.with("redirect_uri", &format!("https://{HOST}/cb"))
            .target()
    }

    async fn usual(&self) -> (App, Browser) {
        self.app(table(&[(HOST, "127.0.0.1")])).await
    }
}

/// Asks for several at a time, and keeps what is wrong.
async fn complaints<T, F: Future<Output = Option<String>>>(
    cases: Vec<T>,
    judge: impl Fn(T) -> F,
) -> Vec<String> {
    let judged = stream::iter(cases).map(judge).buffer_unordered(12);
    judged
        .filter_map(async |complaint| complaint)
        .collect()
        .await
}

#[tokio::test]
async fn h_01_to_h_50_every_answer_is_judged_by_its_rule() {
    let bench = Bench::new().await;
    let (app, _) = bench.usual().await;
    let cases = all(&bench.site);
    let count = cases.len();
    let failures = complaints(cases, async |case: Case| {
        let explained = app.clients.explain(&case.client).await;
        let refused = explained.refused_by();
        let rule = refused.map(|line| line.rule);
        let problem = refused.and_then(|line| line.problem.as_deref());
        let (id, text, expected) = (case.id, case.case, case.rule);
        (rule != expected)
            .then(|| format!("{id} {text}: {rule:?} instead of {expected:?}: {problem:?}"))
    })
    .await;
    assert_eq!(
        bench.site.connections(),
        count,
        "one connection each: nothing is followed or tried again"
    );
    report(failures, count);
}

/// And never a 500, never a redirect to the client.
#[tokio::test]
async fn h_60_whatever_fails_is_a_page() {
    let bench = Bench::new().await;
    let (_, browser) = bench.usual().await;
    let cases: Vec<_> = all(&bench.site)
        .into_iter()
        .filter(|case| case.rule.is_some())
        .collect();
    let count = cases.len();
    let failures = complaints(cases, async |case: Case| {
        let mut browser = browser.clone();
        let page = browser.get(&bench.target(&case.client)).await;
        let is_page = match page.status.as_u16() {
            400 => page.header("retry-after").is_empty(),
            503 => !page.header("retry-after").is_empty(),
            _ => false,
        };
        let told = match case.rule {
            Some("fetch.head") => "fetch.reach",
            rule => rule.unwrap(),
        };
        let is_told = page.body.contains(&format!("<bdi>{told}</bdi>"));
        let (id, text, status) = (case.id, case.case, page.status);
        let fine = is_page && is_told && page.location().is_none();
        (!fine).then(|| format!("{id} {text}: {status}, not told {told}"))
    })
    .await;
    assert_eq!(bench.site.connections(), count);
    report(failures, count);
}

#[tokio::test]
async fn h_00_a_request_says_nothing_of_who_caused_it() {
    let bench = Bench::new().await;
    let (_, mut browser) = bench.usual().await;
    let client = bench.site.publish("/c.json?a=b");
    let request = Request::get(bench.target(&client))
        .header("authorization", "Bearer x")
        .header("referer", "https://client.example.com/start")
        .header("origin", "https://client.example.com")
        .header("x-forwarded-for", "198.51.100.7")
        .header("forwarded", "for=198.51.100.7")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .header("baggage", "user=ada")
        .header("x-request-id", "x")
        .header("accept", "text/html")
        .header("accept-language", "tlh")
        .header("user-agent", "Mozilla/5.0")
        .header("cdn-loop", "another")
        .body(Body::empty())
        .unwrap();
    browser.send(request).await;
    let read = bench.site.read();
    let [head] = read.as_slice() else {
        panic!("{read:?}")
    };
    let head = String::from_utf8(head.clone()).unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap();
    assert_eq!(line, "GET /c.json?a=b HTTP/1.1");
    let mut headers: Vec<_> = headers
        .trim_end()
        .split("\r\n")
        .map(|line| line.to_lowercase().replacen(": ", "\t", 1))
        .collect();
    headers.sort();
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        format!("accept\t{DOCUMENT_ACCEPT}"),
        "accept-encoding\tidentity".to_owned(),
        "cdn-loop\twayleave".to_owned(),
        format!("host\t{HOST}:{}", bench.site.port()),
        format!("user-agent\twayleave/{version} (+http://127.0.0.1:8080)"),
    ];
    assert_eq!(headers, expected);
}

/// The corpus would renew a document on 304 to a conditional request; decisions.md wins: there is no conditional
/// request. Nor is a cookie kept.
#[tokio::test]
async fn h_14_h_37_a_second_request_is_like_the_first() {
    let bench = Bench::new().await;
    let (app, mut browser) = bench.usual().await;
    let client = bench.site.publish("/c.json");
    let answer = good(&document(&client));
    let marks = "ETag: \"x\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nSet-Cookie: a=b; Secure; Path=/\r\n";
    let answer = answer.replacen(JSON, &format!("{JSON}{marks}"), 1);
    bench
        .site
        .at("/c.json", vec![Act::Say(answer.into_bytes())]);
    let target = bench.target(&client);
    assert_eq!(browser.get(&target).await.status, 303);
    app.clock.advance(700);
    assert_eq!(browser.get(&target).await.status, 303);
    let read = bench.site.read();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0], read[1]);

    let not_modified = b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".to_vec();
    bench.site.at("/c.json", vec![Act::Say(not_modified)]);
    app.clock.advance(700);
    let page = browser.get(&target).await;
    assert_eq!(page.status, 400, "{}", page.body);
    assert!(page.body.contains("fetch.status"), "{}", page.body);
}

#[tokio::test]
async fn h_15_a_host_is_left_alone_for_as_long_as_it_asks_but_a_minute_at_most() {
    let bench = Bench::new().await;
    let (app, mut browser) = bench.usual().await;
    let table = [
        ("429 Too Many Requests", "30", 30),
        ("503 Service Unavailable", "7", 7),
        ("503 Service Unavailable", "3600", 60),
        ("429 Too Many Requests", "99999999999999999999", 5),
        ("503 Service Unavailable", "0", 5),
        ("503 Service Unavailable", "-30", 5),
        ("503 Service Unavailable", "soon", 5),
        ("404 Not Found", "30", 5),
    ];
    let mut failures = Vec::new();
    for (n, (status, retry_after, wait)) in table.iter().enumerate() {
        let path = format!("/{n}");
        let client = bench.site.url(&path);
        let answer =
            format!("HTTP/1.1 {status}\r\nRetry-After: {retry_after}\r\nContent-Length: 0\r\n\r\n");
        bench.site.at(&path, vec![Act::Say(answer.into_bytes())]);
        browser.get(&bench.target(&client)).await;
        let now = app.clock.now();
        let backed_off = app.clients.backed_off(now);
        let mut same = backed_off
            .iter()
            .filter(|one| one.client_id.as_str() == client);
        let got = same.next().map(|one| one.not_before - now);
        if got != Some(*wait) {
            failures.push(format!(
                "H-15 {status}, Retry-After: {retry_after}: {got:?}, not {wait}"
            ));
        }
    }
    assert_eq!(bench.site.connections(), table.len());
    report(failures, table.len());
}

/// The corpus would refuse after ten. Our HTTP client does not show them: many are either refused or skipped, but the
/// time limit holds for all of them together, and none is kept ("100 without end" is a row of the table).
#[tokio::test]
async fn h_16_ten_thousand_early_answers_end_in_time() {
    let bench = Bench::new().await;
    let (app, _) = bench.usual().await;
    let client = bench.site.url("/c");
    let early = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
    let answer = ok(document(&client).as_bytes());
    bench.site.at("/c", vec![Act::Say(early), Act::Say(answer)]);
    let explain = app.clients.explain(&client);
    let explained = tokio::time::timeout(Duration::from_secs(10), explain).await;
    let explained = explained.expect("the limit is two seconds");
    let rule = explained.refused_by().map(|line| line.rule);
    assert!([None, Some("fetch.head")].contains(&rule), "{rule:?}");
}

#[tokio::test]
async fn h_30_what_says_that_it_is_too_large_is_not_read() {
    let bench = Bench::new().await;
    let (app, _) = bench.usual().await;
    let head = format!("{OK}{JSON}Content-Length: 10241\r\n\r\n").into_bytes();
    bench.site.at("/c", vec![Act::Say(head), Act::Listen]);
    let explained = app.clients.explain(&bench.site.url("/c")).await;
    assert_eq!(explained.refused_by().unwrap().rule, "fetch.size");
    assert_eq!(explained.wire.unwrap().bytes, 0);
    bench.site.ended(1).await;
}

#[tokio::test]
async fn h_31_the_limit_of_the_draft_can_be_set() {
    let authority = Authority::new();
    let site = Hostile::https(authority.server(&[HOST])).await;
    let server = TestApp::new(Database::sqlite()).await;
    let resolver = table(&[(HOST, "127.0.0.1")]);
    let (app, _) = another(&server, resolver, |config| {
        config.fetch.extra_ca_file = Some(authority.file());
        config.fetch.max_bytes = std::num::NonZeroU32::new(5_120).unwrap();
    })
    .await;
    for (size, rule) in [(5_119, None), (5_120, None), (5_121, Some("fetch.size"))] {
        let path = format!("/{size}");
        let body = padded(&document(&site.url(&path)), size);
        let answers = [
            ok(body.as_bytes()),
            format!("{OK}{JSON}{CHUNKED}\r\n{}", chunked(&[&body])).into_bytes(),
            format!("{OK}{JSON}\r\n{body}").into_bytes(),
        ];
        for answer in answers {
            site.at(&path, vec![Act::Say(answer)]);
            let explained = app.clients.explain(&site.url(&path)).await;
            assert_eq!(explained.refused_by().map(|line| line.rule), rule, "{size}");
        }
    }
}

#[tokio::test]
async fn h_33_no_more_is_read_than_the_limit_and_one_piece() {
    let authority = Authority::new();
    let site = Hostile::https(authority.server(&[HOST])).await;
    let head = format!("{OK}{JSON}\r\n").into_bytes();
    let endless = Act::Repeat(vec![b' '; 1 << 20], Duration::ZERO);
    site.at("/c", vec![Act::Say(head), endless]);
    let fetcher = fetcher(&authority, table(&[(HOST, "127.0.0.1")]), |_| {});
    let (wire, fetched) = fetch(&fetcher, &site.url("/c")).await;
    assert_eq!(
        fetched.map_err(|error| error.rule()).unwrap_err(),
        "fetch.size"
    );
    // A piece is what our HTTP client reads at once.
    assert!(wire.bytes < 1 << 20, "{}", wire.bytes);
    assert!(wire.beginning.len() <= 2_048);
    site.ended(1).await;
}

#[tokio::test]
async fn h_38_the_connection_is_closed_when_the_body_is_there() {
    let bench = Bench::new().await;
    let (_, mut browser) = bench.usual().await;
    let client = bench.site.url("/c");
    let answer = ok(document(&client).as_bytes());
    bench.site.at("/c", vec![Act::Say(answer), Act::Listen]);
    assert_eq!(browser.get(&bench.target(&client)).await.status, 303);
    bench.site.ended(1).await;
}

/// What `explain` and a login say of one identifier, where they differ.
async fn disagreement(app: &App, case: &str, client: &str) -> Option<String> {
    let explained = app.clients.explain(client).await;
    let client_id: ClientId = client.parse().unwrap();
    let resolved = app
        .clients
        .client(&client_id, Need::Fetch(anybody()), app.clock.now())
        .await;
    let explained_rule = explained.refused_by().map(|line| line.rule);
    let resolved_rule = match &resolved {
        Err(refusal) => Some(refusal.rule),
        // It is known, and there is nothing that it may do: neither sign people in, nor what only listed clients may.
        Ok(Some(client)) if client.check_code_flow().is_err() => Some("policy.use"),
        Ok(_) => None,
    };
    let agree = explained_rule == resolved_rule && explained.accepted == resolved_rule.is_none();
    (!agree).then(|| format!("{case}: explain says {explained_rule:?}, a login {resolved_rule:?}"))
}

/// One entry of `documents.json`, as far as a site of another name can serve it.
#[derive(Deserialize)]
struct Entry {
    id: String,
    case: String,
    at: Option<String>,
    #[serde(default)]
    members: Map<String, Value>,
    #[serde(default)]
    without: Vec<String>,
    insert: Option<String>,
    body: Option<String>,
    file: Option<String>,
    encoding: Option<String>,
}

impl Entry {
    /// The document, moved to another address.
    fn at(&self, client: &str) -> Option<String> {
        if self.insert.is_some() || self.file.is_some() || self.encoding.is_some() {
            return None;
        }
        let old = self.at.as_deref().unwrap_or("https://client.example.com/c");
        let text = match &self.body {
            Some(body) => expanded(body),
            None => {
                let mut document = json!({
                    "client_id": old,
                    "client_name": "Client",
                    "redirect_uris": ["https://client.example.com/cb"],
                    "token_endpoint_auth_method": "none",
                });
                let object = document.as_object_mut().unwrap();
                object.extend(self.members.clone());
                object.retain(|name, _| !self.without.contains(name));
                expanded(&document.to_string())
            }
        };
        Some(text.replace(&format!("\"{old}\""), &format!("\"{client}\"")))
    }
}

#[tokio::test]
async fn explain_and_the_real_resolution_agree() {
    let bench = Bench::new().await;
    let dns = NameServer::start().await;
    dns.say(HOST, Saying::addresses(&["127.0.0.1"]));
    let mut cases: Vec<(String, String)> = all(&bench.site)
        .into_iter()
        .map(|case| (format!("{} {}", case.id, case.case), case.client))
        .collect();
    for (n, entry) in rows::<Entry>("documents.json").iter().enumerate() {
        let path = format!("/document/{n}");
        let client = bench.site.url(&path);
        if let Some(text) = entry.at(&client) {
            bench.site.at(&path, vec![Act::Say(ok(text.as_bytes()))]);
            cases.push((format!("{} {}", entry.id, entry.case), client));
        }
    }

    // Below HTTP.
    let stranger = Authority::new();
    let expired = {
        let mut params = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        serving(params, &bench.authority.issuer, &[])
    };
    let nobody = {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        free.local_addr().unwrap().port()
    };
    let wrong_name = bench.authority.server(&["other.example.net"]);
    let mut h2 = bench.authority.server(&[HOST]);
    h2.alpn_protocols = vec![b"h2".to_vec()];
    let sites = [
        ("T-02 expired", Hostile::https(expired).await),
        (
            "T-02 unknown",
            Hostile::https(stranger.server(&[HOST])).await,
        ),
        ("T-02 another name", Hostile::https(wrong_name).await),
        ("T-07 stalls", Hostile::silent("127.0.0.1:0").await),
        (
            "T-11 SSH",
            Hostile::plain("127.0.0.1:0", b"SSH-2.0-OpenSSH_9.9\r\n").await,
        ),
        ("T-13 h2", Hostile::https(h2).await),
    ];
    for (case, site) in &sites {
        cases.push(((*case).to_owned(), site.url("/c")));
    }
    cases.push((
        "D-18 nobody".to_owned(),
        format!("https://{HOST}:{nobody}/c"),
    ));
    for (case, name, saying) in [
        ("D-12 NXDOMAIN", "nx.example.org", Saying::code(3)),
        ("D-12 SERVFAIL", "fail.example.org", Saying::code(SERVFAIL)),
        ("D-12 silence", "silent.example.org", Saying::nothing()),
        (
            "D-02",
            "private.example.org",
            Saying::addresses(&["10.0.0.5"]),
        ),
        (
            "D-03",
            "mixed.example.org",
            Saying::addresses(&["127.0.0.1", "10.0.0.5"]),
        ),
        (
            "D-05",
            "mapped.example.org",
            Saying::addresses(&["::ffff:127.0.0.1"]),
        ),
        ("D-20", "app.internal", Saying::addresses(&["1.1.1.1"])),
    ] {
        dns.say(name, saying);
        cases.push((case.to_owned(), format!("https://{name}/c")));
    }

    let (app, _) = bench.app(dns.resolver()).await;
    let count = cases.len();
    assert!(count > 300, "{count}");
    let failures = complaints(cases, async |(case, client): (String, String)| {
        disagreement(&app, &case, &client).await
    })
    .await;
    report(failures, count);
}

/// One entry of `client_ids.json`.
#[derive(Deserialize)]
struct Identifier {
    id: String,
    client_id: String,
    allow_query: Option<bool>,
    #[serde(default)]
    allowed_ports: Vec<u16>,
    #[serde(default)]
    loopback: bool,
    #[serde(default)]
    resources: Vec<String>,
}

impl Identifier {
    fn config(&self, server: &TestApp) -> Config {
        let mut config = server.app.config.clone();
        config.issuer = "https://as.example.net".parse().unwrap();
        config.danger.allow_loopback_clients = self.loopback;
        config.clients.allow_query = self.allow_query.unwrap_or(true);
        config.clients.allowed_ports.clone_from(&self.allowed_ports);
        let resource = |id: &String| Resource {
            id: id.clone(),
            ..config.resources.0[0].clone()
        };
        config.resources.0 = self.resources.iter().map(resource).collect();
        config
    }
}

#[tokio::test]
async fn explain_refuses_an_identifier_by_the_rule_that_a_login_meets_and_asks_nobody() {
    let server = TestApp::new(Database::sqlite()).await;
    let dns = NameServer::start().await;
    let entries: Vec<Identifier> = rows("client_ids.json");
    let mut failures = Vec::new();
    let mut refused_by_dns = 0;
    for entry in &entries {
        let text = expanded(&entry.client_id);
        let config = entry.config(&server);
        let store = server.app.store.clone();
        let clients = Clients::new(&config, store, dns.resolver(), &server.app.clock).unwrap();
        let expected = match text.parse::<ClientUrl>() {
            Err(error) => Err(error.rule()),
            Ok(client_id) => clients
                .check_url(&client_id)
                .map_err(|refusal| refusal.rule),
        };
        let before = dns.questions().len();
        let explained = clients.explain(&text).await;
        let rule = explained.refused_by().map(|line| line.rule);
        let asked = dns.questions().len() - before;
        let agree = match expected {
            Err(expected) => rule == Some(expected) && explained.wire.is_none() && asked == 0,
            // No such name exists here, and on this machine nobody serves it.
            Ok(()) => rule.is_some_and(|rule| rule.starts_with("fetch.")),
        };
        refused_by_dns += usize::from(asked > 0);
        if !agree {
            let (id, input) = (&entry.id, &entry.client_id);
            failures.push(format!(
                "{id} {input:?}: {rule:?}, not {expected:?}; asked {asked}"
            ));
        }
    }
    assert!(refused_by_dns > 10, "{refused_by_dns}");
    report(failures, entries.len());
}
