//! The media type of a document: RFC 9110 §8.3, RFC 6839 §3.1.

use wayleave::protocol::media_type;

/// The input is a `Content-Type` header in each line.
pub fn media_type(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // As the fetch gives it to us: without control characters but for the tab.
    let is_value = |line: &&str| !line.contains(|c: char| c.is_ascii_control() && c != '\t');
    let headers: Vec<_> = text.split('\n').filter(is_value).collect();
    let accepted = media_type::is_json(&headers);
    let upper: Vec<_> = headers.iter().map(|it| it.to_ascii_uppercase()).collect();
    let upper: Vec<_> = upper.iter().map(String::as_str).collect();
    assert_eq!(media_type::is_json(&upper), accepted, "case says nothing");
    assert!(!media_type::is_json(&[&headers[..], &headers[..]].concat()));
    if accepted {
        let [header] = headers[..] else {
            panic!("{headers:?} are several");
        };
        check_accepted(header);
    }
}

fn check_accepted(header: &str) {
    let (essence, parameters) = header.split_once(';').unwrap_or((header, ""));
    let essence = essence.trim_matches([' ', '\t']);
    let subtype = essence.split_once('/').filter(|(kind, subtype)| {
        kind.eq_ignore_ascii_case("application") && subtype.bytes().all(is_token_byte)
    });
    let subtype = subtype.map(|(_, subtype)| subtype.to_ascii_lowercase());
    assert!(
        subtype.is_some_and(|it| it == "json" || (it.len() > 5 && it.ends_with("+json"))),
        "{header:?}"
    );
    for addition in ["", ";", " ; ", "; q=\"charset=utf-16\"", ";x=y"] {
        assert!(is_json(&format!("{header}{addition}")), "{addition}");
    }
    for addition in [
        "; charset=utf-16",
        ";charset=\"utf-7\"",
        "; q",
        "; q=\"",
        ", a/b",
        "/",
    ] {
        assert!(!is_json(&format!("{header}{addition}")), "{addition}");
    }
    if !parameters.contains('"') {
        let charsets = parameters.split(';').filter_map(|parameter| {
            let (name, value) = parameter.trim_matches([' ', '\t']).split_once('=')?;
            name.eq_ignore_ascii_case("charset").then_some(value)
        });
        let charsets: Vec<_> = charsets.map(str::to_ascii_lowercase).collect();
        assert!(charsets.is_empty() || charsets == ["utf-8"], "{header:?}");
        assert!(
            header
                .bytes()
                .all(|b| is_token_byte(b) || b" \t/;=".contains(&b))
        );
    }
}

fn is_json(header: &str) -> bool {
    media_type::is_json(&[header])
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
