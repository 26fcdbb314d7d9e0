//! What a page may show of a stranger's host name, and what that name could be mistaken for: RFC 5890 (A-labels),
//! Unicode Technical Standard #39.

use std::net::Ipv4Addr;

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_security::{GeneralSecurityProfile, MixedScript, skeleton};

/// A host name in the parts that a page shows. `lead` and `main` together are the host as it is, in ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostView {
    /// What stands before the registrable domain, with its last dot.
    pub lead: String,
    /// The registrable domain; the whole host where it has none.
    pub main: String,
    /// The host in Unicode, where it has A-labels and reading them misleads nobody.
    pub decoded: Option<String>,
    /// Why `decoded` is missing although the host has A-labels.
    pub warning: Option<HostWarning>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostWarning {
    /// A label has letters of scripts that no language writes together.
    MixedScripts,
    /// A label of foreign letters that all look like ASCII.
    LooksLikeLatin,
    /// A label that is no valid A-label, or has characters that no language needs in names.
    NotReadable,
}

impl HostView {
    /// `host` is in ASCII and lower case, as a client identifier has it.
    pub fn of(host: &str) -> Self {
        let main = psl_domain(host).unwrap_or(host);
        let (decoded, warning) = match readable(host) {
            Ok(decoded) => (decoded, None),
            Err(warning) => (None, Some(warning)),
        };
        Self {
            lead: host.strip_suffix(main).unwrap_or_default().to_owned(),
            main: main.to_owned(),
            decoded,
            warning,
        }
    }
}

/// The first known host whose registrable domain this one could be mistaken for. Never one for a host that belongs to
/// a known domain itself.
pub fn looks_like<'a>(host: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = Name::of(host)?;
    let known: Vec<_> = known
        .filter_map(|host| Some((host, Name::of(host)?)))
        .collect();
    if known.iter().any(|(_, known)| known.domain == name.domain) {
        return None;
    }
    known
        .into_iter()
        .find(|(_, known)| name.resembles(known))
        .map(|(host, _)| host)
}

/// The first reserved word that a client's name for itself contains, however it is spelled, spaced or disguised.
pub fn name_looks_like<'a>(name: &str, reserved: &[&'a str]) -> Option<&'a str> {
    let words = words(name);
    let mut reserved = reserved.iter().copied();
    reserved.find(|reserved| {
        let reserved = self::words(reserved).concat();
        (0..words.len()).any(|start| is_run(&words[start..], &reserved))
    })
}

/// The host in Unicode if it has A-labels, or why people should not see it that way.
fn readable(host: &str) -> Result<Option<String>, HostWarning> {
    if !host.split('.').any(|label| label.starts_with("xn--")) {
        return Ok(None);
    }
    let decoded = decode(host).ok_or(HostWarning::NotReadable)?;
    for label in decoded.split('.').filter(|label| !label.is_ascii()) {
        if !label.is_single_script() {
            return Err(HostWarning::MixedScripts);
        }
        if skeleton(label).all(|c| c.is_ascii()) {
            return Err(HostWarning::LooksLikeLatin);
        }
        if !label
            .chars()
            .all(GeneralSecurityProfile::identifier_allowed)
        {
            return Err(HostWarning::NotReadable);
        }
    }
    Ok(Some(decoded))
}

/// The Unicode form of an ASCII name, if it is the form of no other name.
fn decode(host: &str) -> Option<String> {
    let (decoded, valid) = idna::domain_to_unicode(host);
    valid.ok()?;
    let back = idna::domain_to_ascii(&decoded).ok()?;
    (back == host).then_some(decoded)
}

/// The registrable domain by the Public Suffix List, which knows nothing of addresses.
fn psl_domain(host: &str) -> Option<&str> {
    if is_address(host) {
        return None;
    }
    psl::domain_str(host)
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}

/// A listed label shorter than this is looked for only where all of its domain is.
const SHORT: usize = 4;
/// Labels from this length on are near one another when one edit makes them equal.
const LONG: usize = 6;

/// A host name made ready for comparison.
struct Name<'a> {
    host: &'a str,
    /// The registrable domain; the whole host where it has none.
    domain: &'a str,
    /// The domain's skeleton, with a dot at both ends.
    skeleton: String,
    /// The host's skeleton, with a dot at both ends.
    host_skeleton: String,
    /// The domain's label left of the public suffix, in Unicode.
    label: String,
    /// The same, folded.
    folded: String,
    /// All that is left of the public suffix: folded, a hyphen between words and at both ends.
    words: String,
}

impl<'a> Name<'a> {
    /// `None` for addresses, which resemble nothing.
    fn of(host: &'a str) -> Option<Self> {
        if is_address(host) {
            return None;
        }
        let domain = psl_domain(host).unwrap_or(host);
        let suffix = psl::suffix_str(domain).unwrap_or_default();
        let left = |name: &'a str| match name.strip_suffix(suffix) {
            None | Some("") => name,
            Some(left) => left.trim_end_matches('.'),
        };
        let unicode = |name: &str| decode(name).unwrap_or_else(|| name.to_owned());
        let dotted = |name| format!(".{}.", skeleton(&unicode(name)).collect::<String>());
        let label = unicode(left(domain));
        Some(Self {
            host,
            domain,
            skeleton: dotted(domain),
            host_skeleton: dotted(host),
            folded: fold(&label),
            label,
            words: format!("-{}-", fold(&unicode(left(host))).replace('.', "-")),
        })
    }

    fn resembles(&self, known: &Self) -> bool {
        // Where a public suffix is known as a host of its own, what is beneath it does not pretend to be it.
        let above = self.host.strip_suffix(known.domain);
        if above.is_some_and(|above| above.ends_with('.')) {
            return false;
        }
        // `claude.ai.evil.example`; also the same skeleton in another script.
        if self.host_skeleton.contains(&known.skeleton) {
            return true;
        }
        let length = known.label.chars().count();
        if length < SHORT {
            return false;
        }
        // `login-claude.com`, `claude.evil.example`, and the same label elsewhere: `claude.com`.
        if self.words.contains(&format!("-{}-", known.folded)) {
            return true;
        }
        let (own, other) = (self.folded.replace('-', ""), known.folded.replace('-', ""));
        own == other
            || length >= LONG
                && (within_one_edit(&own, &other) || within_one_edit(&self.label, &known.label))
    }
}

/// Does one letter more, less or changed make these equal, or two neighbours that change places?
fn within_one_edit(one: &str, other: &str) -> bool {
    let one: Vec<_> = one.chars().collect();
    let other: Vec<_> = other.chars().collect();
    let equal = |(a, b): &(&char, &char)| a == b;
    let start = one.iter().zip(&other).take_while(equal).count();
    let (one, other) = (&one[start..], &other[start..]);
    let pairs = one.iter().rev().zip(other.iter().rev());
    let end = pairs.take_while(equal).count();
    match (&one[..one.len() - end], &other[..other.len() - end]) {
        ([a, b], [c, d]) => a == d && b == c,
        (one, other) => one.len() <= 1 && other.len() <= 1,
    }
}

/// A text such that those that look alike become equal. For comparing only: nobody can read it.
fn fold(text: &str) -> String {
    let is_mark = |c: &char| c.general_category_group() == GeneralCategoryGroup::Mark;
    let mut folded: String = skeleton(text).collect();
    let bare: String = folded.chars().filter(|c| !is_mark(c)).collect();
    // Outside Latin, marks are letters as good as others.
    if bare.is_ascii() {
        folded = bare;
    }
    let letters = |c| match c {
        '0' => 'o',
        '1' | 'i' => 'l',
        '3' => 'e',
        '5' => 's',
        other => other,
    };
    let folded: String = folded.to_lowercase().chars().map(letters).collect();
    // The skeleton writes every m as rn.
    folded.replace("rn", "m").replace("vv", "w")
}

/// Are the first words together this text?
fn is_run(words: &[String], text: &str) -> bool {
    let mut rest = text;
    for word in words {
        match rest.strip_prefix(word.as_str()) {
            Some("") => return true,
            Some(left) => rest = left,
            None => return false,
        }
    }
    false
}

/// The words of a displayed name, folded.
fn words(name: &str) -> Vec<String> {
    use GeneralCategoryGroup::{Letter, Mark, Number, Other};
    let visible: String = name
        .nfkc()
        .filter(|c| c.general_category_group() != Other)
        .collect();
    visible
        .split(|c: char| !matches!(c.general_category_group(), Letter | Mark | Number))
        .map(fold)
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrable_domain_stands_out() {
        let table = [
            ("claude.ai", "", "claude.ai"),
            ("login.claude.ai", "login.", "claude.ai"),
            ("claude.ai.evil.example", "claude.ai.", "evil.example"),
            ("a.b.example.co.uk", "a.b.", "example.co.uk"),
            ("octocat.github.io", "", "octocat.github.io"),
            ("www.octocat.github.io", "www.", "octocat.github.io"),
            ("x.a.xn--55qx5d.cn", "x.", "a.xn--55qx5d.cn"),
            ("github.io", "", "github.io"),
            ("localhost", "", "localhost"),
            ("127.0.0.1", "", "127.0.0.1"),
            ("[::1]", "", "[::1]"),
        ];
        for (host, lead, main) in table {
            let view = HostView::of(host);
            assert_eq!((&*view.lead, &*view.main), (lead, main));
            assert_eq!(view.warning, None, "{host}");
            assert_eq!(view.decoded.is_some(), host.contains("xn--"), "{host}");
        }
    }

    #[test]
    fn a_host_is_decoded_only_where_that_misleads_nobody() {
        use HostWarning::{LooksLikeLatin, MixedScripts, NotReadable};
        // Shown as it stands here.
        for shown in [
            "münchen.de",
            "straße.de",
            "café.login.fr",
            "例え.jp",
            "日本語カナ.jp",
            "한국漢字.kr",
            "www.пример.рф",
            "a.公司.cn",
            "ελλάδα.gr",
            "كتاب.com",
        ] {
            let host = idna::domain_to_ascii(shown).unwrap();
            let view = HostView::of(&host);
            assert_eq!(view.decoded.as_deref(), Some(shown), "{host}");
            assert_eq!(view.warning, None, "{host}");
            assert_eq!(format!("{}{}", view.lead, view.main), host);
        }
        let ascii = |text| idna::domain_to_ascii(text).unwrap();
        let table = [
            ("xn--80ak6aa92e.com".to_owned(), LooksLikeLatin),
            ("www.xn--80ak6aa92e.github.io".to_owned(), LooksLikeLatin),
            (ascii("ѕсоре.com"), LooksLikeLatin),
            (ascii("ѕсоре-1.com"), LooksLikeLatin),
            (ascii("ıphone.com"), LooksLikeLatin),
            (ascii("раураl.com"), MixedScripts),
            (ascii("gооgle.com"), MixedScripts),
            (ascii("gооgle.münchen.de"), MixedScripts),
            (ascii("google日本.com"), MixedScripts),
            (ascii("💩.la"), NotReadable),
            (ascii("☃.net"), NotReadable),
            ("xn--a.com".to_owned(), NotReadable),
            ("xn--abc-.com".to_owned(), NotReadable),
            ("xn--.com".to_owned(), NotReadable),
            ("xn--zzzzzzzzzzzzz.com".to_owned(), NotReadable),
            // "Bücher": A-labels are made of lower case only.
            ("xn--Bcher-kva.de".to_owned(), NotReadable),
        ];
        for (host, warning) in table {
            let view = HostView::of(&host);
            assert_eq!(view.warning, Some(warning), "{host}");
            assert_eq!(view.decoded, None, "{host}");
        }
    }

    #[test]
    fn a_host_that_resembles_a_known_one_is_found() {
        let table = [
            // Letters of other scripts.
            ("xn--80ak6aa92e.com", "apple.com"),
            ("сӏаudе.ai", "claude.ai"),
            ("claudé.ai", "claude.ai"),
            ("goöglе.com", "google.com"),
            ("mïcrosoft.com", "microsoft.com"),
            ("х.com", "x.com"),
            // Letters of ASCII.
            ("c1aude.ai", "claude.ai"),
            ("ciaude.ai", "claude.ai"),
            ("g00gle.com", "google.com"),
            ("5tripe.com", "stripe.com"),
            ("strip3.com", "stripe.com"),
            ("rnicrosoft.com", "microsoft.com"),
            ("microsoft.com", "rnicrosoft.com"),
            ("vvikipedia.org", "wikipedia.org"),
            ("clau-de.ai", "claude.ai"),
            ("myapp.com", "my-app.com"),
            // One edit.
            ("claud.ai", "claude.ai"),
            ("claudee.com", "claude.ai"),
            ("gihtub.com", "github.com"),
            ("githud.com", "github.com"),
            ("modexn.com", "modern.com"),
            ("examples.com", "example.com"),
            ("login.exampel.co.uk", "www.example.com"),
            // The known name inside.
            ("login-claude.ai", "claude.ai"),
            ("c1aude-login.com", "claude.ai"),
            ("claude.com", "claude.ai"),
            ("claude.ai.evil.example", "claude.ai"),
            ("login.x.ai.evil.example", "x.ai"),
            ("claude.evil.example", "claude.ai"),
            ("a-claude-b.evil.example", "claude.ai"),
            ("claude-ai.evil.example", "login.claude.ai"),
            ("get-my-app.com", "my-app.com"),
            ("alice.example.com", "alice.github.io"),
            ("hubot1.github.io", "hubot2.github.io"),
        ];
        for (host, known) in table {
            let host = idna::domain_to_ascii(host).unwrap();
            let all = ["unrelated.example", known, "127.0.0.1"];
            assert_eq!(looks_like(&host, all.into_iter()), Some(known), "{host}");
        }
    }

    #[test]
    fn a_host_that_resembles_no_known_one_is_left_alone() {
        let table: &[(&str, &[&str])] = &[
            ("nothing known", &[]),
            ("claude.ai", &["claude.ai"]),
            ("login.claude.ai", &["claude.ai"]),
            ("claude.ai", &["login.claude.ai"]),
            // Of two known hosts that resemble each other, each is itself.
            ("claude.com", &["claude.ai", "www.claude.com"]),
            ("a.com", &["b.com"]),
            ("x.com", &["x.ai"]),
            ("foo-x.com", &["x.com"]),
            ("box.com", &["fox.com"]),
            ("apply.com", &["apple.com"]),
            ("stride.com", &["strike-pay.com"]),
            ("claudette.com", &["claude.ai"]),
            ("preclaude.com", &["claude.ai"]),
            (
                "alice.github.io",
                &["github.com", "bobby.github.io", "github.io"],
            ),
            ("foo.vercel.app", &["vercel.com"]),
            ("example.co.uk", &["co.uk"]),
            (
                "unrelated.com",
                &["claude.ai", "chatgpt.com", "github.com", "x.com"],
            ),
            ("xn--mnchen-3ya.de", &["xn--kln-sna.de", "berlin.de"]),
            ("xn--a.com", &["xn--b.com"]),
            ("127.0.0.1", &["127.0.0.2", "0.1"]),
            ("[::1]", &["[::2]"]),
            ("localhost", &["localhost", "claude.ai"]),
            ("", &["", "claude.ai"]),
        ];
        for (host, known) in table {
            assert_eq!(looks_like(host, known.iter().copied()), None, "{host}");
        }
    }

    #[test]
    fn a_name_that_contains_a_reserved_word_is_found() {
        let reserved = ["Google", "Microsoft", "Wayleave", "Visual Studio"];
        let table = [
            ("M-42 Google", "Google", Some("Google")),
            ("M-42 Microsoft", "Sign in to MICROSOFT", Some("Microsoft")),
            ("M-42 our own", "wayleave (official)", Some("Wayleave")),
            (
                "M-42 two words",
                "visual-studio helper",
                Some("Visual Studio"),
            ),
            ("M-42 Cyrillic", "Gооglе", Some("Google")),
            ("M-42 Cyrillic capitals", "GООGLЕ", Some("Google")),
            ("full width", "Ｇｏｏｇｌｅ", Some("Google")),
            ("mathematical", "𝐆𝐨𝐨𝐠𝐥𝐞", Some("Google")),
            ("circled", "ⓖⓞⓞⓖⓛⓔ", Some("Google")),
            ("accents", "Gôógle\u{301}", Some("Google")),
            ("digits", "G00g1e", Some("Google")),
            ("capital i", "GoogIe", Some("Google")),
            ("rn", "rnicrosoft", Some("Microsoft")),
            ("invisible", "Goo\u{200b}g\u{ad}le\u{fe0f}", Some("Google")),
            ("Hangul filler", "Goo\u{3164}gle", Some("Google")),
            ("spaced", "G o o g l e", Some("Google")),
            ("dotted", "M.i.c.r.o.s.o.f.t", Some("Microsoft")),
            ("after a false start", "Go Goo gle", Some("Google")),
            ("possessive", "Google's", Some("Google")),
            ("part of a word", "Googlers", None),
            ("part of a word", "AntiGoogle", None),
            ("one of two words", "Studio", None),
            ("interrupted", "Goo of gle", None),
            ("unrelated", "Claude Code", None),
            ("unrelated", "日本語 ✓ é", None),
            ("blank", " \u{200b}", None),
        ];
        for (case, name, expected) in table {
            assert_eq!(name_looks_like(name, &reserved), expected, "{case}");
        }
        assert_eq!(name_looks_like("Client", &["", " "]), None);
    }
}
