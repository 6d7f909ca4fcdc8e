//! What the kernel knows of this process, under the names that Prometheus' clients have agreed on.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};

/// Looks when it is asked. What cannot be found out is left away.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        if let Some(ticks) = ticks(&read("stat")) {
            let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
            let unit = Some(&Unit::Seconds);
            let metric = encoder.encode_descriptor("process_cpu", "Time on processors.", unit, MetricType::Counter)?;
            ConstCounter::new(seconds).encode(metric)?;
        }
        let status = read("status");
        for (name, key, help) in [
            ("process_resident_memory", "VmRSS:", "Memory, with pages of files that are mapped."),
            ("process_anonymous_memory", "RssAnon:", "Memory that is not pages of files."),
            ("process_mapped_memory", "RssFile:", "Pages of files that are mapped, which the kernel can take back."),
        ] {
            if let Some(bytes) = memory(&status, key) {
                let metric = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
                ConstGauge::new(bytes).encode(metric)?;
            }
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            let metric = encoder.encode_descriptor("process_open_fds", "Open files.", None, MetricType::Gauge)?;
            // One of them is the directory that is read.
            ConstGauge::new(files.count().saturating_sub(1) as u64).encode(metric)?;
        }
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            let help = "Files that may be open.";
            let metric = encoder.encode_descriptor("process_max_fds", help, None, MetricType::Gauge)?;
            ConstGauge::new(limit).encode(metric)?;
        }
        Ok(())
    }
}

/// Clock ticks in user and system mode (proc(5), `/proc/pid/stat`, 14 and 15). The program's name, before them, can hold
/// anything.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut number = || fields.next()?.parse::<u64>().ok();
    Some(number()? + number()?)
}

/// Bytes that `/proc/pid/status` has for this key.
fn memory(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 0 0 0 70 8 0 0 20 0 3 0 900 1 1";
        assert_eq!(ticks(stat), Some(78));
        assert_eq!(ticks("nonsense"), None);
        let status = "Name:\tx\nVmRSS:\t    1024 kB\nRssAnon:\t       3 kB\n";
        assert_eq!((memory(status, "VmRSS:"), memory(status, "RssAnon:")), (Some(1 << 20), Some(3072)));
        assert_eq!(memory(status, "RssFile:"), None);
    }
}
