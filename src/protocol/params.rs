//! Request parameters: RFC 6749 §3.1 and §3.2, `application/x-www-form-urlencoded`.

use super::{client_metadata::GrantType, error::OAuthError};

/// At most so many parameters in one request.
const MOST: usize = 64;

/// The parameters of one request: decoded strictly, none twice, none empty.
///
/// RFC 6749 §3.1: a parameter without a value counts as absent, one sent more than once is refused.
/// `resource` alone may come several times (RFC 8707 §2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Parses a query or a form body.
    ///
    /// # Errors
    ///
    /// `invalid_request` on malformed percent-encoding, invalid UTF-8, NUL, too many or repeated parameters.
    pub fn parse(encoded: &[u8]) -> Result<Self, OAuthError> {
        let mut params = Self::default();
        for pair in encoded
            .split(|&b| b == b'&')
            .filter(|pair| !pair.is_empty())
        {
            let mut parts = pair.splitn(2, |&b| b == b'=');
            let name = decode(parts.next().unwrap_or_default())?;
            let value = decode(parts.next().unwrap_or_default())?;
            if name != "resource" && params.0.iter().any(|(known, _)| *known == name) {
                return Err(OAuthError::invalid_request(match known_name(&name) {
                    Some(name) => format!("the parameter {name} was sent more than once"),
                    None => "a parameter was sent more than once".to_owned(),
                }));
            }
            if params.0.len() == MOST {
                return Err(OAuthError::invalid_request("too many parameters"));
            }
            params.0.push((name, value));
        }
        params.0.retain(|(_, value)| !value.is_empty());
        Ok(params)
    }

    /// The parameter's value, if it was sent.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a parameter that may be repeated.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that must be there.
    ///
    /// # Errors
    ///
    /// `invalid_request`, naming the parameter.
    pub fn require(&self, name: &'static str) -> Result<&str, OAuthError> {
        self.optional(name)
            .ok_or_else(|| OAuthError::invalid_request(format!("the parameter {name} is missing")))
    }

    /// The parameters with one more, in the place of any of that name.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut params = self.without(&[name]);
        params.0.push((name.to_owned(), value.to_owned()));
        params
    }

    /// The parameters without those that `names` lists.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(name, _)| !names.contains(&name.as_str()))
                .cloned()
                .collect(),
        )
    }

    /// The parameters that `names` lists.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> Self {
        let listed = self
            .0
            .iter()
            .filter(|(name, _)| names.contains(&name.as_str()));
        Self(listed.cloned().collect())
    }

    /// The same parameters as a query.
    pub fn encode(&self) -> String {
        let mut encoder = url::form_urlencoded::Serializer::new(String::new());
        encoder.extend_pairs(&self.0);
        encoder.finish()
    }
}

/// The name itself when it is one of ours: a stranger's text is never repeated in an error.
fn known_name(name: &str) -> Option<&'static str> {
    const KNOWN: &[&str] = &[
        "client_id",
        "redirect_uri",
        "response_type",
        "response_mode",
        "scope",
        "state",
        "nonce",
        "prompt",
        "code_challenge",
        "code_challenge_method",
        "request",
        "request_uri",
        "dpop_jkt",
        "max_age",
        "login_hint",
        "id_token_hint",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "user_code",
        "grant_type",
        "token",
        "token_type_hint",
        "username",
        "password",
        "csrf",
        "decision",
        "interaction",
    ];
    let of_grants = GrantType::ALL.into_iter().flat_map(GrantType::parameters);
    let mut known = KNOWN.iter().chain(of_grants);
    known.find(|known| **known == name).copied()
}

pub(super) fn decode(encoded: &[u8]) -> Result<String, OAuthError> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = rest.next().copied().and_then(hex);
                let low = rest.next().copied().and_then(hex);
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(OAuthError::invalid_request(
                        "a parameter has malformed percent-encoding",
                    ));
                };
                high << 4 | low
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| OAuthError::invalid_request("a parameter is not UTF-8"))?;
    if text.contains('\0') {
        return Err(OAuthError::invalid_request("a parameter contains NUL"));
    }
    Ok(text)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_strictly() {
        let many = (0..65)
            .map(|n| format!("p{n}=1"))
            .collect::<Vec<_>>()
            .join("&");
        let table: &[(&str, &[u8], Result<&str, &str>)] = &[
            (
                "RFC 6749 §4.1.1's own request",
                b"response_type=code&client_id=s6BhdRkqt3&state=xyz",
                Ok("response_type=code&client_id=s6BhdRkqt3&state=xyz"),
            ),
            ("a plus is a space", b"scope=a+b%20c", Ok("scope=a+b+c")),
            ("empty counts as absent", b"a=&b&c=1", Ok("c=1")),
            (
                "resource may repeat",
                b"resource=a&resource=b",
                Ok("resource=a&resource=b"),
            ),
            (
                "twice, different",
                b"state=1&state=2",
                Err("the parameter state was sent more than once"),
            ),
            (
                "twice, one of them empty",
                b"state=1&state=",
                Err("the parameter state was sent more than once"),
            ),
            (
                "twice, unknown",
                b"%3Cx=1&%3Cx=1",
                Err("a parameter was sent more than once"),
            ),
            (
                "bad percent-encoding",
                b"a=%zz",
                Err("a parameter has malformed percent-encoding"),
            ),
            (
                "cut percent-encoding",
                b"a=%2",
                Err("a parameter has malformed percent-encoding"),
            ),
            ("invalid UTF-8", b"a=%ff", Err("a parameter is not UTF-8")),
            (
                "raw invalid UTF-8",
                b"a=\xff",
                Err("a parameter is not UTF-8"),
            ),
            ("NUL", b"a=b%00", Err("a parameter contains NUL")),
            ("too many", many.as_bytes(), Err("too many parameters")),
        ];
        for (case, encoded, expected) in table {
            let got = Params::parse(encoded);
            let got = got
                .as_ref()
                .map(Params::encode)
                .map_err(|e| e.description.to_string());
            assert_eq!(
                got,
                expected.map(str::to_owned).map_err(str::to_owned),
                "{case}"
            );
        }
    }

    #[test]
    fn what_is_not_ascii_survives_the_round_trip() {
        let params = Params::parse(b"state=%C3%A9%2F%2B%3D%26").unwrap();
        assert_eq!(params.optional("state"), Some("é/+=&"));
        assert_eq!(Params::parse(params.encode().as_bytes()).unwrap(), params);
    }
}
