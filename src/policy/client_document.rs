//! Which documents this server accepts beyond their grammar: the private-use schemes (RFC 8252 §7.1) and the origins
//! that a client's document may name.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::protocol::{
    client_metadata::{ClientMetadata, GrantType},
    client_url::ClientUrl,
    private_use_scheme,
    redirect_uri::{RedirectUri, RedirectUriError},
};

/// `policy.private_use_schemes`: which private-use schemes a document's redirect URIs may have.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum PrivateUseSchemes {
    /// None.
    Off,
    /// Those that begin with the domain of the client in reverse order.
    Bound,
    /// Every one that no browser or system has for itself.
    Any,
}

/// A member of a document that names an address.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    RedirectUris,
    LogoUri,
    JwksUri,
    ClientUri,
    TosUri,
    PolicyUri,
}

impl Member {
    /// Its name in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RedirectUris => "redirect_uris",
            Self::LogoUri => "logo_uri",
            Self::JwksUri => "jwks_uri",
            Self::ClientUri => "client_uri",
            Self::TosUri => "tos_uri",
            Self::PolicyUri => "policy_uri",
        }
    }
}

/// What the administrator allows the document of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    pub private_use_schemes: PrivateUseSchemes,
    /// Members whose addresses have to be on the origin of the `client_id` (RFC 6454 §4).
    pub same_origin: Vec<Member>,
    /// Members whose addresses have to be on its registrable domain.
    pub same_site: Vec<Member>,
}

impl Allowed {
    /// May the client's redirect URIs have this private-use scheme?
    pub fn allows_scheme(&self, client_id: &ClientUrl, scheme: &str) -> bool {
        match self.private_use_schemes {
            PrivateUseSchemes::Any => true,
            PrivateUseSchemes::Bound => is_bound(client_id, scheme),
            PrivateUseSchemes::Off => false,
        }
    }
}

/// One rule: its stable name, and what it says of a document that it refuses.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    pub name: &'static str,
    refusal: fn(&ClientUrl, &ClientMetadata, &Allowed) -> Option<String>,
}

/// Every rule, in the order in which they are asked: the first that refuses decides.
pub const ALL: &[Check] = &[
    Check {
        name: "policy.private_use_schemes",
        refusal: no_usable_redirect,
    },
    Check {
        name: "policy.same_origin",
        refusal: |client_id, metadata, allowed| {
            let own = origin(client_id.as_str());
            let elsewhere = first_outside(&allowed.same_origin, client_id, metadata, |address| {
                origin(address) == own
            })?;
            Some(format!(
                "{} must be on the origin of the client_id, as policy.same_origin or a rule about this client says",
                elsewhere.as_str()
            ))
        },
    },
    Check {
        name: "policy.same_site",
        refusal: |client_id, metadata, allowed| {
            let own = site(client_id.host());
            let elsewhere = first_outside(&allowed.same_site, client_id, metadata, |address| {
                Url::parse(address).is_ok_and(|url| url.host_str().map(site) == Some(own))
            })?;
            Some(format!(
                "{} must be on the registrable domain of the client_id, as policy.same_site or a rule about this client says",
                elsewhere.as_str()
            ))
        },
    },
];

impl Check {
    /// Why this rule refuses the document, if it does.
    pub fn refusal(
        &self,
        client_id: &ClientUrl,
        metadata: &ClientMetadata,
        allowed: &Allowed,
    ) -> Option<String> {
        (self.refusal)(client_id, metadata, allowed)
    }
}

/// Judges a document that keeps every rule about its content.
///
/// # Errors
///
/// The name of the rule that refuses it, and why.
pub fn check(
    client_id: &ClientUrl,
    metadata: &ClientMetadata,
    allowed: &Allowed,
) -> Result<(), (&'static str, String)> {
    let mut refusals = ALL
        .iter()
        .filter_map(|check| Some((check.name, check.refusal(client_id, metadata, allowed)?)));
    refusals.next().map_or(Ok(()), Err)
}

/// RFC 8252 §7.1: does the scheme belong to the host of the client, or to its registrable domain?
fn is_bound(client_id: &ClientUrl, scheme: &str) -> bool {
    private_use_scheme::belongs_to(scheme, site(client_id.host()))
}

/// A document for the code flow of which no redirect URI may be used here.
fn no_usable_redirect(
    client_id: &ClientUrl,
    metadata: &ClientMetadata,
    allowed: &Allowed,
) -> Option<String> {
    let mut listed = metadata.redirect_uris.iter();
    let is_needed = metadata.grants.contains(&GrantType::AuthorizationCode);
    let is_usable = |uri: &RedirectUri| {
        let mut scheme = uri.private_use_scheme().into_iter();
        scheme.all(|scheme| allowed.allows_scheme(client_id, scheme))
    };
    let refused = is_needed && !listed.any(is_usable);
    refused.then(|| RedirectUriError::PrivateUseScheme.to_string())
}

/// The first of these members with an address that is not inside. Loopback redirects and schemes bound to the client's
/// domain are inside: they lead to the person's own device.
fn first_outside(
    members: &[Member],
    client_id: &ClientUrl,
    metadata: &ClientMetadata,
    is_inside: impl Fn(&str) -> bool,
) -> Option<Member> {
    let is_native = |uri: &&RedirectUri| {
        let scheme = uri.private_use_scheme();
        uri.is_loopback() || scheme.is_some_and(|scheme| is_bound(client_id, scheme))
    };
    fn one(uri: &Option<String>) -> Vec<&str> {
        uri.as_deref().into_iter().collect()
    }
    let addresses = |member: Member| match member {
        Member::RedirectUris => {
            let listed = metadata.redirect_uris.iter();
            let web = listed.filter(|uri| !is_native(uri));
            web.map(RedirectUri::as_str).collect()
        }
        Member::LogoUri => one(&metadata.logo_uri),
        Member::JwksUri => one(&metadata.jwks_uri),
        Member::ClientUri => one(&metadata.client_uri),
        Member::TosUri => one(&metadata.tos_uri),
        Member::PolicyUri => one(&metadata.policy_uri),
    };
    let is_outside = |member: &Member| !addresses(*member).into_iter().all(&is_inside);
    members.iter().copied().find(is_outside)
}

/// Scheme, host and port; `None` for what has no origin of its own.
fn origin(address: &str) -> Option<String> {
    let origin = Url::parse(address).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

/// The registrable domain of a host; the host itself where it has none.
fn site(host: &str) -> &str {
    psl::domain_str(host).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::client_metadata;

    fn nothing() -> Allowed {
        Allowed {
            private_use_schemes: PrivateUseSchemes::Bound,
            same_origin: Vec::new(),
            same_site: Vec::new(),
        }
    }

    fn metadata(client_id: &ClientUrl, members: Value) -> ClientMetadata {
        let mut document = json!({ "client_id": client_id.as_str() });
        let object = document.as_object_mut().unwrap();
        object.extend(members.as_object().unwrap().clone());
        client_metadata::parse(client_id, document.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn f_09_a_scheme_is_bound_to_the_domain_of_its_client() {
        use PrivateUseSchemes::{Any, Bound, Off};
        let table = [
            ("https://example.com/c", "com.example.app:/cb", Bound, true),
            (
                "https://app.example.com/c",
                "com.example.app:/cb",
                Bound,
                true,
            ),
            (
                "https://app.example.com/c",
                "com.example.app://cb",
                Bound,
                true,
            ),
            ("https://other.net/c", "com.example.app:/cb", Bound, false),
            ("https://example.com/c", "myapp:/cb", Bound, false),
            ("https://ada.github.io/c", "io.github.ada:/cb", Bound, true),
            ("https://ada.github.io/c", "io.github.eve:/cb", Bound, false),
            ("https://example.com/c", "com.example.app:/cb", Off, false),
            ("https://other.net/c", "com.example.app:/cb", Any, true),
            ("https://example.com/c", "myapp:/cb", Any, true),
        ];
        for (client_id, uri, schemes, expected) in table {
            let client_id: ClientUrl = client_id.parse().unwrap();
            let metadata = metadata(&client_id, json!({ "redirect_uris": [uri] }));
            let allowed = Allowed {
                private_use_schemes: schemes,
                ..nothing()
            };
            let accepted = check(&client_id, &metadata, &allowed).map_err(|(name, _)| name);
            let verdict = match expected {
                true => Ok(()),
                false => Err("policy.private_use_schemes"),
            };
            assert_eq!(accepted, verdict, "{client_id} {uri} {schemes:?}");
            let scheme = metadata.redirect_uris[0].private_use_scheme().unwrap();
            let allows = allowed.allows_scheme(&client_id, scheme);
            assert_eq!(allows, expected, "{client_id} {uri} {schemes:?}");
        }
        // Beside one that may be used the others do no harm.
        let client_id: ClientUrl = "https://example.com/c".parse().unwrap();
        let listed = json!({ "redirect_uris": ["myapp:/cb", "https://example.com/cb"] });
        let metadata = metadata(&client_id, listed);
        assert_eq!(check(&client_id, &metadata, &nothing()), Ok(()));
    }

    #[test]
    fn f_21_a_member_on_another_origin_or_site_refuses_the_document() {
        use Member::{ClientUri, JwksUri, LogoUri, PolicyUri, RedirectUris, TosUri};
        const OWN: &str = "https://app.example.com/cb";
        let origin = [RedirectUris, LogoUri];
        let all = [RedirectUris, LogoUri, JwksUri, ClientUri, TosUri, PolicyUri];
        // same origin, same site, members → rule
        let table = [
            (
                &origin[..],
                &[][..],
                json!({ "redirect_uris": [OWN], "logo_uri": "https://app.example.com/l.png" }),
                None,
            ),
            (
                &origin,
                &[],
                json!({ "redirect_uris": [OWN, "https://a.app.example.com/cb"] }),
                Some("policy.same_origin"),
            ),
            (
                &origin,
                &[],
                json!({ "redirect_uris": [OWN], "logo_uri": "https://app.example.com:8443/l.png" }),
                Some("policy.same_origin"),
            ),
            (
                &origin,
                &[],
                json!({ "redirect_uris": ["http://127.0.0.1/cb", "com.example.app:/cb"] }),
                None,
            ),
            (
                &origin,
                &[],
                json!({ "redirect_uris": [OWN], "client_uri": "https://elsewhere.net/" }),
                None,
            ),
            (
                &all,
                &[],
                json!({ "redirect_uris": [OWN], "client_uri": "http://app.example.com/" }),
                Some("policy.same_origin"),
            ),
            (
                &all,
                &[],
                json!({ "redirect_uris": [OWN], "tos_uri": "https://elsewhere.net/" }),
                Some("policy.same_origin"),
            ),
            (
                &all,
                &[],
                json!({ "redirect_uris": [OWN], "policy_uri": "https://elsewhere.net/" }),
                Some("policy.same_origin"),
            ),
            (
                &[],
                &all,
                json!({ "redirect_uris": ["https://www.example.com/cb"], "client_uri": "http://example.com/",
                    "jwks_uri": "https://keys.example.com:8443/", "token_endpoint_auth_method": "private_key_jwt" }),
                None,
            ),
            (
                &[],
                &all,
                json!({ "redirect_uris": [OWN], "logo_uri": "https://example.com.evil.net/l.png" }),
                Some("policy.same_site"),
            ),
            (
                &[],
                &all,
                json!({ "redirect_uris": [OWN], "jwks_uri": "https://keys.example.net/",
                    "token_endpoint_auth_method": "private_key_jwt" }),
                Some("policy.same_site"),
            ),
        ];
        let client_id: ClientUrl = "https://app.example.com/c".parse().unwrap();
        for (same_origin, same_site, members, expected) in table {
            let allowed = Allowed {
                same_origin: same_origin.to_vec(),
                same_site: same_site.to_vec(),
                ..nothing()
            };
            let metadata = metadata(&client_id, members.clone());
            let got = check(&client_id, &metadata, &allowed);
            assert_eq!(got.err().map(|(name, _)| name), expected, "{members}");
        }
        // An unbound scheme is no address of the client's.
        let members = json!({ "redirect_uris": [OWN, "myapp:/cb"] });
        let allowed = Allowed {
            private_use_schemes: PrivateUseSchemes::Any,
            same_origin: vec![RedirectUris],
            same_site: Vec::new(),
        };
        let got = check(&client_id, &metadata(&client_id, members), &allowed);
        assert_eq!(got.map_err(|(name, _)| name), Err("policy.same_origin"));
    }
}
