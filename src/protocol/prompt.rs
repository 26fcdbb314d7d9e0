//! `prompt`: OpenID Connect Core §3.1.2.1.

use super::error::OAuthError;

/// What the client wants the person to be asked again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// No page may be shown.
    pub none: bool,
    /// Sign in again.
    pub login: bool,
    /// Ask for consent again.
    pub consent: bool,
}

impl Prompt {
    /// Reads the parameter's value.
    ///
    /// # Errors
    ///
    /// `invalid_request` for unknown values, and for `none` beside others.
    pub fn parse(text: Option<&str>) -> Result<Self, OAuthError> {
        let mut prompt = Self::default();
        for value in text
            .unwrap_or_default()
            .split(' ')
            .filter(|value| !value.is_empty())
        {
            match value {
                "none" => prompt.none = true,
                "login" | "select_account" => prompt.login = true,
                "consent" => prompt.consent = true,
                _ => return Err(OAuthError::invalid_request("prompt has an unknown value")),
            }
        }
        if prompt.none && (prompt.login || prompt.consent) {
            return Err(OAuthError::invalid_request(
                "prompt none excludes every other value",
            ));
        }
        Ok(prompt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompt_values_combine_except_none() {
        let table = [
            (None, Some((false, false, false))),
            (Some("none"), Some((true, false, false))),
            (Some("login"), Some((false, true, false))),
            (Some("select_account"), Some((false, true, false))),
            (Some("login consent"), Some((false, true, true))),
            (Some("none login"), None),
            (Some("create"), None),
        ];
        for (text, expected) in table {
            let got = Prompt::parse(text)
                .ok()
                .map(|p| (p.none, p.login, p.consent));
            assert_eq!(got, expected, "{text:?}");
        }
    }
}
