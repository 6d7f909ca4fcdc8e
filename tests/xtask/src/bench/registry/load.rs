//! One run of load on one server: wrk for HTTP/1.1, h2load for HTTP/2. The client is the measuring thread's child, so it
//! runs on that thread's core.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::peers::Entrant;
use crate::{Result, http::ACCEPT, synthetic};

/// For how many seconds.
const SECONDS: u32 = 3;
/// The same for large blobs: what has begun and is not finished at the end has cost CPU and does not count, and must be
/// little beside what does.
const SECONDS_OF_LARGE: u32 = 10;
/// Bytes from which on a blob is large.
const LARGE: usize = 10_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    /// Without TLS, and without asking first: "prior knowledge" (RFC 9113, section 3.3).
    Http2,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        })
    }
}

/// What is asked for, and how.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) protocol: Protocol,
    path: String,
    /// Connections, and requests at a time on each.
    concurrency: (u32, u32),
    seconds: u32,
    /// A script for wrk that chooses other paths.
    script: Option<PathBuf>,
}

impl Target {
    pub(super) fn manifest(protocol: Protocol, path: &str) -> Self {
        let concurrency = if protocol == Protocol::Http1 { (32, 1) } else { (8, 4) };
        Self { protocol, path: path.to_owned(), concurrency, seconds: SECONDS, script: None }
    }

    pub(super) fn blob(protocol: Protocol, path: &str, bytes: usize) -> Self {
        let concurrency = if protocol == Protocol::Http1 { (8, 1) } else { (4, 2) };
        let seconds = if bytes >= LARGE { SECONDS_OF_LARGE } else { SECONDS };
        Self { protocol, path: path.to_owned(), concurrency, seconds, script: None }
    }

    /// The same, but for paths that a script chooses.
    pub(super) fn scripted(&self, script: PathBuf) -> Self {
        Self { script: Some(script), ..self.clone() }
    }

    fn url(&self, server: &Entrant) -> String {
        format!("http://{}{}", server.address, self.path)
    }
}

/// What a run has shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Requests per second.
    pub(super) rate: f64,
    /// Seconds of the server's CPU per request.
    pub(super) cpu: f64,
    /// Milliseconds until the end of the response, for half of the requests; of HTTP/1.1 only.
    pub(super) p50: f64,
    /// The same for 99 of 100.
    pub(super) p99: f64,
}

/// Puts load on a server.
pub(super) fn run(server: &Entrant, target: &Target) -> Result<Load> {
    let before = server.server.cpu()?;
    let text = match target.protocol {
        Protocol::Http1 => output(&mut wrk(server, target))?,
        Protocol::Http2 => output(h2load(target).arg(target.url(server)))?,
    };
    let cpu = server.server.cpu()?.since(&before);
    let parsed = match target.protocol {
        Protocol::Http1 => parse_wrk(&text),
        Protocol::Http2 => parse_h2load(&text),
    };
    let (requests, rate, (p50, p99)) = parsed.ok_or_else(|| format!("not every request succeeded: {text}"))?;
    Ok(Load { rate, cpu: cpu / requests, p50, p99 })
}

/// Milliseconds over HTTP/2: the median, and what 99 of 100 requests stay below.
pub(super) fn latencies(server: &Entrant, target: &Target) -> Result<(f64, f64)> {
    let log = tempfile::NamedTempFile::new()?;
    output(h2load(target).arg("--log-file").arg(log.path()).arg(target.url(server)))?;
    let text = fs::read_to_string(log.path())?;
    percentiles(&text).ok_or_else(|| "h2load has logged no request".into())
}

/// A script for wrk by which each request is for another image of three tools, until all have been asked for. Then it
/// begins again: no cache of a few megabytes holds what came first.
pub(super) fn distinct_images(dir: &Path, tools: usize) -> Result<PathBuf> {
    let path = dir.join("distinct.lua");
    let names: Vec<String> = (0..tools).map(|number| format!("\"{}\"", synthetic::name(number))).collect();
    let script = format!(
        "local tools = {{{}}}\n\
         local requests, position = {{}}, 0\n\
         function init()\n\
           for a = 1, #tools do for b = a + 1, #tools do for c = b + 1, #tools do\n\
             local path = '/v2/' .. tools[a] .. '/' .. tools[b] .. '/' .. tools[c] .. '/manifests/latest'\n\
             requests[#requests + 1] = wrk.format('GET', path)\n\
           end end end\n\
         end\n\
         function request()\n\
           -- A stride, so that what is asked for in a row has nothing in common.\n\
           position = (position + 12347) % #requests\n\
           return requests[position + 1]\n\
         end\n",
        names.join(",")
    );
    fs::write(&path, script)?;
    Ok(path)
}

fn wrk(server: &Entrant, target: &Target) -> Command {
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--latency", "--timeout", "20s"]);
    wrk.args(["--connections", &target.concurrency.0.to_string(), "--duration", &format!("{}s", target.seconds)]);
    wrk.args(["--header", &format!("Accept: {ACCEPT}")]);
    if let Some(script) = &target.script {
        wrk.arg("--script").arg(script);
    }
    wrk.arg(target.url(server));
    wrk
}

fn h2load(target: &Target) -> Command {
    let (connections, streams) = target.concurrency;
    let mut h2load = Command::new("h2load");
    h2load.args(["--threads", "1", "--clients", &connections.to_string(), "-m", &streams.to_string()]);
    // Windows that do not limit: what a puller of large blobs sets.
    h2load.args(["--window-bits", "24", "--connection-window-bits", "24"]);
    h2load.args(["--duration", &target.seconds.to_string(), "--header", &format!("accept: {ACCEPT}")]);
    h2load
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

type Parsed = (f64, f64, (f64, f64));

/// Requests, requests per second and latencies; none when any answer was not a success.
fn parse_wrk(text: &str) -> Option<Parsed> {
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return None;
    }
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    let (requests, rest) = line.trim().split_once(" requests in ")?;
    let (requests, seconds): (f64, f64) = (requests.parse().ok()?, milliseconds(rest.split_once(',')?.0)? / 1e3);
    let percentile = |name| milliseconds(text.lines().find_map(|line| line.trim().strip_prefix(name))?.trim());
    Some((requests, requests / seconds, (percentile("50%")?, percentile("99%")?)))
}

/// The same of h2load, which tells no percentiles.
fn parse_h2load(text: &str) -> Option<Parsed> {
    let line = text.lines().find_map(|line| line.strip_prefix("requests: "))?;
    let count = |what: &str| {
        let part = line.split(", ").find_map(|part| part.strip_suffix(what))?;
        part.trim().parse::<f64>().ok()
    };
    // It counts the status of answers that were cut off by the end, so 2xx may be more than done.
    let others = text.lines().find_map(|line| line.strip_prefix("status codes: "))?.split_once(" 2xx, ")?.1;
    let done = count(" done")?;
    if count(" failed")? + count(" errored")? > 0.0 || others != "0 3xx, 0 4xx, 0 5xx" {
        return None;
    }
    let rate = text.lines().find_map(|line| line.strip_prefix("finished in "))?.split(", ").nth(1)?;
    Some((done, rate.strip_suffix(" req/s")?.parse().ok()?, (f64::NAN, f64::NAN)))
}

/// `812.00us`, `1.20ms`, `5.01s`, `1.10m`.
fn milliseconds(text: &str) -> Option<f64> {
    let (number, factor) = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4)]
        .into_iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(number.parse::<f64>().ok()? * factor)
}

/// Of h2load's log: start, status, microseconds.
fn percentiles(log: &str) -> Option<(f64, f64)> {
    let time = |line: &str| line.split('\t').nth(2)?.parse::<f64>().ok();
    let mut times: Vec<f64> = log.lines().filter_map(time).collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().checked_sub(1)?)).copied();
    Some((at(0.5)? / 1e3, at(0.99)? / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_understood() {
        let text =
            "     50%  812.00us\n     75%    1.00ms\n     99%    1.20ms\n  12345 requests in 5.00s, 6.7MB read\n";
        assert_eq!(parse_wrk(text), Some((12345.0, 2469.0, (0.812, 1.2))));
        assert_eq!(parse_wrk(&format!("{text}  Non-2xx or 3xx responses: 1\n")), None);
    }

    #[test]
    fn h2load_is_understood() {
        let text = "finished in 1.01s, 20565.00 req/s, 26.03MB/s\n\
            requests: 20565 total, 20597 started, 20565 done, 20565 succeeded, 0 failed, 0 errored, 0 timeout\n\
            status codes: 20565 2xx, 0 3xx, 0 4xx, 0 5xx\n";
        let (requests, rate, _) = parse_h2load(text).unwrap();
        assert!((requests - 20565.0).abs() < 0.1 && (rate - 20565.0).abs() < 0.1);
        assert!(parse_h2load(&text.replace("codes: 20565 2xx, 0", "codes: 20564 2xx, 1")).is_none());
    }

    #[test]
    fn percentiles_are_of_all_requests() {
        let log: String = (1..=100).rev().map(|time| format!("0\t200\t{time}000\n")).collect();
        assert_eq!(percentiles(&log), Some((51.0, 100.0)));
        assert_eq!(percentiles(""), None);
    }
}
