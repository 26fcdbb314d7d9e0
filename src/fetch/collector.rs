//! Where spans go: the collector that the configuration names, and nobody else.

use std::{pin::Pin, time::Duration};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls::ClientConfig;
use tokio::runtime::Handle;

use super::{FetcherError, roots};
use crate::config::Config;

/// Longest time for one batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends batches of spans. The thread that gathers them has no runtime: the work is done on ours.
#[derive(Debug)]
pub struct Collector {
    client: reqwest::Client,
    runtime: Handle,
}

impl Collector {
    /// With the authorities that clients' hosts are judged by.
    ///
    /// # Errors
    ///
    /// When there are none, or no client can be made.
    #[expect(
        clippy::disallowed_methods,
        reason = "fetch/ is the one place that opens outbound connections"
    )]
    pub fn new(config: &Config, runtime: Handle) -> Result<Self, FetcherError> {
        let tls = ClientConfig::builder()
            .with_root_certificates(roots(config)?)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .map_err(|error| FetcherError::NoRoots(error.to_string()))?;
        Ok(Self { client, runtime })
    }
}

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(request.try_into()?).await?;
            // What a collector says of a batch is not read: whether it took it, its status says.
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = answer.status();
            Ok::<_, HttpError>(response)
        });
        Box::pin(async move { sent.await? })
    }
}
