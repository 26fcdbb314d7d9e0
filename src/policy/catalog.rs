//! The resources this server knows, their scopes, and what a client that nobody listed may be granted of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::client_rules::TrustDecision;
use crate::protocol::{
    access_token,
    error::{ErrorCode, OAuthError},
    id_token::SigningAlg,
    issuer::IssuerUrl,
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

/// `[[resources]]`: a protected resource (an API) that tokens are for. As long as none is configured, a client may name any
/// resource, and gets no scope with it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Its URL. Clients send it as `resource`, and tokens carry it as `aud`.
    pub id: String,
    /// What people call it.
    #[serde(default)]
    pub name: Option<String>,
    /// Its scopes. Each has a meaning in plain words for the consent page: `"notes.write" = "Change your notes"`, or `{
    /// meaning = "Read your notes", baseline = true }`. The resource's metadata tells clients to ask for the `baseline`
    /// scopes.
    #[serde(default)]
    pub scopes: BTreeMap<String, Meaning>,
    /// Clients that no rule lists may ask for its scopes.
    #[serde(default)]
    pub open: bool,
    /// What its access tokens are signed with: `ES256`, `RS256` or `EdDSA`. Not set: `ES256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_alg: Option<SigningAlg>,
}

impl Resource {
    /// The scopes that a client should ask for at first, if the administrator named any.
    pub fn baseline(&self) -> Vec<&str> {
        let all = self.scopes.iter();
        let baseline = all.filter(|(_, meaning)| meaning.baseline);
        baseline.map(|(scope, _)| scope.as_str()).collect()
    }
}

/// What a scope means.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(from = "WrittenMeaning", into = "WrittenMeaning")]
pub struct Meaning {
    /// In plain words, for the consent page.
    pub text: String,
    /// Is it one of those that a client should ask for at first?
    pub baseline: bool,
}

impl From<&str> for Meaning {
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            baseline: false,
        }
    }
}

/// As the configuration has it.
#[derive(Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "expected the meaning of a scope: a text, or { meaning = TEXT, baseline = true }"
)]
enum WrittenMeaning {
    Text(String),
    Table(MeaningTable),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct MeaningTable {
    meaning: String,
    #[serde(default)]
    baseline: bool,
}

impl From<WrittenMeaning> for Meaning {
    fn from(written: WrittenMeaning) -> Self {
        match written {
            WrittenMeaning::Text(text) => text.as_str().into(),
            WrittenMeaning::Table(MeaningTable { meaning, baseline }) => Self {
                text: meaning,
                baseline,
            },
        }
    }
}

impl From<Meaning> for WrittenMeaning {
    fn from(Meaning { text, baseline }: Meaning) -> Self {
        match baseline {
            true => Self::Table(MeaningTable {
                meaning: text,
                baseline,
            }),
            false => Self::Text(text),
        }
    }
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

    /// The first of these scopes and resources that names nothing here, as a sentence. As long as no resource is configured,
    /// every one is accepted, as in [`Catalog::check`].
    pub fn unknown(
        &self,
        scopes: &[String],
        resources: &[String],
        issuer: &IssuerUrl,
    ) -> Option<String> {
        let is_known = |scope: &str| scope == OFFLINE_ACCESS || self.meaning(scope).is_some();
        if let Some(scope) = scopes.iter().find(|scope| !is_known(scope)) {
            return Some(format!(
                "no resource has the scope {scope}; expected one of those in [[resources]], or openid, profile, email, \
                 offline_access"
            ));
        }
        let is_known =
            |id: &str| self.0.is_empty() || self.find(id).is_some() || id == issuer.as_str();
        let unknown = resources.iter().find(|id| !is_known(id))?;
        Some(format!(
            "there is no resource {unknown}; expected the id of one of [[resources]], or the issuer"
        ))
    }

    /// What a client asks for beyond all that it has asked for before, where none of that can be granted; `None` where it asks
    /// for nothing new or gets some of it. `before` has the scope of each earlier request that was granted something, as far
    /// as it was written down.
    ///
    /// `offline_access`, and with `openid` what this server does not know, are left out without a word, as OpenID Connect
    /// Core §11 and §3.1.2.1 have it.
    pub fn refused_in_vain<'a>(
        &self,
        asked: &Scope,
        granted: &Scope,
        before: impl Iterator<Item = Option<&'a Scope>>,
    ) -> Option<Scope> {
        let before = before.collect::<Option<Vec<_>>>()?;
        let is_openid = asked.contains(OPENID);
        let counts =
            |token: &str| token != OFFLINE_ACCESS && (!is_openid || self.meaning(token).is_some());
        let is_new = |token: &str| !before.iter().any(|scope| scope.contains(token));
        let new = asked.filter(|token| is_new(token) && counts(token));
        let is_in_vain = !new.is_empty() && !new.tokens().any(|token| granted.contains(token));
        (is_in_vain && !before.is_empty()).then_some(new)
    }

    /// What a scope means, and which resource's it is, if it is one's.
    pub fn meaning(&self, scope: &str) -> Option<(&str, Option<&Resource>)> {
        let of_people = OF_PEOPLE.iter().find(|(known, _)| *known == scope);
        if let Some((_, meaning)) = of_people {
            return Some((meaning, None));
        }
        self.0.iter().find_map(|resource| {
            let meaning = resource.scopes.get(scope)?;
            Some((meaning.text.as_str(), Some(resource)))
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

    /// What a grant is for whose request names no resource: the one that all its resource scopes belong to, else `default`,
    /// else this server itself. With `openid` it is for this server, too: its tokens open `/userinfo`.
    pub fn implied(&self, scope: &Scope, default: Option<&str>, issuer: &IssuerUrl) -> Resources {
        let is_of_a_resource = |token: &&str| *token != OFFLINE_ACCESS && !is_of_people(token);
        let tokens: Vec<&str> = scope.tokens().filter(is_of_a_resource).collect();
        let has_all = |resource: &&Resource| {
            let mut tokens = tokens.iter();
            tokens.all(|token| resource.scopes.contains_key(*token))
        };
        let mut owners = self.0.iter().filter(has_all);
        let one = match (tokens.is_empty(), owners.next(), owners.next()) {
            (false, Some(one), None) => Some(one.id.as_str()),
            (true, ..) if !scope.is_empty() => None,
            _ => default,
        };
        let own = scope.contains(OPENID).then(|| issuer.as_str());
        let named = one.map(|one| [Some(one), own]).into_iter().flatten();
        Resources(named.flatten().filter_map(|id| id.parse().ok()).collect())
    }

    /// What tokens for these resources are signed with: what all of them that say something want.
    pub fn token_alg(&self, resources: &Resources) -> SigningAlg {
        let known = resources.0.iter().filter_map(|id| self.find(id.as_str()));
        let mut wanted = known.map(|resource| resource.token_alg.unwrap_or(access_token::ALG));
        match wanted.next() {
            Some(alg) if wanted.all(|other| other == alg) => alg,
            _ => access_token::ALG,
        }
    }

    /// May a client of this standing ask for tokens for these resources? Every client may for this server itself.
    ///
    /// As long as no resource is configured, every one is accepted: its URL becomes `aud`, and no scope comes with it.
    ///
    /// # Errors
    ///
    /// `invalid_target` for a resource that is not configured, or not for this client.
    pub fn check(
        &self,
        asked: &Resources,
        issuer: &IssuerUrl,
        standing: &TrustDecision,
    ) -> Result<(), OAuthError> {
        for indicator in &asked.0 {
            match self.find(indicator.as_str()) {
                None if indicator.as_str() == issuer.as_str() => {}
                None if self.0.is_empty() && standing.allows_resource(indicator.as_str(), true) => {
                }
                Some(resource) if standing.allows_resource(&resource.id, resource.open) => {}
                Some(_) => {
                    let told = "the administrator has not opened this resource to this client: resources.open, or a rule about \
                                the client with tier approved or with this resource in its resources, would";
                    return Err(OAuthError::new(ErrorCode::InvalidTarget, told));
                }
                None => {
                    return Err(OAuthError::new(
                        ErrorCode::InvalidTarget,
                        "this server does not know the resource: it is none of [[resources]]",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Of these resources and of people, what may a client of this standing be granted?
    fn allows(&self, scope: &str, resources: &Resources, standing: &TrustDecision) -> bool {
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
        issuer: &IssuerUrl,
        standing: &TrustDecision,
    ) -> Result<Scope, OAuthError> {
        self.check(asked, issuer, standing)?;
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
        standing: &TrustDecision,
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
            let told = "none of the requested scopes may be granted to this client for these resources: a scope has to be \
                        one of [[resources]] that is open to the client, and in the scope of its document, if that has one";
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
                .map(|s| ((*s).to_owned(), "do it".into()))
                .collect(),
            open,
            token_alg: None,
        };
        Catalog(vec![
            resource("https://notes.example/", &["read", "write"], true),
            resource("https://mail.example/", &["mail"], true),
            resource("https://admin.example/", &["admin"], false),
        ])
    }

    fn issuer() -> IssuerUrl {
        "https://id.example".parse().unwrap()
    }

    fn stranger() -> TrustDecision {
        TrustDecision {
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
            catalog
                .check(&text.parse().unwrap(), &issuer(), &stranger())
                .is_ok()
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
        let approved = TrustDecision {
            tier: Tier::Approved,
            rule: Some(rule.clone()),
            registered: false,
        };
        let admin = "https://admin.example/".parse().unwrap();
        let none = "".parse().unwrap();
        assert!(catalog().check(&admin, &issuer(), &approved).is_ok());
        let all = catalog()
            .grantable(None, None, &none, true, &approved)
            .unwrap();
        assert_eq!(all.to_string(), "read write mail admin");

        rule.scopes = Some(vec!["read".to_owned()]);
        rule.resources = Some(vec!["https://notes.example/".to_owned()]);
        let narrow = TrustDecision {
            tier: Tier::Approved,
            rule: Some(rule),
            registered: false,
        };
        assert!(catalog().check(&admin, &issuer(), &narrow).is_err());
        assert!(
            Catalog::default()
                .check(&admin, &issuer(), &narrow)
                .is_err()
        );
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
            .still_granted(&granted, &none, &none, &issuer(), &narrow)
            .unwrap();
        assert_eq!(left.to_string(), "read offline_access");
        assert!(
            catalog()
                .still_granted(&"mail".parse().unwrap(), &none, &none, &issuer(), &narrow)
                .is_err()
        );
        assert!(
            catalog()
                .still_granted(&granted, &admin, &admin, &issuer(), &narrow)
                .is_err()
        );
    }

    #[test]
    fn f_17_what_is_asked_for_in_vain_is_named() {
        // asked, granted, asked before → named
        let table = [
            ("a b", "a", &[Some("a")][..], Some("b")),
            ("b c", "", &[Some("a")], Some("b c")),
            ("a b c", "a c", &[Some("a")], None),
            ("a b", "a b", &[Some("a")], None),
            ("a", "a", &[Some("a")], None),
            // The same request as before gets the same answer as before.
            ("a b", "a", &[Some("a b")], None),
            ("a b", "a", &[Some("a"), Some("b")], None),
            ("a b", "a", &[], None),
            // What was asked for before this was written down is not known.
            ("a b", "a", &[Some("a"), None], None),
            ("a offline_access", "a", &[Some("a")], None),
            ("openid address", "openid", &[Some("openid")], None),
            ("openid admin", "openid", &[Some("openid")], Some("admin")),
        ];
        for (asked, granted, before, expected) in table {
            let scope = |text: &str| text.parse::<Scope>().unwrap();
            let before: Vec<_> = before.iter().map(|it| it.map(scope)).collect();
            let before = before.iter().map(Option::as_ref);
            let got = catalog().refused_in_vain(&scope(asked), &scope(granted), before);
            assert_eq!(got, expected.map(scope), "{asked} {granted}");
        }
    }

    #[test]
    fn f_08_without_a_resource_the_scopes_say_what_a_token_is_for() {
        let default = Some("https://mail.example/");
        // scope, default → resources
        let table = [
            ("read", None, "https://notes.example/"),
            (
                "read write offline_access",
                default,
                "https://notes.example/",
            ),
            ("mail", None, "https://mail.example/"),
            ("read mail", None, ""),
            ("read mail", default, "https://mail.example/"),
            ("openid profile", None, ""),
            ("openid profile", default, ""),
            (
                "openid read",
                None,
                "https://notes.example/ https://id.example",
            ),
            (
                "openid read mail",
                default,
                "https://mail.example/ https://id.example",
            ),
            ("openid read mail", None, ""),
            ("", None, ""),
            ("", default, "https://mail.example/"),
        ];
        for (scope, default, expected) in table {
            let implied = catalog().implied(&scope.parse().unwrap(), default, &issuer());
            assert_eq!(implied.to_string(), expected, "{scope} {default:?}");
        }
        // A name that two resources have says nothing.
        let mut twice = catalog();
        twice.0[1]
            .scopes
            .insert("read".to_owned(), "read mail".into());
        let implied = twice.implied(&"read".parse().unwrap(), None, &issuer());
        assert_eq!(implied, Resources::default());
        // Every client may ask for a token that is for this server.
        let own = "https://id.example".parse().unwrap();
        assert!(catalog().check(&own, &issuer(), &stranger()).is_ok());
    }

    #[test]
    fn f_04_tokens_are_signed_as_all_their_resources_want() {
        let mut catalog = catalog();
        catalog.0[0].token_alg = Some(SigningAlg::Rs256);
        let table = [
            ("https://notes.example/", SigningAlg::Rs256),
            (
                "https://notes.example/ https://id.example",
                SigningAlg::Rs256,
            ),
            ("https://mail.example/", SigningAlg::Es256),
            (
                "https://notes.example/ https://mail.example/",
                SigningAlg::Es256,
            ),
            ("", SigningAlg::Es256),
        ];
        for (resources, expected) in table {
            let got = catalog.token_alg(&resources.parse().unwrap());
            assert_eq!(got, expected, "{resources}");
        }
    }
}
