//! What is wrong with a value or a file, in words for people who write TOML: the libraries that read them speak of their
//! own types.

use std::io;

/// Where a listener or a name server is.
const ADDRESS: &str = "host:port such as 127.0.0.1:8080, the host as an IP address";
const NETWORK: &str = "a network such as 10.0.0.0/8";

/// What is wrong with a value, from the message of the library that read it. `is_secret`: the value is not repeated.
pub(super) fn of_value(message: &str, is_secret: bool) -> String {
    let message = message.lines().next().unwrap_or(message).trim();
    let quoted = |prefix: &str| {
        let rest = message.strip_prefix(prefix)?.strip_prefix('`')?;
        rest.split_once('`')
    };
    if let Some((_, rest)) = quoted("unknown field ") {
        return format!("there is no such key; {}", expected_of(rest));
    }
    if let Some((name, rest)) = quoted("unknown variant ") {
        let found = match is_secret {
            true => String::new(),
            false => format!(", found {name:?}"),
        };
        return format!("{}{found}", expected_of(rest));
    }
    if let Some((name, _)) = quoted("missing field ") {
        return format!("expected the key {name} in it, which is missing");
    }
    match message {
        "invalid socket address syntax" => return format!("expected {ADDRESS}"),
        "invalid IP address syntax" => return format!("expected {NETWORK}"),
        _ => {}
    }
    let typed = ["invalid type: ", "invalid value: ", "invalid length "];
    let typed = typed.iter().find_map(|it| message.strip_prefix(it));
    let parts = typed.and_then(|rest| rest.rsplit_once(", expected "));
    if let Some((found, expected)) = parts {
        return told(expected, found, is_secret);
    }
    message.to_owned()
}

fn told(expected: &str, found: &str, is_secret: bool) -> String {
    let expected = match expected {
        "a nonzero u32" => "a whole number from 1 to 4294967295",
        "u32" => "a whole number from 0 to 4294967295",
        "u16" => "a whole number from 0 to 65535",
        "a boolean" => "true or false",
        "a string" => "a text in quotes",
        "path string" => "a path in quotes",
        "socket address" => ADDRESS,
        "IPv4 or IPv6 network address" => NETWORK,
        "a sequence" => "a list in brackets",
        "a map" => "a table",
        it if it.starts_with("struct ") => "a table",
        // One of a few words was expected, and what came is not even a text.
        "string only" => return "expected one of its words, in quotes".to_owned(),
        // What a type of ours says.
        it if it.starts_with("expected ") => it.trim_start_matches("expected "),
        _ => "another value",
    };
    let between = |kind: &str| {
        let rest = found.strip_prefix(kind)?.strip_prefix('`')?;
        rest.strip_suffix('`')
    };
    let shown = between("boolean ").or_else(|| between("integer "));
    let shown = shown.or_else(|| between("floating point "));
    let text = found.strip_prefix("string ");
    let found = match (shown, text) {
        (Some(shown), _) if !is_secret => shown.to_owned(),
        (None, Some(text)) if !is_secret && text.len() <= 80 => text.to_owned(),
        (_, Some(_)) => "a text".to_owned(),
        (Some(_), None) => "a number or a truth value".to_owned(),
        (None, None) => a(found).to_owned(),
    };
    format!("expected {expected}, found {found}")
}

/// A kind of value, as TOML calls it.
fn a(kind: &str) -> &'static str {
    match kind {
        "sequence" | "array" => "a list",
        "map" | "table" => "a table",
        "string" => "a text",
        "integer" | "float" | "floating point" => "a number",
        "boolean" => "true or false",
        _ => "something else",
    }
}

/// `, expected one of `a`, `b`` without the marks of the library.
fn expected_of(rest: &str) -> String {
    let names = rest.trim_start_matches(',').trim().replace('`', "");
    match names.strip_prefix("expected one of ") {
        _ if names.is_empty() || names.starts_with("there are no") => "expected none".to_owned(),
        None => names,
        Some(all) => format!("expected one of {all}"),
    }
}

/// What is wrong with a file as TOML: the line, and what was expected there.
pub(super) fn of_file(text: &str, error: &toml::de::Error) -> (usize, String) {
    let span = error.span().unwrap_or_default();
    let before = text.get(..span.start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let message = error.message().lines().next().unwrap_or_default();
    if message.starts_with("duplicate key") {
        let key = text.get(span).unwrap_or_default().trim();
        let name = within(before, key);
        return (
            line,
            format!(
                "{name} is written twice; expected every key once (a list in brackets and [[{name}]] are the same key)"
            ),
        );
    }
    (line, format!("expected TOML: {message}"))
}

/// The whole name of a key: that of its table before it, unless it is in the head of one.
fn within(before: &str, key: &str) -> String {
    let (above, same_line) = before.rsplit_once('\n').unwrap_or(("", before));
    if let Some(outer) = same_line.trim_start().strip_prefix('[') {
        return format!("{}{key}", outer.trim_start_matches('['));
    }
    let heads = above.lines().rev().map(str::trim);
    let head = heads
        .filter_map(|line| line.strip_prefix('['))
        .map(|line| line.trim_start_matches('['))
        .find_map(|line| line.split_once(']'));
    let outer = same_line.trim_start();
    match head {
        Some((table, _)) => format!("{table}.{outer}{key}"),
        None => format!("{outer}{key}"),
    }
}

/// What the system says of a file, without its number.
pub(super) fn of_system(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((told, _)) => told.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_library_says_is_told_in_our_words() {
        let table = [
            (
                "invalid type: string \"x\", expected a nonzero u32",
                "expected a whole number from 1 to 4294967295, found \"x\"",
            ),
            (
                "invalid value: integer `0`, expected a nonzero u32",
                "expected a whole number from 1 to 4294967295, found 0",
            ),
            (
                "invalid type: sequence, expected a boolean",
                "expected true or false, found a list",
            ),
            (
                "invalid type: map, expected path string",
                "expected a path in quotes, found a table",
            ),
            (
                "unknown field `a`, expected one of `b`, `c`",
                "there is no such key; expected one of b, c",
            ),
            (
                "unknown field `a`, expected `b` or `c`",
                "there is no such key; expected b or c",
            ),
            (
                "unknown variant `xml`, expected one of `auto`, `text`",
                "expected one of auto, text, found \"xml\"",
            ),
            (
                "missing field `id`",
                "expected the key id in it, which is missing",
            ),
            (
                "invalid IP address syntax",
                "expected a network such as 10.0.0.0/8",
            ),
            (
                "invalid type: integer `1`, expected some::Type<T>",
                "expected another value, found 1",
            ),
            (
                "expected an https URL\nin `issuer`",
                "expected an https URL",
            ),
        ];
        for (message, expected) in table {
            assert_eq!(of_value(message, false), expected);
        }
        let secret = of_value("invalid type: string \"hunter2\", expected a boolean", true);
        assert_eq!(secret, "expected true or false, found a text");
    }

    #[test]
    fn a_key_that_is_written_twice_is_named_with_its_line() {
        let table = [
            ("a = 1\na = 2", 2, "a is"),
            (
                "[fetch]\ntimeout = 1\n# [other]\ntimeout = 2",
                4,
                "fetch.timeout is",
            ),
            (
                "[policy]\nclients = []\n[[policy.clients]]\nmatch = 'a'",
                3,
                "policy.clients is",
            ),
            ("[fetch]\n[fetch]", 2, "fetch is"),
            (
                "fetch.timeout = 1\nfetch.timeout = 2",
                2,
                "fetch.timeout is",
            ),
        ];
        for (text, line, told) in table {
            let error = text.parse::<toml::Table>().unwrap_err();
            let got = of_file(text, &error);
            assert!(got.0 == line && got.1.starts_with(told), "{text}: {got:?}");
        }
    }
}
