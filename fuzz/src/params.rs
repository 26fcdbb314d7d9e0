//! Request parameters and the credentials beside them: RFC 6749 §2.3.1, §3.1, §3.2.

use std::collections::HashSet;

use wayleave::protocol::{basic, params::Params};

/// The input is a query or a form body; after a line break follows the value of `Authorization`.
pub fn params(data: &[u8]) {
    let mut lines = data.splitn(2, |b| *b == b'\n');
    check_params(lines.next().unwrap_or_default());
    if let Some(value) = lines.next() {
        check_basic(value);
    }
}

fn check_params(body: &[u8]) {
    let params = match Params::parse(body) {
        Ok(params) => params,
        Err(error) => {
            let told = &error.description;
            assert!(
                told.bytes()
                    .all(|b| (0x20..=0x7e).contains(&b) && b != b'"' && b != b'\\'),
                "{told}"
            );
            return;
        }
    };
    let encoded = params.encode();
    let again = Params::parse(encoded.as_bytes());
    assert!(
        again.is_ok_and(|again| again == params),
        "read, written and read again: {encoded}"
    );
    // A library of another make reads the same.
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(encoded.as_bytes())
        .into_owned()
        .collect();
    assert!(pairs.len() <= 64);
    let mut names = HashSet::new();
    for (name, value) in &pairs {
        assert!(!value.is_empty() && !value.contains('\0') && !name.contains('\0'));
        assert!(names.insert(name) || name == "resource", "{name} twice");
        if name != "resource" {
            assert_eq!(params.optional(name), Some(value.as_str()));
        }
    }
    assert_eq!(params.with("added", "1").optional("added"), Some("1"));
    assert_eq!(params.without(&["state"]).optional("state"), None);
}

fn check_basic(value: &[u8]) {
    if let Ok(Some(basic)) = basic::parse(&[value]) {
        assert!(value[..6].eq_ignore_ascii_case(b"basic "));
        assert!(!basic.client_id.contains('\0') && !basic.secret.contains('\0'));
        assert!(basic::parse(&[value, value]).is_err());
    }
}
