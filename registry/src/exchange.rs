//! One request and its response: what is done for each, whatever kind of connection it came by.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;

use crate::access::{Asked, Record};
use crate::auth::Access;
use crate::error::RequestError;
use crate::handlers::Registry;
use crate::metrics::Metrics;
use crate::respond;
use crate::route;
use crate::throttle::Throttle;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// A client that came by TCP.
    Address(IpAddr),
    /// One that came by a Unix socket: the file system says who may.
    Local,
}

/// Bits of an IPv6 address that one client can choose as it likes.
const IPV6_HOST_BITS: u32 = 64;

impl Client {
    /// What is counted as one client where clients have limits: an IPv4 address; of an IPv6 address the network, in
    /// which a client can have any. Clients of this machine have none.
    #[must_use]
    pub fn network(self) -> Option<IpAddr> {
        let Self::Address(address) = self else { return None };
        Some(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> IPV6_HOST_BITS << IPV6_HOST_BITS).into(),
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// Everything that an exchange needs.
#[derive(Debug)]
pub struct Service {
    /// The images and their blobs.
    pub registry: Arc<Registry>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who may pull; everybody where there is none.
    pub access: Option<Arc<Access>>,
    /// How often a client may ask; as often as it likes where there is none.
    pub throttle: ArcSwapOption<Throttle>,
}

impl Service {
    /// A service that is open to everybody, and as often as they like.
    #[must_use]
    pub fn new(registry: Arc<Registry>, metrics: Arc<Metrics>) -> Self {
        Self { registry, metrics, access: None, throttle: ArcSwapOption::empty() }
    }

    /// The response to a request, ready to be sent: that to `HEAD` has no body.
    pub async fn exchange<B>(&self, client: Client, request: &Request<B>) -> Response<Full<Bytes>> {
        let record = Record::begin();
        let route = route::parse(request.method(), request.uri().path(), request.uri().query());
        let answer = match (self.admit(client, request.headers()).await, &route) {
            (Err(error), _) => Err(error),
            (Ok(()), Ok(route)) => self.registry.answer(route, request.method(), request.headers()).await,
            (Ok(()), Err(error)) => Err(error.clone().into()),
        };
        let mut response = answer.unwrap_or_else(|error| self.refuse(&error));
        if self.access.is_some() {
            respond::make_private(&mut response);
        }
        let (mut head, mut body) = response.into_parts();
        if request.method() == Method::HEAD {
            body.clear();
        }
        let asked = Asked { client, request, route: route.as_ref().ok() };
        record.end(&self.metrics, &asked, &mut head, body.len());
        Response::from_parts(head, Full::new(body))
    }

    /// Whether the client may ask at all: before anything is looked up for it.
    async fn admit(&self, client: Client, headers: &HeaderMap) -> Result<(), RequestError> {
        let throttle = self.throttle.load();
        let throttled = throttle.as_ref().map_or(Ok(()), |throttle| throttle.admit(client));
        drop(throttle);
        let admitted = match (throttled, &self.access) {
            (Err(later), _) => Err(RequestError::TooMany(later)),
            (Ok(()), Some(access)) => access.check(client, headers).await,
            (Ok(()), None) => Ok(()),
        };
        if matches!(admitted, Err(RequestError::TooMany(_))) {
            self.metrics.throttled.inc();
        }
        admitted
    }

    fn refuse(&self, error: &RequestError) -> Response<Bytes> {
        if let RequestError::Blob(_) = error {
            self.metrics.store_errors.inc();
        }
        respond::error(error)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Local => f.write_str("local"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_client_and_a_mapped_address_is_ipv4() {
        for (address, network) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:0:1::1", "2001:db8:0:1::"),
            ("2001:db8:0:1:ffff::2", "2001:db8:0:1::"),
            ("2001:db8:0:2::1", "2001:db8:0:2::"),
        ] {
            let client = Client::Address(address.parse().unwrap());
            assert_eq!(client.network(), Some(network.parse().unwrap()), "{address}");
        }
        assert_eq!(Client::Local.network(), None);
    }
}
