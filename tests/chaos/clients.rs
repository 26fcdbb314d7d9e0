//! The clients that play: their documents, their key, and what the server is told of them.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use wayleave::secret::sha256;

use super::{client_site::ClientSite, signer::Signer};

pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// A client that is known without a document.
const REGISTERED: &str = "machine";

pub(crate) fn challenge() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()))
}

pub(crate) struct Clients {
    site: ClientSite,
    pub(crate) signer: Signer,
}

impl Clients {
    pub(crate) async fn start() -> Self {
        let clients = Self {
            site: ClientSite::start().await,
            signer: Signer::new(None),
        };
        let devices = [
            "urn:ietf:params:oauth:grant-type:device_code",
            "refresh_token",
        ];
        clients.publish(
            "/device",
            json!({ "redirect_uris": null, "grant_types": devices }),
        );
        clients.publish("/first-party", json!({}));
        let machine = json!({
            "token_endpoint_auth_method": "private_key_jwt",
            "grant_types": ["authorization_code", "client_credentials"],
            "jwks": clients.signer.jwks(),
        });
        clients.publish("/machine", machine);
        clients
    }

    /// What the server has to know.
    pub(crate) fn settings(&self, ca_file: &str) -> Vec<(&'static str, String)> {
        let origin = self.url("");
        let jwk = self.signer.jwk();
        vec![
            ("WAYLEAVE_FETCH__EXTRA_CA_FILE", ca_file.to_owned()),
            ("WAYLEAVE_DANGER__ALLOW_LOOPBACK_CLIENTS", "true".to_owned()),
            (
                "WAYLEAVE_POLICY__CLIENTS",
                format!(
                    "[{{ match = '{origin}/*', tier = 'listed' }}, {{ match = '{origin}/first-party', tier = 'first_party' }}]"
                ),
            ),
            (
                "WAYLEAVE_CLIENTS__REGISTERED",
                format!(
                    "[{{ client_id = '{REGISTERED}', grant_types = ['client_credentials'], jwks = {{ keys = [{{ kty = 'EC', crv = 'P-256', x = {}, y = {} }}] }} }}]",
                    jwk["x"], jwk["y"]
                ),
            ),
            (
                "WAYLEAVE_RESOURCES",
                "[{ id = 'https://notes.example.com/mcp', name = 'Notes', open = true, scopes = { 'notes.read' = 'Read your notes' } }]".to_owned(),
            ),
        ]
    }

    pub(crate) fn ca_pem(&self) -> &str {
        &self.site.ca_pem
    }

    /// A public client that people sign in to.
    pub(crate) fn public(&self, name: &str) -> String {
        self.publish(&format!("/public/{name}"), json!({}))
    }

    pub(crate) fn first_party(&self) -> String {
        self.url("/first-party")
    }

    pub(crate) fn device(&self) -> String {
        self.url("/device")
    }

    /// With a key: in its document, or registered.
    pub(crate) fn machines(&self) -> [String; 2] {
        [self.url("/machine"), REGISTERED.to_owned()]
    }

    pub(crate) fn redirect_uri(&self) -> String {
        self.url("/callback")
    }

    /// The one name that the real server resolves to this machine.
    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.site.port)
    }

    fn publish(&self, path: &str, mut members: serde_json::Value) -> String {
        let url = self.url(path);
        members["client_id"] = json!(url);
        if members.get("redirect_uris").is_none() {
            members["redirect_uris"] = json!([self.redirect_uri()]);
        }
        self.site.publish(path, members);
        url
    }
}
