//! Which identifiers this server accepts beyond their grammar, as it is configured.

use url::Url;

use super::refusal::Refusal;
use crate::{
    config::Config,
    policy::{
        client_document::Member,
        client_url::{self, Rules},
    },
    protocol::client_url::ClientUrl,
};

#[derive(Debug)]
pub(super) struct UrlPolicy {
    allow_query: bool,
    allowed_ports: Vec<u16>,
    loopback: bool,
    special_names: bool,
    own_host: String,
    own_origin: String,
    resource_origins: Vec<String>,
}

impl UrlPolicy {
    pub(super) fn new(config: &Config) -> Self {
        let origin = |id: &String| {
            Url::parse(id)
                .ok()
                .map(|url| url.origin().ascii_serialization())
        };
        let resources = config.resources.0.iter();
        Self {
            allow_query: config.clients.allow_query,
            allowed_ports: config.clients.allowed_ports.clone(),
            loopback: config.danger.allow_loopback_clients,
            special_names: config.danger.allow_loopback_clients
                || !config.fetch.allow_networks.is_empty(),
            own_host: config.issuer.host().to_owned(),
            own_origin: config.issuer.origin().to_owned(),
            resource_origins: resources
                .map(|resource| &resource.id)
                .filter_map(origin)
                .collect(),
        }
    }

    pub(super) fn rules(&self) -> Rules<'_> {
        Rules {
            allow_query: self.allow_query,
            allowed_ports: &self.allowed_ports,
            loopback: self.loopback,
            special_names: self.special_names,
            own_host: &self.own_host,
            own_origin: &self.own_origin,
            resource_origins: &self.resource_origins,
        }
    }

    /// Judges an identifier before anything is looked up.
    pub(super) fn check(&self, client_id: &ClientUrl) -> Result<(), Refusal> {
        client_url::check(client_id, &self.rules())
            .map_err(|rule| Refusal::invalid(rule.name, rule.told))
    }

    /// Judges where an address in a document leads, by its host and port, before it is dialled: as a client identifier there.
    /// `member` says which it is.
    pub(super) fn check_place(&self, member: Member, url: &Url) -> Result<(), Refusal> {
        let refuse = |rule: &'static str, told: &str| {
            Refusal::invalid(rule, told.replace("client_id", member.as_str()))
        };
        let place =
            ClientUrl::of_place(url).map_err(|error| refuse(error.rule(), &error.to_string()))?;
        client_url::check_place(&place, &self.rules()).map_err(|rule| refuse(rule.name, rule.told))
    }
}
