//! RFC 9110 §7.2, RFC 9112 §3.2: the host that a request is for.

/// Is it clear whom a request is for? `hosts` are its `Host` headers, `authority` is that of an absolute target or
/// HTTP/2's `:authority`. Names of hosts and ports only: no user, no list.
///
/// # Errors
///
/// What is wrong.
pub fn check<'a>(
    mut hosts: impl Iterator<Item = &'a [u8]>,
    authority: Option<&str>,
    may_be_absent: bool,
) -> Result<(), &'static str> {
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err("there is more than one Host header");
    }
    let authority = authority.map(str::as_bytes);
    if ![host, authority].into_iter().flatten().all(is_host) {
        return Err("the Host header or the target names no host");
    }
    match (host, authority) {
        (None, None) if !may_be_absent => Err("there is no Host header"),
        (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
            Err("the Host header and the target differ")
        }
        _ => Ok(()),
    }
}

/// A name or an address, and perhaps a port.
fn is_host(text: &[u8]) -> bool {
    let (host, port) = match text {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else {
                return false;
            };
            let is_inside = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            if !rest[..end].iter().all(is_inside) {
                return false;
            }
            (&rest[..end], &rest[end + 1..])
        }
        _ => {
            let end = text.iter().position(|byte| *byte == b':');
            let (host, port) = text.split_at(end.unwrap_or(text.len()));
            let is_inside =
                |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            if !host.iter().all(is_inside) {
                return false;
            }
            (host, port)
        }
    };
    !host.is_empty() && is_port(port)
}

/// Nothing, or a colon and a port.
fn is_port(text: &[u8]) -> bool {
    let [b':', digits @ ..] = text else {
        return text.is_empty();
    };
    digits.iter().all(u8::is_ascii_digit)
        && std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w_04_a_request_is_for_one_host() {
        let missing = "there is no Host header";
        let wrong = "the Host header or the target names no host";
        let differ = "the Host header and the target differ";
        let table: &[(&[&str], Option<&str>, bool, &str)] = &[
            (&["www.example.org"], None, false, ""),
            (&["127.0.0.1:8080"], None, false, ""),
            (&["[2001:db8::1]:443"], None, false, ""),
            (&["[::ffff:192.0.2.1]"], None, false, ""),
            (&["some_service:65535"], None, false, ""),
            (&["Example.org:80"], Some("example.ORG:80"), false, ""),
            (&[], Some("example.org"), false, ""),
            (&[], None, true, ""),
            (&[], None, false, missing),
            (
                &["a", "a"],
                None,
                false,
                "there is more than one Host header",
            ),
            (&["a"], Some("b"), false, differ),
            (&["a"], Some("a:80"), false, differ),
            (&[], Some("u@a"), false, wrong),
            (&["u:p@a"], None, false, wrong),
            (&["u@a"], None, false, wrong),
            (&["a,b"], None, false, wrong),
            (&["a b"], None, false, wrong),
            (&["a/b"], None, false, wrong),
            (&["a%00"], None, false, wrong),
            (&["ä"], None, false, wrong),
            (&[""], None, true, wrong),
            (&[":80"], None, false, wrong),
            (&["a:"], None, false, wrong),
            (&["a:+80"], None, false, wrong),
            (&["a:99999"], None, false, wrong),
            (&["a:80:80"], None, false, wrong),
            (&["[::1"], None, false, wrong),
            (&["[]"], None, false, wrong),
            (&["[::1]80"], None, false, wrong),
            (&["[fe80::1%25eth0]"], None, false, wrong),
        ];
        for (hosts, authority, may_be_absent, expected) in table {
            let hosts_bytes = hosts.iter().map(|host| host.as_bytes());
            let got = check(hosts_bytes, *authority, *may_be_absent);
            assert_eq!(
                got.err().unwrap_or_default(),
                *expected,
                "{hosts:?} {authority:?}"
            );
        }
    }
}
