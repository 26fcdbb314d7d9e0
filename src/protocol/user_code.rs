//! The code that a person carries from a device to a browser: RFC 8628 §6.1.

use std::{fmt, str::FromStr};

use unicode_normalization::UnicodeNormalization;

use crate::secret;

/// RFC 8628 §6.1: no vowels, so no words, and nothing that looks like a digit.
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LENGTH: usize = 8;
/// Longest text that is looked at, in bytes.
const LONGEST: usize = 256;

/// Eight letters of twenty, 34.5 bits: kept and compared in capitals, without the dash that it is shown with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserCode(String);

impl UserCode {
    /// A fresh code. Every one is as likely as every other.
    pub fn generate() -> Self {
        let mut letters = String::with_capacity(LENGTH);
        while letters.len() < LENGTH {
            let bytes = secret::random::<{ 2 * LENGTH }>();
            letters.extend(
                bytes
                    .into_iter()
                    .filter_map(letter)
                    .take(LENGTH - letters.len()),
            );
        }
        Self(letters)
    }

    /// What is kept and compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The letter that a random byte stands for; `None` for the bytes that would make some letters likelier than others.
fn letter(byte: u8) -> Option<char> {
    const FAIR: u8 = 240;
    (byte < FAIR).then(|| char::from(ALPHABET[usize::from(byte % 20)]))
}

/// As it is shown: `WDJB-MJHT`.
impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = self.0.split_at(LENGTH / 2);
        write!(f, "{first}-{second}")
    }
}

/// What was typed cannot be a code.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAUserCode;

impl FromStr for UserCode {
    type Err = NotAUserCode;

    /// RFC 8628 §6.1: in whatever case, and what no code has is left out; full-width letters are letters.
    fn from_str(typed: &str) -> Result<Self, NotAUserCode> {
        if typed.len() > LONGEST {
            return Err(NotAUserCode);
        }
        let letters: String = typed
            .nfkc()
            .map(|c| c.to_ascii_uppercase())
            .filter(|c| u8::try_from(*c).is_ok_and(|b| ALPHABET.contains(&b)))
            .collect();
        let fits = letters.len() == LENGTH;
        fits.then_some(Self(letters)).ok_or(NotAUserCode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v_01_a_code_is_read_however_it_is_typed() {
        let table = [
            ("the RFC's own", "WDJB-MJHT", Some("WDJB-MJHT")),
            ("lower case", "wdjb-mjht", Some("WDJB-MJHT")),
            ("no dash", "WDJBMJHT", Some("WDJB-MJHT")),
            ("spaces", "  wdjb mjht\t", Some("WDJB-MJHT")),
            (
                "a space for each letter",
                "W D J B M J H T",
                Some("WDJB-MJHT"),
            ),
            ("another dash", "WDJB–MJHT", Some("WDJB-MJHT")),
            (
                "a dash of a Japanese keyboard",
                "ＷＤＪＢ－ＭＪＨＴ",
                Some("WDJB-MJHT"),
            ),
            (
                "full width, lower case",
                "ｗｄｊｂｍｊｈｔ",
                Some("WDJB-MJHT"),
            ),
            (
                "quoted, with a full stop",
                "“WDJB-MJHT.”",
                Some("WDJB-MJHT"),
            ),
            (
                "an invisible character",
                "WDJB\u{200b}-MJHT",
                Some("WDJB-MJHT"),
            ),
            ("nothing", "", None),
            ("one letter less", "WDJB-MJH", None),
            ("one letter more", "WDJB-MJHTT", None),
            ("a vowel", "WDJB-MJHA", None),
            ("a letter that looks like a digit", "WDJO-MJHT", None),
            ("a digit", "WDJ0-MJHT", None),
            ("a full-width digit", "WDJ０-MJHT", None),
            ("a digit too many", "WDJB-MJHT0", Some("WDJB-MJHT")),
            ("other letters", "ЖДЖБ-МЖХТ", None),
            ("letters that look alike", "WDJВ-MJHT", None),
        ];
        for (case, typed, expected) in table {
            let got = typed.parse::<UserCode>().ok().map(|code| code.to_string());
            assert_eq!(got.as_deref(), expected, "{case}: {typed}");
        }
        assert!("B".repeat(10_000).parse::<UserCode>().is_err());
    }

    #[test]
    fn a_generated_code_reads_back_as_itself() {
        for _ in 0..1_000 {
            let code = UserCode::generate();
            assert_eq!(code.to_string().parse(), Ok(code.clone()));
            assert_eq!(code.as_str().parse(), Ok(code));
        }
    }

    #[test]
    fn every_letter_stands_for_as_many_bytes_as_every_other() {
        let letters: Vec<char> = (0..=u8::MAX).filter_map(letter).collect();
        for expected in ALPHABET.map(char::from) {
            let bytes = letters.iter().filter(|letter| **letter == expected).count();
            assert_eq!(bytes, 12, "{expected}");
        }
        assert_eq!(letters.len(), 240);
        assert!(!letters.iter().any(|letter| "AEIOUY01".contains(*letter)));
    }
}
