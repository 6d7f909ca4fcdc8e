//! How fast the registry is, and what it costs: beside nginx, which serves the same bytes as files, and beside Debian's
//! docker-registry. All three run at the same time on one core, are loaded in turn from another, several rounds long,
//! and it is the ratios of a round that count: what else goes on in the machine goes on for all of them.
//!
//! What is measured is what ships (the profile `dist`), with its access log and its metrics on.

mod content;
mod cost;
mod load;
mod peers;

use std::path::Path;

use kitbag_tests::{
    cache,
    programs::{self, Programs},
};

use super::{Figure, Goal, median};
use crate::{
    Result,
    demo::say,
    server::on_core,
    synthetic::{self, tool},
};
use content::Content;
use load::{Load, Protocol, Target};
use peers::{Entrant, Peers};

/// The core of the servers, and that of the client.
const CORES: (usize, usize) = (0, 1);
/// How often each server is measured.
const ROUNDS: usize = 3;
/// Tools of the store from which most is measured: 41,664 images of three.
const TOOLS: usize = 64;
/// Tools of the store that is large.
const MANY_TOOLS: usize = 1000;
/// Blobs, by the tool whose layer they are.
const BLOBS: [(&str, &str, usize); 2] = [("blob1", "blob of 1 MB", 1_000_000), ("blob20", "blob of 20 MB", 20_000_000)];

pub(super) fn measure(programs: &Programs) -> Result<Vec<Figure>> {
    let registry = programs::registry_as_shipped(programs, &mut say)?;
    let dir = cache::scratch("bench-registry-")?;
    on_core(CORES.1, || measure_in(dir.path(), &registry))
}

fn measure_in(dir: &Path, registry: &Path) -> Result<Vec<Figure>> {
    say("making the stores");
    let (store, large) = (dir.join("store"), dir.join("large"));
    let blobs = BLOBS.iter().map(|&(name, _, bytes)| tool(name, "1.0", bytes));
    synthetic::commit(&store, &synthetic::many(TOOLS).into_iter().chain(blobs).collect::<Vec<_>>())?;
    synthetic::commit(&large, &synthetic::many(MANY_TOOLS))?;
    let content = Content::of(&store)?;
    let peers = Peers::start(dir, registry, &store, &content)?;
    let mut figures = Vec::new();
    for (what, path) in [("manifest by tag", content.by_tag()), ("manifest by digest", content.by_digest())] {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            say(&format!("{what}, {protocol}"));
            figures.extend(manifest(&format!("{what}, {protocol}"), &peers, &Target::manifest(protocol, &path))?);
        }
    }
    say("images that were never asked for before");
    figures.extend(unknown_images(dir, &peers, &content)?);
    for (tool, what, bytes) in BLOBS {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            say(&format!("{what}, {protocol}"));
            let target = Target::blob(protocol, &content.blob(tool)?, bytes);
            figures.extend(blob(&format!("{what}, {protocol}"), &peers, &target, bytes)?);
        }
    }
    drop(peers);
    say("memory");
    figures.extend(cost::memory(dir, registry, [&store, &large], &content)?);
    say("starts");
    figures.extend(cost::starts(dir, registry, &large)?);
    say("concurrent first requests");
    figures.extend(cost::concurrent_first_requests(dir, registry, &store)?);
    Ok(figures)
}

/// A manifest that was asked for before.
fn manifest(what: &str, peers: &Peers, target: &Target) -> Result<Vec<Figure>> {
    let runs = contest(peers, target)?;
    let mut figures = Vec::new();
    for run in &runs {
        let goal = run.is_ours().then_some(Goal::AtMost(8.0));
        figures.extend(run.figures(what, "/s", 1.0, ("us", 1e6, goal)));
    }
    for (peer, goal) in [("nginx", 0.9), ("docker-registry", 80.0)] {
        figures.extend(ratio(what, &runs, peer, Goal::AtLeast(goal)));
    }
    Ok(figures)
}

/// A blob of so many bytes.
fn blob(what: &str, peers: &Peers, target: &Target, bytes: usize) -> Result<Vec<Figure>> {
    let runs = contest(peers, target)?;
    let bytes = bytes as f64;
    let mut figures: Vec<Figure> =
        runs.iter().flat_map(|run| run.figures(what, "MB/s", bytes / 1e6, ("ms/GB", 1e12 / bytes, None))).collect();
    figures.extend(ratio(what, &runs, "nginx", Goal::AtLeast(0.95)));
    let cost = |run: &Run| run.loads.iter().map(|load| load.cpu).collect();
    if let Some(ratios) = ratios(&runs, "nginx", cost) {
        figures.push(Figure::new(&format!("{what}: CPU, ours / nginx"), ratios, "x", Some(Goal::AtMost(1.1))));
    }
    Ok(figures)
}

/// Each request another set of three tools, beside one that is in the cache. Over HTTP/1.1 only: what is compared is
/// composing.
fn unknown_images(dir: &Path, peers: &Peers, content: &Content) -> Result<Vec<Figure>> {
    let script = load::distinct_images(dir, TOOLS)?;
    let warm = Target::manifest(Protocol::Http1, &content.by_tag());
    let cold = warm.scripted(script);
    let ours = &Entrant { server: &peers.ours, address: peers.ours.address };
    let (mut rates, mut costs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (warm, cold) = (load::run(ours, &warm)?, load::run(ours, &cold)?);
        rates.push(cold.rate);
        costs.push(cold.cpu * 1e6);
        ratios.push(cold.rate / warm.rate);
    }
    let what = "image never asked for before";
    Ok(vec![
        Figure::new(&format!("{what}: kitbag-registry"), median(rates), "/s", None),
        Figure::new(&format!("{what}: CPU, kitbag-registry"), median(costs), "us", Some(Goal::AtMost(15.0))),
        Figure::new(&format!("{what}: rate, never / warm"), median(ratios), "x", Some(Goal::AtLeast(0.7))),
    ])
}

/// What a server did in each round.
struct Run {
    name: &'static str,
    loads: Vec<Load>,
    latencies: (f64, f64),
}

/// The same load for every server that speaks the protocol, in turn.
fn contest(peers: &Peers, target: &Target) -> Result<Vec<Run>> {
    let servers = peers.speaking(target.protocol);
    let mut runs: Vec<Run> =
        servers.iter().map(|&(name, _)| Run { name, loads: Vec::new(), latencies: (0.0, 0.0) }).collect();
    for _ in 0..ROUNDS {
        for (run, (_, server)) in runs.iter_mut().zip(&servers) {
            run.loads.push(load::run(server, target)?);
        }
    }
    for (run, (_, server)) in runs.iter_mut().zip(&servers) {
        run.latencies = match target.protocol {
            Protocol::Http1 => {
                let of = |pick: fn(&Load) -> f64| median(run.loads.iter().map(pick).collect());
                (of(|load| load.p50), of(|load| load.p99))
            }
            // Its client writes every request into a file to know them, which is slow: not while rates are measured.
            Protocol::Http2 => load::latencies(server, target)?,
        };
    }
    Ok(runs)
}

impl Run {
    fn is_ours(&self) -> bool {
        self.name == peers::OURS
    }

    /// Rate, CPU and latencies. `rate` is the factor from requests to its unit; so is that of the CPU's seconds.
    fn figures(
        &self,
        what: &str,
        unit: &'static str,
        rate: f64,
        cpu: (&'static str, f64, Option<Goal>),
    ) -> [Figure; 4] {
        let of = |pick: fn(&Load) -> f64| median(self.loads.iter().map(pick).collect());
        let name = self.name;
        let (cpu_unit, factor, goal) = cpu;
        [
            Figure::new(&format!("{what}: {name}"), of(|load| load.rate) * rate, unit, None),
            Figure::new(&format!("{what}: CPU, {name}"), of(|load| load.cpu) * factor, cpu_unit, goal),
            Figure::new(&format!("{what}: p50, {name}"), self.latencies.0, "ms", None),
            Figure::new(&format!("{what}: p99, {name}"), self.latencies.1, "ms", None),
        ]
    }
}

/// Our rate and a peer's, if the peer took part.
fn ratio(what: &str, runs: &[Run], peer: &str, goal: Goal) -> Option<Figure> {
    let rate = |run: &Run| run.loads.iter().map(|load| load.rate).collect();
    Some(Figure::new(&format!("{what}: rate, ours / {peer}"), ratios(runs, peer, rate)?, "x", Some(goal)))
}

/// The median over the rounds of ours divided by the peer's.
fn ratios(runs: &[Run], peer: &str, pick: impl Fn(&Run) -> Vec<f64>) -> Option<f64> {
    let ours = pick(runs.iter().find(|run| run.is_ours())?);
    let theirs = pick(runs.iter().find(|run| run.name == peer)?);
    Some(median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()))
}

/// What is asked for where any image will do, as it stands in a path.
fn image(tools: [usize; 3]) -> String {
    tools.map(synthetic::name).join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_one_round() {
        let run = |name, rates: [f64; 3]| Run {
            name,
            loads: rates.map(|rate| Load { rate, cpu: 0.0, p50: 0.0, p99: 0.0 }).to_vec(),
            latencies: (0.0, 0.0),
        };
        let runs = [run(peers::OURS, [10.0, 20.0, 30.0]), run("nginx", [5.0, 10.0, 30.0])];
        let figure = ratio("x", &runs, "nginx", Goal::AtLeast(2.0)).unwrap();
        assert!(figure.is_met(), "{}", figure.value);
        assert!(ratio("x", &runs, "docker-registry", Goal::AtLeast(2.0)).is_none());
    }

    #[test]
    fn the_image_is_named_in_one_way() {
        assert_eq!(image(content::IMAGE), "tool0001/tool0002/tool0003");
    }
}
