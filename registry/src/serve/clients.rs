//! How many connections each client has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::exchange::Client;

/// The connections of each client that has any.
pub(super) struct Clients {
    limit: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of a client, until it is dropped.
pub(super) struct Place(Option<(Arc<Clients>, IpAddr)>);

impl Clients {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, counts: Mutex::default() }
    }

    /// A place for one more connection of the client, if it may have one.
    pub(super) fn enter(clients: &Arc<Self>, client: Client) -> Option<Place> {
        let Some(network) = client.network() else { return Some(Place(None)) };
        // The map is whole between any two of its operations, whatever became of who held the lock.
        let mut counts = clients.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_default();
        if *count >= clients.limit {
            if *count == 0 {
                counts.remove(&network);
            }
            return None;
        }
        *count += 1;
        Some(Place(Some((Arc::clone(clients), network))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((clients, network)) = &self.0 else { return };
        let mut counts = clients.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_as_many_places_as_it_leaves_free() {
        let clients = Arc::new(Clients::new(2));
        let enter = |address: &str| Clients::enter(&clients, Client::Address(address.parse().unwrap()));
        let first = enter("192.0.2.1").unwrap();
        let second = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2").unwrap();
        drop(first);
        let third = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        drop((second, third, other));
        assert!(clients.counts.lock().unwrap().is_empty(), "nothing is kept of clients that are gone");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_the_own_machine_none() {
        let clients = Arc::new(Clients::new(1));
        let enter = |address: &str| Clients::enter(&clients, Client::Address(address.parse().unwrap()));
        let _one = enter("2001:db8:0:1::1").unwrap();
        assert!(enter("2001:db8:0:1:ffff::2").is_none());
        let _other = enter("2001:db8:0:2::1").unwrap();
        let local: Vec<_> = (0..3).map(|_| Clients::enter(&clients, Client::Local)).collect();
        assert!(local.iter().all(Option::is_some));
    }
}
