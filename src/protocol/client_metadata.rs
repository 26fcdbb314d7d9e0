//! Client metadata documents, draft-ietf-oauth-client-id-metadata-document-02 §4: the metadata of RFC 7591 §2 and
//! OpenID Connect Dynamic Registration §2, with the plural forms of OpenID Connect RP Metadata Choices 1.0.

use std::borrow::Cow;

use thiserror::Error;
use url::Url;

use crate::protocol::client_id::ClientId;
use crate::protocol::client_url::ClientUrl;
use crate::protocol::id_token::SigningAlg;
use crate::protocol::json::{self, Json, Object, WrongType};
use crate::protocol::key_set::KeySet;
use crate::protocol::redirect_uri::{RedirectUri, RedirectUriError};

/// A valid document, as this server understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMetadata {
    pub client_id: ClientId,
    /// As written, without control characters and outer white space; `None` where it is absent or blank.
    pub client_name: Option<String>,
    pub client_uri: Option<String>,
    pub logo_uri: Option<String>,
    pub tos_uri: Option<String>,
    pub policy_uri: Option<String>,
    /// The usable ones, each once.
    pub redirect_uris: Vec<RedirectUri>,
    /// The supported ones, each once.
    pub grants: Vec<GrantType>,
    /// The supported ones, the strongest first; never empty.
    pub auth_methods: Vec<AuthMethod>,
    pub scope: Option<Vec<String>>,
    pub application_type: ApplicationType,
    pub jwks_uri: Option<String>,
    /// The keys in the document itself.
    pub jwks: Option<KeySet>,
    /// What its ID tokens are signed with.
    pub id_token_alg: SigningAlg,
    /// The `max_age` of requests that have none, OpenID Connect Dynamic Registration §2.
    pub default_max_age: Option<i64>,
    pub dpop_bound_access_tokens: bool,
    pub require_pushed_authorization_requests: bool,
}

impl ClientMetadata {
    /// The thumbprints of its keys.
    pub fn thumbprints(&self) -> Vec<String> {
        let keys = self.jwks.iter().flat_map(|set| &set.keys);
        keys.map(|key| key.thumbprint.clone()).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GrantType {
    AuthorizationCode,
    RefreshToken,
    DeviceCode,
    ClientCredentials,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AuthMethod {
    None,
    /// RFC 6749 §2.3.1, only for clients that were registered.
    ClientSecretPost,
    /// RFC 6749 §2.3.1, only for clients that were registered.
    ClientSecretBasic,
    /// RFC 7523 §2.2.
    PrivateKeyJwt,
}

/// The methods that a client may choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthMethods(pub Vec<AuthMethod>);

impl AuthMethods {
    /// Their wire names, as they are kept.
    pub fn to_column(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|method| method.as_str()).collect();
        names.join(" ")
    }

    /// What is kept; `None` where it is something else.
    pub fn from_column(text: &str) -> Option<Self> {
        let methods = text.split(' ').map(AuthMethod::from_wire);
        methods.collect::<Option<Vec<_>>>().map(Self)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ApplicationType {
    Web,
    Native,
}

/// Where redirect URIs may lead, beyond what a document may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// As [`RedirectUri::registered`].
    Public,
    /// As [`RedirectUri::registered_on_private_network`].
    PrivateNetworkToo,
}

impl Redirects {
    /// Reads an entry.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn read(self, entry: &str) -> Result<RedirectUri, RedirectUriError> {
        match self {
            Self::Public => RedirectUri::registered(entry),
            Self::PrivateNetworkToo => RedirectUri::registered_on_private_network(entry),
        }
    }
}

/// Reads the document that was found at `client_id`.
///
/// # Errors
///
/// The first of [`CHECKS`] that refuses it, or what stands before them: that it is a JSON object at all.
pub fn parse(client_id: &ClientUrl, body: &[u8]) -> Result<ClientMetadata, MetadataError> {
    parse_for(&client_id.clone().into(), body, Redirects::Public)
}

/// Reads what an administrator registered: the same rules for whatever identifier. Methods of shared secrets are not
/// in it: whoever keeps the secrets adds them.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_for(
    client_id: &ClientId,
    body: &[u8],
    redirects: Redirects,
) -> Result<ClientMetadata, MetadataError> {
    let doc = object(body)?;
    for check in CHECKS {
        (check.run)(&doc, client_id, redirects)?;
    }
    read(&doc, client_id, redirects)
}

/// What each rule says of a document: for explaining, so it does not stop at the first that refuses.
pub fn judge(client_id: &ClientUrl, body: &[u8]) -> Vec<Judged> {
    let client_id = &ClientId::from(client_id.clone());
    let not_reached = |rule| Judged {
        rule,
        verdict: Verdict::NotReached,
    };
    let mut judged: Vec<_> = BEFORE_CHECKS
        .iter()
        .map(|rule| Judged {
            rule,
            verdict: Verdict::Pass,
        })
        .collect();
    let doc = match object(body) {
        Ok(doc) => doc,
        Err(error) => {
            for judged in judged.iter_mut().rev() {
                judged.verdict = Verdict::NotReached;
                if judged.rule == error.rule {
                    judged.verdict = Verdict::Fail(error);
                    break;
                }
            }
            let rest = CHECKS.iter().flat_map(|check| check.rules).copied();
            return judged.into_iter().chain(rest.map(not_reached)).collect();
        }
    };
    for check in CHECKS {
        match (check.run)(&doc, client_id, Redirects::Public) {
            Ok(()) => judged.extend(check.rules.iter().map(|rule| Judged {
                rule,
                verdict: Verdict::Pass,
            })),
            Err(error) => judged.extend(check.rules.iter().map(|rule| match *rule == error.rule {
                true => Judged {
                    rule,
                    verdict: Verdict::Fail(error.clone()),
                },
                false => not_reached(rule),
            })),
        }
    }
    judged
}

/// The names of all rules, in the order in which they are asked.
pub fn rules() -> impl Iterator<Item = &'static str> {
    let checks = CHECKS.iter().flat_map(|check| check.rules).copied();
    BEFORE_CHECKS.iter().copied().chain(checks)
}

/// A rule, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub rule: &'static str,
    pub verdict: Verdict,
}

/// What a rule says of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail(MetadataError),
    /// Something else has to be mended first.
    NotReached,
}

/// One look at a document, and the rules that it may find broken.
pub struct Check {
    pub rules: &'static [&'static str],
    run: fn(&Object, &ClientId, Redirects) -> Result<(), MetadataError>,
}

/// What has to hold before there is anything to check.
const BEFORE_CHECKS: &[&str] = &["document.json", "document.object"];

/// Every rule about the content of a document, in the order in which they are asked.
pub const CHECKS: &[Check] = &[
    Check {
        rules: &["document.members"],
        run: |doc, _, _| check_members(doc),
    },
    Check {
        rules: &["document.client_id"],
        run: |doc, client_id, _| check_client_id(doc, client_id),
    },
    Check {
        rules: &["document.client_secret"],
        run: |doc, _, _| check_no_secret(doc),
    },
    Check {
        rules: &["document.jwks.secret"],
        run: |doc, _, _| check_no_secret_key(doc),
    },
    Check {
        rules: &[
            "document.id_token_signed_response_alg",
            "document.id_token_signing_alg_values_supported",
        ],
        run: |doc, _, _| id_token_alg(doc).map(drop),
    },
    Check {
        rules: &["document.request_object_signing_alg"],
        run: |doc, _, _| check_signature(doc, "document.request_object_signing_alg"),
    },
    Check {
        rules: &["document.token_endpoint_auth_signing_alg"],
        run: |doc, _, _| check_assertion_algorithm(doc),
    },
    Check {
        rules: &["document.id_token_encrypted_response_alg"],
        run: |doc, _, _| check_encryption(doc, "document.id_token_encrypted_response_alg"),
    },
    Check {
        rules: &["document.userinfo_encrypted_response_alg"],
        run: |doc, _, _| check_encryption(doc, "document.userinfo_encrypted_response_alg"),
    },
    Check {
        rules: &["document.request_object_encryption_alg"],
        run: |doc, _, _| check_encryption(doc, "document.request_object_encryption_alg"),
    },
    Check {
        rules: &["document.default_max_age"],
        run: |doc, _, _| default_max_age(doc).map(drop),
    },
    Check {
        rules: &["document.require_auth_time"],
        run: |doc, _, _| flag(doc, "document.require_auth_time").map(drop),
    },
    Check {
        rules: &["document.tos_uri"],
        run: |doc, _, _| web_url(doc, "document.tos_uri", WEB_SCHEMES).map(drop),
    },
    Check {
        rules: &["document.policy_uri"],
        run: |doc, _, _| web_url(doc, "document.policy_uri", WEB_SCHEMES).map(drop),
    },
    Check {
        rules: &["document.grant_types"],
        run: |doc, _, _| grants(doc).map(drop),
    },
    Check {
        rules: &["document.response_types"],
        run: |doc, _, _| check_response_types(doc),
    },
    Check {
        rules: &["document.application_type", "document.redirect_uris"],
        run: |doc, _, allowed| redirects(doc, allowed).map(drop),
    },
    Check {
        rules: &["document.jwks_uri"],
        run: |doc, _, _| jwks_uri(doc).map(drop),
    },
    Check {
        rules: &["document.jwks"],
        run: |doc, _, _| inline_keys(doc).map(drop),
    },
    Check {
        rules: &["document.client_name"],
        run: |doc, _, _| client_name(doc).map(drop),
    },
    Check {
        rules: &["document.client_uri"],
        run: |doc, _, _| web_url(doc, "document.client_uri", WEB_SCHEMES).map(drop),
    },
    Check {
        rules: &["document.logo_uri"],
        run: |doc, _, _| web_url(doc, "document.logo_uri", WEB_SCHEMES).map(drop),
    },
    Check {
        rules: &[
            "document.token_endpoint_auth_method",
            "document.token_endpoint_auth_methods_supported",
            "document.keys",
        ],
        run: |doc, _, _| auth_methods(doc).map(drop),
    },
    Check {
        rules: &["document.scope"],
        run: |doc, _, _| scope(doc).map(drop),
    },
    Check {
        rules: &["document.dpop_bound_access_tokens"],
        run: |doc, _, _| flag(doc, "document.dpop_bound_access_tokens").map(drop),
    },
    Check {
        rules: &["document.require_pushed_authorization_requests"],
        run: |doc, _, _| flag(doc, "document.require_pushed_authorization_requests").map(drop),
    },
];

fn object(body: &[u8]) -> Result<Object, MetadataError> {
    match json::parse(body).map_err(|error| refuse("document.json", error.to_string()))? {
        Json::Object(doc) => Ok(doc),
        _ => Err(refuse(
            "document.object",
            "the document must be a JSON object",
        )),
    }
}

/// The document as this server understands it.
fn read(
    doc: &Object,
    client_id: &ClientId,
    allowed: Redirects,
) -> Result<ClientMetadata, MetadataError> {
    let (redirect_uris, application_type) = redirects(doc, allowed)?;
    Ok(ClientMetadata {
        client_id: client_id.clone(),
        client_name: client_name(doc)?,
        client_uri: web_url(doc, "document.client_uri", WEB_SCHEMES)?,
        logo_uri: web_url(doc, "document.logo_uri", WEB_SCHEMES)?,
        tos_uri: web_url(doc, "document.tos_uri", WEB_SCHEMES)?,
        policy_uri: web_url(doc, "document.policy_uri", WEB_SCHEMES)?,
        redirect_uris,
        auth_methods: auth_methods(doc)?,
        grants: grants(doc)?,
        scope: scope(doc)?,
        application_type,
        jwks_uri: jwks_uri(doc)?,
        jwks: inline_keys(doc)?,
        id_token_alg: id_token_alg(doc)?,
        default_max_age: default_max_age(doc)?,
        dpop_bound_access_tokens: flag(doc, "document.dpop_bound_access_tokens")?,
        require_pushed_authorization_requests: flag(
            doc,
            "document.require_pushed_authorization_requests",
        )?,
    })
}

impl GrantType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::ClientCredentials => "client_credentials",
        }
    }

    /// The grant of a wire name.
    pub fn from_wire(name: &str) -> Option<Self> {
        let all = [
            Self::AuthorizationCode,
            Self::RefreshToken,
            Self::DeviceCode,
            Self::ClientCredentials,
        ];
        all.into_iter().find(|grant| grant.as_str() == name)
    }
}

impl AuthMethod {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretPost => "client_secret_post",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// From the weakest to the strongest.
    const ALL: [Self; 4] = [
        Self::None,
        Self::ClientSecretPost,
        Self::ClientSecretBasic,
        Self::PrivateKeyJwt,
    ];

    /// The method of a wire name.
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }

    /// RFC 6749 §2.1: does it prove who the client is?
    pub fn is_confidential(self) -> bool {
        self != Self::None
    }

    /// Itself, and what proves less.
    pub fn and_weaker(self) -> AuthMethods {
        AuthMethods(
            Self::ALL
                .into_iter()
                .filter(|method| *method <= self)
                .collect(),
        )
    }
}

impl ApplicationType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Native => "native",
        }
    }
}

/// Why a document is refused. The sentence is for the client's developer and never repeats the document.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct MetadataError {
    rule: &'static str,
    reason: Cow<'static, str>,
}

impl MetadataError {
    /// A stable name for logs, metrics and `wayleave explain`. A rule about one member is `document.` and its name.
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

fn refuse(rule: &'static str, reason: impl Into<Cow<'static, str>>) -> MetadataError {
    MetadataError {
        rule,
        reason: reason.into(),
    }
}

/// The member that a rule is about.
fn member(rule: &'static str) -> &'static str {
    rule.strip_prefix("document.").unwrap_or(rule)
}

fn wrong_type(rule: &'static str) -> impl Fn(WrongType) -> MetadataError {
    move |wrong| refuse(rule, format!("{} {wrong}", member(rule)))
}

const MAX_MEMBERS: usize = 64;
const MAX_REDIRECT_URIS: usize = 32;
const MAX_URL: usize = 2048;
const WEB_SCHEMES: &[&str] = &["https", "http"];

fn check_members(doc: &Object) -> Result<(), MetadataError> {
    if doc.len() > MAX_MEMBERS {
        return Err(refuse(
            "document.members",
            "the document has more than 64 members",
        ));
    }
    Ok(())
}

/// §4: the document says whose it is, by simple string comparison (RFC 3986 §6.2.1).
fn check_client_id(doc: &Object, client_id: &ClientId) -> Result<(), MetadataError> {
    match string(doc, "document.client_id")? {
        Some(text) if text == client_id.as_str() => Ok(()),
        Some(_) => Err(refuse(
            "document.client_id",
            "client_id in the document must equal the document's URL character by character",
        )),
        None => Err(refuse(
            "document.client_id",
            "client_id is missing; it must be the document's URL",
        )),
    }
}

/// §4.1: no shared secrets.
fn check_no_secret(doc: &Object) -> Result<(), MetadataError> {
    if doc
        .iter()
        .any(|(name, _)| name.starts_with("client_secret"))
    {
        let reason = "a public document must not contain client_secret or client_secret_expires_at";
        return Err(refuse("document.client_secret", reason));
    }
    Ok(())
}

/// §4.1: nothing in public that must be private.
fn check_no_secret_key(doc: &Object) -> Result<(), MetadataError> {
    match inline_keys(doc) {
        Err(error) if error.rule == "document.jwks.secret" => Err(error),
        _ => Ok(()),
    }
}

/// No signature at all and a MAC are never acceptable.
fn check_signature(doc: &Object, rule: &'static str) -> Result<(), MetadataError> {
    if string(doc, rule)?
        .is_some_and(|alg| alg.eq_ignore_ascii_case("none") || alg.starts_with("HS"))
    {
        let reason = format!(
            "{} must be an asymmetric signature algorithm such as ES256",
            member(rule)
        );
        return Err(refuse(rule, reason));
    }
    Ok(())
}

/// OpenID Connect Dynamic Registration §2, RP Metadata Choices §2: what the singular names, else of the plural the one we
/// prefer. Whoever says nothing gets what we sign with anyway, not the RS256 of the former.
fn id_token_alg(doc: &Object) -> Result<SigningAlg, MetadataError> {
    let one_rule = "document.id_token_signed_response_alg";
    let many_rule = "document.id_token_signing_alg_values_supported";
    check_signature(doc, one_rule)?;
    let one = string(doc, one_rule)?;
    let many = strings(doc, many_rule)?;
    let (rule, alg) = match (one, many) {
        (None, None) => return Ok(SigningAlg::default()),
        (Some(one), _) => (one_rule, SigningAlg::from_wire(one)),
        (None, Some(many)) => {
            let is_listed = |alg: &SigningAlg| many.contains(&alg.as_str());
            (many_rule, SigningAlg::ALL.into_iter().find(is_listed))
        }
    };
    let reason = || match rule == one_rule {
        true => "id_token_signed_response_alg must be ES256, RS256 or EdDSA",
        false => {
            "id_token_signing_alg_values_supported has nothing that this server supports: ES256, RS256, EdDSA"
        }
    };
    alg.ok_or_else(|| refuse(rule, reason()))
}

/// Nor is RSA PKCS #1 v1.5 encryption.
fn check_encryption(doc: &Object, rule: &'static str) -> Result<(), MetadataError> {
    if string(doc, rule)? == Some("RSA1_5") {
        return Err(refuse(rule, format!("{} must not be RSA1_5", member(rule))));
    }
    Ok(())
}

/// Seconds, at most as many as `max_age` has.
fn default_max_age(doc: &Object) -> Result<Option<i64>, MetadataError> {
    let rule = "document.default_max_age";
    match doc.integer(member(rule)).map_err(wrong_type(rule))? {
        Some(..0) => Err(refuse(rule, "default_max_age must not be negative")),
        age => Ok(age.map(|age| age.min(u32::MAX.into()))),
    }
}

/// RFC 7591 §2: `authorization_code` where nothing is said. Unsupported entries are dropped.
fn grants(doc: &Object) -> Result<Vec<GrantType>, MetadataError> {
    let rule = "document.grant_types";
    let Some(listed) = strings(doc, rule)? else {
        return Ok(vec![GrantType::AuthorizationCode]);
    };
    let grants = distinct(listed.into_iter().filter_map(GrantType::from_wire));
    if grants.iter().all(|grant| *grant == GrantType::RefreshToken) {
        let reason = "grant_types has nothing that this server supports: authorization_code, device_code (as URN), client_credentials";
        return Err(refuse(rule, reason));
    }
    Ok(grants)
}

/// RFC 7591 §2.1: `authorization_code` goes with the response type `code`.
fn check_response_types(doc: &Object) -> Result<(), MetadataError> {
    let rule = "document.response_types";
    let listed = strings(doc, rule)?;
    let needs_code = grants(doc).is_ok_and(|grants| grants.contains(&GrantType::AuthorizationCode));
    match listed {
        Some(listed) if needs_code && !listed.contains(&"code") => Err(refuse(
            rule,
            "response_types must contain code, as grant_types has authorization_code",
        )),
        _ => Ok(()),
    }
}

/// The usable redirect URIs. One bad entry does not spoil the others, unless it is no string.
fn redirects(
    doc: &Object,
    allowed: Redirects,
) -> Result<(Vec<RedirectUri>, ApplicationType), MetadataError> {
    let rule = "document.redirect_uris";
    let needed = grants(doc).is_ok_and(|grants| grants.contains(&GrantType::AuthorizationCode));
    let listed = strings(doc, rule)?.unwrap_or_default();
    if listed.len() > MAX_REDIRECT_URIS {
        return Err(refuse(rule, "redirect_uris has more than 32 entries"));
    }
    let parsed: Vec<_> = listed.iter().map(|entry| allowed.read(entry)).collect();
    let first_error = parsed
        .iter()
        .find_map(|entry| entry.as_ref().err().copied());
    let mut usable = distinct(parsed.into_iter().flatten());
    let application_type = application_type(doc, &usable)?;
    // Only a document that says so is held to it: OIDC's default `web` would break most native clients.
    if application_type == ApplicationType::Web {
        usable.retain(|uri| !uri.leads_to_device());
    }
    if usable.is_empty() && needed {
        return Err(match first_error {
            Some(error) => refuse(rule, format!("redirect_uris has no usable entry: {error}")),
            None if listed.is_empty() => refuse(
                rule,
                "redirect_uris is missing or empty; authorization_code needs it",
            ),
            None => refuse(
                rule,
                "redirect_uris has only entries that lead to a program on the device, which application_type web forbids",
            ),
        });
    }
    Ok((usable, application_type))
}

/// OpenID Connect Dynamic Registration §2; inferred from the redirect URIs where nothing is said.
fn application_type(
    doc: &Object,
    usable: &[RedirectUri],
) -> Result<ApplicationType, MetadataError> {
    let rule = "document.application_type";
    match string(doc, rule)? {
        Some("web") => Ok(ApplicationType::Web),
        Some("native") => Ok(ApplicationType::Native),
        Some(_) => Err(refuse(rule, "application_type must be web or native")),
        None if usable.iter().any(RedirectUri::leads_to_device) => Ok(ApplicationType::Native),
        None => Ok(ApplicationType::Web),
    }
}

/// Draft §4.1 and RP Metadata Choices §2: the plural is a choice, the singular must be part of it; nothing at all is
/// `none`, not the `client_secret_basic` of RFC 7591.
fn auth_methods(doc: &Object) -> Result<Vec<AuthMethod>, MetadataError> {
    let one_rule = "document.token_endpoint_auth_method";
    let many_rule = "document.token_endpoint_auth_methods_supported";
    let one = string(doc, one_rule)?;
    let many = strings(doc, many_rule)?;
    let (rule, listed) = match (one, many) {
        (None, None) => (one_rule, vec![AuthMethod::None.as_str()]),
        (Some(one), None) => (one_rule, vec![one]),
        (Some(one), Some(many)) if !many.contains(&one) => {
            check_no_shared_secret(one_rule, &[one])?;
            let reason =
                "token_endpoint_auth_method must be among token_endpoint_auth_methods_supported";
            return Err(refuse(one_rule, reason));
        }
        (_, Some(many)) => (many_rule, many),
    };
    check_no_shared_secret(rule, &listed)?;
    let strongest_first = [AuthMethod::PrivateKeyJwt, AuthMethod::None];
    let mut methods: Vec<_> = strongest_first
        .into_iter()
        .filter(|method| listed.contains(&method.as_str()))
        .collect();
    if methods.contains(&AuthMethod::PrivateKeyJwt) {
        let inline = inline_keys(doc)?;
        let usable = inline.as_ref().is_some_and(|set| !set.keys.is_empty());
        match (doc.contains("jwks_uri"), &inline) {
            (true, Some(_)) => {
                return Err(refuse(
                    "document.keys",
                    "the document must have one of jwks and jwks_uri, not both",
                ));
            }
            (true, None) => {}
            (false, Some(_)) if usable => {}
            _ if methods.contains(&AuthMethod::None) => {
                methods.retain(|method| *method == AuthMethod::None)
            }
            (false, Some(set)) => {
                let why = set
                    .skipped
                    .first()
                    .map_or("it is empty", |skipped| skipped.reason);
                let reason = format!("private_key_jwt needs keys: jwks has no usable one: {why}");
                return Err(refuse("document.keys", reason));
            }
            (false, None) => {
                return Err(refuse(
                    "document.keys",
                    "private_key_jwt needs keys: jwks or jwks_uri is missing",
                ));
            }
        }
    }
    if methods.is_empty() {
        let reason = format!(
            "{} has nothing that this server supports: none, private_key_jwt",
            member(rule)
        );
        return Err(refuse(rule, reason));
    }
    Ok(methods)
}

/// §4.1: whoever announces a shared secret expects one, and nobody could have agreed on it.
fn check_no_shared_secret(rule: &'static str, methods: &[&str]) -> Result<(), MetadataError> {
    if methods
        .iter()
        .any(|method| method.to_ascii_lowercase().starts_with("client_secret_"))
    {
        let reason = format!(
            "{} must not use a shared secret; use private_key_jwt or none",
            member(rule)
        );
        return Err(refuse(rule, reason));
    }
    Ok(())
}

/// RFC 7523 assertions are signed with what this server verifies, if the client is to send any.
fn check_assertion_algorithm(doc: &Object) -> Result<(), MetadataError> {
    let rule = "document.token_endpoint_auth_signing_alg";
    check_signature(doc, rule)?;
    let method = AuthMethod::PrivateKeyJwt.as_str();
    let one = doc.string("token_endpoint_auth_method");
    let many = doc.strings("token_endpoint_auth_methods_supported");
    let signs = one.is_ok_and(|one| one == Some(method))
        || many.is_ok_and(|many| many.is_some_and(|many| many.contains(&method)));
    match string(doc, rule)? {
        None | Some("ES256" | "PS256" | "EdDSA" | "RS256") => Ok(()),
        Some(_) if !signs => Ok(()),
        Some(_) => Err(refuse(
            rule,
            "token_endpoint_auth_signing_alg must be ES256, PS256, EdDSA or RS256",
        )),
    }
}

/// §8.6: it is fetched, so its host is a name, as that of a client identifier is.
fn jwks_uri(doc: &Object) -> Result<Option<String>, MetadataError> {
    let rule = "document.jwks_uri";
    let uri = web_url(doc, rule, &["https"])?;
    // Which names may be asked for, the policy about clients' URLs says when they are.
    let is_name = |uri: &String| Url::parse(uri).is_ok_and(|url| url.domain().is_some());
    match uri {
        Some(uri) if uri.contains('#') => {
            Err(refuse(rule, "jwks_uri must not contain a fragment (#)"))
        }
        Some(uri) if !is_name(&uri) => Err(refuse(
            rule,
            "the host of jwks_uri must be a DNS name, not an IP address",
        )),
        uri => Ok(uri),
    }
}

/// The key set in the document, if there is one.
fn inline_keys(doc: &Object) -> Result<Option<KeySet>, MetadataError> {
    let set = doc.get("jwks").map(KeySet::from_json).transpose();
    set.map_err(|error| match error.rule() {
        "keys.secret" => refuse("document.jwks.secret", format!("jwks: {error}")),
        _ => refuse("document.jwks", format!("jwks: {error}")),
    })
}

fn client_name(doc: &Object) -> Result<Option<String>, MetadataError> {
    let rule = "document.client_name";
    let name = string(doc, rule)?.unwrap_or_default();
    if name.contains(char::is_control) {
        return Err(refuse(
            rule,
            "client_name must not contain control characters",
        ));
    }
    let name = name.trim();
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

/// RFC 6749 §3.3. Which of these scopes exist is the policy's business.
fn scope(doc: &Object) -> Result<Option<Vec<String>>, MetadataError> {
    let rule = "document.scope";
    let Some(text) = string(doc, rule)? else {
        return Ok(None);
    };
    if !text
        .bytes()
        .all(|b| matches!(b, 0x20..=0x7e) && b != b'"' && b != b'\\')
    {
        return Err(refuse(
            rule,
            "scope must be scope names separated by spaces, in ASCII without quotes and backslashes",
        ));
    }
    let scopes = text.split(' ').filter(|token| !token.is_empty());
    Ok(Some(distinct(scopes.map(str::to_owned))))
}

/// A URL of one of the schemes, as written, that reads the same for everybody who will see it.
fn web_url(
    doc: &Object,
    rule: &'static str,
    schemes: &[&str],
) -> Result<Option<String>, MetadataError> {
    let Some(text) = string(doc, rule)? else {
        return Ok(None);
    };
    let is_plain = !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\');
    let is_usable = |url: &Url| {
        schemes.contains(&url.scheme()) && url.username().is_empty() && url.password().is_none()
    };
    // The library forgives a missing slash.
    let has_authority = text.split_once("://").is_some_and(|(scheme, rest)| {
        let is_one = |known: &&str| known.eq_ignore_ascii_case(scheme);
        schemes.iter().any(is_one) && !rest.starts_with('/')
    });
    if text.len() <= MAX_URL
        && is_plain
        && has_authority
        && Url::parse(text).as_ref().is_ok_and(is_usable)
    {
        return Ok(Some(text.to_owned()));
    }
    let schemes = schemes.join(" or ");
    Err(refuse(
        rule,
        format!(
            "{} must be a URL that begins with {schemes}, without user name",
            member(rule)
        ),
    ))
}

fn string<'a>(doc: &'a Object, rule: &'static str) -> Result<Option<&'a str>, MetadataError> {
    doc.string(member(rule)).map_err(wrong_type(rule))
}

fn strings<'a>(doc: &'a Object, rule: &'static str) -> Result<Option<Vec<&'a str>>, MetadataError> {
    doc.strings(member(rule)).map_err(wrong_type(rule))
}

fn flag(doc: &Object, rule: &'static str) -> Result<bool, MetadataError> {
    Ok(doc
        .boolean(member(rule))
        .map_err(wrong_type(rule))?
        .unwrap_or(false))
}

fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.fold(Vec::new(), |mut seen, item| {
        if !seen.contains(&item) {
            seen.push(item);
        }
        seen
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "https://client.example.com/c";

    /// A minimal valid document with some members changed; `"-"` as a whole value takes the member away.
    fn document(changes: &Value) -> Vec<u8> {
        let mut doc = json!({
            "client_id": ID,
            "client_name": "Client",
            "redirect_uris": ["https://client.example.com/cb"],
            "token_endpoint_auth_method": "none",
        });
        for (name, value) in changes.as_object().unwrap() {
            match value.as_str() {
                Some("-") => doc.as_object_mut().unwrap().remove(name),
                _ => doc
                    .as_object_mut()
                    .unwrap()
                    .insert(name.clone(), value.clone()),
            };
        }
        serde_json::to_vec(&doc).unwrap()
    }

    fn read(changes: &Value) -> Result<ClientMetadata, MetadataError> {
        parse(&ID.parse().unwrap(), &document(changes))
    }

    fn accepted(id: &str, changes: &Value) -> ClientMetadata {
        read(changes).unwrap_or_else(|error| panic!("{id}: {changes}: {error}"))
    }

    fn refused(table: &[(&str, &str, Value)]) {
        for (id, rule, changes) in table {
            let error = read(changes).map(|_| "accepted").unwrap_err();
            assert_eq!(error.rule(), *rule, "{id}: {changes}");
            assert!(error.to_string().len() > 20, "{id}: {error}");
        }
    }

    fn jwk() -> Value {
        json!({"kty": "EC", "crv": "P-256", "kid": "1", "x": "fPJ7GI0DT36KUjgDBLUaw8CJaeJ38hs1pgtI_EdmmXg", "y": "B3dVENuO0EApPZrGn3Qw27p9reY86YIpngS3nSJ4c9E"})
    }

    #[test]
    fn a_minimal_document_is_accepted() {
        let client = accepted("M-01", &json!({}));
        assert_eq!(
            client,
            ClientMetadata {
                client_id: ID.parse().unwrap(),
                client_name: Some("Client".to_owned()),
                client_uri: None,
                logo_uri: None,
                tos_uri: None,
                policy_uri: None,
                redirect_uris: vec![
                    RedirectUri::registered("https://client.example.com/cb").unwrap()
                ],
                grants: vec![GrantType::AuthorizationCode],
                auth_methods: vec![AuthMethod::None],
                scope: None,
                application_type: ApplicationType::Web,
                jwks_uri: None,
                jwks: None,
                id_token_alg: SigningAlg::Es256,
                default_max_age: None,
                dpop_bound_access_tokens: false,
                require_pushed_authorization_requests: false,
            }
        );
    }

    #[test]
    fn documents_shaped_like_the_real_ones_are_accepted() {
        use AuthMethod::{None as Public, PrivateKeyJwt};
        use GrantType::{AuthorizationCode, DeviceCode, RefreshToken};
        type Row = (
            &'static str,
            Value,
            &'static [GrantType],
            &'static [AuthMethod],
            ApplicationType,
        );
        let table: &[Row] = &[
            (
                "Claude",
                json!({
                    "client_id": "https://chat.example.com/oauth/mcp-client-metadata",
                    "client_name": "Chat", "client_uri": "https://chat.example.com",
                    "redirect_uris": ["https://chat.example.com/api/mcp/auth_callback"],
                    "grant_types": ["authorization_code", "refresh_token",
                                    "urn:ietf:params:oauth:grant-type:jwt-bearer"],
                    "response_types": ["code"], "token_endpoint_auth_method": "none",
                }),
                &[AuthorizationCode, RefreshToken],
                &[Public],
                ApplicationType::Web,
            ),
            (
                "Claude Code",
                json!({
                    "client_id": "https://chat.example.com/oauth/code-client-metadata",
                    "client_name": "Chat Code", "client_uri": "https://chat.example.com",
                    "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
                    "grant_types": ["authorization_code", "refresh_token"],
                    "response_types": ["code"], "token_endpoint_auth_method": "none",
                }),
                &[AuthorizationCode, RefreshToken],
                &[Public],
                ApplicationType::Native,
            ),
            (
                "VS Code",
                json!({
                    "client_id": "https://editor.example.com/oauth/client-metadata.json",
                    "client_name": "Editor", "client_uri": "https://editor.example.com",
                    "logo_uri": "https://editor.example.com/logo.png",
                    "grant_types": ["authorization_code", "refresh_token",
                                    "urn:ietf:params:oauth:grant-type:device_code"],
                    "response_types": ["code"], "application_type": "native",
                    "redirect_uris": ["http://127.0.0.1:33418/", "https://editor.example.com/redirect",
                                      "http://127.0.0.1/", "http://localhost/"],
                    "token_endpoint_auth_method": "none",
                }),
                &[AuthorizationCode, RefreshToken, DeviceCode],
                &[Public],
                ApplicationType::Native,
            ),
            (
                "ChatGPT (M-73)",
                json!({
                    "client_id": "https://gpt.example.com/oauth/connector.json",
                    "client_name": "GPT", "redirect_uris": ["https://gpt.example.com/connector/oauth/cb"],
                    "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
                    "token_endpoint_auth_method": "private_key_jwt",
                    "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
                    "token_endpoint_auth_signing_alg": "RS256",
                    "jwks_uri": "https://gpt.example.com/oauth/jwks.json",
                }),
                &[AuthorizationCode, RefreshToken],
                &[PrivateKeyJwt, Public],
                ApplicationType::Web,
            ),
            (
                "Bluesky",
                json!({
                    "client_id": "https://events.example.com/oauth-client-metadata.json",
                    "client_name": "Events", "client_uri": "https://events.example.com",
                    "tos_uri": "https://events.example.com/tos", "policy_uri": "https://events.example.com/p",
                    "redirect_uris": ["https://events.example.com/oauth/callback"],
                    "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
                    "scope": "atproto transition:generic", "application_type": "web",
                    "token_endpoint_auth_method": "private_key_jwt",
                    "token_endpoint_auth_signing_alg": "ES256", "dpop_bound_access_tokens": true,
                    "jwks": {"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "x": "fPJ7GI0DT36KUjgDBLUaw8CJaeJ38hs1pgtI_EdmmXg", "y": "B3dVENuO0EApPZrGn3Qw27p9reY86YIpngS3nSJ4c9E",
                                       "key_ops": ["verify", "encrypt", "wrapKey"]}]},
                }),
                &[AuthorizationCode, RefreshToken],
                &[PrivateKeyJwt],
                ApplicationType::Web,
            ),
            (
                "Solid",
                json!({
                    "@context": ["https://www.w3.org/ns/solid/oidc-context.jsonld"],
                    "client_id": "https://pod.example.com/id.jsonld", "client_name": "Pod",
                    "redirect_uris": ["https://pod.example.com/"], "scope": "openid webid offline_access",
                    "grant_types": ["refresh_token", "authorization_code"], "response_types": ["code"],
                    "post_logout_redirect_uris": ["https://pod.example.com/"], "default_max_age": 3600,
                    "require_auth_time": true, "id_token_signed_response_alg": "ES256",
                }),
                &[RefreshToken, AuthorizationCode],
                &[Public],
                ApplicationType::Web,
            ),
        ];
        for (name, doc, grants, methods, application_type) in table {
            let id = doc["client_id"].as_str().unwrap().parse().unwrap();
            let client = parse(&id, doc.to_string().as_bytes()).unwrap();
            assert_eq!(client.grants, *grants, "{name}");
            assert_eq!(client.auth_methods, *methods, "{name}");
            assert_eq!(client.application_type, *application_type, "{name}");
            assert_eq!(
                client.redirect_uris.len(),
                doc["redirect_uris"].as_array().unwrap().len(),
                "{name}"
            );
            assert_eq!(client.jwks.is_some(), doc.get("jwks").is_some(), "{name}");
            assert_eq!(
                client.dpop_bound_access_tokens,
                doc.get("dpop_bound_access_tokens").is_some()
            );
        }
    }

    #[test]
    fn a_text_that_is_no_strict_json_object_is_refused() {
        let inside = |member: &str| {
            let doc = String::from_utf8(document(&json!({}))).unwrap();
            format!("{},{member}}}", doc.strip_suffix('}').unwrap()).into_bytes()
        };
        let nested =
            |depth: usize| inside(&format!("\"x\":{}{}", "[".repeat(depth), "]".repeat(depth)));
        let table: Vec<(&str, &str, Vec<u8>)> = vec![
            (
                "M-02",
                "document.json",
                [b"\xef\xbb\xbf".as_slice(), &document(&json!({}))].concat(),
            ),
            ("M-03", "document.json", inside(r#""x":"\ud800""#)),
            ("M-04", "document.json", inside(r#""x":"a\u0000b""#)),
            ("M-05", "document.json", inside(r#""client_id":"x""#)),
            ("M-05", "document.json", inside(r#""client\u005fid":"x""#)),
            ("M-05", "document.json", inside(r#""x":{"a":1,"a":2}"#)),
            (
                "M-06",
                "document.json",
                [document(&json!({})), b"{}".to_vec()].concat(),
            ),
            ("M-07", "document.object", b"[]".to_vec()),
            (
                "M-07",
                "document.object",
                format!(r#"["{ID}","Name",["https://a.example.com/"]]"#).into(),
            ),
            ("M-07", "document.object", b"\"x\"".to_vec()),
            ("M-07", "document.object", b"1".to_vec()),
            ("M-07", "document.object", b"null".to_vec()),
            ("M-07", "document.object", b"true".to_vec()),
            ("M-08", "document.json", nested(128)),
            ("M-08", "document.json", nested(10_000)),
            ("M-09", "document.json", inside("\"x\":1e999")),
            ("H-39", "document.json", Vec::new()),
            ("H-39", "document.client_id", b"{}".to_vec()),
        ];
        for (id, rule, body) in table {
            let error = parse(&ID.parse().unwrap(), &body).unwrap_err();
            assert_eq!(error.rule(), rule, "{id}");
        }
        assert!(parse(&ID.parse().unwrap(), &nested(64)).is_ok(), "M-08");
        assert!(
            parse(
                &ID.parse().unwrap(),
                &inside("\"x\":123456789012345678901234567890")
            )
            .is_ok(),
            "M-09"
        );
    }

    #[test]
    fn too_many_members_or_redirect_uris_are_refused() {
        let members = |count: usize| {
            (0..count)
                .map(|i| (format!("x{i}"), json!(i)))
                .collect::<Value>()
        };
        let uris = |count: usize| {
            let uris: Vec<_> = (0..count)
                .map(|i| format!("https://client.example.com/{i}"))
                .collect();
            json!({"redirect_uris": uris})
        };
        accepted("M-10", &members(60));
        assert_eq!(accepted("M-10", &uris(32)).redirect_uris.len(), 32);
        refused(&[
            ("M-10", "document.members", members(61)),
            ("M-10", "document.members", members(10_000)),
            ("M-10", "document.redirect_uris", uris(33)),
            ("M-10", "document.redirect_uris", uris(500)),
        ]);
    }

    #[test]
    fn the_document_must_name_its_own_url() {
        let ids = [
            "-",
            "",
            "https://CLIENT.example.com/c",
            "https://client.example.com/C",
            "https://client.example.com/c/",
            "https://client.example.com:443/c",
            "https://client.example.com/%63",
            "http://client.example.com/c",
            "https://client.example.com/c ",
            "https://client.example.com/c?",
            "https://other.example.com/c",
        ];
        let wrong_types = [json!(null), json!(1), json!([ID]), json!({"x": ID})];
        for id in ids.into_iter().map(Value::from).chain(wrong_types) {
            refused(&[(
                "M-11, M-12, M-13",
                "document.client_id",
                json!({"client_id": id}),
            )]);
        }
        let with_query: ClientUrl = "https://client.example.com/c?a=1&b=2".parse().unwrap();
        for id in ["https://client.example.com/c?b=2&a=1", ID] {
            let error = parse(&with_query, &document(&json!({"client_id": id}))).unwrap_err();
            assert_eq!(error.rule(), "document.client_id", "M-12");
        }
    }

    #[test]
    fn a_name_is_a_string_without_control_characters() {
        let table: &[(&str, Value, Option<&str>)] = &[
            ("M-14", json!("-"), None),
            ("M-14", json!(""), None),
            ("M-14", json!("  \u{a0} "), None),
            ("trimmed", json!("  My App "), Some("My App")),
            (
                "M-40",
                json!("<script>alert(1)</script>"),
                Some("<script>alert(1)</script>"),
            ),
            ("M-40", json!("%0d%0a{{7*7}}"), Some("%0d%0a{{7*7}}")),
            ("M-41", json!("a\u{202e}b"), Some("a\u{202e}b")),
        ];
        for (id, name, expected) in table {
            let client = accepted(id, &json!({"client_name": name}));
            assert_eq!(client.client_name.as_deref(), *expected, "{id}");
        }
        for name in [
            json!("a\u{0}b"),
            json!("\u{7}"),
            json!("\u{1b}[31m"),
            json!("a\nb"),
            json!("\u{85}"),
            json!(1),
            json!(null),
        ] {
            let error = read(&json!({"client_name": name})).unwrap_err();
            assert!(
                ["document.client_name", "document.json"].contains(&error.rule()),
                "M-04, M-14: {name}"
            );
        }
    }

    #[test]
    fn bad_redirect_uris_are_dropped_and_good_ones_are_kept_once() {
        let rule = "document.redirect_uris";
        let good = "https://client.example.com/cb";
        refused(&[
            ("M-15", rule, json!({"redirect_uris": "-"})),
            ("M-15", rule, json!({"redirect_uris": []})),
            ("M-15", rule, json!({"redirect_uris": good})),
            ("M-15", rule, json!({"redirect_uris": {"0": good}})),
            ("M-15", rule, json!({"redirect_uris": [1]})),
            ("M-15", rule, json!({"redirect_uris": [good, 1]})),
            ("M-15", rule, json!({"redirect_uris": [good, null]})),
            ("M-15", rule, json!({"redirect_uris": null})),
            (
                "M-15",
                rule,
                json!({"redirect_uris": [format!("https://client.example.com/{}", "a".repeat(2048))]}),
            ),
            (
                "R-07",
                rule,
                json!({"redirect_uris": ["https://*.example.com/cb"]}),
            ),
            (
                "R-11",
                rule,
                json!({"redirect_uris": ["myapp:cb", "ms-settings:/cb"]}),
            ),
            (
                "web",
                rule,
                json!({"redirect_uris": ["http://localhost/cb"], "application_type": "web"}),
            ),
            (
                "type",
                "document.application_type",
                json!({"application_type": "browser"}),
            ),
            (
                "type",
                "document.application_type",
                json!({"application_type": ["web"]}),
            ),
        ]);
        let kept = |changes: Value| -> Vec<String> {
            let client = accepted("M-70", &changes);
            client
                .redirect_uris
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(kept(json!({"redirect_uris": [good, good]})), [good], "M-15");
        assert_eq!(
            kept(json!({"redirect_uris": ["vscode://x/y", good, "javascript:alert(1)"]})),
            ["vscode://x/y", good],
            "M-70: since November 2026 the policy decides about schemes"
        );
        let mixed = json!(["http://127.0.0.1/cb", good]);
        assert_eq!(
            kept(json!({"redirect_uris": mixed, "application_type": "web"})),
            [good]
        );
        assert_eq!(
            kept(json!({"redirect_uris": mixed, "application_type": "native"})).len(),
            2
        );
        assert_eq!(kept(json!({"redirect_uris": mixed})).len(), 2);
        let device = json!(["urn:ietf:params:oauth:grant-type:device_code"]);
        assert_eq!(
            kept(json!({"redirect_uris": "-", "grant_types": device})).len(),
            0
        );
        let native = accepted(
            "inferred",
            &json!({"redirect_uris": ["com.example.app:/cb", good]}),
        );
        assert_eq!(native.application_type, ApplicationType::Native);
    }

    #[test]
    fn shared_secrets_are_refused_wherever_they_are_announced() {
        let one = "document.token_endpoint_auth_method";
        let many = "document.token_endpoint_auth_methods_supported";
        for method in [
            "client_secret_basic",
            "client_secret_post",
            "client_secret_jwt",
            "CLIENT_SECRET_BASIC",
        ] {
            refused(&[
                ("M-20", one, json!({"token_endpoint_auth_method": method})),
                (
                    "M-20",
                    many,
                    json!({"token_endpoint_auth_methods_supported": ["none", method]}),
                ),
                (
                    "M-20",
                    one,
                    json!({"token_endpoint_auth_method": method,
                    "token_endpoint_auth_methods_supported": ["none"]}),
                ),
            ]);
        }
        for method in [
            json!(" none"),
            json!("foo"),
            json!("tls_client_auth"),
            json!("self_signed_tls_client_auth"),
            json!("None"),
            json!(""),
            json!(1),
            json!(null),
            json!(["none"]),
        ] {
            refused(&[("M-20", one, json!({"token_endpoint_auth_method": method}))]);
        }
        for (name, value) in [
            ("client_secret", json!("x")),
            ("client_secret", json!("")),
            ("client_secret", json!(null)),
            ("client_secret_expires_at", json!(0)),
            ("client_secret_expires_at", json!(-1)),
        ] {
            refused(&[("M-21", "document.client_secret", json!({name: value}))]);
        }
    }

    #[test]
    fn authentication_methods_are_negotiated() {
        use AuthMethod::{None as Public, PrivateKeyJwt};
        let rule = "document.token_endpoint_auth_methods_supported";
        let uri = "https://client.example.com/jwks";
        let table: &[(&str, Value, &[AuthMethod])] = &[
            (
                "M-22",
                json!({"token_endpoint_auth_method": "-"}),
                &[Public],
            ),
            ("M-23", json!({"jwks": {"keys": [jwk()]}}), &[Public]),
            ("M-72", json!({"jwks_uri": uri}), &[Public]),
            (
                "one",
                json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri}),
                &[PrivateKeyJwt],
            ),
            (
                "one",
                json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [jwk()]}}),
                &[PrivateKeyJwt],
            ),
            (
                "plural only",
                json!({"token_endpoint_auth_method": "-", "jwks_uri": uri,
                    "token_endpoint_auth_methods_supported": ["tls_client_auth", "private_key_jwt"]}),
                &[PrivateKeyJwt],
            ),
            (
                "M-73",
                json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri,
                    "token_endpoint_auth_methods_supported": ["none", "private_key_jwt", "none"]}),
                &[PrivateKeyJwt, Public],
            ),
            (
                "an unknown singular among usable plurals",
                json!({"token_endpoint_auth_method": "foo", "token_endpoint_auth_methods_supported": ["foo", "none"]}),
                &[Public],
            ),
            (
                "a choice without keys",
                json!({"token_endpoint_auth_methods_supported": ["none", "private_key_jwt"]}),
                &[Public],
            ),
            (
                "any algorithm when unused",
                json!({"token_endpoint_auth_signing_alg": "ES384"}),
                &[Public],
            ),
        ];
        for (case, changes, expected) in table {
            assert_eq!(accepted(case, changes).auth_methods, *expected, "{case}");
        }
        let signed = |mut changes: Value| {
            changes["token_endpoint_auth_method"] = json!("private_key_jwt");
            changes
        };
        let alg = "document.token_endpoint_auth_signing_alg";
        refused(&[
            ("M-23", "document.keys", signed(json!({}))),
            (
                "M-23",
                "document.keys",
                signed(json!({"jwks": {"keys": []}})),
            ),
            (
                "M-23",
                "document.keys",
                signed(json!({"jwks": {"keys": [jwk()]}, "jwks_uri": uri})),
            ),
            (
                "M-24",
                alg,
                signed(json!({"jwks_uri": uri, "token_endpoint_auth_signing_alg": "none"})),
            ),
            (
                "M-24",
                alg,
                signed(json!({"jwks_uri": uri, "token_endpoint_auth_signing_alg": "HS256"})),
            ),
            (
                "M-24",
                alg,
                signed(json!({"jwks_uri": uri, "token_endpoint_auth_signing_alg": "XX999"})),
            ),
            (
                "M-24",
                alg,
                json!({"token_endpoint_auth_signing_alg": "HS512"}),
            ),
            (
                "plural without the singular",
                "document.token_endpoint_auth_method",
                signed(json!({"jwks_uri": uri, "token_endpoint_auth_methods_supported": ["none"]})),
            ),
            (
                "nothing usable",
                rule,
                json!({"token_endpoint_auth_method": "-",
                "token_endpoint_auth_methods_supported": ["tls_client_auth"]}),
            ),
            (
                "empty",
                rule,
                json!({"token_endpoint_auth_method": "-", "token_endpoint_auth_methods_supported": []}),
            ),
            (
                "type",
                rule,
                json!({"token_endpoint_auth_methods_supported": "none"}),
            ),
            (
                "type",
                rule,
                json!({"token_endpoint_auth_methods_supported": ["none", 1]}),
            ),
        ]);
    }

    #[test]
    fn key_material_that_must_be_private_is_refused() {
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            let mut key = jwk();
            key[name] = json!("AA");
            refused(&[
                (
                    "private key",
                    "document.jwks.secret",
                    json!({"jwks": {"keys": [jwk(), key]}}),
                ),
                (
                    "hidden deeper",
                    "document.jwks.secret",
                    json!({"jwks": {"keys": [jwk()], "x": [{"y": key}]}}),
                ),
            ]);
        }
        refused(&[
            (
                "symmetric",
                "document.jwks.secret",
                json!({"jwks": {"keys": [{"kty": "oct"}]}}),
            ),
            ("type", "document.jwks", json!({"jwks": null})),
            ("type", "document.jwks", json!({"jwks": "{}"})),
            ("type", "document.jwks", json!({"jwks": {}})),
            ("type", "document.jwks", json!({"jwks": {"keys": [1]}})),
        ]);
    }

    #[test]
    fn unsupported_grant_and_response_types_are_dropped() {
        use GrantType::{AuthorizationCode, ClientCredentials, DeviceCode, RefreshToken};
        let device = "urn:ietf:params:oauth:grant-type:device_code";
        let table: &[(&str, Value, &[GrantType])] = &[
            ("absent", json!({}), &[AuthorizationCode]),
            (
                "M-26",
                json!({"grant_types": ["implicit", "authorization_code", "password", "urn:x:y"]}),
                &[AuthorizationCode],
            ),
            (
                "M-26",
                json!({"grant_types": ["authorization_code", "authorization_code"]}),
                &[AuthorizationCode],
            ),
            (
                "M-26",
                json!({"grant_types": ["client_credentials"]}),
                &[ClientCredentials],
            ),
            (
                "M-27",
                json!({"response_types": ["code", "id_token token", "code token"]}),
                &[AuthorizationCode],
            ),
            (
                "M-71",
                json!({"response_types": ["code", "none"], "grant_types": ["authorization_code"]}),
                &[AuthorizationCode],
            ),
            (
                "refresh",
                json!({"grant_types": ["refresh_token", "authorization_code"]}),
                &[RefreshToken, AuthorizationCode],
            ),
            (
                "device",
                json!({"grant_types": [device], "response_types": []}),
                &[DeviceCode],
            ),
        ];
        for (case, changes, expected) in table {
            assert_eq!(accepted(case, changes).grants, *expected, "{case}");
        }
        let (grants, responses) = ("document.grant_types", "document.response_types");
        refused(&[
            ("M-26", grants, json!({"grant_types": []})),
            (
                "M-26",
                grants,
                json!({"grant_types": ["implicit", "password"]}),
            ),
            (
                "M-26",
                grants,
                json!({"grant_types": ["implicit", "refresh_token"]}),
            ),
            (
                "M-26",
                grants,
                json!({"grant_types": ["urn:ietf:params:oauth:grant-type:jwt-bearer"]}),
            ),
            ("M-26", grants, json!({"grant_types": "authorization_code"})),
            (
                "M-26",
                grants,
                json!({"grant_types": ["authorization_code", null]}),
            ),
            ("M-27", responses, json!({"response_types": []})),
            (
                "M-27",
                responses,
                json!({"response_types": ["token", "id_token token"]}),
            ),
            (
                "M-27",
                responses,
                json!({"response_types": ["code token", "none"]}),
            ),
            ("M-27", responses, json!({"response_types": "code"})),
            ("M-27", responses, json!({"response_types": ["code", 1]})),
        ]);
        for grant in [
            AuthorizationCode,
            RefreshToken,
            DeviceCode,
            ClientCredentials,
        ] {
            assert_eq!(GrantType::from_wire(grant.as_str()), Some(grant));
        }
    }

    #[test]
    fn members_of_the_wrong_type_or_value_are_refused() {
        refused(&[
            (
                "M-25",
                "document.id_token_signed_response_alg",
                json!({"id_token_signed_response_alg": "none"}),
            ),
            (
                "M-25",
                "document.id_token_signed_response_alg",
                json!({"id_token_signed_response_alg": "HS256"}),
            ),
            (
                "M-25",
                "document.request_object_signing_alg",
                json!({"request_object_signing_alg": "none"}),
            ),
            (
                "M-25",
                "document.id_token_encrypted_response_alg",
                json!({"id_token_encrypted_response_alg": "RSA1_5"}),
            ),
            (
                "M-29",
                "document.default_max_age",
                json!({"default_max_age": -1}),
            ),
            (
                "M-29",
                "document.default_max_age",
                json!({"default_max_age": "5"}),
            ),
            (
                "M-29",
                "document.default_max_age",
                json!({"default_max_age": 1.5}),
            ),
            (
                "M-29",
                "document.default_max_age",
                json!({"default_max_age": 1e300}),
            ),
            (
                "M-29",
                "document.require_auth_time",
                json!({"require_auth_time": "true"}),
            ),
            (
                "M-29",
                "document.dpop_bound_access_tokens",
                json!({"dpop_bound_access_tokens": 1}),
            ),
            (
                "M-29",
                "document.require_pushed_authorization_requests",
                json!({"require_pushed_authorization_requests": "false"}),
            ),
            ("M-28", "document.scope", json!({"scope": "a\nb"})),
            ("M-28", "document.scope", json!({"scope": "a \"b\""})),
            ("M-28", "document.scope", json!({"scope": ["a"]})),
            ("M-28", "document.scope", json!({"scope": null})),
        ]);
        let client = accepted(
            "flags",
            &json!({"require_pushed_authorization_requests": true, "scope": "b a  b"}),
        );
        assert!(client.require_pushed_authorization_requests);
        assert_eq!(client.scope, Some(vec!["b".to_owned(), "a".to_owned()]));
    }

    #[test]
    fn urls_that_people_may_follow_are_web_urls() {
        let rules = [
            "document.client_uri",
            "document.logo_uri",
            "document.tos_uri",
            "document.policy_uri",
            "document.jwks_uri",
        ];
        for rule in rules {
            let long = format!("https://client.example.com/{}", "a".repeat(10_000));
            for bad in [
                "javascript:alert(1)",
                "JavaScript://x/%0aalert(1)",
                "data:image/svg+xml,<svg/>",
                "file:///etc/passwd",
                "ftp://client.example.com/",
                "/logo.png",
                "",
                "https:",
                "https:///x",
                "https://u@client.example.com/",
                "https://u:p@client.example.com/",
                "https://a\tb.example.com/",
                " https://client.example.com/",
                "https://client.example.com\\@evil.example.org/",
                &long,
            ] {
                refused(&[("M-43, M-44", rule, json!({member(rule): bad}))]);
            }
            refused(&[
                ("type", rule, json!({member(rule): 1})),
                ("type", rule, json!({member(rule): null})),
            ]);
            accepted(
                "https",
                &json!({member(rule): "https://client.example.com/x?y"}),
            );
        }
        accepted("M-44", &json!({"client_uri": "http://client.example.com/"}));
        refused(&[(
            "keys in clear",
            "document.jwks_uri",
            json!({"jwks_uri": "http://client.example.com/jwks"}),
        )]);
    }

    #[test]
    fn members_that_mean_nothing_here_are_ignored() {
        accepted(
            "M-30",
            &json!({"subject_type": "pairwise", "sector_identifier_uri": "http://10.0.0.1/"}),
        );
        accepted(
            "M-31",
            &json!({"request_uris": ["http://10.0.0.1/"], "backchannel_logout_uri": "http://10.0.0.1/",
            "software_statement": "x", "registration_client_uri": "http://10.0.0.1/", "initiate_login_uri": 1}),
        );
        accepted(
            "M-32",
            &json!({"__proto__": {}, "constructor": 1, "$schema": "x", "x-a": null, "client_name#ja": "\u{3042}"}),
        );
        accepted(
            "M-45",
            &json!({"contacts": ["<b>\r\n"], "software_id": "<b>"}),
        );
    }
}
