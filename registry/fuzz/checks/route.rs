//! Path and query: whatever has a route prints as what has the same route, and whatever has none gets a response that
//! can be sent.

use http::Method;
use kitbag_registry::{RequestError, respond, route};

/// Panics where that does not hold.
pub(crate) fn check(data: &[u8]) {
    let Ok(url) = std::str::from_utf8(data) else { return };
    let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    match route::parse(&Method::GET, path, query) {
        Ok(route) => {
            let printed = route.to_string();
            assert!(printed.bytes().all(|byte| byte.is_ascii_graphic()), "it must fit into a header: {printed:?}");
            let (path, query) = printed.split_once('?').map_or((&*printed, None), |(path, query)| (path, Some(query)));
            assert_eq!(route::parse(&Method::GET, path, query).as_ref(), Ok(&route), "{printed}");
        }
        Err(error) => {
            let response = respond::error(&RequestError::Route(error));
            assert!(response.status().is_client_error());
            // The text is quoted in part only: a client cannot make a response grow.
            assert!(response.body().len() < 4096, "{} bytes", response.body().len());
        }
    }
}
