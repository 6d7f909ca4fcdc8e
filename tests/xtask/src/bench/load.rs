//! Manifests per second and CPU per request of kitbag-registry and of Debian's docker-registry, in turn, the server on
//! one core and the client on another.

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use kitbag_tests::programs::Programs;

use super::{Figure, Goal, median};
use crate::Result;

/// What is asked for.
const IMAGE: &str = "strace/tcpdump/htop";
/// How often each server is measured.
const ROUNDS: usize = 3;
/// For how many seconds at a time.
const SECONDS: u32 = 5;

pub(crate) fn measure(programs: &Programs, store: &Path) -> Result<Vec<Figure>> {
    let dir = std::env::temp_dir().join(format!("kitbag-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let result = measure_in(&dir, programs, store);
    let removed = fs::remove_dir_all(&dir);
    let figures = result?;
    removed?;
    Ok(figures)
}

fn measure_in(dir: &Path, programs: &Programs, store: &Path) -> Result<Vec<Figure>> {
    let ours = Server::start(dir, "ours", |port| {
        let mut command = pinned(programs.registry.as_ref());
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--store"]).arg(store);
        Ok(command)
    })?;
    let theirs = Server::start(dir, "docker-registry", |port| {
        let config = dir.join("docker-registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\"}}\n",
            dir.join("storage").display()
        );
        fs::write(&config, text)?;
        let mut command = pinned("docker-registry".as_ref());
        command.arg("serve").arg(config);
        Ok(command)
    })?;
    copy(&ours, &theirs)?;
    let (mut rates, mut costs) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        for (index, server) in [&ours, &theirs].into_iter().enumerate() {
            let (rate, cost) = server.load()?;
            rates[index].push(rate);
            costs[index].push(cost);
        }
    }
    let [our_rate, their_rate] = rates.map(median);
    let [our_cost, their_cost] = costs.map(median);
    Ok(vec![
        Figure::new("manifest GET by tag, kitbag-registry", our_rate, "/s", None),
        Figure::new("manifest GET by tag, docker-registry", their_rate, "/s", None),
        Figure::new("manifest GET by tag, ratio", our_rate / their_rate, "x", Some(Goal::AtLeast(50.0))),
        Figure::new("CPU per manifest GET, kitbag-registry", our_cost, "us", None),
        Figure::new("CPU per manifest GET, docker-registry", their_cost, "us", None),
    ])
}

/// A server on the first core.
fn pinned(program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]).arg(program);
    command
}

/// Copies the image from one server to the other, every platform of it.
fn copy(from: &Server, to: &Server) -> Result {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--quiet", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"]);
    skopeo.arg(format!("docker://127.0.0.1:{}/{IMAGE}", from.port));
    skopeo.arg(format!("docker://127.0.0.1:{}/{IMAGE}", to.port));
    let status = skopeo.status()?;
    if status.success() { Ok(()) } else { Err(format!("skopeo could not copy the image ({status})").into()) }
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(dir: &Path, name: &str, command: impl FnOnce(u16) -> Result<Command>) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = File::create(dir.join(format!("{name}.log")))?;
        let mut command = command(port)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let server = Self { child, port };
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(server);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(format!("{name} does not listen: {}", fs::read_to_string(dir.join(format!("{name}.log")))?).into())
    }

    /// Requests per second, and microseconds of CPU per request.
    fn load(&self) -> Result<(f64, f64)> {
        let before = self.cpu_ticks()?;
        let mut wrk = Command::new("taskset");
        wrk.args([
            "--cpu-list",
            "1",
            "wrk",
            "--threads",
            "1",
            "--connections",
            "32",
            "--duration",
            &format!("{SECONDS}s"),
        ]);
        wrk.args(["--header", "Accept: application/vnd.oci.image.index.v1+json"]);
        wrk.arg(format!("http://127.0.0.1:{}/v2/{IMAGE}/manifests/latest", self.port));
        let output = wrk.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (requests, seconds) =
            requests(&text).ok_or_else(|| format!("wrk did not say how many requests: {text}"))?;
        // A tick is a hundredth of a second (proc(5), `_SC_CLK_TCK`).
        Ok((requests / seconds, (self.cpu_ticks()? - before) * 10_000.0 / requests))
    }

    /// User and system time so far.
    fn cpu_ticks(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        ticks(&stat).ok_or_else(|| format!("/proc/PID/stat is not as expected: {stat}").into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Fields 14 and 15 of `/proc/PID/stat`, counted behind the name, which may hold anything.
fn ticks(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
}

/// Of `  12345 requests in 5.01s, 6.7MB read`; none when any answer was not a success.
fn requests(text: &str) -> Option<(f64, f64)> {
    if text.contains("Non-2xx") {
        return None;
    }
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    let (requests, rest) = line.trim().split_once(" requests in ")?;
    Some((requests.parse().ok()?, rest.split_once("s,")?.0.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_understood() {
        assert_eq!(requests("x\n  12345 requests in 5.01s, 6.7MB read\n"), Some((12345.0, 5.01)));
        assert_eq!(requests("  1 requests in 5.01s, 1MB read\n  Non-2xx or 3xx responses: 1\n"), None);
    }

    #[test]
    fn ticks_are_found_behind_any_name() {
        assert_eq!(ticks("1 (a) b) S 1 1 1 0 -1 4 0 0 0 0 70 30 0 0 20"), Some(100.0));
    }
}
