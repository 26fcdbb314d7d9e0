//! The lifetime of a fetched document, RFC 9111 §4.2.

use wayleave::protocol::http_cache::{self, Bounds, Freshness};

/// The input is a header in each line, `name: value`. A first line `bounds: 60 600 86400` sets other bounds.
pub fn http_cache(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines: Vec<_> = text.split('\n').filter_map(header).collect();
    let headers: Vec<_> = lines.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    let bounds = bounds(&headers);
    let fresh = http_cache::freshness(&headers, &bounds);
    match fresh.store {
        true => assert!((bounds.least..=bounds.most).contains(&fresh.lifetime)),
        false => assert_eq!(fresh.lifetime, 0),
    }
    check_additions(&headers, &bounds, fresh);
    if let Some(expected) = simple_reading(&headers, &bounds) {
        assert_eq!(fresh, expected, "{headers:?}");
    }
}

/// As the fetch gives it to us: a lower-case name, and a value without control characters but for the tab.
fn header(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim_matches([' ', '\t']);
    let is_value = !value.contains(|c: char| c.is_ascii_control() && c != '\t');
    is_value.then(|| (name.to_ascii_lowercase(), value))
}

/// Any three numbers that the configuration takes.
fn bounds(headers: &[(&str, &str)]) -> Bounds {
    let wanted = headers.first().filter(|header| header.0 == "bounds");
    let numbers = wanted.map(|(_, value)| value.split(' ').map(str::parse::<u32>));
    let mut numbers: Vec<_> = numbers.into_iter().flatten().flatten().collect();
    numbers.sort_unstable();
    match numbers[..] {
        [least, absent, most] => Bounds {
            least: least.into(),
            absent: absent.into(),
            most: most.into(),
        },
        _ => Bounds {
            least: 60,
            absent: 600,
            most: 86_400,
        },
    }
}

/// What one more header may do, whatever the others say.
fn check_additions(headers: &[(&str, &str)], bounds: &Bounds, fresh: Freshness) {
    let with = |name, value| {
        let more = [headers, &[(name, value)]].concat();
        http_cache::freshness(&more, bounds)
    };
    assert!(!with("cache-control", "a=\"b, c\", No-Store").store);
    let least = Freshness {
        lifetime: bounds.least,
        store: true,
    };
    let stale = if fresh.store { least } else { fresh };
    assert_eq!(with("cache-control", "no-cache"), stale);
    assert_eq!(with("cache-control", "public, x=1"), fresh);
    assert_eq!(with("x-cache-control", "no-store"), fresh);
    for seconds in ["0", "30", "99999999999999999999"] {
        let older = with("age", seconds);
        assert_eq!(older.store, fresh.store);
        assert!(older.lifetime <= fresh.lifetime, "{headers:?}");
    }
}

/// The same by a simpler way, where nothing is quoted and `Expires` does not count.
fn simple_reading(headers: &[(&str, &str)], bounds: &Bounds) -> Option<Freshness> {
    let of = |name| {
        let values = headers.iter().filter(move |header| header.0 == name);
        values.flat_map(|header| header.1.split(','))
    };
    let seconds = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        // What is too long for the type is a long time; RFC 9111 §1.2.2 lets all of it be 2^31.
        (digits && !text.is_empty()).then(|| text.parse::<u128>().unwrap_or(u128::MAX).min(1 << 31))
    };
    let directives: Vec<_> = of("cache-control")
        .map(|text| text.trim().to_ascii_lowercase())
        .collect();
    let named = |name: &str| {
        let name = name.to_owned();
        directives
            .iter()
            .filter_map(move |text| match text.split_once('=') {
                Some((before, value)) if before.trim() == name => Some(value.trim()),
                None if *text == name => Some(""),
                _ => None,
            })
    };
    let is_quoted = directives.iter().any(|text| text.contains('"'));
    let has_expires = of("expires").next().is_some();
    if is_quoted || (has_expires && named("max-age").next().is_none()) {
        return None;
    }
    if named("no-store").next().is_some() {
        return Some(Freshness {
            lifetime: 0,
            store: false,
        });
    }
    let age = of("age").filter_map(|text| seconds(text.trim())).max();
    let wish = match named("no-cache").next() {
        Some(_) => Some(0),
        None if named("max-age").next().is_none() => None,
        None => named("max-age").filter_map(seconds).min().or(Some(0)),
    };
    let left = match wish {
        None => bounds.absent.into(),
        Some(wish) => wish as i128 - age.unwrap_or(0) as i128,
    };
    let lifetime = left.clamp(bounds.least.into(), bounds.most.into());
    Some(Freshness {
        lifetime: lifetime as i64,
        store: true,
    })
}
