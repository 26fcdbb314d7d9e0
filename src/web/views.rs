//! What each page shows; the templates in `templates/` say how.

use askama::Template;

/// What every page carries.
pub(crate) struct Frame {
    pub(crate) stylesheet: String,
    pub(crate) issuer_host: String,
    /// Path prefix of our own links: empty for an issuer at the root.
    pub(crate) base: String,
    pub(crate) signed_in_as: Option<String>,
}

#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct Login {
    pub(crate) frame: Frame,
    pub(crate) csrf: String,
    pub(crate) action: String,
    /// The authorization request that waits, encoded.
    pub(crate) request: String,
    pub(crate) client_host: Option<String>,
    pub(crate) username: String,
    pub(crate) failed: Option<String>,
    pub(crate) notice: Option<String>,
}

#[derive(Template)]
#[template(path = "setup.html")]
pub(crate) struct Setup {
    pub(crate) frame: Frame,
    pub(crate) csrf: String,
    pub(crate) action: String,
    pub(crate) token: String,
    pub(crate) username: String,
    pub(crate) failed: Option<String>,
}

#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct Consent {
    pub(crate) frame: Frame,
    pub(crate) csrf: String,
    pub(crate) action: String,
    pub(crate) interaction: String,
    pub(crate) user: String,
    pub(crate) client_host: String,
    /// The sub-domain part of the host, with its dot.
    pub(crate) client_host_lead: String,
    /// The part of the host that somebody registered.
    pub(crate) client_host_main: String,
    pub(crate) client_id: String,
    pub(crate) client_name: Option<String>,
    pub(crate) permissions: Vec<Permission>,
    pub(crate) resources: Vec<ResourceView>,
    pub(crate) redirect_host: String,
    pub(crate) redirect_uri: String,
    pub(crate) redirect_is_loopback: bool,
    pub(crate) redirect_is_other_host: bool,
    pub(crate) stays_connected: bool,
    pub(crate) lifetime: Option<String>,
    pub(crate) fetched: String,
    pub(crate) digest: String,
    pub(crate) changed: Vec<String>,
    pub(crate) switch_account_url: String,
}

pub(crate) struct Permission {
    pub(crate) scope: String,
    pub(crate) meaning: String,
    pub(crate) resource: Option<String>,
}

pub(crate) struct ResourceView {
    pub(crate) name: Option<String>,
    pub(crate) id: String,
    pub(crate) host: String,
}

#[derive(Template)]
#[template(path = "signed_out.html")]
pub(crate) struct SignedOut {
    pub(crate) frame: Frame,
}

#[derive(Template)]
#[template(path = "sign_out.html")]
pub(crate) struct SignOut {
    pub(crate) frame: Frame,
    pub(crate) csrf: String,
    pub(crate) action: String,
    pub(crate) user: String,
}

#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct Home {
    pub(crate) frame: Frame,
    pub(crate) user: Option<String>,
    pub(crate) new_account: bool,
}

#[derive(Template)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage {
    pub(crate) frame: Frame,
    pub(crate) title: String,
    pub(crate) happened: String,
    pub(crate) advice: String,
    pub(crate) status: u16,
    /// For developers: label and value.
    pub(crate) detail: Vec<(String, String)>,
    /// To be quoted to the administrator.
    pub(crate) reference: String,
    pub(crate) retry: bool,
}
