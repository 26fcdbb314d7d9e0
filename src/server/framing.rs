//! RFC 9112 §2.2, §6.3: where one request ends and the next begins, without the forgiveness that makes two readers
//! disagree. The HTTP library reads the requests; this watches the bytes on their way to it, because what it forgives
//! it does not tell: lines that end in LF alone, `Content-Length` beside `Transfer-Encoding`.

/// As much of a line as is looked at: the names of two headers, and a length.
const LOOKED_AT: usize = 64;

/// The requests of one connection, as far as they have come.
#[derive(Debug)]
pub(super) struct Framing {
    at: At,
    /// The first bytes of the line under way.
    line: [u8; LOOKED_AT],
    /// How long that line is so far.
    long: usize,
    /// Its last byte.
    last: u8,
    /// Has the head its first line?
    begun: bool,
    length: Option<u64>,
    is_chunked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Head,
    /// So many bytes are still to come.
    Body(u64),
    /// Nothing that comes is the head of a request: the last request of the connection has a chunked body, or this is
    /// HTTP/2.
    Rest,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self {
            at: At::Head,
            line: [0; LOOKED_AT],
            long: 0,
            last: 0,
            begun: false,
            length: None,
            is_chunked: false,
        }
    }

    /// Has a head begun that is not complete?
    pub(super) fn is_in_head(&self) -> bool {
        self.at == At::Head && (self.begun || self.long > 0)
    }

    /// How many of these bytes, which come next, may be passed on. If not all, the connection is to be refused there.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while let Some(rest) = bytes.get(passed..).filter(|rest| !rest.is_empty()) {
            match self.at {
                At::Rest => return bytes.len(),
                At::Body(left) => {
                    let here = left.min(rest.len() as u64);
                    passed += here as usize;
                    self.at = if here == left {
                        At::Head
                    } else {
                        At::Body(left - here)
                    };
                }
                At::Head => {
                    let end = memchr::memchr(b'\n', rest);
                    self.keep(&rest[..end.unwrap_or(rest.len())]);
                    let Some(end) = end else {
                        return bytes.len();
                    };
                    if !self.line_is_fine() {
                        return passed + end;
                    }
                    self.long = 0;
                    passed += end + 1;
                }
            }
        }
        passed
    }

    fn keep(&mut self, part: &[u8]) {
        if let Some(room) = self.line.get_mut(self.long..) {
            let kept = room.len().min(part.len());
            room[..kept].copy_from_slice(&part[..kept]);
        }
        self.long += part.len();
        self.last = part.last().copied().unwrap_or(self.last);
    }

    /// The line is complete but for its LF.
    fn line_is_fine(&mut self) -> bool {
        if self.long == 0 || self.last != b'\r' {
            return false;
        }
        let whole = self.long - 1 <= LOOKED_AT;
        let line = &self.line[..LOOKED_AT.min(self.long - 1)];
        if line.is_empty() {
            // RFC 9112 §2.2: empty lines before a request are nothing.
            if self.begun {
                self.end_head();
            }
            return true;
        }
        if !self.begun {
            self.begun = true;
            if line == b"PRI * HTTP/2.0" {
                self.at = At::Rest;
            }
            return true;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return true;
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = whole.then(|| length(value)).flatten();
            let is_first = self.length.is_none() && !self.is_chunked;
            self.length = length;
            is_first && length.is_some()
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_chunked = true;
            self.length.is_none()
        } else {
            true
        }
    }

    fn end_head(&mut self) {
        self.at = match self.length.take() {
            // The answer to a chunked request says that the connection ends with it.
            _ if self.is_chunked => At::Rest,
            None | Some(0) => At::Head,
            Some(length) => At::Body(length),
        };
        self.begun = false;
    }
}

/// RFC 9110 §8.6: digits, and nothing else.
fn length(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is passed on, if the bytes come `at_once` at a time.
    fn passed(text: &str, at_once: usize) -> &str {
        let mut framing = Framing::new();
        let mut all = 0;
        for part in text.as_bytes().chunks(at_once) {
            let passed = framing.pass(part);
            all += passed;
            if passed < part.len() {
                break;
            }
        }
        &text[..all]
    }

    #[test]
    fn requests_are_told_apart_however_they_arrive() {
        const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let post = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\n{headers}\r\n{body}");
        // The text, and where it breaks a rule: `None` if nowhere.
        let table: &[(&str, String, Option<&str>)] = &[
            ("one", GET.to_owned(), None),
            ("two", GET.repeat(2), None),
            ("empty lines before it", format!("\r\n\r\n{GET}"), None),
            (
                "a body with lines of its own",
                post("Content-Length: 4\r\n", "\n\n\n\n") + GET,
                None,
            ),
            (
                "a length of zero",
                post("content-length:\t0 \r\n", "") + GET,
                None,
            ),
            (
                "chunked: the last",
                post("Transfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n\n"),
                None,
            ),
            (
                "HTTP/2",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\n\n".to_owned(),
                None,
            ),
            (
                "LF alone",
                "GET / HTTP/1.1\nHost: a\r\n\r\n".to_owned(),
                Some("GET / HTTP/1.1"),
            ),
            (
                "an empty line of LF alone",
                "GET / HTTP/1.1\r\nHost: a\r\n\n".to_owned(),
                Some("GET / HTTP/1.1\r\nHost: a\r\n"),
            ),
            ("LF before it", format!("\n{GET}"), Some("")),
            (
                "LF alone in the second",
                format!("{GET}GET /\n"),
                Some("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /"),
            ),
            (
                "LF alone after a body",
                post("Content-Length: 2\r\n", "ab") + "\n",
                Some("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab"),
            ),
            (
                "a length beside chunked",
                post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", ""),
                Some("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r"),
            ),
            (
                "chunked beside a length",
                post("CONTENT-LENGTH: 3\r\ntransfer-encoding: chunked\r\n", ""),
                Some("POST / HTTP/1.1\r\nCONTENT-LENGTH: 3\r\ntransfer-encoding: chunked\r"),
            ),
            (
                "two lengths, though the same",
                post("Content-Length: 3\r\nContent-Length: 3\r\n", ""),
                Some("POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r"),
            ),
            (
                "a length with a sign",
                post("Content-Length: +3\r\n", ""),
                Some("POST / HTTP/1.1\r\nContent-Length: +3\r"),
            ),
            (
                "a list of lengths",
                post("Content-Length: 3, 3\r\n", ""),
                Some("POST / HTTP/1.1\r\nContent-Length: 3, 3\r"),
            ),
            (
                "no length",
                post("Content-Length:\r\n", ""),
                Some("POST / HTTP/1.1\r\nContent-Length:\r"),
            ),
        ];
        for (case, text, broken) in table {
            let expected = match broken {
                None => text,
                // What stands before the LF of the line that breaks the rule.
                Some(before) => {
                    assert!(text.starts_with(before), "{case}");
                    *before
                }
            };
            for at_once in [1, 2, 3, 7, 1_000] {
                assert_eq!(passed(text, at_once), expected, "{case}, by {at_once}");
            }
        }
        let long = format!("Content-Length: {}3\r\n", "0".repeat(100));
        let text = post(&long, "abc");
        assert!(
            passed(&text, 10).len() < text.len(),
            "a length beyond what is looked at"
        );
        let far = format!("X: {}\r\nContent-Length: 1\r\n", "a".repeat(10_000));
        let text = post(&far, "\n") + GET;
        assert_eq!(passed(&text, 100), text, "a long line is forgotten");
    }
}
