//! Our decisions, pure: what happens next to a valid authorization request.

pub mod catalog;
pub mod client_document;
pub mod client_pattern;
pub mod client_rules;
pub mod client_url;
pub mod host_view;
pub mod key_rotation;
pub mod known_names;
pub mod metadata_change;
pub mod registration;
pub mod sign_in;

use crate::{
    protocol::{
        authorize::AuthorizationRequest,
        error::{ErrorCode, OAuthError},
    },
    time::UnixTime,
};

/// All that a decision looks at.
#[derive(Debug)]
pub struct Facts<'a> {
    pub request: &'a AuthorizationRequest,
    /// When the browser's session began; `None` without one.
    pub signed_in_at: Option<UnixTime>,
    /// When the person was last sent to sign in for this request, if they were.
    pub sent_to_login_at: Option<UnixTime>,
    /// Does the client expect another person than the one who is signed in?
    pub other_person: bool,
    /// Does a remembered consent cover what would be granted?
    pub consent_covers: bool,
    /// Is the client our own, so that nobody is asked?
    pub first_party: bool,
    /// Has this very request just been allowed?
    pub just_allowed: bool,
    pub now: UnixTime,
}

/// What happens next.
#[derive(Debug)]
pub enum Verdict {
    /// Issue the code.
    Pass,
    /// Show the sign-in page.
    Login,
    /// Show the consent page.
    Consent,
    /// Tell the client no.
    Refuse(OAuthError),
}

/// One reason to stop a request, and what to do then.
struct Policy {
    applies: fn(&Facts<'_>) -> bool,
    /// The page that helps; `None`: none does.
    page: Option<Page>,
    /// The error when no page helps, or `prompt=none` forbids it.
    silent: ErrorCode,
}

#[derive(Clone, Copy)]
enum Page {
    Login,
    Consent,
}

/// The checks run in this order; the first that applies decides.
const ALL: &[Policy] = &[
    Policy {
        applies: needs_login,
        page: Some(Page::Login),
        silent: ErrorCode::LoginRequired,
    },
    Policy {
        applies: is_still_another_person,
        page: None,
        silent: ErrorCode::LoginRequired,
    },
    Policy {
        applies: needs_consent,
        page: Some(Page::Consent),
        silent: ErrorCode::ConsentRequired,
    },
];

/// The one place that decides what happens next, however often the person leaves for a page.
pub fn decide(facts: &Facts<'_>) -> Verdict {
    let Some(policy) = ALL.iter().find(|policy| (policy.applies)(facts)) else {
        return Verdict::Pass;
    };
    match policy.page {
        Some(_) if facts.request.prompt.none => Verdict::Refuse(OAuthError::new(
            policy.silent,
            "prompt none was asked for, but the user has to be asked",
        )),
        Some(Page::Login) => Verdict::Login,
        Some(Page::Consent) => Verdict::Consent,
        None => Verdict::Refuse(OAuthError::new(
            policy.silent,
            "another user than the one of id_token_hint is signed in",
        )),
    }
}

fn needs_login(facts: &Facts<'_>) -> bool {
    let Some(at) = facts.signed_in_at else {
        return true;
    };
    let too_old = |age: i64| facts.now - at > age;
    let is_wanted = facts.request.prompt.login
        || facts.request.max_age.is_some_and(too_old)
        || facts.other_person;
    // It is met by a sign-in that happened after we asked for one.
    is_wanted && !facts.just_allowed && facts.sent_to_login_at.is_none_or(|sent| at < sent)
}

/// OpenID Connect Core §3.1.2.2: whoever signed in for the request is not the one it is about.
fn is_still_another_person(facts: &Facts<'_>) -> bool {
    facts.other_person
}

/// Consent is asked every time when the answer goes to a program on the person's device: any other there can listen in
/// this client's name (RFC 8252 §8.6).
fn needs_consent(facts: &Facts<'_>) -> bool {
    !facts.just_allowed
        && (facts.request.prompt.consent
            || facts.request.redirect_uri.leads_to_device()
            || !(facts.consent_covers || facts.first_party))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{authorize, params::Params, pkce::Pkce, redirect_uri::RedirectUri};

    fn request(redirect: &str, prompt: &str) -> AuthorizationRequest {
        let query = format!(
            "response_type=code&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256&prompt={prompt}"
        );
        let redirect = RedirectUri::registered(redirect).unwrap();
        authorize::parse(
            &Params::parse(query.as_bytes()).unwrap(),
            "https://a.example.com/c".parse().unwrap(),
            redirect,
            Pkce::Required,
        )
        .unwrap()
    }

    #[test]
    fn the_first_reason_to_stop_decides() {
        const WEB: &str = "https://a.example.com/cb";
        const LOOPBACK: &str = "http://127.0.0.1/cb";
        const APP: &str = "com.example.a:/cb";
        // redirect, prompt, signed in at, sent to login at, consent covers, just allowed → verdict
        let table = [
            (WEB, "", None, None, true, false, "login"),
            (WEB, "", Some(5), None, true, false, "pass"),
            (WEB, "", Some(5), None, false, false, "consent"),
            (WEB, "", Some(5), None, false, true, "pass"),
            (LOOPBACK, "", Some(5), None, true, false, "consent"),
            (LOOPBACK, "", Some(5), None, true, true, "pass"),
            (APP, "", Some(5), None, true, false, "consent"),
            (APP, "none", Some(5), None, true, false, "consent_required"),
            (WEB, "consent", Some(5), None, true, false, "consent"),
            (WEB, "consent", Some(5), None, true, true, "pass"),
            (WEB, "login", Some(5), None, true, false, "login"),
            (WEB, "login", Some(5), Some(6), true, false, "login"),
            (WEB, "login", Some(6), Some(6), true, false, "pass"),
            (WEB, "none", None, None, true, false, "login_required"),
            (WEB, "none", Some(5), None, false, false, "consent_required"),
            (
                LOOPBACK,
                "none",
                Some(5),
                None,
                true,
                false,
                "consent_required",
            ),
            (WEB, "none", Some(5), None, true, false, "pass"),
        ];
        for row in table {
            let (redirect, prompt, signed_in, sent, consent_covers, just_allowed, expected) = row;
            let request = request(redirect, prompt);
            let facts = Facts {
                request: &request,
                signed_in_at: signed_in.map(UnixTime),
                sent_to_login_at: sent.map(UnixTime),
                other_person: false,
                consent_covers,
                first_party: false,
                just_allowed,
                now: UnixTime(10),
            };
            let got = match decide(&facts) {
                Verdict::Pass => "pass",
                Verdict::Login => "login",
                Verdict::Consent => "consent",
                Verdict::Refuse(error) => error.code.as_str(),
            };
            assert_eq!(got, expected, "{row:?}");
        }
    }

    #[test]
    fn an_old_sign_in_or_another_person_signs_in_again_once() {
        // max_age, signed in at, sent to login at, another person, prompt → verdict
        let table = [
            (Some(5), 5, None, false, "", "pass"),
            (Some(4), 5, None, false, "", "login"),
            (Some(0), 9, None, false, "", "login"),
            (Some(0), 10, Some(9), false, "", "pass"),
            (Some(0), 9, Some(9), false, "", "pass"),
            (Some(4), 5, None, false, "none", "login_required"),
            (None, 5, None, true, "", "login"),
            (None, 5, None, true, "none", "login_required"),
            (None, 8, Some(7), true, "", "login_required"),
            (None, 8, Some(7), false, "", "pass"),
        ];
        for row in table {
            let (max_age, signed_in, sent, other_person, prompt, expected) = row;
            let mut request = request("https://a.example.com/cb", prompt);
            request.max_age = max_age;
            let facts = Facts {
                request: &request,
                signed_in_at: Some(UnixTime(signed_in)),
                sent_to_login_at: sent.map(UnixTime),
                other_person,
                consent_covers: true,
                first_party: false,
                just_allowed: false,
                now: UnixTime(10),
            };
            let got = match decide(&facts) {
                Verdict::Pass => "pass",
                Verdict::Login => "login",
                Verdict::Consent => "consent",
                Verdict::Refuse(error) => error.code.as_str(),
            };
            assert_eq!(got, expected, "{row:?}");
        }
    }
}
