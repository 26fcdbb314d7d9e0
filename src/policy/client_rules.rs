//! What the administrator thinks of clients: a tier and its ceilings, by rules about them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    client_document::{Allowed, Member, PrivateUseSchemes},
    client_pattern::Pattern,
};
use crate::protocol::{
    client_id::ClientId,
    client_metadata::{AuthMethod, ClientMetadata, GrantType},
    error::{ErrorCode, OAuthError},
};

/// How far a client is trusted, from nothing to everything.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// It gets nothing, and what it has ends.
    Blocked,
    /// Nobody said anything about it: the scopes marked open, with the person's consent.
    Unknown,
    /// Known to be what it says: its logo is shown.
    Listed,
    /// Checked by the administrator: every resource.
    Approved,
    /// Our own: nobody is asked for consent.
    FirstParty,
}

impl Tier {
    /// Its wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Unknown => "unknown",
            Self::Listed => "listed",
            Self::Approved => "approved",
            Self::FirstParty => "first_party",
        }
    }
}

impl FromStr for Tier {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [
            Self::Blocked,
            Self::Unknown,
            Self::Listed,
            Self::Approved,
            Self::FirstParty,
        ]
        .into_iter()
        .find(|tier| tier.as_str() == text)
        .ok_or("blocked, unknown, listed, approved or first_party")
    }
}

/// A grant by its wire name, as rules name it.
///
/// # Errors
///
/// What was expected.
pub fn grant_type(name: &str) -> Result<GrantType, String> {
    wire::from_name(name).ok_or_else(wire::expected::<GrantType>)
}

/// A method of documents by its wire name, as rules name it.
///
/// # Errors
///
/// What was expected.
pub fn auth_method(name: &str) -> Result<AuthMethod, String> {
    wire::from_name(name).ok_or_else(wire::expected::<AuthMethod>)
}

/// A grant or a method by its wire name.
mod wire {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use super::{AuthMethod, GrantType};
    use crate::words::one_of;

    pub(super) trait Named: Sized + Copy + 'static {
        /// Those that a rule may name.
        const ALL: &'static [Self];
        fn name(self) -> &'static str;
    }

    impl Named for GrantType {
        const ALL: &'static [Self] = &Self::ALL;
        fn name(self) -> &'static str {
            self.as_str()
        }
    }

    impl Named for AuthMethod {
        const ALL: &'static [Self] = &Self::OF_DOCUMENTS;
        fn name(self) -> &'static str {
            self.as_str()
        }
    }

    pub(super) fn from_name<T: Named>(name: &str) -> Option<T> {
        T::ALL.iter().copied().find(|entry| entry.name() == name)
    }

    /// What may be written.
    pub(super) fn expected<T: Named>() -> String {
        let names: Vec<_> = T::ALL.iter().map(|entry| entry.name()).collect();
        one_of(&names)
    }

    pub(super) fn serialize<T: Named, S: Serializer>(
        list: &Option<Vec<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        list.as_ref()
            .map(|list| list.iter().map(|entry| entry.name()).collect::<Vec<_>>())
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: Named, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<T>>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let known = names.iter().map(|name| from_name(name));
        known
            .collect::<Option<Vec<T>>>()
            .map(Some)
            .ok_or_else(|| D::Error::custom(format!("expected {}", expected::<T>())))
    }
}

/// `[[policy.clients]]`: a rule about clients. The most specific rule decides; `blocked` always wins. What a rule leaves
/// out is as its tier says.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which clients: a URL, a URL prefix that ends with `/*`, a host, `*.` and a registrable domain, `key:THUMBPRINT`, or
    /// `name:` and the name of a registered client.
    #[serde(rename = "match")]
    pub pattern: Pattern,
    /// What they get.
    pub tier: Tier,
    /// Why, for administrators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The only scopes that they are granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The only resources that they are granted tokens for, also those that are not open to their tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Vec<String>>,
    /// The only grants that they may use: `authorization_code`, `refresh_token`, `client_credentials`,
    /// `urn:ietf:params:oauth:grant-type:device_code`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire")]
    pub grants: Option<Vec<GrantType>>,
    /// The only methods that they may authenticate with: `none`, `private_key_jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire")]
    pub auth_methods: Option<Vec<AuthMethod>>,
    /// The longest lifetime of their access tokens, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<u32>,
    /// How long their refresh tokens work without use at most, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_idle: Option<u32>,
    /// How long their grants live at most, in seconds. Applies to grants that are made from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_absolute: Option<u32>,
    /// `true`: their assertions may name the endpoint as audience and live for an hour, as before RFC 10070.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy_assertions: Option<bool>,
    /// `true`: their redirect URIs may have any private-use scheme (RFC 8252). `false`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_use_schemes: Option<bool>,
    /// Members of the document that must be on the origin of its `client_id`, instead of `policy.same_origin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_origin: Option<Vec<Member>>,
    /// Members of the document that must be on its registrable domain, instead of `policy.same_site`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<Vec<Member>>,
    /// `false`: their ID tokens carry no claims of the granted scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token_claims: Option<bool>,
    /// Shown on the consent page as "The administrator says: …".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent_text: Option<String>,
    /// `false`: no logo is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo: Option<bool>,
}

impl Rule {
    /// What the client's document may say, where this server allows `general` to all.
    #[must_use]
    pub fn allowed(&self, general: Allowed) -> Allowed {
        Allowed {
            private_use_schemes: match self.private_use_schemes {
                Some(true) => PrivateUseSchemes::Any,
                Some(false) => PrivateUseSchemes::Off,
                None => general.private_use_schemes,
            },
            same_origin: self.same_origin.clone().unwrap_or(general.same_origin),
            same_site: self.same_site.clone().unwrap_or(general.same_site),
        }
    }

    /// What no single field can know of the others.
    ///
    /// # Errors
    ///
    /// What was expected.
    pub fn check(&self) -> Result<(), &'static str> {
        match (&self.pattern, self.tier) {
            (Pattern::Key(_), Tier::Blocked) => Ok(()),
            (Pattern::Key(_), _) => {
                Err("tier blocked for a key: everybody can publish it, so it earns no trust")
            }
            (Pattern::Name(_), _) if self.is_of_documents() => Err(
                "no same_origin, same_site, private_use_schemes, auth_methods, legacy_assertions or logo in a rule about a \
                 registered client: its registration says these",
            ),
            _ => Ok(()),
        }
    }

    /// Does it say what only a document can keep or break?
    fn is_of_documents(&self) -> bool {
        self.same_origin.is_some()
            || self.same_site.is_some()
            || self.private_use_schemes.is_some()
            || self.auth_methods.is_some()
            || self.legacy_assertions.is_some()
            || self.logo.is_some()
    }

    /// Is the rule about this client? `keys` are the thumbprints of the keys it publishes. A path that is blocked is
    /// blocked however it is encoded.
    pub fn is_about(&self, client_id: &ClientId, keys: &[String]) -> bool {
        match (&self.pattern, self.tier, client_id.url()) {
            (Pattern::Path(prefix), Tier::Blocked, Some(url)) => url.is_below_decoded(prefix),
            (pattern, ..) => pattern.matches(client_id, keys),
        }
    }

    /// A rule that leaves everything to its tier.
    pub fn new(pattern: Pattern, tier: Tier) -> Self {
        Self {
            pattern,
            tier,
            note: None,
            scopes: None,
            resources: None,
            grants: None,
            auth_methods: None,
            access: None,
            refresh_idle: None,
            refresh_absolute: None,
            legacy_assertions: None,
            private_use_schemes: None,
            same_origin: None,
            same_site: None,
            id_token_claims: None,
            consent_text: None,
            logo: None,
        }
    }
}

/// What a client is to us: its tier, and the rule that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDecision {
    pub tier: Tier,
    /// `None`: no rule is about it.
    pub rule: Option<Rule>,
    /// Is it known by a registration?
    pub registered: bool,
}

/// What the rules make of a client: `blocked` always wins, else the most specific rule; of two for the same clients
/// the first. Without a rule it is in the tier `unlisted`.
pub fn standing<'a>(
    rules: impl Iterator<Item = &'a Rule>,
    unlisted: Tier,
    client_id: &ClientId,
    keys: &[String],
) -> TrustDecision {
    let mut best: Option<&Rule> = None;
    let weight = |rule: &Rule| (rule.tier == Tier::Blocked, rule.pattern.specificity());
    for rule in rules.filter(|rule| rule.is_about(client_id, keys)) {
        if best.is_none_or(|known| weight(rule) > weight(known)) {
            best = Some(rule);
        }
    }
    TrustDecision {
        tier: best.map_or(unlisted, |rule| rule.tier),
        rule: best.cloned(),
        registered: false,
    }
}

/// What a client is told that authenticates in no way that its rule allows.
pub const OTHER_METHOD: &str =
    "the administrator's rule about this client lets it in only with another authentication method";

impl TrustDecision {
    /// Did the administrator list it, by a rule or a registration?
    pub fn is_listed(&self) -> bool {
        (self.rule.is_some() || self.registered) && self.tier >= Tier::Listed
    }

    fn listed<T>(&self, list: impl Fn(&Rule) -> Option<T>) -> Option<T> {
        self.rule.as_ref().and_then(list)
    }

    /// May it use the grant, if its document lists it? Strangers may run the code flow; devices are for those who
    /// authenticate, or are listed, because anybody can start one in a public client's name; acting for themselves is
    /// for those whose rule says so.
    pub fn allows_grant(&self, grant: GrantType, authenticates: bool) -> bool {
        match self.listed(|rule| rule.grants.as_ref().map(|grants| grants.contains(&grant))) {
            Some(listed) => listed,
            None => match grant {
                GrantType::AuthorizationCode | GrantType::RefreshToken => true,
                GrantType::DeviceCode => authenticates || self.tier >= Tier::Listed,
                GrantType::ClientCredentials => self.tier >= Tier::Listed,
            },
        }
    }

    /// The same, as a refusal.
    ///
    /// # Errors
    ///
    /// `unauthorized_client`, naming what an administrator would change.
    pub fn check_grant(&self, grant: GrantType, authenticates: bool) -> Result<(), OAuthError> {
        if self.allows_grant(grant, authenticates) {
            return Ok(());
        }
        let name = grant.as_str();
        let by_rule = self
            .listed(|rule| rule.grants.as_ref().map(|_| ()))
            .is_some();
        let told = match grant {
            _ if by_rule => format!(
                "the administrator's rule about this client does not let it use this grant: {name} is missing in its grants"
            ),
            GrantType::DeviceCode => "a client that does not authenticate signs in devices only where a rule of the \
                administrator lists it: [[policy.clients]] with tier listed or with this grant in grants"
                .to_owned(),
            _ => format!(
                "{name} is for clients that a rule of the administrator lists: [[policy.clients]] with tier listed or with \
                 this grant in grants"
            ),
        };
        Err(OAuthError::new(ErrorCode::UnauthorizedClient, told))
    }

    /// May it authenticate so, as a refusal?
    ///
    /// # Errors
    ///
    /// `unauthorized_client`, naming what an administrator would change.
    pub fn check_method(&self, method: AuthMethod) -> Result<(), OAuthError> {
        if self.allows_method(method) {
            return Ok(());
        }
        let told = format!(
            "{OTHER_METHOD}: {} is missing in its auth_methods",
            method.as_str()
        );
        Err(OAuthError::new(ErrorCode::UnauthorizedClient, told))
    }

    /// Is there something that it may do here, of what its document lists? Otherwise why not.
    pub fn check_use(&self, metadata: &ClientMetadata) -> Result<(), &'static str> {
        let mut methods = metadata.auth_methods.iter();
        if !methods.any(|method| self.allows_method(*method)) {
            return Err(OTHER_METHOD);
        }
        let proves = metadata.auth_methods.iter().any(|it| it.is_confidential());
        let mut grants = metadata.grants.iter();
        let is_useful = |grant: &GrantType| {
            *grant != GrantType::RefreshToken && self.allows_grant(*grant, proves)
        };
        match grants.any(is_useful) {
            true => Ok(()),
            false => Err(
                "the administrator lets this client use none of the grants that its document lists: a rule about it, \
                 [[policy.clients]] with grants, would",
            ),
        }
    }

    /// May it authenticate as before RFC 10070?
    pub fn allows_legacy_assertions(&self) -> bool {
        self.listed(|rule| rule.legacy_assertions).unwrap_or(false)
    }

    /// May it authenticate so?
    pub fn allows_method(&self, method: AuthMethod) -> bool {
        self.listed(|rule| {
            rule.auth_methods
                .as_ref()
                .map(|methods| methods.contains(&method))
        })
        .unwrap_or(true)
    }

    /// May it be granted the scope, where it may have the resource?
    pub fn allows_scope(&self, scope: &str) -> bool {
        self.listed(|rule| {
            rule.scopes
                .as_ref()
                .map(|scopes| scopes.iter().any(|known| known == scope))
        })
        .unwrap_or(true)
    }

    /// May it be granted tokens for a configured resource, which is `open` to strangers or is not?
    pub fn allows_resource(&self, id: &str, open: bool) -> bool {
        self.listed(|rule| {
            rule.resources
                .as_ref()
                .map(|resources| resources.iter().any(|known| known == id))
        })
        .unwrap_or(open || self.tier >= Tier::Approved)
    }

    /// Is its logo shown?
    pub fn shows_logo(&self) -> bool {
        self.listed(|rule| rule.logo).unwrap_or(true) && self.tier >= Tier::Listed
    }

    /// Is it our own, so that nobody is asked?
    pub fn is_first_party(&self) -> bool {
        self.tier == Tier::FirstParty
    }

    /// Lifetimes: of an access token, of a refresh token without use, and of a grant, none above its ceiling.
    pub fn lifetimes(&self, access: u32, idle: u32, absolute: u32) -> (u32, u32, u32) {
        let most = |ceiling: fn(&Rule) -> Option<u32>, value: u32| {
            self.listed(ceiling)
                .map_or(value, |most| value.min(most.max(1)))
        };
        (
            most(|rule| rule.access, access),
            most(|rule| rule.refresh_idle, idle),
            most(|rule| rule.refresh_absolute, absolute),
        )
    }

    /// Which rule decides, and why, in one sentence for the administrator.
    pub fn why(&self) -> String {
        match &self.rule {
            None if self.registered => format!("it is registered: {}", self.tier.as_str()),
            None => format!(
                "no rule matches, so it is {}, as policy.unlisted says",
                self.tier.as_str()
            ),
            Some(rule) if rule.tier == Tier::Blocked => {
                format!(
                    "the rule {} blocks it, and blocking always wins",
                    rule.pattern
                )
            }
            Some(rule) => format!(
                "of the rules that match, {} is the most specific: {}",
                rule.pattern,
                rule.tier.as_str()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_rule_decides_and_blocked_always_wins() {
        let rule = |pattern: &str, tier| Rule::new(pattern.parse().unwrap(), tier);
        let rules = [
            rule("*.example.com", Tier::Listed),
            rule("app.example.com", Tier::Approved),
            rule("https://app.example.com/oauth/*", Tier::FirstParty),
            rule("https://app.example.com/oauth/test/*", Tier::Unknown),
            rule("https://app.example.com/oauth/one", Tier::Listed),
            rule("https://app.example.com/bad/*", Tier::Blocked),
            rule("https://app.example.com/bad/good", Tier::FirstParty),
            rule("evil.example.com", Tier::Blocked),
            rule(
                "key:NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
                Tier::Blocked,
            ),
        ];
        let table = [
            ("https://other.net/c", Tier::Unknown, None),
            ("https://example.com/c", Tier::Listed, Some("*.example.com")),
            ("https://notexample.com/c", Tier::Unknown, None),
            (
                "https://app.example.com/c",
                Tier::Approved,
                Some("app.example.com"),
            ),
            (
                "https://app.example.com:8443/c",
                Tier::Approved,
                Some("app.example.com"),
            ),
            (
                "https://app.example.com/oauth/x",
                Tier::FirstParty,
                Some("https://app.example.com/oauth/*"),
            ),
            (
                "https://app.example.com/oauthx",
                Tier::Approved,
                Some("app.example.com"),
            ),
            (
                "https://app.example.com/oauth/test/x",
                Tier::Unknown,
                Some("https://app.example.com/oauth/test/*"),
            ),
            (
                "https://app.example.com/oauth/one",
                Tier::Listed,
                Some("https://app.example.com/oauth/one"),
            ),
            (
                "https://app.example.com/bad/good",
                Tier::Blocked,
                Some("https://app.example.com/bad/*"),
            ),
            (
                "https://evil.example.com/c",
                Tier::Blocked,
                Some("evil.example.com"),
            ),
            // Y-03: trust is for what is written below the path, a block for what a host may find there.
            (
                "https://app.example.com/%6fauth/x",
                Tier::Approved,
                Some("app.example.com"),
            ),
            (
                "https://app.example.com/%62ad/c",
                Tier::Blocked,
                Some("https://app.example.com/bad/*"),
            ),
            (
                "https://app.example.com/b%2561d/c",
                Tier::Blocked,
                Some("https://app.example.com/bad/*"),
            ),
        ];
        for (client_id, tier, decided_by) in table {
            let client_id = client_id.parse().unwrap();
            let got = standing(rules.iter(), Tier::Unknown, &client_id, &[]);
            let by = got.rule.as_ref().map(|rule| rule.pattern.to_string());
            assert_eq!((got.tier, by.as_deref()), (tier, decided_by), "{client_id}");
        }
        let keys = ["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".to_owned()];
        let client_id = "https://app.example.com/oauth/one".parse().unwrap();
        assert_eq!(
            standing(rules.iter(), Tier::Unknown, &client_id, &keys).tier,
            Tier::Blocked
        );
        assert_eq!(
            standing([].iter(), Tier::Blocked, &client_id, &[]).tier,
            Tier::Blocked,
            "an allow-list"
        );
    }

    #[test]
    fn a_rule_is_a_ceiling() {
        let text = r#"{"match":"a.example.com","tier":"approved","scopes":["read"],"resources":["https://r.example.com/"],
            "grants":["authorization_code"],"auth_methods":["private_key_jwt"],"access":60,"logo":false}"#;
        let rule: Rule = serde_json::from_str(text).unwrap();
        assert_eq!(
            serde_json::from_str::<Rule>(&serde_json::to_string(&rule).unwrap()).unwrap(),
            rule
        );
        let client_id = "https://a.example.com/c".parse().unwrap();
        let got = standing([rule].iter(), Tier::Unknown, &client_id, &[]);
        assert!(got.allows_scope("read") && !got.allows_scope("write"));
        assert!(got.allows_resource("https://r.example.com/", false));
        assert!(!got.allows_resource("https://open.example.com/", true));
        assert!(got.allows_grant(GrantType::AuthorizationCode, false));
        assert!(!got.allows_grant(GrantType::RefreshToken, true));
        assert!(
            got.allows_method(AuthMethod::PrivateKeyJwt) && !got.allows_method(AuthMethod::None)
        );
        assert_eq!(got.lifetimes(600, 10, 20), (60, 10, 20));
        assert!(!got.shows_logo());
        for bad in [
            r#""tier":"trusted""#,
            r#""tier":"listed","grants":["implicit"]"#,
            r#""tier":"listed","scope":[]"#,
        ] {
            let text = format!(r#"{{"match":"a.example.com",{bad}}}"#);
            assert!(serde_json::from_str::<Rule>(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn v_12_devices_are_for_those_who_authenticate_or_are_listed() {
        let host = || "app.example.com".parse().unwrap();
        let rule = |tier, grants: Option<Vec<GrantType>>| TrustDecision {
            tier,
            rule: Some(Rule {
                grants,
                ..Rule::new(host(), tier)
            }),
            registered: false,
        };
        let stranger = TrustDecision {
            tier: Tier::Unknown,
            rule: None,
            registered: false,
        };
        let device = || Some(vec![GrantType::DeviceCode]);
        // standing, public, authenticating
        let table = [
            (stranger, false, true),
            (rule(Tier::Unknown, None), false, true),
            (rule(Tier::Listed, None), true, true),
            (rule(Tier::FirstParty, None), true, true),
            (rule(Tier::Unknown, device()), true, true),
            (
                rule(Tier::Approved, Some(vec![GrantType::AuthorizationCode])),
                false,
                false,
            ),
        ];
        for (standing, public, authenticating) in table {
            let allows = |proven| standing.allows_grant(GrantType::DeviceCode, proven);
            assert_eq!(
                (allows(false), allows(true)),
                (public, authenticating),
                "{standing:?}"
            );
        }
    }

    #[test]
    fn a_rule_about_the_client_wins() {
        let general = Allowed {
            private_use_schemes: PrivateUseSchemes::Bound,
            same_origin: vec![Member::LogoUri],
            same_site: Vec::new(),
        };
        let mut rule = Rule::new("app.example.com".parse().unwrap(), Tier::Listed);
        assert_eq!(rule.allowed(general.clone()), general);
        rule.private_use_schemes = Some(true);
        rule.same_origin = Some(Vec::new());
        rule.same_site = Some(vec![Member::RedirectUris]);
        let expected = Allowed {
            private_use_schemes: PrivateUseSchemes::Any,
            same_origin: Vec::new(),
            same_site: vec![Member::RedirectUris],
        };
        assert_eq!(rule.allowed(general.clone()), expected);
        rule.private_use_schemes = Some(false);
        let schemes = rule.allowed(general).private_use_schemes;
        assert_eq!(schemes, PrivateUseSchemes::Off);
    }
}
