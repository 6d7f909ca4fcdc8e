//! Requests by route and status, and how long they took: one atomic addition each.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;

use crate::route::Route;

/// What a request is about, for labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/v2/`.
    Base,
    /// A manifest or an index.
    Manifest,
    /// A config or a layer.
    Blob,
    /// The tags of an image.
    Tags,
    /// What refers to a digest.
    Referrers,
    /// The list of images.
    Catalog,
    /// Nothing that there is.
    None,
}

/// The statuses that there are. All others are counted as `other`.
const STATUSES: [u16; 14] = [200, 206, 304, 400, 401, 403, 404, 405, 406, 416, 429, 431, 500, 503];
/// Those that are shown even before they have happened, so that the first time is seen as an increase.
const ALWAYS: [u16; 2] = [200, 500];
/// Upper limits of times, in seconds: from what is in memory to a blob that is checked first.
const LIMITS: [f64; 7] = [0.000_01, 0.000_03, 0.000_1, 0.001, 0.01, 0.1, 1.0];

/// Counts of all routes.
#[derive(Debug, Default)]
pub(super) struct Requests([Counts; Kind::ALL.len()]);

#[derive(Debug, Default)]
struct Counts {
    statuses: [AtomicU64; STATUSES.len() + 1],
    times: [AtomicU64; LIMITS.len() + 1],
    nanos: AtomicU64,
}

impl Requests {
    pub(super) fn count(&self, kind: Kind, status: StatusCode, spent: Duration) {
        let counts = &self.0[kind as usize];
        let status = STATUSES.iter().position(|known| *known == status.as_u16()).unwrap_or(STATUSES.len());
        counts.statuses[status].fetch_add(1, Ordering::Relaxed);
        let seconds = spent.as_secs_f64();
        let time = LIMITS.iter().position(|limit| seconds <= *limit).unwrap_or(LIMITS.len());
        counts.times[time].fetch_add(1, Ordering::Relaxed);
        counts.nanos.fetch_add(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn routes(&self) -> impl Iterator<Item = (&'static str, &Counts)> {
        Kind::ALL.iter().map(|kind| kind.as_str()).zip(&self.0)
    }
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let help = "Requests that were answered.";
        let mut metric = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for (route, counts) in self.routes() {
            for (index, count) in counts.statuses.iter().enumerate() {
                let (status, count) = (STATUSES.get(index), count.load(Ordering::Relaxed));
                if count > 0 || status.is_some_and(|status| ALWAYS.contains(status)) {
                    let status = status.map_or("other".to_owned(), u16::to_string);
                    let labels = [("route", route), ("status", &status)];
                    ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
                }
            }
        }
        let help = "How long it took from a request's head to the head of its response.";
        let mut metric =
            encoder.encode_descriptor("request_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (route, counts) in self.routes() {
            let limits = LIMITS.iter().copied().chain([f64::INFINITY]);
            let times: Vec<_> = limits.zip(counts.times.iter().map(|time| time.load(Ordering::Relaxed))).collect();
            let all = times.iter().map(|(_, count)| count).sum();
            if all > 0 {
                let sum = Duration::from_nanos(counts.nanos.load(Ordering::Relaxed)).as_secs_f64();
                metric.encode_family(&[("route", route)])?.encode_histogram::<NoLabelSet>(sum, all, &times, None)?;
            }
        }
        Ok(())
    }
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Base, Self::Manifest, Self::Blob, Self::Tags, Self::Referrers, Self::Catalog, Self::None];

    /// The kind of a route.
    #[must_use]
    pub fn of(route: &Route) -> Self {
        match route {
            Route::Base => Self::Base,
            Route::Manifest { .. } => Self::Manifest,
            Route::Blob { .. } => Self::Blob,
            Route::Tags { .. } => Self::Tags,
            Route::Referrers { .. } => Self::Referrers,
            Route::Catalog { .. } => Self::Catalog,
        }
    }

    /// The kind as a label, and in the access log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Manifest => "manifest",
            Self::Blob => "blob",
            Self::Tags => "tags",
            Self::Referrers => "referrers",
            Self::Catalog => "catalog",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_its_place() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }
}
