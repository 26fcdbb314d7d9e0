//! Lines of the log, each of them ours from its beginning to its end.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::fmt::MakeWriter;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Json,
    Text,
    /// With our own escape sequences; those in values are escaped by the formatter.
    Coloured,
}

/// Writes lines so that nothing of a stranger's begins another one, moves a cursor, or turns the direction of the text.
pub(super) struct Escaped {
    pub(super) lines: NonBlocking,
    pub(super) kind: Kind,
}

/// One line.
pub(super) struct Line<'a>(&'a Escaped);

impl<'a> MakeWriter<'a> for Escaped {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

impl Write for Line<'_> {
    /// The formatter brings a whole line at a time.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lines.clone();
        match escape(bytes, self.0.kind) {
            None => lines.write_all(bytes)?,
            Some(text) => lines.write_all(text.as_bytes())?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line as it may be shown; `None`: as it is.
fn escape(line: &[u8], kind: Kind) -> Option<String> {
    let (rest, end) = match line.strip_suffix(b"\n") {
        Some(rest) => (rest, "\n"),
        None => (line, ""),
    };
    if rest.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    let rest = String::from_utf8_lossy(rest);
    let mut escaped = String::with_capacity(line.len() + 64);
    for c in rest.chars() {
        let is_colour = c == '\x1b' && kind == Kind::Coloured;
        if is_colour || is_harmless(c) {
            escaped.push(c);
            continue;
        }
        if kind != Kind::Json {
            escaped.extend(c.escape_unicode());
            continue;
        }
        // As RFC 8259 §7 has it: the formatter writes strings only.
        for unit in c.encode_utf16(&mut [0; 2]) {
            _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped.push_str(end);
    Some(escaped)
}

/// Neither a control character, nor one that is not seen but changes how others are, nor one that ends a line.
fn is_harmless(c: char) -> bool {
    use GeneralCategory::{LineSeparator, ParagraphSeparator};
    c.general_category_group() != GeneralCategoryGroup::Other
        && !matches!(c.general_category(), LineSeparator | ParagraphSeparator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_and_does_nothing_to_a_terminal() {
        let hostile = "a\r\nb\tc\x1b[2Jd\u{9b}e\u{202e}f\u{2028}g\u{e0041}h ü \"{}";
        let text = escape(format!("{hostile}\n").as_bytes(), Kind::Text).unwrap();
        assert_eq!(
            text,
            "a\\u{d}\\u{a}b\\u{9}c\\u{1b}[2Jd\\u{9b}e\\u{202e}f\\u{2028}g\\u{e0041}h ü \"{}\n"
        );
        let json = format!("{}\n", serde_json::json!({ "told": hostile }));
        let line = escape(json.as_bytes(), Kind::Json).unwrap();
        assert!(line.trim_end().chars().all(is_harmless), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["told"], hostile, "it can be read back");

        let coloured = "\x1b[32m INFO\x1b[0m a\u{202e}b\n";
        let line = escape(coloured.as_bytes(), Kind::Coloured).unwrap();
        assert_eq!(line, "\x1b[32m INFO\x1b[0m a\\u{202e}b\n");
        assert_eq!(escape(b"plain \\ \"text\"\n", Kind::Text), None);
    }
}
