//! What is counted. Whoever does a thing counts it; `admin` shows it.
//!
//! No label has a value that a client chooses: routes and statuses are enumerated, generations are those that are served.
//! What happens for each request is counted without a lock and without memory being allocated.

mod process;
mod requests;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Unit;

pub use prometheus_client::registry::Registry as Names;
pub use requests::Kind;

/// The media type of [`render`]'s text.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric of the registry.
#[derive(Debug)]
pub struct Metrics {
    requests: Arc<requests::Requests>,
    served: Arc<Served>,
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
    /// Images that are in the cache now.
    pub cache_entries: Gauge,
    /// When the newest generation that is served was taken over, in seconds since 1970.
    pub generation_since: Gauge,
    /// Generations that are served.
    pub generations: Gauge,
    /// Changed stores that were refused; the one before is still served.
    pub store_refusals: Counter,
    /// Requests that failed because a blob of the store is damaged, or cannot be read.
    pub store_errors: Counter,
    /// Blobs that are damaged now.
    pub blobs_damaged: Gauge,
    /// Bytes that were hashed to check blobs, before they were first served and by the scrub.
    pub bytes_checked: Counter<u64, AtomicU64>,
}

impl Metrics {
    /// Metrics at zero, and their names.
    #[must_use]
    pub fn new() -> (Self, Names) {
        let metrics = Self {
            requests: Arc::default(),
            served: Arc::default(),
            connections: Counter::default(),
            connections_open: Gauge::default(),
            connections_refused: Counter::default(),
            throttled: Counter::default(),
            bytes: Counter::default(),
            composed: Counter::default(),
            compose_seconds: Histogram::new([0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.01]),
            cache_hits: Counter::default(),
            cache_entries: Gauge::default(),
            generation_since: Gauge::default(),
            generations: Gauge::default(),
            store_refusals: Counter::default(),
            store_errors: Counter::default(),
            blobs_damaged: Gauge::default(),
            bytes_checked: Counter::default(),
        };
        let mut all = Names::default();
        metrics.name(all.sub_registry_with_prefix("kitbag_registry"));
        all.register_collector(Box::new(process::Process));
        (metrics, all)
    }

    /// Counts an answered request. `bytes` are those of the body that goes with it.
    pub fn request(&self, kind: Kind, status: StatusCode, bytes: usize, spent: Duration) {
        self.requests.count(kind, status, spent);
        self.bytes.inc_by(bytes as u64);
    }

    /// Says which generations are served, the newest first.
    pub fn serve(&self, generations: impl IntoIterator<Item = impl fmt::Display>) {
        let ids: Vec<String> = generations.into_iter().map(|id| id.to_string()).collect();
        self.generations.set(i64::try_from(ids.len()).unwrap_or(i64::MAX));
        *self.served.0.lock().unwrap_or_else(PoisonError::into_inner) = ids;
    }

    fn name(&self, names: &mut Names) {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        names.register("build", "The program", build);
        names.register_collector(Box::new(Arc::clone(&self.requests)));
        names.register_with_unit("sent", "Bodies of responses", Unit::Bytes, self.bytes.clone());
        names.register("throttled", "Requests that got 429", self.throttled.clone());
        names.register("connections", "Connections that were accepted", self.connections.clone());
        names.register("connections_open", "Connections that are open now", self.connections_open.clone());
        let help = "Connections that were closed at once because one client had too many";
        names.register("connections_refused", help, self.connections_refused.clone());
        names.register("composed", "Images that were composed", self.composed.clone());
        let (help, time) = ("How long composing an image took", self.compose_seconds.clone());
        names.register_with_unit("compose_duration", help, Unit::Seconds, time);
        names.register("cache_hits", "Images that were in the cache", self.cache_hits.clone());
        names.register("cache_entries", "Images that are in the cache now", self.cache_entries.clone());
        names.register_collector(Box::new(Arc::clone(&self.served)));
        names.register("generations", "Generations that are served", self.generations.clone());
        let help = "When the newest generation was taken over, since 1970";
        names.register_with_unit("generation_since", help, Unit::Seconds, self.generation_since.clone());
        let help = "Changed stores that were refused; the one before is still served";
        names.register("store_refusals", help, self.store_refusals.clone());
        let help = "Requests that failed because a blob of the store is damaged, or cannot be read";
        names.register("store_errors", help, self.store_errors.clone());
        names.register("blobs_damaged", "Blobs of the store that are damaged now", self.blobs_damaged.clone());
        let (help, checked) = ("What was hashed to check blobs of the store", self.bytes_checked.clone());
        names.register_with_unit("checked", help, Unit::Bytes, checked);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new().0
    }
}

/// All metrics as text (OpenMetrics 1.0).
#[must_use]
pub fn render(names: &Names) -> String {
    let mut text = String::new();
    // Into memory, by code that fails only where its writer does.
    let _ = prometheus_client::encoding::text::encode(&mut text, names);
    text
}

/// The ids of the generations that are served, the newest first.
#[derive(Debug, Default)]
struct Served(Mutex<Vec<String>>);

impl Collector for Served {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let ids = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if ids.is_empty() {
            return Ok(());
        }
        let help = "The generations that are served; `place` 0 is the newest.";
        let mut metric = encoder.encode_descriptor("generation", help, None, MetricType::Gauge)?;
        for (place, id) in ids.iter().enumerate() {
            let place = u64::try_from(place).unwrap_or(u64::MAX);
            ConstGauge::new(1_i64)
                .encode(metric.encode_family(&[("id", id.clone()), ("place", place.to_string())])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
