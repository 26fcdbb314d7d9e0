//! The resources this server knows, their scopes, and what a client that nobody listed may be granted of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::client_rules::Standing;
use crate::protocol::{
    error::{ErrorCode, OAuthError},
    params::Params,
    resource::Resources,
    scope::{EMAIL, OFFLINE_ACCESS, OPENID, PROFILE, Scope},
};

/// The scopes that belong to no resource but to people, and what they mean.
const OF_PEOPLE: [(&str, &str); 3] = [
    (
        OPENID,
        "Know that it is you, by an identifier that this server has for you",
    ),
    (PROFILE, "See your name and your user name"),
    (EMAIL, "See your e-mail address"),
];

/// Is the scope about a person, whatever the resource?
pub fn is_of_people(scope: &str) -> bool {
    OF_PEOPLE.iter().any(|(known, _)| *known == scope)
}

/// One protected resource, as the administrator describes it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Its URL: what clients send as `resource`, and what becomes `aud`.
    pub id: String,
    /// What people call it.
    #[serde(default)]
    pub name: Option<String>,
    /// Each scope, and what it means in plain words.
    #[serde(default)]
    pub scopes: BTreeMap<String, String>,
    /// May clients that nobody listed ask for its scopes?
    #[serde(default)]
    pub open: bool,
}

/// All configured resources.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Catalog(pub Vec<Resource>);

impl Catalog {
    /// Which resource has this identifier? The one rule about slashes: with and without one at its end it names the
    /// same resource, for URL libraries add it and people leave it out. Tokens name it as it is configured.
    pub fn find(&self, id: &str) -> Option<&Resource> {
        self.0.iter().find(|resource| is_same(&resource.id, id))
    }

    /// What a request asks for (RFC 8707 §2), by the names that the configuration has.
    ///
    /// # Errors
    ///
    /// `invalid_target`, as [`Resources::from_params`].
    pub fn asked(&self, params: &Params) -> Result<Resources, OAuthError> {
        Ok(self.named(Resources::from_params(params)?))
    }

    /// The same resources by the names that the configuration has, each once.
    pub fn named(&self, resources: Resources) -> Resources {
        let mut named = Resources::default();
        for indicator in resources.0 {
            let known = self.find(indicator.as_str());
            let configured = known.and_then(|resource| resource.id.parse().ok());
            let indicator = configured.unwrap_or(indicator);
            if !named.0.contains(&indicator) {
                named.0.push(indicator);
            }
        }
        named
    }

    /// What a scope means, and which resource's it is, if it is one's.
    pub fn meaning(&self, scope: &str) -> Option<(&str, Option<&Resource>)> {
        let of_people = OF_PEOPLE.iter().find(|(known, _)| *known == scope);
        if let Some((_, meaning)) = of_people {
            return Some((meaning, None));
        }
        self.0.iter().find_map(|resource| {
            let meaning = resource.scopes.get(scope)?;
            Some((meaning.as_str(), Some(resource)))
        })
    }

    /// The scopes that clients may ask for, for the metadata.
    pub fn open_scopes(&self) -> Scope {
        let open = self
            .0
            .iter()
            .filter(|resource| resource.open)
            .flat_map(|resource| resource.scopes.keys().cloned());
        let ours = [OPENID, PROFILE, EMAIL, OFFLINE_ACCESS].map(str::to_owned);
        Scope::of(open.chain(ours))
    }

    /// May a client of this standing ask for tokens for these resources?
    ///
    /// As long as no resource is configured, every one is accepted: its URL becomes `aud`, and no scope comes with it.
    ///
    /// # Errors
    ///
    /// `invalid_target` for a resource that is not configured, or not for this client.
    pub fn check(&self, asked: &Resources, standing: &Standing) -> Result<(), OAuthError> {
        for indicator in &asked.0 {
            match self.find(indicator.as_str()) {
                None if self.0.is_empty() && standing.allows_resource(indicator.as_str(), true) => {
                }
                Some(resource) if standing.allows_resource(&resource.id, resource.open) => {}
                Some(_) => {
                    let told = "the administrator has not opened this resource to this client";
                    return Err(OAuthError::new(ErrorCode::InvalidTarget, told));
                }
                None => {
                    return Err(OAuthError::new(
                        ErrorCode::InvalidTarget,
                        "this server does not know the resource",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Of these resources and of people, what may a client of this standing be granted?
    fn allows(&self, scope: &str, resources: &Resources, standing: &Standing) -> bool {
        let is_meant = |resource: &Resource| {
            let mut asked = resources.0.iter();
            resources.0.is_empty() || asked.any(|asked| asked.as_str() == resource.id)
        };
        let is_of_a_resource = || {
            self.0.iter().any(|resource| {
                resource.scopes.contains_key(scope)
                    && standing.allows_resource(&resource.id, resource.open)
                    && is_meant(resource)
            })
        };
        standing.allows_scope(scope) && (is_of_people(scope) || is_of_a_resource())
    }

    /// What is left of a scope that was granted for some resources, in a token for those that are `asked` for: a rule
    /// that came later narrows what was granted.
    ///
    /// # Errors
    ///
    /// `invalid_target` when a resource is not for this client any more, `invalid_scope` when nothing is left.
    pub fn still_granted(
        &self,
        scope: &Scope,
        granted: &Resources,
        asked: &Resources,
        standing: &Standing,
    ) -> Result<Scope, OAuthError> {
        self.check(asked, standing)?;
        let left =
            scope.filter(|token| token == OFFLINE_ACCESS || self.allows(token, granted, standing));
        if left.is_empty() && !scope.is_empty() {
            let told = "the administrator has taken the scopes of this grant away";
            return Err(OAuthError::new(ErrorCode::InvalidScope, told));
        }
        Ok(left)
    }

    /// The scope to grant: asked ∩ the document's ∩ what its standing allows of these resources.
    ///
    /// Who asks for nothing gets all that is allowed of the resources, and nothing about the person. `offline_access`
    /// needs a document that lists the grant `refresh_token`; `profile` and `email` say nothing without `openid`.
    ///
    /// # Errors
    ///
    /// `invalid_scope` when something was asked for and nothing is left.
    pub fn grantable(
        &self,
        asked: Option<&Scope>,
        document: Option<&[String]>,
        resources: &Resources,
        may_refresh: bool,
        standing: &Standing,
    ) -> Result<Scope, OAuthError> {
        let allowed = |scope: &str| {
            document.is_none_or(|listed| listed.iter().any(|known| known == scope))
                && if scope == OFFLINE_ACCESS {
                    may_refresh
                } else {
                    self.allows(scope, resources, standing)
                }
        };
        let Some(asked) = asked else {
            let all = self
                .0
                .iter()
                .flat_map(|resource| resource.scopes.keys().cloned());
            return Ok(Scope::of(all).filter(|scope| scope != OFFLINE_ACCESS && allowed(scope)));
        };
        let granted = asked.filter(allowed);
        let granted = match granted.contains(OPENID) {
            true => granted,
            false => granted.filter(|scope| !is_of_people(scope)),
        };
        if granted.is_empty() && !asked.is_empty() {
            let told =
                "none of the requested scopes may be granted to this client for these resources";
            return Err(OAuthError::new(ErrorCode::InvalidScope, told));
        }
        Ok(granted)
    }
}

/// Do two identifiers name one resource? In a query a slash may mean anything.
pub fn is_same(one: &str, other: &str) -> bool {
    let bare = |id: &'_ str| match id.strip_suffix('/') {
        Some(bare) if !id.contains('?') => bare.len(),
        _ => id.len(),
    };
    one[..bare(one)] == other[..bare(other)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::client_rules::{Rule, Tier};

    #[test]
    fn a_slash_at_the_end_makes_no_other_resource() {
        let table = [
            ("https://a.example/", "https://a.example", true),
            ("https://a.example/mcp", "https://a.example/mcp/", true),
            ("https://a.example/mcp", "https://a.example/mcp", true),
            ("https://a.example/mcp", "https://a.example/mcp//", false),
            ("https://a.example/mcp", "https://a.example/MCP", false),
            ("https://a.example/?k=/", "https://a.example/?k=", false),
            ("https://a.example/a", "https://a.example/b", false),
        ];
        for (one, other, expected) in table {
            assert_eq!(is_same(one, other), expected, "{one} {other}");
            assert_eq!(is_same(other, one), expected, "{other} {one}");
        }
        let asked = "https://a.example https://notes.example https://notes.example/"
            .parse()
            .unwrap();
        assert_eq!(
            catalog().named(asked).to_string(),
            "https://a.example https://notes.example/"
        );
    }

    fn catalog() -> Catalog {
        let resource = |id: &str, scopes: &[&str], open| Resource {
            id: id.to_owned(),
            name: None,
            scopes: scopes
                .iter()
                .map(|s| ((*s).to_owned(), format!("do {s}")))
                .collect(),
            open,
        };
        Catalog(vec![
            resource("https://notes.example/", &["read", "write"], true),
            resource("https://mail.example/", &["mail"], true),
            resource("https://admin.example/", &["admin"], false),
        ])
    }

    fn stranger() -> Standing {
        Standing {
            tier: Tier::Unknown,
            rule: None,
            registered: false,
        }
    }

    #[test]
    fn the_granted_scope_is_what_all_three_sides_allow() {
        // asked, document, resources, may refresh → granted
        let table = [
            (Some("read"), None, "", false, Ok("read")),
            (
                Some("read write unknown"),
                None,
                "",
                false,
                Ok("read write"),
            ),
            (Some("read write"), Some("write"), "", false, Ok("write")),
            (
                Some("read mail"),
                None,
                "https://mail.example/",
                false,
                Ok("mail"),
            ),
            (Some("read offline_access"), None, "", false, Ok("read")),
            (
                Some("read offline_access"),
                None,
                "",
                true,
                Ok("read offline_access"),
            ),
            (
                Some("offline_access"),
                Some("openid offline_access"),
                "",
                true,
                Ok("offline_access"),
            ),
            (None, None, "", true, Ok("read write mail")),
            (None, None, "https://notes.example/", true, Ok("read write")),
            (
                None,
                Some("read other"),
                "https://notes.example/",
                true,
                Ok("read"),
            ),
            (Some("admin"), None, "", true, Err(ErrorCode::InvalidScope)),
            (
                Some("openid profile email address"),
                None,
                "https://mail.example/",
                false,
                Ok("openid profile email"),
            ),
            (
                Some("openid email mail"),
                Some("openid mail"),
                "",
                false,
                Ok("openid mail"),
            ),
            (Some("profile email read"), None, "", false, Ok("read")),
            (
                Some("profile"),
                None,
                "",
                true,
                Err(ErrorCode::InvalidScope),
            ),
        ];
        for (asked, document, resources, may_refresh, expected) in table {
            let asked: Option<Scope> = asked.map(|text: &str| text.parse().unwrap());
            let document: Option<Vec<String>> =
                document.map(|text: &str| text.split(' ').map(str::to_owned).collect());
            let got = catalog().grantable(
                asked.as_ref(),
                document.as_deref(),
                &resources.parse().unwrap(),
                may_refresh,
                &stranger(),
            );
            let got = got.map(|scope| scope.to_string()).map_err(|e| e.code);
            assert_eq!(
                got,
                expected.map(str::to_owned),
                "{asked:?} {document:?} {resources}"
            );
        }
    }

    #[test]
    fn a_resource_must_be_known_and_open_once_any_is_configured() {
        let check = |catalog: &Catalog, text: &str| {
            catalog.check(&text.parse().unwrap(), &stranger()).is_ok()
        };
        assert!(check(&Catalog::default(), "https://anything.example/mcp"));
        assert!(
            check(&catalog(), "")
                && check(&catalog(), "https://notes.example/ https://mail.example/")
        );
        assert!(!check(&catalog(), "https://admin.example/"));
        assert!(check(&catalog(), "https://notes.example"));
        assert!(!check(
            &catalog(),
            "https://notes.example/ https://other.example/"
        ));
    }

    #[test]
    fn a_rule_opens_resources_and_narrows_scopes() {
        let mut rule = Rule::new("a.example.com".parse().unwrap(), Tier::Approved);
        let approved = Standing {
            tier: Tier::Approved,
            rule: Some(rule.clone()),
            registered: false,
        };
        let admin = "https://admin.example/".parse().unwrap();
        let none = "".parse().unwrap();
        assert!(catalog().check(&admin, &approved).is_ok());
        let all = catalog()
            .grantable(None, None, &none, true, &approved)
            .unwrap();
        assert_eq!(all.to_string(), "read write mail admin");

        rule.scopes = Some(vec!["read".to_owned()]);
        rule.resources = Some(vec!["https://notes.example/".to_owned()]);
        let narrow = Standing {
            tier: Tier::Approved,
            rule: Some(rule),
            registered: false,
        };
        assert!(catalog().check(&admin, &narrow).is_err());
        assert!(Catalog::default().check(&admin, &narrow).is_err());
        let got = catalog()
            .grantable(None, None, &none, true, &narrow)
            .unwrap();
        assert_eq!(got.to_string(), "read");
        let openid = "openid".parse().unwrap();
        let openid = catalog().grantable(Some(&openid), None, &none, true, &narrow);
        assert!(openid.is_err(), "the only scopes are the only scopes");
        // What was granted before is narrowed, too.
        let granted = "read write offline_access".parse().unwrap();
        let left = catalog()
            .still_granted(&granted, &none, &none, &narrow)
            .unwrap();
        assert_eq!(left.to_string(), "read offline_access");
        assert!(
            catalog()
                .still_granted(&"mail".parse().unwrap(), &none, &none, &narrow)
                .is_err()
        );
        assert!(
            catalog()
                .still_granted(&granted, &admin, &admin, &narrow)
                .is_err()
        );
    }
}
