//! The bodies of requests: read before anything looks at them, within their size and in their time. Whoever takes long over
//! one has no place among the requests that are worked on, and one network does not fill the room for such.

use std::{sync::Arc, task::Poll, time::Duration};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
};
use futures_util::poll;
use http::{StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ipnet::IpNet;

use super::connection_limits::Places;
use crate::{config, counts::Counts, web::client_ip::client_ip};

/// Largest body, in bytes.
const BODY: usize = 64 * 1_024;
/// Bodies that may be on their way at a time, and those of one network.
const ON_THEIR_WAY: u32 = 4_096;
const OF_ONE_NETWORK: u32 = 128;

/// Reads bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    longest: Duration,
    trusted: Vec<IpNet>,
    places: Arc<Places>,
    counts: Arc<Counts>,
}

impl Bodies {
    pub(super) fn new(server: &config::Server, counts: &Arc<Counts>) -> Self {
        Self {
            longest: Duration::from_secs(server.body_timeout.get().into()),
            trusted: server.trusted_proxies.clone(),
            places: Arc::new(Places::new(
                ON_THEIR_WAY,
                OF_ONE_NETWORK,
                &server.trusted_proxies,
            )),
            counts: Arc::clone(counts),
        }
    }

    /// The request with its whole body.
    ///
    /// # Errors
    ///
    /// The status that refuses it.
    pub(super) async fn read(&self, request: Request) -> Result<Request, StatusCode> {
        if request.body().is_end_stream() {
            return Ok(request);
        }
        if request.body().size_hint().lower() > BODY as u64 {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if request.headers().contains_key(header::CONTENT_ENCODING) {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let (parts, body) = request.into_parts();
        let mut whole = std::pin::pin!(Limited::new(body, BODY).collect());
        let read = match poll!(&mut whole) {
            Poll::Ready(read) => read,
            Poll::Pending => {
                let source = client_ip(&parts.extensions, &parts.headers, &self.trusted);
                let Some(_place) = self.places.take(source) else {
                    self.counts.turned_away.add("bodies");
                    return Err(StatusCode::SERVICE_UNAVAILABLE);
                };
                let read = tokio::time::timeout(self.longest, whole).await;
                read.map_err(|_| StatusCode::REQUEST_TIMEOUT)?
            }
        };
        match read {
            Ok(body) => Ok(Request::from_parts(parts, Body::from(body.to_bytes()))),
            Err(error) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
            Err(_) => Err(StatusCode::BAD_REQUEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[tokio::test]
    async fn bodies_that_do_not_come_find_only_so_many_places_and_the_rest_is_counted() {
        let counts = Counts::new();
        let bodies = Bodies::new(&config::Server::default(), &counts);
        let request = || {
            let nothing = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
            Request::new(Body::from_stream(nothing))
        };
        let mut slow: Vec<_> = (0..OF_ONE_NETWORK)
            .map(|_| Box::pin(bodies.read(request())))
            .collect();
        for read in &mut slow {
            assert!(poll!(read).is_pending());
        }
        let refused = bodies.read(request()).await;
        assert_eq!(refused.unwrap_err(), StatusCode::SERVICE_UNAVAILABLE);
        let (mut registry, mut told) = (Registry::default(), String::new());
        counts.register(&mut registry);
        prometheus_client::encoding::text::encode(&mut told, &registry).unwrap();
        assert!(told.contains("turned_away_total{class=\"bodies\"} 1\n"));
        // What is there at once needs no place.
        assert!(bodies.read(Request::new(Body::from("a=b"))).await.is_ok());
        drop(slow);
        assert!(poll!(Box::pin(bodies.read(request()))).is_pending());
    }
}
