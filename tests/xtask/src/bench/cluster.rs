//! A registry on each of two nodes: how long it takes to be there, what it costs while nobody asks, what a session waits for
//! when its image is not on the node yet, and what many clients wait for that come at once.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use kitbag_tests::{
    Node, Options, cache,
    image::architecture,
    printed::run,
    programs::Programs,
    registry::Registry,
    server::{FEW, Server},
    swarm::{self, Image, Target},
    workload,
};

use super::{Figure, Goal, median, timed::first_output};
use crate::{Result, demo::say};

/// How often it is installed.
const INSTALLS: usize = 3;
/// How often a session is begun, with nothing on the node and with everything.
const SESSIONS: usize = 10;
/// Clients that pull at once.
const CLIENTS: usize = 200;
/// For how long an idle registry is watched.
const IDLE: Duration = Duration::from_secs(60);
/// For what has to happen some time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Prints what an installed registry has cost since it runs: its nanoseconds of CPU, those of all that runs in its
/// container, which is the probes too, and KiB of its own memory.
const COST: &str = "
    pid=$(pgrep --oldest --full '^/usr/bin/kitbag-registry serve') || exit
    cat /proc/$pid/task/*/schedstat | awk '{ sum += $1 } END { printf \"%.0f\\n\", sum }'
    group=$(sed -n 's/^[0-9]*:[^:]*cpuacct[^:]*://p' /proc/$pid/cgroup)
    if [ -n \"$group\" ]
    then cat /sys/fs/cgroup/cpuacct$group/cpuacct.usage
    else awk '/^usage_usec/ { print $2 * 1000 }' /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$pid/cgroup)/cpu.stat
    fi
    awk '/^RssAnon/ { print $2 }' /proc/$pid/status";

pub(crate) fn measure(programs: &Programs) -> Result<Vec<Figure>> {
    let dir = cache::scratch("bench-cluster-")?;
    let options = Options::build(&mut say)?;
    let first = Node::start(&dir.path().join("cluster"), &options)?;
    let second = first.join(&options)?;
    let nodes = [first, second];
    let figures = measure_on(&nodes, programs, dir.path())?;
    let [first, second] = nodes;
    second.stop()?;
    first.stop()?;
    Ok(figures)
}

fn measure_on(nodes: &[Node; 2], programs: &Programs, dir: &Path) -> Result<Vec<Figure>> {
    let server = Server::build(programs, &dir.join("store"), FEW, nodes)?;
    let [first, second] = nodes;
    first.add_client("kubectl-kitbag", &programs.plugin)?;
    let mut install = kitbag(first, &["install", "--image", &server.image()]);
    let mut installs = vec![took(&mut install)?];
    while installs.len() < INSTALLS {
        took(&mut kitbag(first, &["uninstall"]))?;
        installs.push(took(&mut install)?);
    }
    let mut figures =
        vec![Figure::new("install, until both nodes answer", median(installs), "s", Some(Goal::AtMost(15.0)))];
    figures.extend(idle(nodes)?);
    figures.extend(sessions(first, second)?);
    figures.extend(central(nodes, programs, &dir.join("store"), &server.generation)?);
    Ok(figures)
}

/// What each node's registry takes while nobody pulls: the larger of the two.
fn idle(nodes: &[Node; 2]) -> Result<[Figure; 3]> {
    let costs = || nodes.iter().map(cost).collect::<Result<Vec<_>>>();
    let (before, began) = (costs()?, Instant::now());
    thread::sleep(IDLE);
    let (after, elapsed) = (costs()?, began.elapsed().as_nanos() as f64);
    let most = |cost: &dyn Fn(&[f64; 3], &[f64; 3]) -> f64| {
        before.iter().zip(&after).map(|(before, after)| cost(before, after)).fold(0.0, f64::max)
    };
    let share = |which: usize| most(&|before, after| (after[which] - before[which]) / elapsed * 100.0);
    let goal = Some(Goal::AtMost(0.1));
    Ok([
        Figure::new("idle registry, of a core", share(0), "%", goal),
        Figure::new("the same with its probes", share(1), "%", goal),
        Figure::new("RssAnon, idle registry", most(&|_, after| after[2] / 1024.0), "MiB", Some(Goal::AtMost(6.0))),
    ])
}

/// The three numbers that [`COST`] prints.
fn cost(node: &Node) -> Result<[f64; 3]> {
    let mut command = node.command("sh");
    command.args(["-c", COST]);
    let printed = run(command, b"");
    let numbers: Vec<f64> = printed.stdout.lines().filter_map(|line| line.parse().ok()).collect();
    numbers.try_into().map_err(|_| format!("no registry runs on {}: {printed:?}", node.name()).into())
}

/// From the command to the first output of a tool, with nothing of its image on the node, and with all of it; each in a
/// pod of its own.
fn sessions(first: &Node, node: &Node) -> Result<[Figure; 3]> {
    let before = Kept::on(node)?;
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..SESSIONS {
        let pods = ["cold", "warm"];
        for pod in pods {
            first.apply(&workload::shop_on(node, pod))?;
            first.wait_ready(pod)?;
        }
        for (pod, times) in pods.into_iter().zip([&mut cold, &mut warm]) {
            let (seconds, line) = first_output(kitbag(first, &["debug", pod, "strace", "--", "strace", "-V"]))?;
            if !line.starts_with("strace -- version") {
                return Err(format!("strace printed `{line}`").into());
            }
            times.push(seconds);
        }
        let image = "jsonpath={.spec.ephemeralContainers[0].image}";
        let image = first.kubectl(&["get", "pod", "warm", "--output", image])?;
        first.kubectl(&["delete", "pod", "cold", "warm", "--now"])?;
        node.cri_remove(&[&image])?;
        let patience = Instant::now() + PATIENCE;
        while !Kept::on(node)?.is_of(&before) {
            if Instant::now() > patience {
                return Err(format!("{} does not let go of `{image}`", node.name()).into());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    let [cold, warm] = [cold, warm].map(median);
    Ok([
        Figure::new("debug to first output, nothing on the node", cold, "s", None),
        Figure::new("the same with the image there", warm, "s", None),
        Figure::new("nothing on the node, ratio", cold / warm, "x", Some(Goal::AtMost(1.3))),
    ])
}

/// Many clients at once, whole images, from two replicas that have never heard of the image; each layer is hashed.
fn central(nodes: &[Node; 2], programs: &Programs, store: &Path, generation: &str) -> Result<[Figure; 2]> {
    let mut targets = Vec::new();
    let mut replicas = Vec::new();
    for node in nodes {
        let address = SocketAddr::new(node.address().parse()?, 5055);
        replicas.push(Registry::start_in(node, &programs.registry, store, address, &[])?);
        targets.push(Target { address, tls: None });
    }
    let image = Image { path: "dig/tcpdump", tag: generation, architecture: architecture() };
    let pulls = nodes[0].inside(|| swarm::pull(&targets, CLIENTS, image))?;
    if let Some(failure) = pulls.failures.first() {
        return Err(format!("{} of {CLIENTS} clients failed: {failure}", pulls.failures.len()).into());
    }
    let figure = |name: &str, share| {
        let within = pulls.within(share).unwrap_or_default().as_secs_f64();
        Figure::new(&format!("{CLIENTS} clients pull at once, {name}"), within, "s", None)
    };
    Ok([figure("p50", 0.5), figure("p99", 0.99)])
}

/// What a node's containerd has of images: blobs, and layers that were unpacked.
struct Kept(BTreeSet<String>);

impl Kept {
    fn on(node: &Node) -> Result<Self> {
        let list = |arguments: &[&str]| -> Result<String> {
            let mut command = node.command("ctr");
            command.args(["--namespace", "k8s.io"]).args(arguments);
            let printed = run(command, b"");
            if printed.code == Some(0) { Ok(printed.stdout) } else { Err(printed.stderr.into()) }
        };
        let (blobs, snapshots) = (list(&["content", "ls", "--quiet"])?, list(&["snapshots", "ls"])?);
        // The others are containers' own.
        let layers = snapshots.lines().filter(|line| line.trim_end().ends_with("Committed"));
        let layers = layers.filter_map(|line| line.split_whitespace().next());
        Ok(Self(blobs.lines().chain(layers).map(str::to_owned).collect()))
    }

    /// Is there nothing that was not there `before`?
    fn is_of(&self, before: &Self) -> bool {
        self.0.is_subset(&before.0)
    }
}

/// Seconds until it is done, which it has to do well.
fn took(command: &mut Command) -> Result<f64> {
    let began = Instant::now();
    let output = command.output()?;
    let took = began.elapsed().as_secs_f64();
    if output.status.success() { Ok(took) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
}

fn kitbag(node: &Node, arguments: &[&str]) -> Command {
    let mut command = node.kubectl_command();
    command.arg("kitbag").args(arguments);
    command
}
