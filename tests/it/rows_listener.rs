//! Rows W-01 … W-20 of the attack corpus: the listener of the real binary, over sockets of our own.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use crate::process::{Running, free_port, wayleave};

/// Nothing here takes longer: what is said to end must have ended by then.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and the folder that it lives in.
struct Server {
    running: Running,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for Server {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

fn start(variables: &[(&str, &str)]) -> Server {
    start_as(variables, |command| command)
}

fn start_as(variables: &[(&str, &str)], change: impl FnOnce(Command) -> Command) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let mut command = wayleave(folder.path());
    command.envs(variables.iter().copied());
    let running = Running::start(change(command), 1);
    Server {
        running,
        _folder: folder,
    }
}

/// Every time that can be a second.
const QUICK: &[(&str, &str)] = &[
    ("WAYLEAVE_SERVER__HEADER_TIMEOUT", "1"),
    ("WAYLEAVE_SERVER__BODY_TIMEOUT", "1"),
    ("WAYLEAVE_SERVER__IDLE_TIMEOUT", "1"),
    ("WAYLEAVE_SERVER__WRITE_TIMEOUT", "1"),
];

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes until the server closes, which it must do.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut part = [0; 16_384];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&part[..count]),
            // It closed before it had read everything.
            Err(error) if is_closed(&error) => return all,
            Err(error) => panic!(
                "not closed: {error}; so far {}",
                String::from_utf8_lossy(&all)
            ),
        }
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

/// Sends these bytes; what is answered until the server closes of itself.
fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    // The server may have closed before everything was sent.
    _ = stream.write_all(bytes);
    String::from_utf8_lossy(&rest(&mut stream)).into_owned()
}

/// The statuses of all answers.
fn statuses(answers: &str) -> Vec<&str> {
    answers
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| &answer[..3])
        .collect()
}

/// One request, and the connection is closed.
fn get(address: SocketAddr, path: &str) -> String {
    ask(address, "GET", path, "", "")
}

fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = match body {
        "" => String::new(),
        body => format!("Content-Length: {}\r\n", body.len()),
    };
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{length}{headers}\r\n{body}"
    );
    exchange(address, text.as_bytes())
}

#[track_caller]
fn is_served(address: SocketAddr) {
    assert_eq!(statuses(&get(address, "/healthz")), ["200"]);
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

#[test]
fn w_01_whoever_is_slow_is_closed_and_others_are_served_meanwhile() {
    let server = start(QUICK);
    let at = server.address;
    let host = format!("Host: {at}\r\n");
    let begun: [(&str, String, &[&str]); 5] = [
        ("nothing", String::new(), &[]),
        (
            "half a head",
            format!("GET /healthz HTTP/1.1\r\n{host}"),
            &[],
        ),
        (
            "half a body",
            format!("POST /token HTTP/1.1\r\n{host}{FORM}Content-Length: 100\r\n\r\ngrant"),
            &["408"],
        ),
        (
            "one request",
            format!("GET /healthz HTTP/1.1\r\n{host}\r\n"),
            &["200"],
        ),
        (
            "one and a half",
            format!("GET /healthz HTTP/1.1\r\n{host}\r\nGET /hea"),
            &["200"],
        ),
    ];
    let open: Vec<_> = begun
        .iter()
        .map(|(case, text, expected)| {
            let mut stream = connect(at);
            stream.write_all(text.as_bytes()).unwrap();
            (case, stream, expected)
        })
        .collect();
    is_served(at);
    for (case, mut stream, expected) in open {
        let answers = String::from_utf8(rest(&mut stream)).unwrap();
        assert_eq!(statuses(&answers), **expected, "{case}: {answers}");
    }
    is_served(at);
}

#[test]
fn w_01_a_head_that_drips_is_not_waited_for() {
    let server = start(QUICK);
    let many: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = connect(server.address);
            stream.write_all(b"G").unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    for mut stream in many {
        // Each byte comes well before a silence would be too long.
        while stream.write_all(b"G").is_ok() {
            assert!(begun.elapsed() < PATIENCE, "still open");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    is_served(server.address);
}

#[test]
fn w_01_a_peer_that_does_not_read_its_answers_is_closed() {
    let server = start(&[
        ("WAYLEAVE_SERVER__WRITE_TIMEOUT", "1"),
        // Nothing else closes it.
        ("WAYLEAVE_SERVER__IDLE_TIMEOUT", "600"),
        ("WAYLEAVE_SERVER__HEADER_TIMEOUT", "600"),
    ]);
    let mut stream = connect(server.address);
    let request = format!("GET /login HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    let many = request.repeat(1_000);
    let error = loop {
        if let Err(error) = stream.write_all(many.as_bytes()) {
            break error;
        }
    };
    assert!(is_closed(&error), "{error}");
    is_served(server.address);
}

#[test]
fn w_01_one_address_has_so_many_connections_and_no_more() {
    let server = start(&[("WAYLEAVE_SERVER__MAX_CONNECTIONS_PER_ADDRESS", "3")]);
    let open: Vec<_> = (0..3).map(|_| connect(server.address)).collect();
    // In the order in which they came, so the fourth is over the limit.
    assert_eq!(exchange(server.address, b""), "");
    drop(open);
    let begun = Instant::now();
    while statuses(&get(server.address, "/healthz")) != ["200"] {
        assert!(begun.elapsed() < PATIENCE, "places are not given back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn w_01_all_addresses_together_have_so_many_connections_and_no_more() {
    let server = start(&[
        ("WAYLEAVE_SERVER__MAX_CONNECTIONS", "3"),
        ("WAYLEAVE_SERVER__TRUSTED_PROXIES", "['127.0.0.0/8']"),
        ("WAYLEAVE_SERVER__MAX_CONNECTIONS_PER_ADDRESS", "1"),
    ]);
    let mut open: Vec<_> = (0..3).map(|_| connect(server.address)).collect();
    assert_eq!(exchange(server.address, b""), "");
    let request = format!(
        "GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.address
    );
    for stream in &mut open {
        stream.write_all(request.as_bytes()).unwrap();
        let answer = String::from_utf8(rest(stream)).unwrap();
        assert_eq!(
            statuses(&answer),
            ["200"],
            "a proxy has no limit of its own"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn w_01_without_file_descriptors_it_waits_and_recovers() {
    let server = start_as(QUICK, |command| {
        let mut limited = Command::new("/bin/sh");
        limited
            .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
            .arg(command.get_program())
            .env_clear()
            .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))))
            .current_dir(command.get_current_dir().unwrap())
            .stdin(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        limited
    });
    // They wait in the system's queue; the server has no descriptors for all of them.
    let open: Vec<_> = (0..100).map(|_| connect(server.address)).collect();
    std::thread::sleep(Duration::from_millis(200));
    drop(open);
    is_served(server.address);
}

#[test]
fn w_02_a_head_has_its_bounds() {
    let server = start(&[]);
    let status = |path: &str, headers: &str| {
        let answer = ask(server.address, "GET", path, headers, "");
        statuses(&answer).concat()
    };
    let path = |bytes: usize| format!("/healthz?{}", "a".repeat(bytes - "/healthz?".len()));
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("X-{n}: 1\r\n"))
            .collect::<String>()
    };
    let long = |bytes: usize| format!("X: {}\r\n", "a".repeat(bytes));
    assert_eq!(status(&path(8_192), ""), "200");
    assert_eq!(status(&path(8_193), ""), "414");
    // Two headers are there already.
    assert_eq!(status("/healthz", &many(62)), "200");
    assert_eq!(status("/healthz", &many(63)), "431");
    let others = format!("Host: {}\r\nConnection: close\r\nX: \r\n", server.address).len();
    let room = 16_384 - others;
    assert_eq!(status("/healthz", &long(room)), "200");
    assert_eq!(status("/healthz", &long(room + 1)), "431");
    assert_eq!(status("/healthz", &long(300 * 1_024)), "431");
}

#[test]
fn w_03_a_body_has_its_bounds() {
    let server = start(QUICK);
    let at = server.address;
    let form = |bytes: usize| {
        let body = format!("a={}", "b".repeat(bytes - 2));
        let answer = ask(at, "POST", "/token", FORM, &body);
        statuses(&answer).concat()
    };
    assert_eq!(form(64 * 1_024), "401", "read, and of no client");
    assert_eq!(form(64 * 1_024 + 1), "413");
    for path in ["/token", "/par", "/login", "/authorize"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: {at}\r\n{FORM}");
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("1000\r\n{}\r\n", "a".repeat(4_096));
        let endless = format!("{chunked}{}", chunk.repeat(17));
        assert_eq!(
            statuses(&exchange(at, endless.as_bytes())),
            ["413"],
            "{path}"
        );
        let silent = format!("{chunked}{chunk}");
        let answer = exchange(at, silent.as_bytes());
        assert_eq!(statuses(&answer), ["408"], "{path}: {answer}");
        let zipped = format!(
            "{head}Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
        );
        assert_eq!(
            statuses(&exchange(at, zipped.as_bytes())),
            ["415"],
            "{path}"
        );
    }
    let mut stream = connect(at);
    let head = format!(
        "POST /token HTTP/1.1\r\nHost: {at}\r\n{FORM}Connection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"a=b").unwrap();
    let answer = String::from_utf8(rest(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("client_id"), "{answer}");
}

#[test]
fn w_04_a_request_says_once_whom_it_is_for() {
    let server = start(&[]);
    let at = server.address;
    let refused = [
        "GET /healthz HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\nHost: {at}\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\nHost: evil.example\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: user@{at}\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: {at}, evil.example\r\n\r\n"),
        "GET /healthz HTTP/1.1\r\nHost: localhost:99999\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n".to_owned(),
        format!("GET http://evil.example/healthz HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        format!("GET http://user@{at}/healthz HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        format!("CONNECT evil.example:443 HTTP/1.1\r\nHost: {at}\r\n\r\n"),
    ];
    for request in refused {
        let answer = exchange(
            at,
            format!("{request}GET /readyz HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes(),
        );
        assert_eq!(statuses(&answer), ["400"], "{request}: {answer}");
    }
    let taken = [
        format!("GET http://{at}/healthz HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"),
        "GET /healthz HTTP/1.1\r\nHost: id.example.org\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.0\r\n\r\n".to_owned(),
    ];
    for request in taken {
        let answer = exchange(at, request.as_bytes());
        assert!(answer.contains(" 200 OK"), "{request}: {answer}");
    }
}

#[test]
fn w_05_a_request_whose_end_is_not_clear_is_refused() {
    let server = start(&[]);
    let at = server.address;
    let chunked = "0\r\n\r\n";
    // Headers of a POST, and its body.
    let refused: &[(&str, &str)] = &[
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            chunked,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            chunked,
        ),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", "a=b"),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", "a=b"),
        ("Content-Length: 3, 3\r\n", "a=b"),
        ("Content-Length: +3\r\n", "a=b"),
        ("Content-Length: 0x3\r\n", "a=b"),
        ("Content-Length: 99999999999999999999\r\n", "a=b"),
        ("Content-Length:\r\n", ""),
        ("Transfer-Encoding: xchunked\r\n", chunked),
        ("Transfer-Encoding: chunked, identity\r\n", chunked),
        ("Transfer-Encoding: gzip, chunked\r\n", chunked),
        ("Transfer-Encoding: chunked, chunked\r\n", chunked),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            chunked,
        ),
        ("Transfer-Encoding: \"chunked\"\r\n", chunked),
        ("Transfer-Encoding : chunked\r\n", chunked),
        ("Transfer-Encoding:\x0bchunked\r\n", chunked),
        ("X: 1\r\n Transfer-Encoding: chunked\r\n", chunked),
        ("X: a\r\n b\r\nContent-Length: 3\r\n", "a=b"),
        ("X: a\rb\r\nContent-Length: 3\r\n", "a=b"),
        ("X: a\0b\r\nContent-Length: 3\r\n", "a=b"),
        ("X: a\nContent-Length: 3\r\n", "a=b"),
        ("Content-Length: 3\n", "a=b"),
        ("Transfer-Encoding: chunked\r\n", "3\na=b\n0\n\n"),
        ("Transfer-Encoding: chunked\r\n", "+3\r\na=b\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "0x3\r\na=b\r\n0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked\r\n",
            "FFFFFFFFFFFFFFFFF\r\na=b\r\n0\r\n\r\n",
        ),
    ];
    let smuggled = format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\n\r\n");
    for (headers, body) in refused {
        let text =
            format!("POST /token HTTP/1.1\r\nHost: {at}\r\n{FORM}{headers}\r\n{body}{smuggled}");
        let answer = exchange(at, text.as_bytes());
        assert_eq!(statuses(&answer), ["400"], "{headers:?} {body:?}: {answer}");
        // After a request that is fine, too.
        let text = format!("{smuggled}{text}");
        let answer = exchange(at, text.as_bytes());
        assert_eq!(
            statuses(&answer),
            ["200", "400"],
            "{headers:?} {body:?}: {answer}"
        );
    }
    let whole = [
        format!("GET /healthz HTTP/1.1\nHost: {at}\n\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\n\n"),
        format!("\nGET /healthz HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        format!(
            "POST /token HTTP/1.0\r\nHost: {at}\r\n{FORM}Transfer-Encoding: chunked\r\n\r\n{chunked}"
        ),
        format!("PRI /healthz HTTP/2.0\r\nHost: {at}\r\n\r\n"),
        format!("PRI * HTTP/2.0\r\nHost: {at}\n\n"),
    ];
    for text in whole {
        let answer = exchange(at, format!("{text}{smuggled}").as_bytes());
        let only = answer.matches("HTTP/1.").count() == 1;
        assert!(only && answer.contains(" 400 "), "{text:?}: {answer}");
    }
    // Extensions of chunks without end.
    let flood = format!(
        "POST /token HTTP/1.1\r\nHost: {at}\r\n{FORM}Transfer-Encoding: chunked\r\n\r\n1;{}",
        "a".repeat(1_000_000)
    );
    assert_eq!(statuses(&exchange(at, flood.as_bytes())), ["400"]);
}

#[test]
fn w_05_what_is_clear_is_served_on_one_connection() {
    let server = start(&[]);
    let at = server.address;
    let get = format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let post = format!(
        "POST /token HTTP/1.1\r\nHost: {at}\r\n{FORM}Content-Length: 8\r\n\r\na=\r\n\r\n\n\n"
    );
    let chunked = format!(
        "POST /token HTTP/1.1\r\nHost: {at}\r\n{FORM}Transfer-Encoding: Chunked\r\n\r\n3;x=y\r\na=b\r\n0\r\n\r\n"
    );
    let text = format!("\r\n{get}{post}{get}{chunked}{get}");
    for at_once in [1, 13, text.len()] {
        let mut stream = connect(at);
        for part in text.as_bytes().chunks(at_once) {
            // The last request comes after the connection's end.
            _ = stream.write_all(part);
        }
        let answers = String::from_utf8(rest(&mut stream)).unwrap();
        // A chunked body is the last of its connection.
        assert_eq!(
            statuses(&answers),
            ["200", "401", "200", "401"],
            "{answers}"
        );
        assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
    }
}

#[test]
fn w_05_a_chunked_body_is_the_last_of_its_connection_wherever_the_answer_lies_ready() {
    let server = start(&[]);
    let at = server.address;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/jwks",
        "/healthz",
    ] {
        let chunked = format!(
            "GET {path} HTTP/1.1\r\nHost: {at}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        );
        // What no connection would take as its first request.
        let unclear = format!("GET /healthz HTTP/1.1\nHost: {at}\n\n");
        let mut stream = connect(at);
        stream.write_all(chunked.as_bytes()).unwrap();
        _ = stream.write_all(unclear.as_bytes());
        let answers = String::from_utf8(rest(&mut stream)).unwrap();
        assert_eq!(statuses(&answers), ["200"], "{path}: {answers}");
        assert!(answers.contains("connection: close"), "{path}: {answers}");
    }
}

/// HTTP/2 as RFC 9113 §4.1 writes it, without the help of a library that would keep its rules.
pub(crate) mod h2 {
    use super::*;

    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const CONTINUATION: u8 = 9;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];

    #[derive(Debug)]
    pub(crate) struct Frame {
        pub(crate) kind: u8,
        pub(crate) stream: u32,
        pub(crate) payload: Vec<u8>,
    }

    pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        [&head, payload].concat()
    }

    /// The connection's preface with these settings.
    pub(crate) fn preface(settings: &[u8]) -> Vec<u8> {
        [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            frame(SETTINGS, 0, 0, settings).as_slice(),
        ]
        .concat()
    }

    /// HPACK, RFC 7541 §6.2.2: a header that is in no table.
    pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        assert!(name.len() < 127 && value.len() < 127);
        [vec![0], text(name), text(value)].concat()
    }

    /// The headers of a request.
    pub(crate) fn block(method: &str, path: &str, authority: &str) -> Vec<u8> {
        [
            field(":method", method),
            field(":scheme", "http"),
            field(":path", path),
            field(":authority", authority),
        ]
        .concat()
    }

    pub(crate) fn get(stream: u32, path: &str, authority: &str) -> Vec<u8> {
        frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            stream,
            &block("GET", path, authority),
        )
    }

    pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
        let mut all = Vec::new();
        while let Some((head, rest)) = bytes.split_at_checked(9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some((payload, rest)) = rest.split_at_checked(length) else {
                break;
            };
            all.push(Frame {
                kind: head[3],
                stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                payload: payload.to_vec(),
            });
            bytes = rest;
        }
        all
    }

    /// Everything that is answered to these bytes until the server closes; we say that no more will come.
    pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<Frame> {
        let mut stream = connect(address);
        _ = stream.write_all(bytes);
        _ = stream.write_all(&frame(GOAWAY, 0, 0, &[0; 8]));
        frames(&rest(&mut stream))
    }

    /// What a stream was answered: the first byte of the header block, in which 0x88 is the status 200.
    pub(crate) fn is_ok(frames: &[Frame], stream: u32) -> bool {
        frames.iter().any(|frame| {
            frame.kind == HEADERS && frame.stream == stream && frame.payload.first() == Some(&0x88)
        })
    }

    /// Sends the same again and again until the server closes.
    pub(crate) fn flood(
        address: SocketAddr,
        first: &[u8],
        mut next: impl FnMut(u32) -> Vec<u8>,
    ) -> Vec<Frame> {
        let mut stream = connect(address);
        let mut reader = stream.try_clone().unwrap();
        let reading = std::thread::spawn(move || rest(&mut reader));
        _ = stream.write_all(first);
        let begun = Instant::now();
        for n in 0.. {
            let many: Vec<u8> = (0..100).flat_map(|m| next(n * 100 + m)).collect();
            if stream.write_all(&many).is_err() || reading.is_finished() {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "the flood is taken");
        }
        frames(&reading.join().unwrap())
    }
}

/// What the process holds, in KiB.
#[cfg(target_os = "linux")]
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn w_07_http_2_is_spoken_with_small_windows_and_few_streams() {
    let server = start(QUICK);
    let at = server.address;
    let host = at.to_string();
    let mut text = h2::preface(&[]);
    text.extend(h2::get(1, "/healthz", &host));
    let frames = h2::exchange(at, &text);
    assert!(h2::is_ok(&frames, 1), "{frames:?}");
    let settings = frames
        .iter()
        .find(|frame| frame.kind == h2::SETTINGS)
        .unwrap();
    let setting = |id: u16| {
        let mut pairs = settings.payload.chunks(6);
        let pair = pairs.find(|pair| pair[..2] == id.to_be_bytes());
        pair.map(|pair| u32::from_be_bytes(pair[2..].try_into().unwrap()))
    };
    assert_eq!(setting(3), Some(32), "concurrent streams");
    assert_eq!(setting(4), Some(65_536), "window of a stream");
    assert_eq!(setting(6), Some(16_384), "list of headers");

    // A thousand requests whose bodies do not end.
    let mut text = h2::preface(&[]);
    let post = h2::block("POST", "/token", &host);
    for stream in (1..2_000).step_by(2) {
        text.extend(h2::frame(h2::HEADERS, h2::END_HEADERS, stream, &post));
    }
    let frames = h2::exchange(at, &text);
    let refused = frames
        .iter()
        .filter(|frame| frame.kind == h2::RST_STREAM && frame.payload == h2::REFUSED_STREAM);
    let goes_away = frames.iter().any(|frame| frame.kind == h2::GOAWAY);
    assert!(refused.count() > 0 || goes_away, "{frames:?}");
    is_served(at);
}

#[test]
fn w_07_a_request_over_http_2_follows_the_same_rules() {
    let server = start(QUICK);
    let at = server.address;
    let host = at.to_string();
    let fine = h2::block("GET", "/healthz", &host);
    let with = |name: &str, value: &str| [fine.clone(), h2::field(name, value)].concat();
    let pseudo = |fields: &[(&str, &str)]| {
        let fields = fields.iter().map(|(name, value)| h2::field(name, value));
        fields.collect::<Vec<_>>().concat()
    };
    let many: Vec<u8> = (0..65)
        .flat_map(|n| h2::field(&format!("x-{n}"), "1"))
        .collect();
    let long: Vec<u8> = (0..200)
        .flat_map(|n| h2::field(&format!("x-{n}"), &"a".repeat(100)))
        .collect();
    let table: &[(&str, Vec<u8>, bool)] = &[
        ("fine", fine.clone(), true),
        ("the same host", with("host", &host), true),
        ("another host", with("host", "evil.example"), false),
        (
            "a user",
            h2::block("GET", "/healthz", &format!("u@{host}")),
            false,
        ),
        ("a list", h2::block("GET", "/healthz", "a,b"), false),
        (
            "no host",
            pseudo(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/healthz"),
            ]),
            false,
        ),
        (
            "no path",
            pseudo(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", &host),
            ]),
            false,
        ),
        ("an empty path", h2::block("GET", "", &host), false),
        ("two paths", with(":path", "/healthz"), false),
        ("an unknown one", with(":evil", "1"), false),
        (
            "a late one",
            [h2::field("x", "1"), fine.clone()].concat(),
            false,
        ),
        ("a name in capitals", with("X-A", "1"), false),
        ("a line within a value", with("x", "a\r\nb"), false),
        (
            "a line within the path",
            h2::block("GET", "/healthz\r\n", &host),
            false,
        ),
        (
            "transfer-encoding",
            with("transfer-encoding", "chunked"),
            false,
        ),
        ("connection", with("connection", "close"), false),
        ("a length that is wrong", with("content-length", "5"), false),
        ("65 headers", [fine.clone(), many].concat(), false),
        ("too long", [fine.clone(), long].concat(), false),
    ];
    for (case, block, expected) in table {
        let mut text = h2::preface(&[]);
        let (first, more) = block.split_at(block.len().min(16_000));
        let last = |is_last: bool| if is_last { h2::END_HEADERS } else { 0 };
        text.extend(h2::frame(
            h2::HEADERS,
            h2::END_STREAM | last(more.is_empty()),
            1,
            first,
        ));
        if !more.is_empty() {
            text.extend(h2::frame(h2::CONTINUATION, last(true), 1, more));
        }
        let frames = h2::exchange(at, &text);
        assert_eq!(h2::is_ok(&frames, 1), *expected, "{case}: {frames:?}");
    }
}

#[test]
fn w_07_floods_over_http_2_end_their_connection_and_nothing_else() {
    let server = start(QUICK);
    let at = server.address;
    let host = at.to_string();
    is_served(at);
    #[cfg(target_os = "linux")]
    let before = memory(&server);
    let open = h2::preface(&[]);
    let stream = |n: u32| 2 * n + 1;
    let post = h2::block("POST", "/token", &host);

    // Rapid reset: refused as such, with ENHANCE_YOUR_CALM.
    let frames = h2::flood(at, &open, |n| {
        let cancel = h2::frame(h2::RST_STREAM, 0, stream(n), &[0, 0, 0, 8]);
        [h2::get(stream(n), "/login", &host), cancel].concat()
    });
    let last = frames.last().unwrap();
    assert!(last.kind == h2::GOAWAY && last.payload[7] == 11, "{last:?}");
    // A head without end.
    let begun = [open.clone(), h2::frame(h2::HEADERS, 0, 1, &post)].concat();
    let more = h2::frame(h2::CONTINUATION, 0, 1, &h2::field("x", "1"));
    h2::flood(at, &begun, |_| more.clone());
    let empty = h2::frame(h2::CONTINUATION, 0, 1, &[]);
    h2::flood(at, &begun, |_| empty.clone());
    // A body of nothing without end.
    let begun = [
        open.clone(),
        h2::frame(h2::HEADERS, h2::END_HEADERS, 1, &post),
    ]
    .concat();
    let empty = h2::frame(h2::DATA, 0, 1, &[]);
    h2::flood(at, &begun, |_| empty.clone());
    // Questions without end.
    let ping = h2::frame(h2::PING, 0, 0, &[0; 8]);
    h2::flood(at, &open, |_| ping.clone());
    let settings = h2::frame(h2::SETTINGS, 0, 0, &[]);
    h2::flood(at, &open, |_| settings.clone());
    // Answers that are never taken: the window is closed.
    let mut stalled = h2::preface(&[0, 4, 0, 0, 0, 0]);
    for n in 0..100 {
        stalled.extend(h2::get(stream(n), "/login", &host));
    }
    h2::exchange(at, &stalled);

    is_served(at);
    #[cfg(target_os = "linux")]
    {
        let grown = memory(&server).saturating_sub(before);
        assert!(grown < 16 * 1_024, "{grown} KiB");
    }
}

#[test]
fn w_09_only_trusted_proxies_say_whom_they_speak_for() {
    let chain = vec!["192.0.2.1"; 1_200].join(", ");
    let values = [
        "198.51.100.7",
        "fe80::1%eth0",
        "[2001:db8::1]:443",
        "\"_x\"",
        "-1",
        "/healthz",
        "https://evil.example",
        "",
        &chain,
    ];
    let names = [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "Forwarded",
        "X-Real-IP",
        "CF-Connecting-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Original-Host",
    ];
    let path = "/.well-known/oauth-authorization-server";
    for trusted in ["[]", "['127.0.0.0/8']"] {
        let log = tempfile::NamedTempFile::new().unwrap();
        let variables = [("WAYLEAVE_SERVER__TRUSTED_PROXIES", trusted)];
        let server = start_as(&variables, |mut command| {
            command.stderr(log.reopen().unwrap());
            command
        });
        let at = server.address;
        let without_date = |answer: String| {
            let lines = answer.lines().filter(|line| !line.starts_with("date"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let plain = without_date(get(at, path));
        for name in names {
            for value in values {
                let answer = ask(at, "GET", path, &format!("{name}: {value}\r\n"), "");
                assert_eq!(without_date(answer), plain, "{name}: {value}");
            }
        }
        let many = "X-Forwarded-For: 192.0.2.1\r\n".repeat(60);
        assert_eq!(statuses(&ask(at, "GET", "/login", &many, "")), ["200"]);

        // Ten strangers' requests a minute are taken of one network, however many it says it is.
        let body = "client_id=https://nobody.example.net/c.json&response_type=code&redirect_uri=https://nobody.example.net/";
        for n in 0..11 {
            let headers = format!("{FORM}X-Forwarded-For: 198.51.100.{n}\r\n");
            ask(at, "POST", "/par", &headers, body);
        }
        // The log is whole when the process has ended.
        assert_eq!(server.running.stop(), Some(0));
        let log = std::fs::read_to_string(log.path()).unwrap();
        let is_limited = log.contains("too many requests of one network");
        assert_eq!(is_limited, trusted == "[]", "{log}");
    }
}

#[test]
fn w_10_a_path_has_one_spelling() {
    let server = start(&[]);
    let at = server.address;
    let post = |path: &str| ask(at, "POST", path, FORM, "a=b");
    assert!(post("/token").contains("invalid_client"));
    let tricks = [
        "//token",
        "/./token",
        "/%74oken",
        "/token/",
        "/token;x=1",
        "/TOKEN",
        "/token%00",
        "/token%20",
        "/token.",
        "/token%2f..%2fadmin",
        "/token/..",
        "/x/../token",
        "\\token",
        "/\\token",
        "/token\\",
        "/token%3fa=b",
        "token",
        "/token%23",
        "/.//token",
        "/%2e/token",
        "*",
    ];
    for path in tricks {
        let answer = post(path);
        let status = statuses(&answer).concat();
        assert!(
            ["400", "404"].contains(&status.as_str()),
            "{path}: {answer}"
        );
        assert!(!answer.contains("invalid_client"), "{path}: {answer}");
    }
    for path in [
        "//admin/clients",
        "/admin/clients/",
        "/ADMIN/clients",
        "/admin/clients;x",
        "/healthz/../admin/clients",
    ] {
        let answer = get(at, path);
        assert_eq!(statuses(&answer), ["404"], "{path}: {answer}");
    }
}

#[test]
fn w_11_the_method_is_that_of_the_request_line() {
    let server = start(&[]);
    let at = server.address;
    let names = [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ];
    for name in names {
        let as_post = format!("{name}: POST\r\n");
        let as_get = format!("{name}: GET\r\n{FORM}");
        assert_eq!(statuses(&ask(at, "GET", "/token", &as_post, "")), ["405"]);
        assert_eq!(
            statuses(&ask(at, "GET", "/token?_method=POST", &as_post, "")),
            ["405"]
        );
        assert_eq!(
            statuses(&ask(at, "POST", "/jwks", &as_get, "_method=GET")),
            ["405"]
        );
    }
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "FOO", "get", "PROPFIND"] {
        for path in ["/token", "/login", "/jwks"] {
            let answer = ask(at, method, path, "", "");
            assert_eq!(statuses(&answer), ["405"], "{method} {path}: {answer}");
        }
    }
}

/// A certificate for `localhost` in its files, as DER.
fn certificate(folder: &std::path::Path) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    certificate.der().to_vec()
}

/// One handshake that trusts `root`: the protocol that was agreed upon, or `None` where there was none to agree with.
fn handshake(address: SocketAddr, root: &[u8], protocols: &[&str]) -> Option<String> {
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};
    let mut roots = RootCertStore::empty();
    roots.add(root.to_vec().into()).unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    let name = "localhost".try_into().unwrap();
    let mut client = ClientConnection::new(config.into(), name).unwrap();
    let mut stream = connect(address);
    while client.is_handshaking() {
        client.complete_io(&mut stream).ok()?;
    }
    let agreed = client.alpn_protocol().unwrap_or_default();
    Some(String::from_utf8(agreed.to_vec()).unwrap())
}

#[test]
fn w_13_a_new_certificate_is_taken_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = certificate(folder.path());
    let log = folder.path().join("log");
    let port = free_port();
    let mut command = wayleave(folder.path());
    command
        .arg("serve")
        .env("WAYLEAVE_ISSUER", format!("https://localhost:{port}"))
        .env("WAYLEAVE_SERVER__LISTEN", format!("127.0.0.1:{port}"))
        .env("WAYLEAVE_SERVER__TLS__CERT_FILE", "cert.pem")
        .env("WAYLEAVE_SERVER__TLS__KEY_FILE", "key.pem")
        .env("WAYLEAVE_SERVER__HEADER_TIMEOUT", "1")
        .stderr(std::fs::File::create(&log).unwrap());
    let server = Listening::start(command, port);
    let at = server.address;
    let agreed = |protocols: &[&str]| handshake(at, &first, protocols);
    assert_eq!(agreed(&["h2", "http/1.1"]).as_deref(), Some("h2"));
    assert_eq!(agreed(&["http/1.1"]).as_deref(), Some("http/1.1"));
    assert_eq!(agreed(&[]).as_deref(), Some(""));
    assert_eq!(agreed(&["smtp"]), None);

    // Whoever does not speak TLS is not waited for.
    assert_eq!(rest(&mut connect(at)), b"");
    assert!(!exchange(at, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").contains("HTTP"));

    std::fs::write(folder.path().join("cert.pem"), "no certificate").unwrap();
    let begun = Instant::now();
    while !std::fs::read_to_string(&log)
        .unwrap()
        .contains("stays as it was")
    {
        assert!(begun.elapsed() < PATIENCE, "nobody looks");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(agreed(&["h2"]).as_deref(), Some("h2"));

    // As old and as long as what could not be read: it is tried all the same.
    let fixed = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    let date = |path: &std::path::Path| {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(fixed).unwrap();
    };
    let second = certificate(folder.path());
    let whole = std::fs::read(&cert).unwrap();
    let mut damaged = whole.clone();
    damaged[60..70].fill(b'!');
    std::fs::write(&cert, damaged).unwrap();
    date(&cert);
    date(&key);
    let told = || std::fs::read_to_string(&log).unwrap();
    while told().matches("stays as it was").count() < 2 {
        assert!(begun.elapsed() < PATIENCE, "nobody looks");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::write(&cert, whole).unwrap();
    date(&cert);
    while handshake(at, &second, &["h2"]).is_none() {
        assert!(begun.elapsed() < PATIENCE, "the new one is not taken");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(agreed(&["h2"]), None);
}

#[test]
fn w_14_cookies_of_all_kinds_are_read_safely() {
    let server = start(&[("WAYLEAVE_SERVER__TRUSTED_PROXIES", "['127.0.0.0/8']")]);
    let at = server.address;
    let name = "wayleave_session";
    let cookies = [
        format!("{name}={}", "a".repeat(4_096)),
        (0..200).map(|n| format!("c{n}=v{n}; ")).collect(),
        format!("{name}=a; {name}=b"),
        format!("{name}=\"quoted; value\""),
        format!("__Host-{name}=a"),
        format!("; ; =; ={name}; {name}; {name}==;;"),
        format!("{name}=\u{e4}\u{ff}"),
        format!("wayleave_visitor={}; wayleave_visitor=%00", "b".repeat(43)),
        String::new(),
    ];
    for cookie in cookies {
        for (path, expected) in [
            ("/login", "200"),
            ("/device", "303"),
            ("/admin/clients", "303"),
        ] {
            let answer = ask(at, "GET", path, &format!("Cookie: {cookie}\r\n"), "");
            assert_eq!(statuses(&answer), [expected], "{path} {cookie:?}: {answer}");
            let set = answer
                .lines()
                .filter(|line| line.to_lowercase().starts_with("set-cookie:"));
            for line in set {
                assert!(line.len() <= 4_096 && line.contains("HttpOnly"), "{line}");
            }
        }
    }
}

#[test]
fn w_15_every_answer_carries_what_keeps_browsers_safe() {
    let folder = tempfile::tempdir().unwrap();
    for https in [false, true] {
        let issuer = if https {
            "https://id.example.com"
        } else {
            "http://127.0.0.1:1"
        };
        let server = behind_proxy(folder.path(), &[("WAYLEAVE_ISSUER", issuer)]);
        let address = server.address;
        let requests = [
            ("GET", "/", "", ""),
            ("GET", "/login", "", ""),
            ("GET", "/nothing", "", ""),
            ("GET", "/authorize", "", ""),
            ("GET", "/authorize?client_id=x", "", ""),
            ("GET", "/device", "", ""),
            ("GET", "/setup?token=x", "", ""),
            ("POST", "/login", FORM, "a=b"),
            ("POST", "/consent", FORM, "a=b"),
            ("PUT", "/login", "", ""),
            ("GET", "/jwks", "", ""),
            ("GET", "/healthz", "", ""),
            ("GET", "/readyz", "", ""),
            ("GET", "/logos/x", "", ""),
            ("GET", "/dev-clients/x", "", ""),
            ("GET", "/.well-known/oauth-authorization-server", "", ""),
            ("POST", "/token", FORM, "a=b"),
            ("POST", "/token", "", "{}"),
            ("GET", "/token", "", ""),
            (
                "OPTIONS",
                "/token",
                "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n",
                "",
            ),
            ("POST", "/par", FORM, "a=b"),
            ("POST", "/introspect", FORM, "a=b"),
            ("GET", "/userinfo", "", ""),
            ("GET", "/userinfo", "Authorization: Bearer x\r\n", ""),
            ("GET", "/healthz", "Host: a\r\n", ""),
        ];
        let long = format!("/healthz?{}", "a".repeat(8_200));
        for (method, path, headers, body) in
            requests.into_iter().chain([("GET", long.as_str(), "", "")])
        {
            let answer = ask(address, method, path, headers, body);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let head = head.to_lowercase();
            let case = format!("{method} {path}: {answer}");
            let value = |name: &str| {
                let start = format!("{name}: ");
                head.lines().find_map(|line| line.strip_prefix(&start))
            };
            assert_eq!(value("x-content-type-options"), Some("nosniff"), "{case}");
            assert!(value("referrer-policy").is_some(), "{case}");
            assert!(value("permissions-policy").is_some(), "{case}");
            assert!(value("cross-origin-resource-policy").is_some(), "{case}");
            assert_eq!(
                value("strict-transport-security").is_some(),
                https,
                "{case}"
            );
            for name in ["server", "x-powered-by", "via"] {
                assert_eq!(value(name), None, "{case}");
            }
            if value("content-type").is_some_and(|it| it.starts_with("text/html")) {
                let policy = value("content-security-policy").unwrap_or_default();
                assert!(
                    policy.contains("default-src 'none'")
                        && policy.contains("frame-ancestors 'none'"),
                    "{case}"
                );
                let route = path.split('?').next().unwrap();
                let is_on_the_way = ["/authorize", "/login", "/consent"].contains(&route);
                let apart = (!is_on_the_way).then_some("same-origin");
                assert_eq!(value("cross-origin-opener-policy"), apart, "{case}");
                assert_eq!(value("x-frame-options"), Some("deny"), "{case}");
                assert_eq!(value("cache-control"), Some("no-store"), "{case}");
            }
            for word in [
                "panicked",
                "src/",
                ".rs:",
                "axum",
                "hyper",
                "stack backtrace",
            ] {
                assert!(!body.contains(word), "{case}");
            }
        }
    }
}

#[test]
fn w_20_nothing_is_compressed() {
    let server = start(&[]);
    for path in ["/login", "/jwks", "/.well-known/oauth-authorization-server"] {
        let answer = ask(
            server.address,
            "GET",
            path,
            "Accept-Encoding: gzip, deflate, br, zstd\r\n",
            "",
        );
        assert!(
            !answer.to_lowercase().contains("content-encoding"),
            "{answer}"
        );
        assert_eq!(statuses(&answer), ["200"]);
    }
}

/// A server whose issuer is not on this machine, as behind a proxy.
fn behind_proxy(folder: &std::path::Path, variables: &[(&str, &str)]) -> Listening {
    let port = free_port();
    let mut command = wayleave(folder);
    command
        .arg("serve")
        .env("WAYLEAVE_ISSUER", "https://id.example.com")
        .env("WAYLEAVE_SERVER__LISTEN", format!("127.0.0.1:{port}"))
        .envs(variables.iter().copied());
    Listening::start(command, port)
}

/// A process that listens.
struct Listening {
    child: std::process::Child,
    address: SocketAddr,
}

impl Listening {
    fn start(mut command: Command, port: u16) -> Self {
        let child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "it does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, address }
    }

    fn terminate(&self) {
        self.signal("TERM");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(told.unwrap().success());
    }

    /// Its exit code, when it has ended.
    fn ended(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn a_server_that_stops_says_so_first_and_finishes_what_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = behind_proxy(folder.path(), &[("WAYLEAVE_SERVER__LAME_DUCK", "6")]);
    let at = server.address;
    let mut idle = connect(at);
    let keep = format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\n\r\n");
    idle.write_all(keep.as_bytes()).unwrap();
    let mut busy = connect(at);
    let head = format!("POST /token HTTP/1.1\r\nHost: {at}\r\n{FORM}Content-Length: 3\r\n\r\na=");
    busy.write_all(head.as_bytes()).unwrap();
    assert_eq!(statuses(&get(at, "/readyz")), ["200"]);
    server.terminate();
    let begun = Instant::now();
    // New connections are served, and readiness is off.
    loop {
        let answer = get(at, "/readyz");
        if answer.contains("shutting down") {
            assert_eq!(statuses(&answer), ["503"]);
            break;
        }
        assert!(begun.elapsed() < PATIENCE);
    }
    is_served(at);
    // Then nothing is accepted any more, and what is idle is closed.
    assert_eq!(
        statuses(&String::from_utf8(rest(&mut idle)).unwrap()),
        ["200"]
    );
    while TcpStream::connect(at).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it still listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    busy.write_all(b"b").unwrap();
    let answer = String::from_utf8(rest(&mut busy)).unwrap();
    assert_eq!(statuses(&answer), ["401"], "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(server.ended(), Some(0));
}

/// Row S-70.
#[test]
fn each_signal_does_what_is_usual() {
    for name in ["INT", "QUIT", "TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let mut server = behind_proxy(folder.path(), &[("WAYLEAVE_SERVER__LAME_DUCK", "0")]);
        // Other servers read their configuration again by it, and a terminal that closes sends it.
        server.signal("HUP");
        server.signal("HUP");
        is_served(server.address);
        server.signal(name);
        assert_eq!(server.ended(), Some(0), "{name}");
    }
}

#[test]
fn a_server_that_is_told_twice_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = behind_proxy(folder.path(), &[("WAYLEAVE_SERVER__LAME_DUCK", "600")]);
    let at = server.address;
    server.terminate();
    let begun = Instant::now();
    while !get(at, "/readyz").contains("shutting down") {
        assert!(begun.elapsed() < PATIENCE);
    }
    server.terminate();
    assert_eq!(server.ended(), Some(1));
}

#[test]
fn w_17_metadata_and_keys_lie_ready_and_are_not_sent_twice() {
    let server = start(&[]);
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/jwks",
    ] {
        let first = get(server.address, path);
        assert_eq!(statuses(&first), ["200"], "{path}");
        let etag = first
            .lines()
            .find_map(|line| line.strip_prefix("etag: "))
            .unwrap_or_else(|| panic!("{first}"));
        for known in [etag.to_owned(), format!("W/{etag}"), "*".to_owned()] {
            let header = format!("If-None-Match: {known}\r\n");
            // For the first one in each second the routes look after the keys, and answer in full.
            let again = (0..20)
                .map(|_| ask(server.address, "GET", path, &header, ""))
                .find(|answer| statuses(answer) == ["304"]);
            let again = again.unwrap_or_else(|| panic!("{path}: never 304 for {known}"));
            assert!(
                again.contains(etag) && again.ends_with("\r\n\r\n"),
                "{again}"
            );
            assert!(again.contains("x-content-type-options: nosniff"), "{again}");
        }
        let changed = ask(server.address, "GET", path, "If-None-Match: \"x\"\r\n", "");
        assert_eq!(statuses(&changed), ["200"], "{path}");
    }
    // What is not plain is for the routes: their answer is the same.
    let posted = ask(server.address, "POST", "/jwks", "", "");
    assert_eq!(statuses(&posted), ["405"]);
}

#[test]
fn what_is_counted_has_names_of_ours_only() {
    let metrics = free_port();
    let at = format!("127.0.0.1:{metrics}");
    let server = start(&[("WAYLEAVE_METRICS__LISTEN", at.as_str())]);
    for n in 0..200 {
        let odd = format!("/odd-{n}/%7Bx%7D?secret=s-{n}");
        assert_eq!(statuses(&get(server.address, &odd)), ["404"]);
    }
    get(server.address, "/jwks");
    get(server.address, "/.well-known/openid-configuration");
    ask(server.address, "POST", "/token", FORM, "grant_type=x");
    let told = get(at.parse().unwrap(), "/metrics");
    assert_eq!(statuses(&told), ["200"]);
    for line in [
        "wayleave_requests_total{endpoint=\"other\",status=\"4xx\"} 200",
        "wayleave_requests_total{endpoint=\"/token\",status=\"4xx\"} 1",
        "wayleave_requests_total{endpoint=\"/.well-known/openid-configuration\",status=\"2xx\"} 1",
        "wayleave_request_duration_seconds_count{endpoint=\"/token\"} 1",
        "wayleave_live_grants 0",
        "wayleave_signing_keys 3",
        "wayleave_build_info{version=\"",
        "# EOF",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(!told.contains("odd") && !told.contains("secret"), "{told}");
    assert_eq!(statuses(&get(at.parse().unwrap(), "/")), ["404"]);
    assert_eq!(
        statuses(&get(server.address, "/metrics")),
        ["404"],
        "not where everybody can ask"
    );
}

#[test]
fn w_01_slow_bodies_take_no_place_among_the_requests_that_are_worked_on() {
    let server = start(&[("WAYLEAVE_SERVER__MAX_REQUESTS", "2")]);
    let at = server.address;
    let slow: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(at).unwrap();
            let head = format!("POST /token HTTP/1.1\r\nHost: {at}\r\n{FORM}Content-Length: 1000\r\n\r\ngrant_type=");
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..5 {
        let answer = ask(at, "POST", "/token", FORM, "grant_type=x&client_id=x");
        assert!(
            !answer.contains("503") && answer.contains("\"error\""),
            "{answer}"
        );
    }
    drop(slow);
}

/// A server whose database has a logo of 64 KiB, and the path of that.
#[cfg(target_os = "linux")]
async fn with_logo(variables: &[(&str, &str)]) -> (Server, String) {
    use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
    use wayleave::{app::App, config::Config, fetch::Resolver, store, time::Clock};

    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    let path = folder.path().join("w.db");
    config.database.url = wayleave::config::DatabaseUrl::Sqlite(path.clone());
    let database = store::Store::open(&config.database.url, 2).await.unwrap();
    database.migrate().await.unwrap();
    let resolver = Resolver::Table(std::sync::Arc::default());
    let app = App::new(config, database, Clock::system(), resolver);
    let app = app.await.unwrap();
    let hash = "a".repeat(64);
    let logo = store::NewLogo {
        client_id: "https://app.example.com/c.json".parse().unwrap(),
        logo_uri: "https://app.example.com/logo.png".to_owned(),
        outcome: Ok((hash.clone(), BASE64_STANDARD.encode(vec![7; 64 * 1_024]))),
    };
    app.store.keep_logo(logo, app.clock.now()).await.unwrap();
    let mark = app.form_key.sign(&[b"logo", hash.as_bytes()]);
    let mark = BASE64_URL_SAFE_NO_PAD.encode(&mark[..16]);
    app.store.close().await;

    let mut command = wayleave(folder.path());
    let url = format!("sqlite:{}", path.display());
    command
        .env("WAYLEAVE_DATABASE__URL", url)
        .envs(variables.iter().copied());
    let server = Server {
        running: Running::start(command, 1),
        _folder: folder,
    };
    (server, format!("/logos/{hash}.{mark}.png"))
}

/// Sends these bytes and reads until so many streams have the status 200.
#[cfg(target_os = "linux")]
fn until_answered(address: SocketAddr, bytes: &[u8], count: usize) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    let (mut all, mut part) = (Vec::new(), [0; 16_384]);
    loop {
        let frames = h2::frames(&all);
        let answered = frames
            .iter()
            .filter(|it| it.kind == h2::HEADERS && it.payload.first() == Some(&0x88));
        if answered.count() >= count {
            return stream;
        }
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "closed: {frames:?}");
        all.extend_from_slice(&part[..read]);
    }
}

/// The window of every stream is closed from the beginning.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn y_05_answers_that_are_not_taken_take_little_memory() {
    // Nothing closes the connections while it is looked.
    let (server, logo) = with_logo(&[
        ("WAYLEAVE_SERVER__WRITE_TIMEOUT", "600"),
        ("WAYLEAVE_SERVER__IDLE_TIMEOUT", "600"),
        ("WAYLEAVE_SERVER__HEADER_TIMEOUT", "600"),
    ])
    .await;
    let at = server.address;
    assert_eq!(statuses(&get(at, &logo)), ["200"]);
    let before = memory(&server);
    let mut flood = h2::preface(&NO_WINDOW);
    for n in 0..100 {
        flood.extend(h2::get(2 * n + 1, &logo, &at.to_string()));
    }
    // Four lie there before the others are told to wait.
    let open: Vec<_> = (0..90).map(|_| until_answered(at, &flood, 4)).collect();
    is_served(at);
    let grown = memory(&server).saturating_sub(before);
    println!("{grown} KiB");
    assert!(grown < 32 * 1_024, "{grown} KiB");
    drop(open);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn y_05_whoever_gives_no_window_is_closed() {
    let (server, logo) = with_logo(&[
        ("WAYLEAVE_SERVER__WRITE_TIMEOUT", "1"),
        // Nothing else closes it.
        ("WAYLEAVE_SERVER__IDLE_TIMEOUT", "600"),
        ("WAYLEAVE_SERVER__HEADER_TIMEOUT", "600"),
    ])
    .await;
    let at = server.address;
    let ask = h2::get(1, &logo, &at.to_string());
    let text = [h2::preface(&NO_WINDOW), ask].concat();
    let mut stream = until_answered(at, &text, 1);
    // It answers when it is asked whether it is there.
    let (begun, mut all, mut part) = (Instant::now(), Vec::new(), [0; 16_384]);
    let mut answered = 0;
    while let Ok(count @ 1..) = stream.read(&mut part) {
        assert!(begun.elapsed() < 2 * PATIENCE, "still open");
        all.extend_from_slice(&part[..count]);
        let frames = h2::frames(&all);
        let pings: Vec<_> = frames.iter().filter(|it| it.kind == h2::PING).collect();
        for ping in &pings[answered..] {
            _ = stream.write_all(&h2::frame(h2::PING, 1, 0, &ping.payload));
        }
        answered = pings.len();
    }
    is_served(at);
}

#[test]
fn of_refusals_by_the_thousand_some_are_written_and_the_others_counted() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let port = free_port();
    let mut command = wayleave(folder.path());
    command
        .arg("serve")
        .env("WAYLEAVE_ISSUER", format!("http://127.0.0.1:{port}"))
        .env("WAYLEAVE_SERVER__LISTEN", format!("127.0.0.1:{port}"))
        .env("WAYLEAVE_LOG__FORMAT", "json")
        .stderr(std::fs::File::create(&log).unwrap());
    let mut server = Listening::start(command, port);
    let at = server.address;
    let one = format!("POST /token HTTP/1.1\r\nHost: {at}\r\n{FORM}Content-Length: 3\r\n\r\na=b");
    let last = format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    let answers = exchange(at, [one.repeat(1_000), last].concat().as_bytes());
    assert_eq!(statuses(&answers).len(), 1_001);
    server.terminate();
    assert_eq!(server.ended(), Some(0));

    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .map(|line: serde_json::Value| line["fields"].clone())
        .collect();
    let kind = "request refused invalid_client";
    let written = lines
        .iter()
        .filter(|it| it["message"] == "request refused" && it["code"] == "invalid_client");
    let left_out = lines.iter().filter(|it| it["kind"] == kind);
    let more: u64 = left_out.map(|it| it["more"].as_u64().unwrap()).sum();
    let written = written.count() as u64;
    assert_eq!(written + more, 1_000, "{log}");
    assert!(more > 0 && written >= 100, "{log}");
}

#[cfg(unix)]
#[test]
fn the_lock_file_is_the_servers_alone() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("w.db.lock");
    std::fs::write(&lock, "").unwrap();
    let of_all = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&lock, of_all).unwrap();
    for is_new in [false, true] {
        if is_new {
            std::fs::remove_file(&lock).unwrap();
        }
        let mut command = wayleave(folder.path());
        command.env("WAYLEAVE_DATABASE__URL", "sqlite:w.db");
        let _running = Running::start(command, 1);
        let mode = std::fs::metadata(&lock).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
