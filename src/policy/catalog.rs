//! The resources this server knows, their scopes, and what a client that nobody listed may be granted of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::{
    error::{ErrorCode, OAuthError},
    resource::Resources,
    scope::{OFFLINE_ACCESS, Scope},
};

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
    /// Which resource has this identifier?
    pub fn find(&self, id: &str) -> Option<&Resource> {
        self.0.iter().find(|resource| resource.id == id)
    }

    /// What a scope means, and whose it is.
    pub fn meaning(&self, scope: &str) -> Option<(&str, &Resource)> {
        self.0.iter().find_map(|resource| {
            resource
                .scopes
                .get(scope)
                .map(|meaning| (meaning.as_str(), resource))
        })
    }

    /// The scopes that clients may ask for, for the metadata.
    pub fn open_scopes(&self) -> Scope {
        let open = self
            .0
            .iter()
            .filter(|resource| resource.open)
            .flat_map(|resource| resource.scopes.keys().cloned());
        Scope::of(open.chain([OFFLINE_ACCESS.to_owned()]))
    }

    /// May a client that nobody listed ask for tokens for these resources?
    ///
    /// As long as no resource is configured, every one is accepted: its URL becomes `aud`, and no scope comes with it.
    ///
    /// # Errors
    ///
    /// `invalid_target` for a resource that is not configured, or not open.
    pub fn check(&self, asked: &Resources) -> Result<(), OAuthError> {
        if self.0.is_empty() {
            return Ok(());
        }
        for indicator in &asked.0 {
            match self.find(indicator.as_str()) {
                Some(resource) if resource.open => {}
                Some(_) => {
                    let told = "this resource is not open to clients that the administrator has not listed";
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

    /// The scope to grant: asked ∩ the document's ∩ what is open of these resources.
    ///
    /// Who asks for nothing gets all that is open of the resources. `offline_access` needs a document that lists
    /// the grant `refresh_token`.
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
    ) -> Result<Scope, OAuthError> {
        let of_resources = |scope: &str| {
            self.0.iter().any(|resource| {
                resource.open
                    && resource.scopes.contains_key(scope)
                    && (resources.0.is_empty()
                        || resources
                            .0
                            .iter()
                            .any(|asked| asked.as_str() == resource.id))
            })
        };
        let allowed = |scope: &str| {
            document.is_none_or(|listed| listed.iter().any(|known| known == scope))
                && if scope == OFFLINE_ACCESS {
                    may_refresh
                } else {
                    of_resources(scope)
                }
        };
        let Some(asked) = asked else {
            return Ok(self
                .open_scopes()
                .filter(|scope| scope != OFFLINE_ACCESS && allowed(scope)));
        };
        let granted = asked.filter(allowed);
        if granted.is_empty() && !asked.is_empty() {
            let told =
                "none of the requested scopes may be granted to this client for these resources";
            return Err(OAuthError::new(ErrorCode::InvalidScope, told));
        }
        Ok(granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (Some("openid"), None, "", true, Err(ErrorCode::InvalidScope)),
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
        let check = |catalog: &Catalog, text: &str| catalog.check(&text.parse().unwrap()).is_ok();
        assert!(check(&Catalog::default(), "https://anything.example/mcp"));
        assert!(
            check(&catalog(), "")
                && check(&catalog(), "https://notes.example/ https://mail.example/")
        );
        assert!(!check(&catalog(), "https://admin.example/"));
        assert!(!check(&catalog(), "https://notes.example"));
        assert!(!check(
            &catalog(),
            "https://notes.example/ https://other.example/"
        ));
    }
}
