//! Names that strangers like to borrow, and the hosts that may bear them.

use super::host_view::{looks_like, name_looks_like};

/// Names that people trust, each with the registrable domains of those it belongs to.
const NAMES: &[(&str, &[&str])] = &[
    ("Anthropic", &["anthropic.com", "claude.ai", "claude.com"]),
    ("Apple", &["apple.com", "icloud.com"]),
    ("ChatGPT", &["chatgpt.com", "openai.com"]),
    ("Claude", &["claude.ai", "claude.com", "anthropic.com"]),
    (
        "Copilot",
        &["github.com", "microsoft.com", "copilot.microsoft.com"],
    ),
    ("Cursor", &["cursor.com", "cursor.sh"]),
    ("GitHub", &["github.com"]),
    ("Gmail", &["google.com", "gmail.com"]),
    ("Google", &["google.com"]),
    (
        "Microsoft",
        &["microsoft.com", "live.com", "office.com", "vscode.dev"],
    ),
    ("OpenAI", &["openai.com", "chatgpt.com"]),
    (
        "Visual Studio Code",
        &["vscode.dev", "visualstudio.com", "microsoft.com"],
    ),
    ("Wayleave", &[]),
];

/// The trusted name that a client calls itself by although its host has no right to it. A host may be called after
/// itself.
pub fn borrowed_name(name: &str, host: &str) -> Option<&'static str> {
    let domain = psl::domain_str(host).unwrap_or(host);
    let reserved: Vec<&str> = NAMES
        .iter()
        .filter(|(_, domains)| !domains.contains(&domain))
        .map(|(name, _)| *name)
        .collect();
    let found = name_looks_like(name, &reserved)?;
    NAMES
        .iter()
        .map(|(name, _)| *name)
        .find(|name| *name == found)
}

/// The host that this one resembles without being it: one that the administrator trusts, our own, or one of those
/// that the known names belong to.
pub fn resembles(host: &str, own_host: &str, listed: &[String]) -> Option<String> {
    let well_known = NAMES
        .iter()
        .flat_map(|(_, domains)| domains.iter().copied());
    let known = listed
        .iter()
        .map(String::as_str)
        .chain([own_host])
        .chain(well_known);
    looks_like(host, known).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m_42_a_borrowed_name_is_noticed() {
        let table = [
            ("Google", "evil.example.net", Some("Google")),
            (
                "Sign in with Microsoft",
                "evil.example.net",
                Some("Microsoft"),
            ),
            ("Gооgle", "evil.example.net", Some("Google")),
            ("Claude", "claude.ai", None),
            ("Claude Code", "app.claude.ai", None),
            ("Claude", "claude-login.example.net", Some("Claude")),
            ("Notebook", "notes.example.net", None),
            ("Pineapple", "fruit.example.net", None),
        ];
        for (name, host, expected) in table {
            assert_eq!(borrowed_name(name, host), expected, "{name} at {host}");
        }
    }

    #[test]
    fn m_42_a_host_that_resembles_a_trusted_one_is_noticed() {
        let listed = ["notes.example-company.com".to_owned()];
        let table = [
            ("claude.ai", None),
            ("claude.ai.evil.net", Some("claude.ai")),
            ("chatgpt-login.net", Some("chatgpt.com")),
            ("examp1e-company.com", Some("notes.example-company.com")),
            ("app.example-company.com", None),
            ("xn--80ak6aa92e.com", Some("apple.com")),
            ("weather.net", None),
        ];
        for (host, expected) in table {
            let got = resembles(host, "id.example.org", &listed);
            assert_eq!(got.as_deref(), expected, "{host}");
        }
    }
}
