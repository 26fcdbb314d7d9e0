//! From a request to a client that has proven itself: RFC 6749 §2.3, RFC 7523 §2.2. Public clients only name themselves.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, header};

use super::{Asker, Clients, Need, Refusal, RefusalKind, found};
use crate::{
    policy::{
        client_rules::{Tier, TrustDecision},
        registration::Registered,
    },
    protocol::{
        basic,
        client::Client,
        client_assertion::{Audience, ClientAssertion, Verified},
        client_id::ClientId,
        client_metadata::AuthMethod,
        error::{ErrorCode, OAuthError},
        issuer::IssuerUrl,
        params::Params,
    },
    secret::{ClientSecret, SecretHash},
    store::{Once, OnceKind},
    time::UnixTime,
};

/// The authentication methods that work, by their wire names (for the metadata).
pub const METHODS: &[&str] = &[
    "none",
    "private_key_jwt",
    "client_secret_basic",
    "client_secret_post",
];

/// RFC 7523 §2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client that may speak for itself. Only [`Clients::authenticate`] makes one; grants take nothing else.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient {
    client_id: ClientId,
    method: AuthMethod,
    client: Option<Arc<Client>>,
    registered: Option<Arc<Registered>>,
}

impl AuthenticatedClient {
    /// Which client it is.
    pub fn id(&self) -> &ClientId {
        &self.client_id
    }

    /// How it proved that.
    pub fn method(&self) -> AuthMethod {
        self.method
    }

    /// Did it prove anything? RFC 6749 §2.1.
    pub fn is_confidential(&self) -> bool {
        self.method.is_confidential()
    }

    /// What it is, as far as it had to be looked up.
    pub fn known(&self) -> Option<&Arc<Client>> {
        self.client.as_ref()
    }

    /// Its registration, if it has one.
    pub fn registered(&self) -> Option<&Registered> {
        self.registered.as_deref()
    }
}

/// May the host of a client's document be asked, because somebody says to be that client?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// Only what is at hand counts.
    Never,
    /// Where a rule lists the client.
    Listed,
    /// After the cheap checks, and charged to the network that asks.
    Always,
}

/// A request that names a client.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub issuer: &'a IssuerUrl,
    /// The path of the endpoint that is asked.
    pub endpoint: &'a str,
    pub params: &'a Params,
    pub headers: &'a HeaderMap,
    /// The network that asks.
    pub source: IpAddr,
    pub look_up: LookUp,
    pub now: UnixTime,
    /// What else serves once in this request: it is spent together with the assertion.
    pub once: Option<Once>,
}

/// What a request shows of who sends it.
enum Credentials<'a> {
    Nothing(String),
    Secret {
        client_id: String,
        secret: String,
        method: AuthMethod,
    },
    Assertion(&'a str),
}

fn refuse(cause: impl Into<String>) -> OAuthError {
    OAuthError::invalid_client().because(cause.into())
}

/// RFC 6749 §2.3: one method in a request, and a credential is never ignored.
fn credentials<'a>(params: &'a Params, headers: &HeaderMap) -> Result<Credentials<'a>, OAuthError> {
    let values: Vec<&[u8]> = headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .map(|value| value.as_bytes())
        .collect();
    let client_id = params.optional("client_id");
    let secret = params.optional("client_secret");
    let assertion = params.optional("client_assertion");
    let assertion_type = params.optional("client_assertion_type");
    let shown = [
        !values.is_empty(),
        secret.is_some(),
        assertion.is_some() || assertion_type.is_some(),
    ];
    if shown.iter().filter(|shown| **shown).count() > 1 {
        let told = "the request authenticates the client in more than one way";
        return Err(OAuthError::invalid_request(told));
    }
    if let Some(basic) = basic::parse(&values).map_err(|error| refuse(error.to_string()))? {
        if client_id.is_some_and(|named| named != basic.client_id) {
            return Err(refuse(
                "client_id differs from the one in the Authorization header",
            ));
        }
        // RFC 6749 §2.3.1: a client without a secret may leave it empty, and has shown nothing.
        return Ok(match basic.secret.is_empty() {
            true => Credentials::Nothing(basic.client_id),
            false => Credentials::Secret {
                client_id: basic.client_id,
                secret: basic.secret,
                method: AuthMethod::ClientSecretBasic,
            },
        });
    }
    match (assertion, assertion_type, secret) {
        (Some(assertion), Some(ASSERTION_TYPE), _) => Ok(Credentials::Assertion(assertion)),
        (Some(_), Some(_), _) => Err(refuse("client_assertion_type is another than jwt-bearer")),
        (Some(_), None, _) => Err(refuse("client_assertion_type is missing")),
        (None, Some(_), _) => Err(refuse("client_assertion is missing")),
        (None, None, secret) => {
            let client_id = client_id.ok_or_else(|| {
                OAuthError::new(
                    ErrorCode::InvalidClient,
                    "the parameter client_id is missing",
                )
            })?;
            Ok(match secret {
                None => Credentials::Nothing(client_id.to_owned()),
                Some(secret) => Credentials::Secret {
                    client_id: client_id.to_owned(),
                    secret: secret.to_owned(),
                    method: AuthMethod::ClientSecretPost,
                },
            })
        }
    }
}

/// The client that a request says to come from: a stranger's text, and not proven. `None`: it names none that could be.
pub fn claimed(params: &Params, headers: &HeaderMap) -> Option<String> {
    Some(match credentials(params, headers).ok()? {
        Credentials::Nothing(client_id) | Credentials::Secret { client_id, .. } => client_id,
        Credentials::Assertion(assertion) => {
            let assertion = ClientAssertion::parse(assertion).ok()?;
            assertion.subject().to_owned()
        }
    })
}

/// What a client is told that has to prove itself and shows nothing: how it would.
pub fn unproven(client: &Client) -> OAuthError {
    let methods: Vec<&str> = client
        .metadata
        .auth_methods
        .iter()
        .map(|it| it.as_str())
        .collect();
    let missing = match client.metadata.auth_methods.first() {
        Some(AuthMethod::PrivateKeyJwt) => "client_assertion is missing",
        _ => "its secret is missing",
    };
    let told = format!(
        "the client authenticates with {}: {missing}",
        methods.join(" or ")
    );
    OAuthError::new(ErrorCode::InvalidClient, told)
}

fn identifier(text: &str) -> Result<ClientId, OAuthError> {
    text.parse()
        .map_err(|error| refuse(format!("client_id: {error}")))
}

impl Clients {
    /// Who sends this request?
    ///
    /// # Errors
    ///
    /// RFC 6749 §5.2: `invalid_client`, with one description for all reasons; `temporarily_unavailable` while a key
    /// set cannot be read.
    pub async fn authenticate(
        &self,
        attempt: Attempt<'_>,
    ) -> Result<AuthenticatedClient, OAuthError> {
        match credentials(attempt.params, attempt.headers)? {
            Credentials::Nothing(client_id) => {
                let client = self.public(identifier(&client_id)?)?;
                self.spend(attempt.once.into_iter().collect(), attempt.now)
                    .await?;
                Ok(client)
            }
            Credentials::Secret {
                client_id,
                secret,
                method,
            } => {
                let client = self.with_secret(identifier(&client_id)?, &secret, method)?;
                self.spend(attempt.once.into_iter().collect(), attempt.now)
                    .await?;
                Ok(client)
            }
            Credentials::Assertion(assertion) => self.with_assertion(assertion, attempt).await,
        }
    }

    /// A client that shows nothing. Whether one of a URL may do so, the document that its grant rests on says.
    fn public(&self, client_id: ClientId) -> Result<AuthenticatedClient, OAuthError> {
        let registered = self.rules().registered(&client_id);
        let client = registered.as_ref().map(|it| Arc::clone(&it.client));
        match (&client, client_id.url()) {
            (Some(client), _) if !client.may_show_nothing() => Err(unproven(client)),
            (None, None) => Err(refuse("no client of this name is registered")),
            _ => Ok(AuthenticatedClient {
                client_id,
                method: AuthMethod::None,
                client,
                registered,
            }),
        }
    }

    fn with_secret(
        &self,
        client_id: ClientId,
        secret: &str,
        method: AuthMethod,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let registered = self.rules().registered(&client_id);
        let presented = SecretHash::<ClientSecret>::of_bytes(secret.as_bytes());
        let is_right = |registered: &Arc<Registered>| registered.has_secret(&presented);
        let Some(registered) = registered.filter(is_right) else {
            return Err(refuse(
                "the client is not registered, or its secret is another",
            ));
        };
        if !registered.client.metadata.auth_methods.contains(&method) {
            return Err(refuse(format!(
                "the client used {}, it is registered for another method",
                method.as_str()
            )));
        }
        // Only the client itself hears that it is blocked.
        let standing = self.standing(&client_id, &[]);
        standing.map_err(|refusal| refused(&refusal))?;
        Ok(AuthenticatedClient {
            client_id,
            method,
            client: Some(Arc::clone(&registered.client)),
            registered: Some(registered),
        })
    }

    /// RFC 7523 §3: everything that costs nothing first, then the keys, then the signature, then the identifier is
    /// used up.
    async fn with_assertion(
        &self,
        text: &str,
        attempt: Attempt<'_>,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let Attempt {
            issuer,
            endpoint,
            params,
            source,
            look_up,
            now,
            once,
            ..
        } = attempt;
        // Nothing is proven before its signature is.
        let asker = Asker::Anonymous(source);
        let because = |error: &dyn std::fmt::Display| refuse(format!("client assertion: {error}"));
        let assertion = ClientAssertion::parse(text).map_err(|error| because(&error))?;
        let client_id = identifier(assertion.subject())?;
        if params
            .optional("client_id")
            .is_some_and(|named| named != client_id.as_str())
        {
            return Err(refuse(
                "client_id differs from the subject of the client assertion",
            ));
        }
        let standing = self
            .standing(&client_id, &[])
            .map_err(|refusal| refused(&refusal))?;
        let registered = self.rules().registered(&client_id);
        let url = issuer.join(endpoint);
        let is_legacy = match &registered {
            Some(registered) => registered.written().legacy_assertions,
            None => standing.allows_legacy_assertions(),
        };
        let audience = Audience {
            issuer: issuer.as_str(),
            legacy: is_legacy.then_some(url.as_str()),
        };
        let jti = assertion
            .check(client_id.as_str(), &audience, now)
            .map_err(|error| because(&error))?;

        let client = self
            .asserting(&client_id, look_up, asker, &standing, now)
            .await?;
        self.admit(&client).map_err(|refusal| refused(&refusal))?;
        let may = client
            .metadata
            .auth_methods
            .contains(&AuthMethod::PrivateKeyJwt);
        if !may || !standing.allows_method(AuthMethod::PrivateKeyJwt) {
            return Err(refuse("the client may not use private_key_jwt"));
        }
        if !client.metadata.accepts_assertion(assertion.alg()) {
            return Err(refuse(format!(
                "client assertion: the client's {} names another signature algorithm",
                client.description()
            )));
        }
        let mut keys = self
            .keys(&client, asker, now)
            .await
            .map_err(|refusal| refused(&refusal))?;
        let mut verified = assertion.verify(&keys);
        if matches!(verified, Verified::NoSuchKey) {
            keys = self
                .newer_keys(&client, assertion.issued_at().unwrap_or(now), asker, now)
                .await
                .map_err(|refusal| refused(&refusal))?;
            verified = assertion.verify(&keys);
        }
        let key = match verified {
            Verified::Yes(key) => key,
            Verified::NoSuchKey => {
                return Err(refuse("client assertion: the client has no such key"));
            }
            Verified::No => return Err(refuse("client assertion: the signature is wrong")),
        };
        // An administrator may have blocked the key.
        let thumbprint = std::slice::from_ref(&key.thumbprint);
        self.standing(&client_id, thumbprint)
            .map_err(|refusal| refused(&refusal))?;

        let jti = Once::new(OnceKind::Assertion, client_id.as_str(), &jti.jti, jti.until);
        self.spend(once.into_iter().chain([jti]).collect(), now)
            .await?;
        Ok(AuthenticatedClient {
            client_id,
            method: AuthMethod::PrivateKeyJwt,
            client: Some(client),
            registered,
        })
    }

    /// The client that an assertion is about, with its keys.
    async fn asserting(
        &self,
        client_id: &ClientId,
        look_up: LookUp,
        asker: Asker,
        standing: &TrustDecision,
        now: UnixTime,
    ) -> Result<Arc<Client>, OAuthError> {
        let because = |refusal| refused(&refusal);
        let usable = self.client(client_id, Need::CachedUsable(asker), now).await;
        if let Some(client) = usable.map_err(because)? {
            return Ok(client);
        }
        let may_ask = match look_up {
            LookUp::Always => true,
            LookUp::Listed if standing.tier >= Tier::Listed => true,
            // It is known here: whoever has its key may have it read again.
            LookUp::Listed | LookUp::Never => {
                let known = self.client(client_id, Need::LastKnown, now).await;
                known.map_err(because)?.is_some()
            }
        };
        if !may_ask {
            let cause = "the client is not known here, and its host is not asked for this";
            return Err(refuse(cause));
        }
        let resolved = async {
            // Endpoints that always look up have places of their own.
            let _place = match look_up {
                LookUp::Always => None,
                _ => Some(self.0.host.program_may_wait()?),
            };
            self.client(client_id, Need::Fetch(asker), now)
                .await
                .and_then(found)
        };
        resolved.await.map_err(|refusal| refused(&refusal))
    }

    async fn spend(&self, all: Vec<Once>, now: UnixTime) -> Result<(), OAuthError> {
        if all.is_empty() {
            return Ok(());
        }
        let spent = self.0.store.spend_once(all, now).await;
        let before = spent.map_err(|error| refused(&Refusal::from(error)))?;
        match before.map(|once| once.kind()) {
            None => Ok(()),
            Some(OnceKind::Assertion) => Err(refuse("client assertion: its jti was used before")),
            Some(OnceKind::Proof) => Err(OAuthError::new(
                ErrorCode::InvalidDpopProof,
                "the jti of the DPoP proof was used before",
            )),
        }
    }
}

/// What a refusal of a client means to one that has to prove itself.
pub fn refused(refusal: &Refusal) -> OAuthError {
    let error = match refusal.kind {
        RefusalKind::Invalid => OAuthError::invalid_client().because(refusal.cause.clone()),
        RefusalKind::Temporary(seconds) | RefusalKind::TooMany(seconds) => {
            let told = "the client could not be looked up at the moment; try again shortly. Its authorization request, \
                        opened in a browser, says why";
            OAuthError::new(ErrorCode::TemporarilyUnavailable, told)
                .because(refusal.cause.clone())
                .retry_after(seconds)
        }
        RefusalKind::Internal => OAuthError::internal(refusal.cause.clone()),
    };
    error.by_rule(refusal.rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_shows_one_credential_or_none() {
        let table = [
            ("client_id=https://a.example.com/c", "", Ok("nothing")),
            (
                "client_id=https://a.example.com/c&client_secret=",
                "",
                Ok("nothing"),
            ),
            // F-10.
            ("", "Basic YTo=", Ok("nothing")),
            ("client_id=a", "Basic YTo=", Ok("nothing")),
            ("client_id=b", "Basic YTo=", Err(ErrorCode::InvalidClient)),
            ("client_id=a&client_secret=x", "", Ok("post")),
            ("client_id=a", "Basic YTpi", Ok("basic")),
            ("", "Basic YTpi", Ok("basic")),
            ("client_id=b", "Basic YTpi", Err(ErrorCode::InvalidClient)),
            (
                "client_id=a&client_secret=x",
                "Basic YTpi",
                Err(ErrorCode::InvalidRequest),
            ),
            (
                "client_assertion=x&client_assertion_type=y",
                "Basic YTpi",
                Err(ErrorCode::InvalidRequest),
            ),
            (
                "client_assertion=x&client_secret=y",
                "",
                Err(ErrorCode::InvalidRequest),
            ),
            ("client_assertion=x", "", Err(ErrorCode::InvalidClient)),
            (
                "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_id=a",
                "",
                Err(ErrorCode::InvalidClient),
            ),
            (
                "client_assertion=x&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
                "",
                Err(ErrorCode::InvalidClient),
            ),
            (
                "client_assertion=x&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "",
                Ok("assertion"),
            ),
            ("client_id=a", "Bearer x", Err(ErrorCode::InvalidClient)),
            ("", "", Err(ErrorCode::InvalidClient)),
        ];
        for (body, header, expected) in table {
            let params = Params::parse(body.as_bytes()).unwrap();
            let mut headers = HeaderMap::new();
            if !header.is_empty() {
                headers.insert(header::AUTHORIZATION, header.parse().unwrap());
            }
            let got = credentials(&params, &headers).map(|shown| match shown {
                Credentials::Nothing(_) => "nothing",
                Credentials::Secret {
                    method: AuthMethod::ClientSecretBasic,
                    ..
                } => "basic",
                Credentials::Secret { .. } => "post",
                Credentials::Assertion(_) => "assertion",
            });
            assert_eq!(
                got.map_err(|error| error.code),
                expected,
                "X-50, X-51, X-55: {body} {header}"
            );
        }
    }
}
