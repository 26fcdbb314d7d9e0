//! What each member of a document says.

use url::Url;

use super::{
    Redirects,
    kinds::{ApplicationType, AuthMethod, GrantType},
    rules::{MetadataError, Rule},
};
use crate::protocol::{
    client_id::ClientId,
    id_token::SigningAlg,
    json::Object,
    key_set::{Alg, KeySet},
    redirect_uri::RedirectUri,
};
use crate::words::one_of;

/// Members that are absent where they are empty.
pub(super) const MAY_BE_EMPTY: &[&str] = &[
    "client_name",
    "client_uri",
    "logo_uri",
    "policy_uri",
    "scope",
    "tos_uri",
];

const MAX_MEMBERS: usize = 64;
const MAX_REDIRECT_URIS: usize = 32;
const MAX_URL: usize = 2048;
pub(super) const WEB_SCHEMES: &[&str] = &["https", "http"];

pub(super) fn check_members(doc: &Object) -> Result<(), MetadataError> {
    if doc.len() > MAX_MEMBERS {
        return Err(Rule::Members.refuse("the document has more than 64 members"));
    }
    Ok(())
}

/// §4: the document says whose it is, by simple string comparison (RFC 3986 §6.2.1).
pub(super) fn check_client_id(doc: &Object, client_id: &ClientId) -> Result<(), MetadataError> {
    match string(doc, Rule::ClientId)? {
        Some(text) if text == client_id.as_str() => Ok(()),
        Some(_) => Err(Rule::ClientId.refuse(
            "client_id in the document must equal the document's URL character by character",
        )),
        None => Err(Rule::ClientId.refuse("client_id is missing; it must be the document's URL")),
    }
}

/// §4.1: no shared secrets.
pub(super) fn check_no_secret(doc: &Object) -> Result<(), MetadataError> {
    if doc
        .iter()
        .any(|(name, _)| name.starts_with("client_secret"))
    {
        let reason = "a public document must not contain client_secret or client_secret_expires_at";
        return Err(Rule::ClientSecret.refuse(reason));
    }
    Ok(())
}

/// §4.1: nothing in public that must be private.
pub(super) fn check_no_secret_key(keys: &Keys) -> Result<(), MetadataError> {
    match keys {
        Err(error) if error.rule() == Rule::JwksSecret => Err(error.clone()),
        _ => Ok(()),
    }
}

/// No signature at all and a MAC are never acceptable.
pub(super) fn check_signature(doc: &Object, rule: Rule) -> Result<(), MetadataError> {
    if string(doc, rule)?
        .is_some_and(|alg| alg.eq_ignore_ascii_case("none") || alg.starts_with("HS"))
    {
        let reason = format!(
            "{} must be an asymmetric signature algorithm such as ES256",
            rule.member()
        );
        return Err(rule.refuse(reason));
    }
    Ok(())
}

/// OpenID Connect Dynamic Registration §2, RP Metadata Choices §2: what the singular names, else of the plural the one we
/// prefer, else RS256.
pub(super) fn id_token_alg(doc: &Object) -> Result<SigningAlg, MetadataError> {
    let one_rule = Rule::IdTokenSignedResponseAlg;
    let many_rule = Rule::IdTokenSigningAlgValuesSupported;
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
    alg.ok_or_else(|| rule.refuse(reason()))
}

/// Nor is RSA PKCS #1 v1.5 encryption.
pub(super) fn check_encryption(doc: &Object, rule: Rule) -> Result<(), MetadataError> {
    if string(doc, rule)? == Some("RSA1_5") {
        return Err(rule.refuse(format!("{} must not be RSA1_5", rule.member())));
    }
    Ok(())
}

/// Seconds, at most as many as `max_age` has.
pub(super) fn default_max_age(doc: &Object) -> Result<Option<i64>, MetadataError> {
    let rule = Rule::DefaultMaxAge;
    match doc.integer(rule.member()).map_err(rule.wrong_type())? {
        Some(..0) => Err(rule.refuse("default_max_age must not be negative")),
        age => Ok(age.map(|age| age.min(u32::MAX.into()))),
    }
}

/// RFC 7591 §2: `authorization_code` where nothing is said. Unsupported entries are dropped.
pub(super) fn grants(doc: &Object) -> Result<Vec<GrantType>, MetadataError> {
    let rule = Rule::GrantTypes;
    let Some(listed) = strings(doc, rule)? else {
        return Ok(vec![GrantType::AuthorizationCode]);
    };
    let grants = distinct(listed.into_iter().filter_map(GrantType::from_wire));
    if grants.iter().all(|grant| *grant == GrantType::RefreshToken) {
        let useful = GrantType::ALL.map(GrantType::as_str);
        let useful: Vec<_> = useful
            .into_iter()
            .filter(|name| *name != GrantType::RefreshToken.as_str())
            .collect();
        let useful = one_of(&useful);
        return Err(rule.refuse(format!(
            "grant_types has nothing that this server supports: {useful}"
        )));
    }
    Ok(grants)
}

/// RFC 7591 §2.1: `authorization_code` goes with the response type `code`.
pub(super) fn check_response_types(doc: &Object, needs_code: bool) -> Result<(), MetadataError> {
    let rule = Rule::ResponseTypes;
    let listed = strings(doc, rule)?;
    match listed {
        Some(listed) if needs_code && !listed.contains(&"code") => {
            Err(rule
                .refuse("response_types must contain code, as grant_types has authorization_code"))
        }
        _ => Ok(()),
    }
}

/// The usable redirect URIs; at least one if they are `needed`. One bad entry does not spoil the others, unless it is no string.
pub(super) fn redirects(
    doc: &Object,
    allowed: Redirects,
    needed: bool,
) -> Result<(Vec<RedirectUri>, ApplicationType), MetadataError> {
    let rule = Rule::RedirectUris;
    let listed = strings(doc, rule)?.unwrap_or_default();
    if listed.len() > MAX_REDIRECT_URIS {
        return Err(rule.refuse("redirect_uris has more than 32 entries"));
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
            Some(error) => rule.refuse(format!("redirect_uris has no usable entry: {error}")),
            None if listed.is_empty() => rule.refuse("redirect_uris is missing or empty; authorization_code needs it",
            ),
            None => rule.refuse("redirect_uris has only entries that lead to a program on the device, which application_type web forbids",
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
    let rule = Rule::ApplicationType;
    match string(doc, rule)? {
        Some("web") => Ok(ApplicationType::Web),
        Some("native") => Ok(ApplicationType::Native),
        Some(_) => Err(rule.refuse("application_type must be web or native")),
        None if usable.iter().any(RedirectUri::leads_to_device) => Ok(ApplicationType::Native),
        None => Ok(ApplicationType::Web),
    }
}

/// Draft §4.1 and RP Metadata Choices §2: the plural is a choice, the singular must be part of it; nothing at all is
/// `none`, not the `client_secret_basic` of RFC 7591.
pub(super) fn auth_methods(doc: &Object, keys: &Keys) -> Result<Vec<AuthMethod>, MetadataError> {
    let one_rule = Rule::TokenEndpointAuthMethod;
    let many_rule = Rule::TokenEndpointAuthMethodsSupported;
    let one = string(doc, one_rule)?;
    let many = strings(doc, many_rule)?;
    let (rule, listed) = match (one, many) {
        (None, None) => (one_rule, vec![AuthMethod::None.as_str()]),
        (Some(one), None) => (one_rule, vec![one]),
        (Some(one), Some(many)) if !many.contains(&one) => {
            check_no_shared_secret(one_rule, &[one])?;
            let reason =
                "token_endpoint_auth_method must be among token_endpoint_auth_methods_supported";
            return Err(one_rule.refuse(reason));
        }
        (_, Some(many)) => (many_rule, many),
    };
    check_no_shared_secret(rule, &listed)?;
    let strongest_first = [AuthMethod::PrivateKeyJwt, AuthMethod::None];
    let mut methods: Vec<_> = strongest_first
        .into_iter()
        .filter(|method| listed.contains(&method.as_str()))
        .collect();
    let may_do_without = methods.contains(&AuthMethod::None);
    if methods.contains(&AuthMethod::PrivateKeyJwt) && !has_keys(doc, keys, may_do_without)? {
        methods.retain(|method| *method == AuthMethod::None);
    }
    if methods.is_empty() {
        let reason = format!(
            "{} has nothing that this server supports: none, private_key_jwt",
            rule.member()
        );
        return Err(rule.refuse(reason));
    }
    Ok(methods)
}

/// Does the document publish the keys that `private_key_jwt` needs? `Ok(false)` is for clients that may do without.
fn has_keys(doc: &Object, keys: &Keys, may_do_without: bool) -> Result<bool, MetadataError> {
    let inline = keys.as_ref().map_err(Clone::clone)?;
    let reason = match (doc.contains("jwks_uri"), inline) {
        (true, None) => return Ok(true),
        (false, Some(set)) if !set.keys.is_empty() => return Ok(true),
        (true, Some(_)) => "the document must have one of jwks and jwks_uri, not both".into(),
        _ if may_do_without => return Ok(false),
        (false, Some(set)) => {
            let first = set.skipped.first();
            let why = first.map_or("it is empty", |skipped| skipped.reason);
            format!("private_key_jwt needs keys: jwks has no usable one: {why}")
        }
        (false, None) => "private_key_jwt needs keys: jwks or jwks_uri is missing".into(),
    };
    Err(Rule::Keys.refuse(reason))
}

/// §4.1: a client that announces a shared secret expects one, and a public document cannot agree on it.
fn check_no_shared_secret(rule: Rule, methods: &[&str]) -> Result<(), MetadataError> {
    if methods
        .iter()
        .any(|method| method.to_ascii_lowercase().starts_with("client_secret_"))
    {
        let reason = format!(
            "{} must not use a shared secret; use private_key_jwt or none",
            rule.member()
        );
        return Err(rule.refuse(reason));
    }
    Ok(())
}

/// OpenID Connect Dynamic Registration §2, RP Metadata Choices §2: what its assertions (RFC 7523) may be signed with. A
/// client that sends none may name what it likes.
pub(super) fn assertion_algs(doc: &Object) -> Result<Option<Vec<Alg>>, MetadataError> {
    let one_rule = Rule::TokenEndpointAuthSigningAlg;
    let many_rule = Rule::TokenEndpointAuthSigningAlgValuesSupported;
    check_signature(doc, one_rule)?;
    let (rule, listed) = match (string(doc, one_rule)?, strings(doc, many_rule)?) {
        (None, None) => return Ok(None),
        (Some(one), _) => (one_rule, vec![one]),
        (None, Some(many)) => (many_rule, many),
    };
    let method = AuthMethod::PrivateKeyJwt.as_str();
    let one = doc.string("token_endpoint_auth_method");
    let many = doc.strings("token_endpoint_auth_methods_supported");
    let signs = one.is_ok_and(|one| one == Some(method))
        || many.is_ok_and(|many| many.is_some_and(|many| many.contains(&method)));
    let algs = distinct(listed.into_iter().filter_map(Alg::from_wire));
    if algs.is_empty() && signs {
        let reason = format!(
            "{} has nothing that this server verifies: ES256, PS256, EdDSA, RS256",
            rule.member()
        );
        return Err(rule.refuse(reason));
    }
    Ok(signs.then_some(algs))
}

/// §8.6: it is fetched, so its host is a name, as that of a client identifier is.
pub(super) fn jwks_uri(doc: &Object) -> Result<Option<String>, MetadataError> {
    let rule = Rule::JwksUri;
    let uri = web_url(doc, rule, &["https"])?;
    // Which names may be asked for, the policy about clients' URLs says when they are.
    let is_name = |uri: &String| Url::parse(uri).is_ok_and(|url| url.domain().is_some());
    match uri {
        Some(uri) if uri.contains('#') => {
            Err(rule.refuse("jwks_uri must not contain a fragment (#)"))
        }
        Some(uri) if !is_name(&uri) => {
            Err(rule.refuse("the host of jwks_uri must be a DNS name, not an IP address"))
        }
        uri => Ok(uri),
    }
}

/// The key set in the document, if there is one, or why it cannot be read. Three rules ask about it.
pub(super) type Keys = Result<Option<KeySet>, MetadataError>;

pub(super) fn inline_keys(doc: &Object) -> Keys {
    let set = doc.get("jwks").map(KeySet::from_json).transpose();
    set.map_err(|error| match error.rule() {
        "keys.secret" => Rule::JwksSecret.refuse(format!("jwks: {error}")),
        _ => Rule::Jwks.refuse(format!("jwks: {error}")),
    })
}

pub(super) fn client_name(doc: &Object) -> Result<Option<String>, MetadataError> {
    let rule = Rule::ClientName;
    let name = string(doc, rule)?.unwrap_or_default();
    if name.contains(char::is_control) {
        return Err(rule.refuse("client_name must not contain control characters"));
    }
    let name = name.trim();
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

/// RFC 6749 §3.3. Which of these scopes exist is the policy's business.
pub(super) fn scope(doc: &Object) -> Result<Option<Vec<String>>, MetadataError> {
    let rule = Rule::Scope;
    let Some(text) = string(doc, rule)? else {
        return Ok(None);
    };
    if !text
        .bytes()
        .all(|b| matches!(b, 0x20..=0x7e) && b != b'"' && b != b'\\')
    {
        return Err(rule.refuse("scope must be scope names separated by spaces, in ASCII without quotes and backslashes",
        ));
    }
    let scopes = text.split(' ').filter(|token| !token.is_empty());
    Ok(Some(distinct(scopes.map(str::to_owned))))
}

/// A URL of one of the schemes, as written, that reads the same for everybody who will see it.
pub(super) fn web_url(
    doc: &Object,
    rule: Rule,
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
    Err(rule.refuse(format!(
        "{} must be a URL that begins with {schemes}, without user name",
        rule.member()
    )))
}

fn string(doc: &Object, rule: Rule) -> Result<Option<&str>, MetadataError> {
    doc.string(rule.member()).map_err(rule.wrong_type())
}

fn strings(doc: &Object, rule: Rule) -> Result<Option<Vec<&str>>, MetadataError> {
    doc.strings(rule.member()).map_err(rule.wrong_type())
}

pub(super) fn flag(doc: &Object, rule: Rule) -> Result<bool, MetadataError> {
    Ok(doc
        .boolean(rule.member())
        .map_err(rule.wrong_type())?
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
