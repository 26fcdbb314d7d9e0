//! Private-use URI schemes, by which the system opens an app: RFC 8252 §7.1, RFC 7595 §3.8.

/// May an app be opened by this scheme? Lower case as RFC 7595 §3.8 wants it, and none that a browser or a system answers
/// itself: what such a scheme opens is never the client.
pub fn is_available(scheme: &str) -> bool {
    let is_owned = OWNED.contains(&scheme)
        || OWNED_PREFIXES
            .iter()
            .any(|prefix| scheme.starts_with(prefix));
    is_scheme(scheme) && !is_owned
}

/// RFC 8252 §7.1: is the scheme that of the domain in reverse order, or one below it? `com.example.app` belongs to
/// `app.example.com` and to `example.com`.
pub fn belongs_to(scheme: &str, domain: &str) -> bool {
    let mut labels = scheme.split('.');
    domain.rsplit('.').all(|label| labels.next() == Some(label))
}

/// RFC 3986 §3.1, in lower case only.
fn is_scheme(text: &str) -> bool {
    text.len() <= MAX_BYTES
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'))
}

const MAX_BYTES: usize = 128;

/// Schemes of the web, of browsers, and of Windows, macOS, iOS, Android and the usual desktops: those that they answer
/// themselves, run, or give to a program of theirs.
const OWNED: &[&str] = &[
    "about",
    "acap",
    "afp",
    "android-app",
    "app-settings",
    "blob",
    "bluetooth",
    "brave",
    "cap",
    "chrome",
    "chrome-error",
    "chrome-extension",
    "chrome-native",
    "chrome-search",
    "chrome-untrusted",
    "cid",
    "content",
    "data",
    "dav",
    "davs",
    "devtools",
    "dict",
    "dns",
    "edge",
    "facetime",
    "facetime-audio",
    "fax",
    "feed",
    "file",
    "filesystem",
    "firefox",
    "ftp",
    "ftps",
    "geo",
    "gopher",
    "hcp",
    "help",
    "http",
    "https",
    "icloud",
    "imap",
    "imessage",
    "intent",
    "irc",
    "irc6",
    "ircs",
    "isolated-app",
    "itms",
    "itms-apps",
    "itms-appss",
    "itms-services",
    "itmss",
    "jar",
    "javascript",
    "ldap",
    "ldaps",
    "livescript",
    "magnet",
    "mailto",
    "maps",
    "market",
    "mhtml",
    "microsoft-edge",
    "microsoft-edge-holographic",
    "mid",
    "mk",
    "mms",
    "mmsto",
    "mocha",
    "moz-extension",
    "moz-icon",
    "moz-page-thumb",
    "moz-safe-about",
    "musics",
    "news",
    "nfs",
    "nntp",
    "opera",
    "pop",
    "prefs",
    "read",
    "res",
    "resource",
    "rlogin",
    "rtsp",
    "safari-extension",
    "safari-web-extension",
    "search",
    "search-ms",
    "sftp",
    "shell",
    "shortcuts",
    "sip",
    "sips",
    "smb",
    "sms",
    "smsto",
    "snews",
    "ssh",
    "steam",
    "tel",
    "telnet",
    "tn3270",
    "urn",
    "vbs",
    "vbscript",
    "view-source",
    "vivaldi",
    "vnc",
    "webcal",
    "webcals",
    "webkit-extension",
    "windows-feedback",
    "windowsdefender",
    "ws",
    "wss",
    "wyciwyg",
    "x-apple-helpbasic",
    "x-help-action",
    "x-help-script",
    "x-man-page",
    "xmpp",
];

/// `ms-` are Windows' own (`ms-settings:`), `web+` and `ext+` those that any site or extension may take for itself.
const OWNED_PREFIXES: &[&str] = &["ms-", "x-apple.", "x-apple-", "com.apple.", "web+", "ext+"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_has_a_scheme_that_nothing_else_answers() {
        let available = [
            "com.example.app",
            "myapp",
            "vscode",
            "cursor",
            "a+b-c.d",
            "org.gnome.x",
        ];
        let refused = [
            "javascript",
            "intent",
            "ms-settings",
            "ms-appx",
            "https",
            "http",
            "data",
            "file",
            "web+x",
            "x-apple.systempreferences",
            "MyApp",
            "",
            "1app",
            "-app",
            "a_b",
            "a/b",
            "a b",
            "é",
        ];
        for scheme in available {
            assert!(is_available(scheme), "F-09: {scheme}");
        }
        for scheme in refused {
            assert!(!is_available(scheme), "F-09: {scheme:?}");
        }
        assert!(is_available(&"a".repeat(MAX_BYTES)) && !is_available(&"a".repeat(MAX_BYTES + 1)));
    }

    #[test]
    fn the_lists_are_in_order_and_without_repetition() {
        for list in [OWNED, OWNED_PREFIXES] {
            assert!(list.iter().all(|entry| *entry == entry.to_lowercase()));
        }
        assert!(OWNED.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_scheme_belongs_to_its_domain_in_reverse_order() {
        let table = [
            ("com.example.app", "app.example.com", true),
            ("com.example.app", "example.com", true),
            ("com.example", "example.com", true),
            ("com.example.app.beta", "app.example.com", true),
            ("com.example", "app.example.com", false),
            ("com.example.other", "app.example.com", false),
            ("com.examples", "example.com", false),
            ("com.example.app", "other.net", false),
            ("example.com", "example.com", false),
            ("myapp", "example.com", false),
        ];
        for (scheme, domain, expected) in table {
            assert_eq!(
                belongs_to(scheme, domain),
                expected,
                "F-09: {scheme} {domain}"
            );
        }
    }
}
