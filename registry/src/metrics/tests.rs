use std::collections::HashMap;
use std::time::Duration;

use http::StatusCode;

use super::{Kind, Metrics, render};

/// Metrics after a little work, without those of the process.
fn text() -> String {
    let (metrics, names) = Metrics::new();
    metrics.serve(["5c729eb85204", "0f23d17aa001"]);
    metrics.generation_since.set(1_795_262_400);
    metrics.request(Kind::Manifest, StatusCode::OK, 1000, Duration::from_micros(5));
    metrics.request(Kind::Manifest, StatusCode::NOT_FOUND, 200, Duration::from_micros(50));
    metrics.request(Kind::Blob, StatusCode::PARTIAL_CONTENT, 1 << 20, Duration::from_secs(2));
    metrics.request(Kind::None, StatusCode::IM_A_TEAPOT, 0, Duration::from_micros(1));
    metrics.composed.inc();
    metrics.compose_seconds.observe(0.000_02);
    render(&names)
}

#[test]
fn what_is_counted_is_shown() {
    let text = text();
    let ours = text.split_inclusive('\n').filter(|line| !line.contains("process_"));
    insta::assert_snapshot!(ours.collect::<String>(), @r#"
    # HELP kitbag_registry_build The program.
    # TYPE kitbag_registry_build info
    kitbag_registry_build_info{version="0.1.0"} 1
    # HELP kitbag_registry_sent_bytes Bodies of responses.
    # TYPE kitbag_registry_sent_bytes counter
    # UNIT kitbag_registry_sent_bytes bytes
    kitbag_registry_sent_bytes_total 1049776
    # HELP kitbag_registry_throttled Requests that got 429.
    # TYPE kitbag_registry_throttled counter
    kitbag_registry_throttled_total 0
    # HELP kitbag_registry_connections Connections that were accepted.
    # TYPE kitbag_registry_connections counter
    kitbag_registry_connections_total 0
    # HELP kitbag_registry_connections_open Connections that are open now.
    # TYPE kitbag_registry_connections_open gauge
    kitbag_registry_connections_open 0
    # HELP kitbag_registry_connections_refused Connections that were closed at once because one client had too many.
    # TYPE kitbag_registry_connections_refused counter
    kitbag_registry_connections_refused_total 0
    # HELP kitbag_registry_composed Images that were composed.
    # TYPE kitbag_registry_composed counter
    kitbag_registry_composed_total 1
    # HELP kitbag_registry_compose_duration_seconds How long composing an image took.
    # TYPE kitbag_registry_compose_duration_seconds histogram
    # UNIT kitbag_registry_compose_duration_seconds seconds
    kitbag_registry_compose_duration_seconds_sum 0.00002
    kitbag_registry_compose_duration_seconds_count 1
    kitbag_registry_compose_duration_seconds_bucket{le="0.00001"} 0
    kitbag_registry_compose_duration_seconds_bucket{le="0.00003"} 1
    kitbag_registry_compose_duration_seconds_bucket{le="0.0001"} 1
    kitbag_registry_compose_duration_seconds_bucket{le="0.0003"} 1
    kitbag_registry_compose_duration_seconds_bucket{le="0.001"} 1
    kitbag_registry_compose_duration_seconds_bucket{le="0.01"} 1
    kitbag_registry_compose_duration_seconds_bucket{le="+Inf"} 1
    # HELP kitbag_registry_cache_hits Images that were in the cache.
    # TYPE kitbag_registry_cache_hits counter
    kitbag_registry_cache_hits_total 0
    # HELP kitbag_registry_cache_entries Images that are in the cache now.
    # TYPE kitbag_registry_cache_entries gauge
    kitbag_registry_cache_entries 0
    # HELP kitbag_registry_generations Generations that are served.
    # TYPE kitbag_registry_generations gauge
    kitbag_registry_generations 2
    # HELP kitbag_registry_generation_since_seconds When the newest generation was taken over, since 1970.
    # TYPE kitbag_registry_generation_since_seconds gauge
    # UNIT kitbag_registry_generation_since_seconds seconds
    kitbag_registry_generation_since_seconds 1795262400
    # HELP kitbag_registry_store_refusals Changed stores that were refused; the one before is still served.
    # TYPE kitbag_registry_store_refusals counter
    kitbag_registry_store_refusals_total 0
    # HELP kitbag_registry_store_errors Requests that failed because a blob of the store is damaged, or cannot be read.
    # TYPE kitbag_registry_store_errors counter
    kitbag_registry_store_errors_total 0
    # HELP kitbag_registry_blobs_damaged Blobs of the store that are damaged now.
    # TYPE kitbag_registry_blobs_damaged gauge
    kitbag_registry_blobs_damaged 0
    # HELP kitbag_registry_checked_bytes What was hashed to check blobs of the store.
    # TYPE kitbag_registry_checked_bytes counter
    # UNIT kitbag_registry_checked_bytes bytes
    kitbag_registry_checked_bytes_total 0
    # HELP kitbag_registry_requests Requests that were answered.
    # TYPE kitbag_registry_requests counter
    kitbag_registry_requests_total{route="base",status="200"} 0
    kitbag_registry_requests_total{route="base",status="500"} 0
    kitbag_registry_requests_total{route="manifest",status="200"} 1
    kitbag_registry_requests_total{route="manifest",status="404"} 1
    kitbag_registry_requests_total{route="manifest",status="500"} 0
    kitbag_registry_requests_total{route="blob",status="200"} 0
    kitbag_registry_requests_total{route="blob",status="206"} 1
    kitbag_registry_requests_total{route="blob",status="500"} 0
    kitbag_registry_requests_total{route="tags",status="200"} 0
    kitbag_registry_requests_total{route="tags",status="500"} 0
    kitbag_registry_requests_total{route="referrers",status="200"} 0
    kitbag_registry_requests_total{route="referrers",status="500"} 0
    kitbag_registry_requests_total{route="catalog",status="200"} 0
    kitbag_registry_requests_total{route="catalog",status="500"} 0
    kitbag_registry_requests_total{route="none",status="200"} 0
    kitbag_registry_requests_total{route="none",status="500"} 0
    kitbag_registry_requests_total{route="none",status="other"} 1
    # HELP kitbag_registry_request_duration_seconds How long it took from a request's head to the head of its response.
    # TYPE kitbag_registry_request_duration_seconds histogram
    # UNIT kitbag_registry_request_duration_seconds seconds
    kitbag_registry_request_duration_seconds_sum{route="manifest"} 0.000055
    kitbag_registry_request_duration_seconds_count{route="manifest"} 2
    kitbag_registry_request_duration_seconds_bucket{le="0.00001",route="manifest"} 1
    kitbag_registry_request_duration_seconds_bucket{le="0.00003",route="manifest"} 1
    kitbag_registry_request_duration_seconds_bucket{le="0.0001",route="manifest"} 2
    kitbag_registry_request_duration_seconds_bucket{le="0.001",route="manifest"} 2
    kitbag_registry_request_duration_seconds_bucket{le="0.01",route="manifest"} 2
    kitbag_registry_request_duration_seconds_bucket{le="0.1",route="manifest"} 2
    kitbag_registry_request_duration_seconds_bucket{le="1.0",route="manifest"} 2
    kitbag_registry_request_duration_seconds_bucket{le="+Inf",route="manifest"} 2
    kitbag_registry_request_duration_seconds_sum{route="blob"} 2.0
    kitbag_registry_request_duration_seconds_count{route="blob"} 1
    kitbag_registry_request_duration_seconds_bucket{le="0.00001",route="blob"} 0
    kitbag_registry_request_duration_seconds_bucket{le="0.00003",route="blob"} 0
    kitbag_registry_request_duration_seconds_bucket{le="0.0001",route="blob"} 0
    kitbag_registry_request_duration_seconds_bucket{le="0.001",route="blob"} 0
    kitbag_registry_request_duration_seconds_bucket{le="0.01",route="blob"} 0
    kitbag_registry_request_duration_seconds_bucket{le="0.1",route="blob"} 0
    kitbag_registry_request_duration_seconds_bucket{le="1.0",route="blob"} 0
    kitbag_registry_request_duration_seconds_bucket{le="+Inf",route="blob"} 1
    kitbag_registry_request_duration_seconds_sum{route="none"} 0.000001
    kitbag_registry_request_duration_seconds_count{route="none"} 1
    kitbag_registry_request_duration_seconds_bucket{le="0.00001",route="none"} 1
    kitbag_registry_request_duration_seconds_bucket{le="0.00003",route="none"} 1
    kitbag_registry_request_duration_seconds_bucket{le="0.0001",route="none"} 1
    kitbag_registry_request_duration_seconds_bucket{le="0.001",route="none"} 1
    kitbag_registry_request_duration_seconds_bucket{le="0.01",route="none"} 1
    kitbag_registry_request_duration_seconds_bucket{le="0.1",route="none"} 1
    kitbag_registry_request_duration_seconds_bucket{le="1.0",route="none"} 1
    kitbag_registry_request_duration_seconds_bucket{le="+Inf",route="none"} 1
    # HELP kitbag_registry_generation The generations that are served; `place` 0 is the newest.
    # TYPE kitbag_registry_generation gauge
    kitbag_registry_generation{id="5c729eb85204",place="0"} 1
    kitbag_registry_generation{id="0f23d17aa001",place="1"} 1
    # EOF
    "#);
}

#[test]
fn what_the_kernel_knows_is_shown() {
    let text = text();
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_anonymous_memory_bytes",
        "process_mapped_memory_bytes",
        "process_open_fds",
        "process_max_fds",
    ] {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        assert!(value.unwrap().parse::<f64>().unwrap() >= 0.0, "{name}");
    }
}

/// The rules of OpenMetrics 1.0 that a scraper refuses a whole text for.
#[test]
fn a_strict_reader_accepts_the_text() {
    let text = text();
    let lines: Vec<&str> = text.strip_suffix("# EOF\n").expect("the end is marked").lines().collect();
    let mut types = HashMap::new();
    let mut seen = HashMap::new();
    let mut family = "";
    for line in lines {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name, value) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            if what == "HELP" {
                assert!(!types.contains_key(name), "{name} is one family, and in one place");
                family = name;
            }
            assert_eq!(name, family, "{line}");
            match what {
                "TYPE" => drop(types.insert(name, value)),
                "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                what => assert_eq!(what, "HELP"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
        let (name, labels) = series.split_once('{').map_or((series, ""), |(name, labels)| (name, labels));
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} is not of {family}"));
        let allowed: &[&str] = match types[family] {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_count", "_sum"],
            kind => panic!("{kind}"),
        };
        assert!(allowed.contains(&suffix), "{line}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{line}");
        assert!(labels.is_empty() || labels.ends_with("\"}"), "{line}");
        assert_eq!(seen.insert(series, value), None, "{series} is there once");
    }
    for (series, count) in seen.iter().filter(|(series, _)| series.contains("_bucket{le=\"+Inf\"")) {
        let all = series.replace("_bucket{le=\"+Inf\",", "_count{").replace("_bucket{le=\"+Inf\"}", "_count");
        assert_eq!(seen.get(all.as_str()), Some(count), "{series}");
    }
    assert!(types.len() > 20);
}

#[test]
fn no_client_makes_the_text_longer() {
    let (metrics, names) = Metrics::new();
    let all = || {
        for status in 100..1000 {
            for kind in Kind::ALL {
                metrics.request(
                    kind,
                    StatusCode::from_u16(status).unwrap(),
                    1,
                    Duration::from_nanos(1 << (status % 40)),
                );
            }
        }
        render(&names).lines().filter(|line| !line.starts_with("process_")).count()
    };
    assert_eq!(all(), all());
}
