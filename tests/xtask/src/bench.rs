//! `cargo xtask bench`: sizes and speeds, with the goals beside them, as a table and as JSON.
//!
//! Speeds are compared with another program's in the same run: this is about ratios, machines differ.

mod cluster;
mod registry;
mod runner;
mod timed;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use kitbag_tests::{
    cache,
    image::architecture,
    packages,
    programs::{self, Programs},
};
use serde_json::{Value, json};

use crate::{
    Result,
    demo::{say, set_up},
    progress::Progress,
};

/// The tools whose sizes and build times have goals.
const CORE: [&str; 4] = ["strace", "tcpdump", "dig", "htop"];

/// `artifactType` of a generation (`GENERATION_TYPE` of kitbag-toolsets).
const GENERATION_TYPE: &str = "application/vnd.kitbag.generation.v1+json";

/// One figure of the table.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    goal: Option<Goal>,
}

#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Sizes of layers, and of what every node gets
    Sizes,
    /// Seconds to build, cold and warm
    Builds,
    /// The registry's speed and cost, beside nginx and docker-registry
    Registry,
    /// The plugin: prompt, second session, return and requests, beside kubectl
    Runner,
    /// A registry on each of two nodes: install, idle cost, a session with nothing on the node
    Cluster,
}

/// Measures, prints the table and writes the JSON.
pub(crate) fn run(parts: &[Part], json: &Path) -> Result {
    let all = [Part::Sizes, Part::Builds, Part::Registry, Part::Runner, Part::Cluster];
    let parts = if parts.is_empty() { &all } else { parts };
    let mut progress = Progress::new(1 + parts.len());
    let (programs, store) = progress.step("packages, programs and what they work on", || -> Result<_> {
        set_up()?;
        packages::install(&["docker-registry", "nghttp2-client", "nginx-light", "wrk"], &mut say)?;
        let programs = programs::build(&mut say)?;
        let of_the_catalog = parts.iter().any(|part| matches!(part, Part::Sizes | Part::Runner));
        let store = if of_the_catalog { programs::store(&programs, true)? } else { PathBuf::new() };
        Ok((programs, store))
    })?;
    let mut figures = Vec::new();
    for part in parts {
        figures.extend(match part {
            Part::Sizes => progress.step("sizes", || {
                let mut figures = sizes(&store)?;
                figures.extend(registry_sizes(&programs)?);
                Ok::<_, Box<dyn std::error::Error>>(figures)
            })?,
            Part::Builds => progress.step("builds", || builds(&programs))?,
            Part::Registry => {
                progress.step("the registry, beside nginx and docker-registry", || registry::measure(&programs))?
            }
            Part::Runner => progress.step("the plugin, beside kubectl", || runner::measure(&programs, &store))?,
            Part::Cluster => progress.step("a registry on each node", || cluster::measure(&programs))?,
        });
    }
    print_table(&figures);
    let path = programs::workspace().join(json);
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    fs::write(&path, serde_json::to_vec_pretty(&figures.iter().map(Figure::json).collect::<Vec<_>>())?)?;
    eprintln!("\nwritten to {}", path.display());
    Ok(())
}

/// Sizes of the layers of the core tools and the base, compressed, amd64.
fn sizes(store: &Path) -> Result<Vec<Figure>> {
    let generation = newest_generation(store)?;
    let mut figures = Vec::new();
    for (compression, goal) in [("gzip", 2.5), ("zstd", 2.1)] {
        let mut total = 0.0;
        for tool in ["base"].iter().chain(&CORE) {
            let record = record(&generation, tool)?;
            let size = record[compression]["size"].as_f64().ok_or("a record lacks its size")? / 1e6;
            total += size;
            figures.push(Figure::new(&format!("layer {tool}, {compression}"), size, "MB", None));
        }
        figures.push(Figure::new(
            &format!("base and core tools, {compression}"),
            total,
            "MB",
            Some(Goal::AtMost(goal)),
        ));
    }
    Ok(figures)
}

/// Of the registry as it ships: its program, and its image with the core tools, for this machine's architecture.
fn registry_sizes(programs: &Programs) -> Result<[Figure; 2]> {
    let program = programs::registry_as_shipped(programs, &mut say)?;
    let scratch = tempfile::tempdir()?;
    let (store, image, arch) = (scratch.path().join("store"), scratch.path().join("image"), architecture());
    let run = |command: &mut Command| -> Result {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(format!("the builder failed ({status})").into()) }
    };
    let builder = || Command::new(&programs.builder);
    run(builder().arg("build").args(CORE).args(["--arch", arch, "--store"]).arg(&store))?;
    let platform = format!("linux/{arch}");
    let mut server = builder();
    server.args(["image", "--server", "--platform", &platform, "--store"]).arg(&store);
    server.arg(format!("--program-{arch}")).arg(&program);
    run(server.arg("--to").arg(format!("oci:{}", image.display())))?;
    let mut blobs = fs::read_dir(image.join("blobs/sha256"))?;
    let size = blobs.try_fold(0, |sum, blob| Ok::<_, std::io::Error>(sum + blob?.metadata()?.len()))?;
    let figure = |name, bytes: u64, goal| Figure::new(name, bytes as f64 / 1e6, "MB", Some(Goal::AtMost(goal)));
    Ok([
        figure("kitbag-registry, as it ships", fs::metadata(&program)?.len(), 8.0),
        figure("the registry's image with the core tools, gzip", size, 10.0),
    ])
}

/// The index of the store's newest generation: the last one that the layout names.
fn newest_generation(store: &Path) -> Result<Value> {
    let read = |path: &str| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(store.join(path))?)?) };
    let layout = read("index.json")?;
    let descriptors = layout["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
    let newest = descriptors.iter().rfind(|descriptor| descriptor["artifactType"] == GENERATION_TYPE);
    let digest = newest.and_then(|descriptor| descriptor["digest"].as_str()).ok_or("the store has no generation")?;
    read(&format!("blobs/{}", digest.replace(':', "/")))
}

/// What the store says of a tool for amd64 (see `ToolRecord` of kitbag-toolsets).
fn record(generation: &Value, tool: &str) -> Result<Value> {
    let records = generation["manifests"].as_array().into_iter().flatten();
    let mut records = records.filter_map(|manifest| {
        serde_json::from_str::<Value>(manifest["annotations"]["dev.kitbag.tool"].as_str()?).ok()
    });
    let found = records.find(|record| record["name"] == tool && record["architecture"] == "amd64");
    found.ok_or_else(|| format!("`{tool}` for amd64 is not in the store").into())
}

/// Seconds to build the core tools: with nothing but the downloads, and with everything there.
fn builds(programs: &Programs) -> Result<Vec<Figure>> {
    let scratch = cache::dir().join(format!("bench-{}", std::process::id()));
    let build = || -> Result<f64> {
        let mut builder = Command::new(&programs.builder);
        builder
            .arg("build")
            .args(CORE)
            .args(["--arch", "amd64", "--offline", "--sources"])
            .arg(cache::dir().join("sources"));
        builder.arg("--store").arg(scratch.join("store")).env("XDG_CACHE_HOME", scratch.join("cache"));
        let began = Instant::now();
        let status = builder.stdin(Stdio::null()).status()?;
        if status.success() {
            Ok(began.elapsed().as_secs_f64())
        } else {
            Err(format!("the build failed ({status})").into())
        }
    };
    let result = build().and_then(|cold| Ok((cold, build()?)));
    let removed = fs::remove_dir_all(&scratch);
    let (cold, warm) = result?;
    removed?;
    Ok(vec![
        Figure::new("core tools, cold build", cold, "s", Some(Goal::AtMost(200.0))),
        Figure::new("core tools, warm build", warm, "s", Some(Goal::AtMost(1.0))),
    ])
}

fn print_table(figures: &[Figure]) {
    println!();
    for figure in figures {
        let verdict = match (figure.goal, figure.is_met()) {
            (None, _) => String::new(),
            (Some(goal), met) => format!("   {} {}", goal.text(), if met { "met" } else { "MISSED" }),
        };
        println!("{:<52} {:>12.3} {:<6}{verdict}", figure.name, figure.value, figure.unit);
    }
}

impl Figure {
    fn new(name: &str, value: f64, unit: &'static str, goal: Option<Goal>) -> Self {
        Self { name: name.to_owned(), value, unit, goal }
    }

    fn is_met(&self) -> bool {
        match self.goal {
            None => true,
            Some(Goal::AtMost(limit)) => self.value <= limit,
            Some(Goal::AtLeast(limit)) => self.value >= limit,
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "value": self.value, "unit": self.unit,
            "goal": self.goal.map(Goal::text), "met": self.goal.map(|_| self.is_met()),
        })
    }
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("at most {limit}"),
            Self::AtLeast(limit) => format!("at least {limit}"),
        }
    }
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_met_or_missed() {
        let figure = |value, goal| Figure::new("f", value, "s", Some(goal)).is_met();
        assert!(figure(2.5, Goal::AtMost(2.5)) && !figure(2.6, Goal::AtMost(2.5)));
        assert!(figure(50.0, Goal::AtLeast(50.0)) && !figure(49.0, Goal::AtLeast(50.0)));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
    }
}
