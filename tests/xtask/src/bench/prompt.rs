//! From a command to its first output: `kubectl kitbag debug` beside `kubectl debug`, on the same node and pod, in turn,
//! with the same image present.

use std::{path::Path, process::Command};

use kitbag_tests::{Node, Options, cache, programs::Programs, registry::Registry, workload};

use super::{Figure, median};
use crate::{Result, demo::say, shown::show};

/// How often each is measured.
const ROUNDS: usize = 5;
/// Prints for three seconds: `kubectl debug` loses what a command says before it has attached.
const TICKS: &str = "i=0; while [ $i -lt 60 ]; do echo tick; i=$((i+1)); sleep 0.05; done";

pub(crate) fn measure(programs: &Programs, store: &Path) -> Result<Vec<Figure>> {
    let dir = cache::dir().join(format!("bench-node-{}", std::process::id()));
    let (kubernetes, shop) = (cache::kubernetes(&mut say)?, workload::build()?);
    let node = Node::start(&dir, &Options { kubernetes, shop })?;
    let figures = measure_on(&node, programs, store)?;
    node.stop()?;
    std::fs::remove_dir_all(&dir)?;
    Ok(figures)
}

fn measure_on(node: &Node, programs: &Programs, store: &Path) -> Result<Vec<Figure>> {
    let _registry = Registry::start_in(node, &programs.registry, store)?;
    node.add_client("kubectl-kitbag", &programs.plugin)?;
    node.apply(workload::SHOP)?;
    node.wait_ready("shop")?;
    let kitbag = ["kitbag", "debug", "shop", "busybox", "--", "sh", "-c", TICKS];
    // By digest, as the plugin does: then neither of the two asks the registry whether a tag has moved.
    first_output(node.kubectl_command().args(kitbag))?;
    let path = "jsonpath={.spec.ephemeralContainers[0].image}";
    let image = node.kubectl(&["get", "pod", "shop", "-o", path])?;
    let plain = ["debug", "shop", "--image", &image, "--target", "shop", "--attach", "-q", "--", "sh", "-c", TICKS];
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(first_output(node.kubectl_command().args(kitbag))?);
        theirs.push(first_output(node.kubectl_command().args(plain))?);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    Ok(vec![
        Figure::new("command to first output, kubectl kitbag debug", ours, "s", None),
        Figure::new("command to first output, kubectl debug", theirs, "s", None),
        Figure::new("command to first output, ratio", ours / theirs, "x", None),
    ])
}

fn first_output(command: &mut Command) -> Result<f64> {
    let shown = show("", command)?;
    let first = shown.first_output.filter(|_| shown.output.contains("tick"));
    Ok(first.ok_or("the command printed nothing")?.as_secs_f64())
}
