//! The access token of a request: RFC 6750 §2.1, RFC 9449 §7.1.
//!
//! Only in the `Authorization` header: OAuth 2.1 §5.1.2 has no token in the query, and RFC 6750 §2.2 wants the one in a
//! form only where a header cannot be set, and a proof of possession cannot come with it.

use super::error::{ErrorCode, OAuthError};

/// How a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Bearer,
    Dpop,
}

/// A token as it was presented.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Presented<'a> {
    pub scheme: Scheme,
    pub token: &'a str,
}

/// Whoever has the token may use it, so it is not shown.
impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Presented({:?})", self.scheme)
    }
}

/// Reads the values of the `Authorization` header; `None` where no token is shown: the request has none, or it has
/// credentials of another kind.
///
/// # Errors
///
/// `invalid_request` for several headers, `invalid_token` for what cannot be a token.
pub fn parse<'a>(values: &[&'a [u8]]) -> Result<Option<Presented<'a>>, OAuthError> {
    let value = match values {
        [] => return Ok(None),
        [one] => *one,
        _ => {
            let told = "the request has more than one Authorization header";
            return Err(OAuthError::invalid_request(told));
        }
    };
    // RFC 9110 §11.4: a scheme in any case, and one space (RFC 6750 §2.1).
    let Some((scheme, token)) = std::str::from_utf8(value)
        .ok()
        .and_then(|value| value.split_once(' '))
    else {
        return Ok(None);
    };
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        _ if scheme.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
        _ => return Ok(None),
    };
    if !is_token68(token) {
        let told = "the access token is malformed";
        return Err(OAuthError::new(ErrorCode::InvalidToken, told));
    }
    Ok(Some(Presented { scheme, token }))
}

/// RFC 9110 §11.2.
fn is_token68(text: &str) -> bool {
    let text = text.trim_end_matches('=');
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_in_one_header_after_its_scheme_and_one_space() {
        use ErrorCode::{InvalidRequest, InvalidToken};
        struct Row<'a>(&'a [&'a str], Result<Option<(Scheme, &'a str)>, ErrorCode>);
        let table = [
            // RFC 6750 §2.1's own.
            Row(
                &["Bearer mF_9.B5f-4.1JqM"],
                Ok(Some((Scheme::Bearer, "mF_9.B5f-4.1JqM"))),
            ),
            Row(
                &["DPoP Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"],
                Ok(Some((
                    Scheme::Dpop,
                    "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
                ))),
            ),
            Row(&["bearer a"], Ok(Some((Scheme::Bearer, "a")))),
            Row(&["BEARER a=="], Ok(Some((Scheme::Bearer, "a==")))),
            Row(&[], Ok(None)),
            Row(&["Basic YTpi"], Ok(None)),
            Row(&["Bearer"], Ok(None)),
            Row(&["Bearer\ta"], Ok(None)),
            Row(&["mF_9.B5f-4.1JqM"], Ok(None)),
            Row(&["Bearer  a"], Err(InvalidToken)),
            Row(&["Bearer "], Err(InvalidToken)),
            Row(&["Bearer a b"], Err(InvalidToken)),
            Row(&["Bearer a, Bearer b"], Err(InvalidToken)),
            Row(&["Bearer =a"], Err(InvalidToken)),
            Row(&["Bearer a", "Bearer a"], Err(InvalidRequest)),
            Row(&["Bearer a", "DPoP a"], Err(InvalidRequest)),
        ];
        for Row(values, expected) in table {
            let bytes: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
            let got = parse(&bytes).map(|it| it.map(|it| (it.scheme, it.token)));
            assert_eq!(got.map_err(|error| error.code), expected, "{values:?}");
        }
    }
}
