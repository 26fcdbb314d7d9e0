//! The device grant: RFC 8628 §3.4. What a device may ask for is judged when it starts, when its person answers, and here.

use super::{Request, Terms, implied_resources, standing, store_failed};
use crate::{
    app::App,
    policy::client_rules::TrustDecision,
    protocol::{
        client::Client,
        client_metadata::{AuthMethod, GrantType},
        device::{Presented, pending, slow_down, unknown},
        error::{ErrorCode, OAuthError},
        params::Params,
        resource::Resources,
        scope::Scope,
    },
    secret::{DeviceCode, Secret},
    store::Polled,
    tokens::TokenResponse,
};

/// Asks nobody but the store: the document that the grant rests on was read when the device started.
pub(super) async fn redeem(request: Request<'_>) -> Result<TokenResponse, OAuthError> {
    let Request {
        app,
        client,
        params,
        jkt,
        now,
    } = request;
    let code = params.require("device_code")?;
    let code: Secret<DeviceCode> = code.parse().map_err(|_| unknown())?;
    let standing = standing(app, client, now).await?;
    check_allowed(&standing, client.method())?;
    let terms = Terms::new(&request, standing)?;
    let presented = Presented {
        client_id: client.id().clone(),
        method: client.method(),
        jkt: jkt.map(str::to_owned),
    };
    let polled = app
        .store
        .poll_device(code.hash(), &presented, now, |device| {
            terms.grant(&device.scope, &device.resources, device.may_refresh)
        })
        .await
        .map_err(store_failed)?;
    match polled {
        Polled::Granted(approved) => terms.tokens(*approved).await,
        Polled::Pending(wait) => {
            let devices = &app.limits.devices;
            match devices.asks_too_early(code.hash().as_str(), wait, now) {
                true => Err(slow_down()),
                false => Err(pending()),
            }
        }
        Polled::Refused(refusal) => Err(refusal),
    }
}

/// What a device would be granted.
#[derive(Debug)]
pub struct Proposal {
    pub scope: Scope,
    pub resources: Resources,
    pub may_refresh: bool,
}

impl Proposal {
    /// Judges the request of a device, RFC 8628 §3.1.
    ///
    /// # Errors
    ///
    /// What the client is told.
    pub fn new(
        app: &App,
        params: &Params,
        client: &Client,
        standing: &TrustDecision,
        method: AuthMethod,
    ) -> Result<Self, OAuthError> {
        check_client(client, standing, method)?;
        let asked: Option<Scope> = params.optional("scope").map(str::parse).transpose()?;
        let mut resources = app.config.resources.asked(params)?;
        let catalog = &app.config.resources;
        catalog.check(&resources, &app.config.issuer, standing)?;
        let may_refresh = client.may_use(GrantType::RefreshToken)
            && standing.allows_grant(GrantType::RefreshToken, method.is_confidential());
        let listed = client.metadata.scope.as_deref();
        let scope = catalog.grantable(asked.as_ref(), listed, &resources, may_refresh, standing)?;
        if resources.0.is_empty() {
            resources = implied_resources(app, &scope);
        }
        Ok(Self {
            scope,
            resources,
            may_refresh,
        })
    }
}

/// May a client that proves itself so use this grant?
///
/// # Errors
///
/// `unauthorized_client`: of its document, or of the administrator; `invalid_client` for a method that its document
/// does not allow.
pub fn check_client(
    client: &Client,
    standing: &TrustDecision,
    method: AuthMethod,
) -> Result<(), OAuthError> {
    check_allowed(standing, method)?;
    if !client.metadata.auth_methods.contains(&method) {
        let cause = format!(
            "the client used {}, which its {} does not allow",
            method.as_str(),
            client.description()
        );
        return Err(OAuthError::invalid_client().because(cause));
    }
    if !client.may_use(GrantType::DeviceCode) {
        return Err(OAuthError::new(
            ErrorCode::UnauthorizedClient,
            client.does_not_list(GrantType::DeviceCode),
        ));
    }
    Ok(())
}

/// Does the administrator let it, whatever its document says?
///
/// # Errors
///
/// `unauthorized_client`.
pub fn check_allowed(standing: &TrustDecision, method: AuthMethod) -> Result<(), OAuthError> {
    standing.check_method(method)?;
    standing.check_grant(GrantType::DeviceCode, method.is_confidential())
}
