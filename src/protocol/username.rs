//! Names that people sign in with, in one spelling: the profile `UsernameCaseMapped` of PRECIS, RFC 8265 §3.3.

use precis_profiles::{UsernameCaseMapped, precis_core::profile::Profile};

/// Bytes of the longest name that is looked at: an e-mail address (RFC 5321 §4.5.3.1.3) whose letters are all wide.
const MOST: usize = 1_024;

/// The name as it is compared and kept: full-width letters made narrow, in lower case, in NFC. `None`: it has characters
/// that no name has (spaces, symbols, invisible ones, compatibility forms), or mixes directions in a way that misleads.
pub fn case_mapped(name: &str) -> Option<String> {
    if name.len() > MOST {
        return None;
    }
    let profile = UsernameCaseMapped::new();
    let enforced = profile.enforce(name).ok()?;
    // RFC 8264 §7: what another pass would change is no spelling to compare by.
    let again = profile.enforce(&*enforced).ok()?;
    (enforced == again).then(|| enforced.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_spelling_of_rfc_8265() {
        for (name, expected) in [
            // RFC 8265 §3.5, tables 1 and 2.
            ("juliet@example.com", Some("juliet@example.com")),
            ("fussball", Some("fussball")),
            ("fu\u{df}ball", Some("fu\u{df}ball")),
            ("\u{3c0}", Some("\u{3c0}")),
            ("\u{3a3}", Some("\u{3c3}")),
            ("\u{3c3}", Some("\u{3c3}")),
            ("\u{3c2}", Some("\u{3c2}")),
            ("foo bar", None),
            ("", None),
            ("henry\u{2163}", None),
            ("\u{265a}", None),
            // One spelling of each.
            ("Ada", Some("ada")),
            ("\u{ff21}\u{ff44}\u{ff41}\u{ff20}x", Some("ada@x")),
            ("Zoe\u{308}", Some("zo\u{eb}")),
            ("ZO\u{cb}", Some("zo\u{eb}")),
            ("A\u{30a}sa", Some("\u{e5}sa")),
            ("\u{212b}sa", None),
            ("\u{30a2}\u{30c0}", Some("\u{30a2}\u{30c0}")),
            ("\u{5d0}\u{5d3}\u{5d4}", Some("\u{5d0}\u{5d3}\u{5d4}")),
            // What is not seen, or not read as it stands.
            ("ada\u{200b}", None),
            ("ada\u{200d}", None),
            ("\u{202e}ada", None),
            ("ada\u{0}", None),
            ("ada\n", None),
            ("\u{5d0}a", None),
            ("\u{fb01}n", None),
            ("\u{1f511}", None),
        ] {
            assert_eq!(case_mapped(name).as_deref(), expected, "{name:?}");
        }
        assert!(case_mapped(&"a".repeat(1_024)).is_some());
        assert!(case_mapped(&"a".repeat(1_025)).is_none());
    }
}
