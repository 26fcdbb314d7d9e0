//! How long a fetched document is fresh, RFC 9111 §4.2, for a private cache that sets bounds of its own.

use std::time::SystemTime;

/// How long a response may be used, in seconds from when it came, and whether it may be kept at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    pub lifetime: i64,
    pub store: bool,
}

/// What we make of the origin's wish: a shortest and a longest lifetime, and one for origins without a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub least: i64,
    pub absent: i64,
    pub most: i64,
}

/// Reads `Cache-Control`, `Age`, `Expires` and `Date`; header names are in lower case. Of contradicting values the
/// one with the shorter life wins, and what cannot be read counts as stale (RFC 9111 §4.2.1).
pub fn freshness(headers: &[(&str, &str)], bounds: &Bounds) -> Freshness {
    let directives: Vec<_> = values(headers, "cache-control")
        .flat_map(directives)
        .collect();
    let has = |name: &str| directives.iter().any(|directive| directive.0 == name);
    if has("no-store") {
        return Freshness {
            lifetime: 0,
            store: false,
        };
    }
    let wish = if has("no-cache") {
        Some(0)
    } else if has("max-age") {
        Some(max_age(&directives))
    } else {
        until_expires(headers)
    };
    let lifetime = match wish {
        None => bounds.absent,
        Some(wish) => wish - age(headers),
    };
    Freshness {
        lifetime: lifetime.min(bounds.most).max(bounds.least),
        store: true,
    }
}

/// Large enough to be cut off by any bound, small enough to be subtracted from (RFC 9111 §1.2.2).
const FOREVER: i64 = 1 << 31;

/// The shortest readable `max-age`; stale when none is. `s-maxage` is for shared caches (RFC 9111 §5.2.2.10).
fn max_age(directives: &[(String, String)]) -> i64 {
    let named = directives.iter().filter(|(name, _)| name == "max-age");
    named
        .filter_map(|(_, value)| delta_seconds(value))
        .min()
        .unwrap_or(0)
}

/// RFC 9111 §5.3: from `Date` to the earliest `Expires`; stale when either cannot be read.
fn until_expires(headers: &[(&str, &str)]) -> Option<i64> {
    let date = values(headers, "date").next().and_then(http_date);
    values(headers, "expires")
        .map(|expires| http_date(expires)?.checked_sub(date?))
        .map(|seconds| seconds.unwrap_or(0).min(FOREVER))
        .min()
}

/// RFC 9111 §5.1: what the response spent in other caches; the longest readable one.
fn age(headers: &[(&str, &str)]) -> i64 {
    let ages = values(headers, "age").flat_map(|value| value.split(','));
    ages.filter_map(|age| delta_seconds(age.trim()))
        .max()
        .unwrap_or(0)
}

fn values<'a>(headers: &[(&str, &'a str)], name: &str) -> impl Iterator<Item = &'a str> {
    headers
        .iter()
        .filter(move |header| header.0 == name)
        .map(|header| header.1)
}

/// RFC 9111 §1.2.2; a number too large to read is a large number.
fn delta_seconds(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(FOREVER).min(FOREVER))
}

/// Seconds since 1970, in any of the three forms of RFC 9110 §5.6.7.
fn http_date(text: &str) -> Option<i64> {
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    let seconds = date.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    i64::try_from(seconds).ok()
}

/// RFC 9111 §5.2: names in lower case with their arguments, quoted or not. A comma inside quotes separates nothing.
fn directives(value: &str) -> Vec<(String, String)> {
    let mut quoted = false;
    let separates = |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    value
        .split(separates)
        .map(|directive| {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let argument = argument.trim();
            let bare = argument
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            (
                name.trim().to_ascii_lowercase(),
                bare.unwrap_or(argument).to_owned(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        least: 60,
        absent: 600,
        most: 86_400,
    };
    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");

    fn lifetime(headers: &[(&str, &str)]) -> i64 {
        let fresh = freshness(headers, &BOUNDS);
        assert!(fresh.store, "{headers:?}");
        fresh.lifetime
    }

    #[test]
    fn cache_control_is_followed_within_bounds() {
        let table: &[(&str, &str, i64)] = &[
            ("plain", "max-age=3600", 3600),
            ("C-05", "private, max-age=0", 60),
            ("C-05", "no-cache", 60),
            ("C-05", "no-cache, max-age=3600", 60),
            ("C-05", "no-cache=\"set-cookie\", max-age=3600", 60),
            ("C-05", "private", 600),
            ("C-06", "max-age=31536000, immutable", 86_400),
            ("C-07", "max-age=-1", 60),
            ("C-07", "max-age=abc", 60),
            ("C-07", "max-age", 60),
            ("C-07", "max-age=", 60),
            ("C-07", "max-age=\"120\"", 120),
            ("C-07", "max-age=1.5", 60),
            ("C-07", "max-age=+300", 60),
            ("C-07", "max-age=99999999999999999999", 86_400),
            ("C-07", "max-age=9223372036854775807", 86_400),
            ("C-07", "max-age=3600, max-age=300", 300),
            ("C-07", "max-age=300, max-age=abc, max-age=3600", 300),
            ("C-07", "s-maxage=10", 600),
            ("C-07", "s-maxage=10, max-age=3600", 3600),
            ("case and space", " MAX-AGE = 300 ,, Public", 300),
            (
                "quoted comma",
                "x=\"a, max-age=61, no-store\", max-age=300",
                300,
            ),
            ("open quote", "x=\"a, max-age=300", 600),
            ("unknown", "max-age-x=5, foo", 600),
            ("empty", "", 600),
        ];
        for (case, value, expected) in table {
            assert_eq!(
                lifetime(&[("cache-control", value)]),
                *expected,
                "{case}: {value}"
            );
        }
        let long = format!("{}max-age=300", "x,".repeat(4096));
        assert_eq!(lifetime(&[("cache-control", &long)]), 300, "C-07: 8 KB");
        assert_eq!(lifetime(&[]), 600, "C-05: no validators");
    }

    #[test]
    fn no_store_is_not_stored() {
        for value in [
            "no-store",
            "No-Store",
            "max-age=3600, no-store",
            "no-store=1",
            "no-store, no-cache",
        ] {
            let fresh = freshness(&[("cache-control", value)], &BOUNDS);
            assert_eq!(
                fresh,
                Freshness {
                    lifetime: 0,
                    store: false
                },
                "C-05: {value}"
            );
        }
        let two = [
            ("cache-control", "max-age=3600"),
            ("cache-control", "no-store"),
        ];
        assert!(!freshness(&two, &BOUNDS).store);
    }

    #[test]
    fn several_headers_are_one_list() {
        assert_eq!(
            lifetime(&[
                ("cache-control", "max-age=900"),
                ("cache-control", "max-age=300")
            ]),
            300
        );
        assert_eq!(
            lifetime(&[
                ("cache-control", "public"),
                ("cache-control", "max-age=300")
            ]),
            300
        );
    }

    #[test]
    fn age_is_subtracted() {
        let table: &[(&str, &str, i64)] = &[
            ("plain", "600", 3000),
            ("C-07 older than max-age", "7200", 60),
            ("C-07 overflow", "99999999999999999999", 60),
            ("C-07 negative", "-5", 3600),
            ("C-07 text", "abc", 3600),
            ("C-07 list", "10, 600", 3000),
        ];
        for (case, age, expected) in table {
            assert_eq!(
                lifetime(&[("cache-control", "max-age=3600"), ("age", age)]),
                *expected,
                "{case}"
            );
        }
        assert_eq!(
            lifetime(&[("age", "500")]),
            600,
            "age alone says nothing about a wish"
        );
    }

    #[test]
    fn expires_counts_from_date_and_only_without_max_age() {
        type Row = (&'static str, &'static [(&'static str, &'static str)], i64);
        let table: &[Row] = &[
            (
                "plain",
                &[DATE, ("expires", "Sun, 06 Nov 1994 09:49:37 GMT")],
                3600,
            ),
            (
                "RFC 850",
                &[DATE, ("expires", "Sunday, 06-Nov-94 09:49:37 GMT")],
                3600,
            ),
            (
                "asctime",
                &[DATE, ("expires", "Sun Nov  6 09:49:37 1994")],
                3600,
            ),
            (
                "with age",
                &[
                    DATE,
                    ("age", "600"),
                    ("expires", "Sun, 06 Nov 1994 09:49:37 GMT"),
                ],
                3000,
            ),
            (
                "C-06",
                &[DATE, ("expires", "Fri, 06 Nov 2099 09:49:37 GMT")],
                86_400,
            ),
            (
                "past",
                &[DATE, ("expires", "Sun, 06 Nov 1994 08:00:00 GMT")],
                60,
            ),
            ("C-07", &[DATE, ("expires", "0")], 60),
            ("C-07", &[DATE, ("expires", "-1")], 60),
            ("C-07", &[DATE, ("expires", "")], 60),
            (
                "C-07 no date",
                &[("expires", "Fri, 06 Nov 2099 09:49:37 GMT")],
                60,
            ),
            (
                "C-07 bad date",
                &[("date", "x"), ("expires", "Fri, 06 Nov 2099 09:49:37 GMT")],
                60,
            ),
            (
                "two",
                &[
                    DATE,
                    ("expires", "Sun, 06 Nov 1994 09:49:37 GMT"),
                    ("expires", "0"),
                ],
                60,
            ),
            (
                "max-age wins",
                &[DATE, ("expires", "0"), ("cache-control", "max-age=300")],
                300,
            ),
            (
                "bad max-age too",
                &[
                    DATE,
                    ("expires", "Sun, 06 Nov 1994 09:49:37 GMT"),
                    ("cache-control", "max-age=x"),
                ],
                60,
            ),
        ];
        for (case, headers, expected) in table {
            assert_eq!(lifetime(headers), *expected, "{case}");
        }
    }

    #[test]
    fn bounds_that_contradict_each_other_do_not_panic() {
        let bounds = Bounds {
            least: 60,
            absent: 5,
            most: 30,
        };
        assert_eq!(freshness(&[], &bounds).lifetime, 60);
    }
}
