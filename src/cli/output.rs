//! What commands print: lines for people, JSON for programs. Nothing of a stranger steers a terminal.

use std::num::NonZeroU32;

use anstream::{AutoStream, ColorChoice};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::time::{UnixTime, in_rfc_3339};

/// How long a list may be.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Limit {
    /// At most this many.
    #[arg(long, alias = "most", value_name = "NUMBER", default_value = "100", value_parser = most)]
    limit: NonZeroU32,
}

fn most(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse()
        .map_err(|_| "expected a whole number from 1 to 4294967295")
}

impl Limit {
    /// One more than may be shown: it says that there are more.
    pub(super) fn and_one(self) -> i64 {
        i64::from(self.limit.get()).saturating_add(1)
    }

    fn most(self) -> usize {
        usize::try_from(self.limit.get()).unwrap_or(usize::MAX)
    }
}

/// Prints a list: as one JSON array, or a line for each. `things` are what is missing in one that is empty.
pub(super) fn list<T>(
    as_json: bool,
    limit: Limit,
    things: &str,
    all: &[T],
    entry: impl Fn(&T) -> Value,
    line: impl Fn(&T) -> String,
) -> anyhow::Result<()> {
    let shown = all.get(..limit.most()).unwrap_or(all);
    if as_json {
        return json(&shown.iter().map(entry).collect::<Vec<_>>());
    }
    for it in shown {
        say!("{}", plain(&line(it)));
    }
    // For people: standard output has nothing but the list.
    if shown.is_empty() {
        eprintln!("There are no {things}.");
    }
    if shown.len() < all.len() {
        eprintln!("There are more than {}: see --limit.", shown.len());
    }
    Ok(())
}

/// Prints JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    say!("{}", harmless(&serde_json::to_string_pretty(value)?));
    Ok(())
}

/// A time in JSON: RFC 3339.
pub(super) fn at(time: UnixTime) -> Value {
    in_rfc_3339(time).into()
}

/// The same for a time that there may not be.
pub(super) fn maybe_at(time: Option<UnixTime>) -> Value {
    time.map_or(Value::Null, at)
}

/// A stranger's text for a terminal: nothing in it steers one.
pub(super) fn plain(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| escaped(line, |c| c.escape_unicode().to_string()));
    lines.collect::<Vec<_>>().join("\n")
}

/// The same for JSON that was written: it stays JSON, and says what it said.
pub(super) fn harmless(json: &str) -> String {
    // What is left outside of strings are line ends.
    let in_json = |c: char| match c {
        '\n' => c.to_string(),
        c => format!("\\u{:04x}", u32::from(c)),
    };
    escaped(json, in_json)
}

fn escaped(text: &str, escape: impl Fn(char) -> String) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match steers(c) {
            true => out.push_str(&escape(c)),
            false => out.push(c),
        }
    }
    out
}

/// How good something is, where a terminal shows colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Good,
    Doubtful,
    Bad,
    Faint,
}

/// Colours for standard output, if it is a terminal that has them and `NO_COLOR` is not set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    pub(super) fn of_stdout() -> Self {
        Self(AutoStream::choice(&std::io::stdout()) != ColorChoice::Never)
    }

    /// The text in this colour.
    pub(super) fn with(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Good => 32,
            Ink::Doubtful => 33,
            Ink::Bad => 31,
            Ink::Faint => 2,
        };
        match self.0 {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_stranger_steers_the_terminal() {
        assert_eq!(
            plain("a\u{1b}[31mb\u{202e}c\r\nd"),
            "a\\u{1b}[31mb\\u{202e}c\nd"
        );
        assert_eq!(plain("日本語 é"), "日本語 é");
    }

    #[test]
    fn nothing_in_json_steers_it_and_it_says_the_same() {
        let value = serde_json::json!({ "a": "x\u{9b}31m\u{202e}\u{7f}\u{1b}日\n", "b": [1, 2] });
        let text = harmless(&serde_json::to_string_pretty(&value).unwrap());
        assert!(
            text.chars()
                .all(|c| c == '\n' || plain(&c.to_string()) == c.to_string()),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn without_colours_a_text_is_as_it_was() {
        assert_eq!(Paint(false).with(Ink::Bad, "FAIL"), "FAIL");
        assert_eq!(
            Paint(true).with(Ink::Bad, "FAIL"),
            "\u{1b}[31mFAIL\u{1b}[0m"
        );
    }
}
