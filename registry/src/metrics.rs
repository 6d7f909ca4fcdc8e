//! What is counted. Whoever does a thing counts it; `admin` shows it.
//!
//! No label has a value that a client chooses.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry as Names;

/// Every metric of the registry.
#[derive(Debug)]
pub struct Metrics {
    /// Connections that were accepted.
    pub connections: Counter,
    /// Connections that are open now.
    pub connections_open: Gauge,
    /// Connections that were closed at once because one client had too many.
    pub connections_refused: Counter,
    /// Requests that got 429.
    pub throttled: Counter,
    /// Bytes of bodies that were sent.
    pub bytes: Counter,
    /// Images that were composed.
    pub composed: Counter,
    /// How long composing took, in seconds.
    pub compose_seconds: Histogram,
    /// Images that were in the cache.
    pub cache_hits: Counter,
    /// When the newest generation that is served was taken over, in seconds since 1970.
    pub generation_since: Gauge,
    /// Generations that are served.
    pub generations: Gauge,
    /// Changed stores that were refused; the one before is still served.
    pub store_refusals: Counter,
    /// Blobs that are damaged now.
    pub blobs_damaged: Gauge,
    /// Bytes that were hashed to check blobs, before they were first served and by the scrub.
    pub bytes_checked: Counter<u64, AtomicU64>,
}

impl Metrics {
    /// Metrics at zero, and their names.
    #[must_use]
    pub fn new() -> (Self, Names) {
        let mut names = Names::with_prefix("kitbag_registry");
        let metrics = Self {
            connections: Counter::default(),
            connections_open: Gauge::default(),
            connections_refused: Counter::default(),
            throttled: Counter::default(),
            bytes: Counter::default(),
            composed: Counter::default(),
            compose_seconds: Histogram::new([0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.01]),
            cache_hits: Counter::default(),
            generation_since: Gauge::default(),
            generations: Gauge::default(),
            store_refusals: Counter::default(),
            blobs_damaged: Gauge::default(),
            bytes_checked: Counter::default(),
        };
        names.register("connections", "Connections that were accepted", metrics.connections.clone());
        names.register("connections_open", "Connections that are open now", metrics.connections_open.clone());
        (metrics, names)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new().0
    }
}
