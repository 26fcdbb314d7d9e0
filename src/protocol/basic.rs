//! HTTP Basic credentials of a client: RFC 7617 §2 with the encoding of RFC 6749 §2.3.1.

use base64::{Engine, prelude::BASE64_STANDARD};
use thiserror::Error;

use super::params::decode;

/// Who a client says it is, and its secret. It has no readable `Debug`.
pub struct Basic {
    pub client_id: String,
    pub secret: String,
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Basic(…)")
    }
}

/// Why an `Authorization` header is not one of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BasicError {
    #[error("there is more than one Authorization header")]
    Several,
    #[error("the scheme of the Authorization header is not Basic")]
    Scheme,
    #[error("the credentials are not base64 with padding")]
    Base64,
    #[error("the credentials are not client_id:client_secret, each form-urlencoded")]
    Shape,
}

/// Reads the values of `Authorization`; `Ok(None)` where there is none.
///
/// # Errors
///
/// The rule that refuses them.
pub fn parse(values: &[&[u8]]) -> Result<Option<Basic>, BasicError> {
    let value = match values {
        [] => return Ok(None),
        [value] => value,
        _ => return Err(BasicError::Several),
    };
    let (scheme, credentials) = match value.iter().position(|b| *b == b' ') {
        Some(end) => (&value[..end], &value[end + 1..]),
        None => (*value, &[][..]),
    };
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err(BasicError::Scheme);
    }
    let decoded = BASE64_STANDARD.decode(credentials);
    let decoded = decoded.map_err(|_| BasicError::Base64)?;
    let colon = decoded.iter().position(|b| *b == b':');
    let (id, secret) = decoded.split_at(colon.ok_or(BasicError::Shape)?);
    let text = |part| decode(part).map_err(|_| BasicError::Shape);
    Ok(Some(Basic {
        client_id: text(id)?,
        secret: text(&secret[1..])?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_strictly() {
        let of = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        let long = of(&format!("a:{}", "x".repeat(64 * 1_024)));
        type Read = Result<Option<(&'static str, &'static str)>, BasicError>;
        let table: &[(&str, Vec<String>, Read)] = &[
            ("none", vec![], Ok(None)),
            // RFC 6749 §2.3.1's own example.
            (
                "RFC 6749",
                vec!["Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3".to_owned()],
                Ok(Some(("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw"))),
            ),
            (
                "X-54 lower case",
                vec!["basic YTpi".to_owned()],
                Ok(Some(("a", "b"))),
            ),
            (
                "X-54 encoded",
                vec![of("a%3Ab:c%20d+e%2Bf")],
                Ok(Some(("a:b", "c d e+f"))),
            ),
            (
                "X-54 colon in the secret",
                vec![of("a:b:c")],
                Ok(Some(("a", "b:c"))),
            ),
            ("X-54 UTF-8", vec![of("é:ü")], Ok(Some(("é", "ü")))),
            ("X-51 empty secret", vec![of("a:")], Ok(Some(("a", "")))),
            (
                "X-54 two",
                vec![of("a:b"), of("a:b")],
                Err(BasicError::Several),
            ),
            (
                "X-54 tab",
                vec![format!("Basic\t{}", BASE64_STANDARD.encode("a:b"))],
                Err(BasicError::Scheme),
            ),
            (
                "X-54 two spaces",
                vec!["Basic  YTpi".to_owned()],
                Err(BasicError::Base64),
            ),
            (
                "X-54 no padding",
                vec!["Basic YTpiYw".to_owned()],
                Err(BasicError::Base64),
            ),
            (
                "X-54 url alphabet",
                vec!["Basic YTo_Pz8_".to_owned()],
                Err(BasicError::Base64),
            ),
            ("X-54 no colon", vec![of("ab")], Err(BasicError::Shape)),
            (
                "X-54 bad percent",
                vec![of("a%zz:b")],
                Err(BasicError::Shape),
            ),
            ("X-54 NUL", vec![of("a\0:b")], Err(BasicError::Shape)),
            (
                "X-54 nothing",
                vec!["Basic".to_owned()],
                Err(BasicError::Shape),
            ),
            (
                "another scheme",
                vec!["Bearer x".to_owned()],
                Err(BasicError::Scheme),
            ),
        ];
        for (case, values, expected) in table {
            let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
            let got = parse(&values);
            let got = got.as_ref().map(|basic| {
                basic
                    .as_ref()
                    .map(|it| (it.client_id.as_str(), it.secret.as_str()))
            });
            assert_eq!(got, expected.as_ref().map(|it| *it), "{case}");
        }
        assert!(parse(&[long.as_bytes()]).unwrap().is_some());
        assert_eq!(parse(&[b"Basic \xff\xfe"]).unwrap_err(), BasicError::Base64);
    }
}
