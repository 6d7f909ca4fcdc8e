//! The plugin beside kubectl, on the same node and pod, in turn, with the same image present: from a command to its first
//! output, for a first and for a second session; from the end of a command to the return of the client; and how many
//! requests it takes.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use kitbag_tests::{
    Node, Options, cache,
    programs::Programs,
    registry::{NODE_ADDRESS, Registry},
    workload,
};

use super::{
    Figure, Goal, median,
    timed::{first_line, first_output},
};
use crate::{Result, demo::say};

/// How often each is measured.
const ROUNDS: usize = 20;
/// Prints for three seconds: `kubectl debug` loses what a command says before it has attached.
const TICKS: &str = "i=0; while [ $i -lt 150 ]; do echo tick; i=$((i+1)); sleep 0.02; done";

pub(crate) fn measure(programs: &Programs, store: &Path) -> Result<Vec<Figure>> {
    let dir = cache::scratch("bench-node-")?;
    let node = Node::start(&dir.path().join("node"), &Options::build(&mut say)?)?;
    let figures = measure_on(&node, programs, store)?;
    node.stop()?;
    Ok(figures)
}

fn measure_on(node: &Node, programs: &Programs, store: &Path) -> Result<Vec<Figure>> {
    let _registry = Registry::start_in(node, &programs.registry, store, NODE_ADDRESS, &[])?;
    node.add_client("kubectl-kitbag", &programs.plugin)?;
    node.apply(workload::SHOP)?;
    node.wait_ready("shop")?;
    let kitbag = |flags: &[&str], script: &str| {
        let mut command = node.kubectl_command();
        command.args(["kitbag", "debug", "shop", "busybox"]).args(flags).args(["--", "sh", "-c", script]);
        command
    };
    let requests = requests(kitbag(&["-v"], "echo tick"))?;
    // By digest, as the plugin does: then neither of the two asks the registry whether a tag has moved.
    let image = node.kubectl(&["get", "pod", "shop", "-o", "jsonpath={.spec.ephemeralContainers[0].image}"])?;
    let container = node.kubectl(&["get", "pod", "shop", "-o", "jsonpath={.spec.ephemeralContainers[0].name}"])?;
    let kubectl = |arguments: &[&str], script: &str| {
        let mut command = node.kubectl_command();
        command.args(arguments).args(["--", "sh", "-c", script]);
        command
    };
    let debug = ["debug", "shop", "--image", &image, "--target", "shop", "--attach", "-q"];
    let exec = ["exec", "shop", "-c", &container];
    let (mut first, mut second, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut our_end, mut their_end) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // Each measured container goes as soon as it is not needed; the very first one stays for what follows.
        first.push(first_tick(kitbag(&["--new", "--idle", "1"], "echo tick"))?);
        theirs.push(first_tick(kubectl(&debug, TICKS))?);
        second.push(first_tick(kitbag(&[], "echo tick"))?);
        our_end.push(end(kitbag(&[], "sleep 0.2; echo tick"))?);
        their_end.push(end(kubectl(&exec, "sleep 0.2; echo tick"))?);
    }
    let [first, second, theirs] = [first, second, theirs].map(median);
    let [our_end, their_end] = [our_end, their_end].map(median);
    Ok(vec![
        Figure::new("command to first output, kubectl kitbag debug", first, "s", None),
        Figure::new("command to first output, kubectl debug", theirs, "s", None),
        Figure::new("command to first output, ratio", first / theirs, "x", Some(Goal::AtMost(1.0))),
        Figure::new("the same for a second session", second, "s", None),
        Figure::new("second session, ratio to kubectl debug", second / theirs, "x", Some(Goal::AtMost(0.3))),
        Figure::new("end of the command to return, ours", our_end * 1e3, "ms", None),
        Figure::new("end of the command to return, kubectl exec", their_end * 1e3, "ms", None),
        Figure::new("end to return, difference", (our_end - their_end) * 1e3, "ms", Some(Goal::AtMost(50.0))),
        Figure::new("API requests to the prompt", requests, "", Some(Goal::AtMost(8.0))),
    ])
}

/// How many requests to the API `--verbose` tells of until the session is open.
fn requests(mut command: Command) -> Result<f64> {
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let before = said.lines().take_while(|line| !line.ends_with("the session is open"));
    let count = u32::try_from(before.filter(|line| line.contains(" api: ")).count())?;
    if output.status.success() && count > 0 {
        Ok(count.into())
    } else {
        Err(format!("`--verbose` told of no request:\n{said}").into())
    }
}

/// Seconds to the first tick.
fn first_tick(command: Command) -> Result<f64> {
    let (seconds, line) = first_output(command)?;
    if line == "tick" { Ok(seconds) } else { Err(format!("the command printed `{line}`").into()) }
}

/// Seconds from the last line to the client's end.
fn end(command: Command) -> Result<f64> {
    let (mut child, _) = first_line(command)?;
    let began = Instant::now();
    if child.wait()?.success() { Ok(began.elapsed().as_secs_f64()) } else { Err("the command failed".into()) }
}
