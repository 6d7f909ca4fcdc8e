//! `cargo xtask demo`: the whole way from a recipe to a prompt in a pod that has no shell, for someone who sees kitbag
//! for the first time.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use kitbag_tests::{
    Error, Node, Options, cache, packages,
    programs::{self, Programs},
    registry::{NODE_ADDRESS, Registry},
    term::Terminal,
    workload,
};
use serde_json::Value;

use crate::{
    Result,
    progress::{Progress, seconds},
    shown::{Shown, show},
};

const PLAN: &str = "\
kitbag demo. It will, all on this machine and in namespaces of its own:
  1. install the Debian packages and Rust targets that are missing
  2. build kitbag, and strace, tcpdump, dig, htop and busybox from pinned source, for amd64 and arm64
  3. start a one-node Kubernetes, with a pod that has no shell, no root user and a read-only file system
  4. serve the tools from a registry on that node's loopback
  5. debug the pod: count its system calls, capture its packets, ask its DNS, open a shell beside it
  6. show what that cost
The first run compiles Kubernetes too, some twenty minutes in all on two cores; later ones take about a minute.
What it installs stays, and caches in the user's cache directory, safe to delete; nothing else stays.";

/// Runs the demonstration. With `keep`, leaves it up.
pub(crate) fn run(keep: bool) -> Result {
    eprintln!("{PLAN}");
    let mut progress = Progress::new(6);
    progress.step("packages and targets", set_up)?;
    let (programs, store) = progress.step("kitbag and its tools", || -> Result<_> {
        let programs = programs::build(&mut say)?;
        let store = programs::store(&programs, false)?;
        Ok((programs, store))
    })?;
    let node = progress.step("a Kubernetes of one node, and the pod `shop`", start)?;
    let registry = progress.step("the registry, on the node's loopback", || serve(&node, &programs, &store))?;
    let sessions = progress.step("debugging the pod `shop`", || debug(&node))?;
    progress.step("what it cost", || report(&node, &sessions))?;
    if keep {
        let (bin, kubeconfig) = (node.bin(), node.kubeconfig());
        registry.keep();
        node.keep()?;
        eprintln!("\nLeft up. To use it by hand, paste:\n");
        println!("export PATH={}:$PATH KUBECONFIG={}", bin.display(), kubeconfig.display());
        println!(
            "export KITBAG_REGISTRY={NODE_ADDRESS}    # inside the node: curl http://{NODE_ADDRESS}/v2/strace/tags/list"
        );
        eprintln!("\nthen, for example: kubectl kitbag debug shop\nand at the end:    cargo xtask down");
        return Ok(());
    }
    drop(registry);
    Ok(node.stop()?)
}

/// Ends what `demo --keep` left up.
pub(crate) fn down() -> Result {
    match Node::down(&directory()) {
        Ok(()) => eprintln!("the demo's cluster has ended"),
        Err(Error::NotUp(_)) => eprintln!("nothing to end: no demo is up"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Installs what is missing, or says what cannot work here, before anything takes long.
pub(crate) fn set_up() -> Result {
    check_machine()?;
    packages::install(&packages::PACKAGES, &mut say)?;
    packages::add_targets(&packages::TARGETS, &mut say)?;
    Ok(())
}

fn check_machine() -> Result {
    let found = |program: &str| {
        let directories = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&directories).any(|directory| directory.join(program).exists())
    };
    let mut missing = Vec::new();
    if (std::env::consts::OS, std::env::consts::ARCH) != ("linux", "x86_64") {
        missing.push("Linux on x86-64: the pinned compiler and the cluster run nowhere else".to_owned());
    }
    // The owner of one's own process is who one is.
    if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        missing.push("root: the cluster lives in namespaces and control groups of its own".to_owned());
    }
    for program in ["apt-get", "cargo", "rustup", "go", "python3"].into_iter().filter(|program| !found(program)) {
        missing.push(format!("`{program}` in PATH"));
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "this machine lacks:\n  {}\nwithout that, these still work: `cargo test --workspace` (no cluster), \
         `kitbag-registry serve` with a store that was built elsewhere, and `kubectl kitbag` on a cluster of yours",
        missing.join("\n  ")
    )
    .into())
}

/// Starts the node with the workload in it.
fn start() -> Result<Node> {
    let node = Node::start(&directory(), &Options::build(&mut say)?)?;
    node.apply(workload::SHOP)?;
    node.wait_ready("shop")?;
    say(&node.kubectl(&["get", "node,pod", "-o", "wide"])?);
    Ok(node)
}

fn serve(node: &Node, programs: &Programs, store: &Path) -> Result<Registry> {
    let registry = Registry::start_in(node, &programs.registry, store, NODE_ADDRESS, &[])?;
    node.add_client("kubectl-kitbag", &programs.plugin)?;
    node.add_client("curl", Path::new("/usr/bin/curl"))?;
    node.add_client("skopeo", Path::new("/usr/bin/skopeo"))?;
    say(&format!(
        "{NODE_ADDRESS} answers: an image of any of the tools is a path there, like {NODE_ADDRESS}/strace/tcpdump"
    ));
    Ok(registry)
}

/// The sessions, with the commands as a person would type them.
fn debug(node: &Node) -> Result<Vec<(String, Shown)>> {
    let mut sessions = Vec::new();
    let mut session = |arguments: &[&str]| -> Result {
        let shown = debug_session(node, arguments)?;
        if !shown.status.success() {
            return Err(format!("`kubectl kitbag {}` ended with {}", arguments.join(" "), shown.status).into());
        }
        sessions.push((arguments.join(" "), shown));
        Ok(())
    };
    eprintln!("\n  system calls of the server, counted for three seconds:");
    session(&[
        "debug",
        "shop",
        "strace",
        "busybox",
        "--",
        "sh",
        "-c",
        "timeout -s INT 3 strace -c -f -p 1 2>&1; true",
    ])?;
    eprintln!("\n  packets of a request that this demo makes:");
    let capture =
        ["debug", "shop", "tcpdump", "--", "tcpdump", "-n", "-l", "-i", "any", "-c", "6", "tcp", "port", "8080"];
    while_visited(node, || session(&capture))?;
    eprintln!("\n  an answer of the pod's DNS server:");
    session(&["debug", "shop", "--", "dig", "+noall", "+answer", "+stats", "shop.kitbag.test"])?;
    eprintln!("\n  a shell beside the server, on a terminal:");
    interactive(node)?;
    Ok(sessions)
}

fn debug_session(node: &Node, arguments: &[&str]) -> Result<Shown> {
    let mut command = node.kubectl_command();
    show(&format!("kubectl kitbag {}", arguments.join(" ")), command.arg("kitbag").args(arguments))
}

/// Runs `work` while the pod is asked for its page twice a second.
fn while_visited<T>(node: &Node, work: impl FnOnce() -> T) -> T {
    let (done, waiting) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while waiting.recv_timeout(Duration::from_millis(500)) == Err(RecvTimeoutError::Timeout) {
                // A visit that fails is seen: it is missing in the capture.
                let _ = workload::visit(node, "shop");
            }
        });
        let result = work();
        drop(done);
        result
    })
}

fn interactive(node: &Node) -> Result {
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut command = node.kubectl_command();
    command.args(["kitbag", "debug", "shop", "htop"]);
    let mut terminal = Terminal::start(&command, (24, 100))?;
    for (wait_for, typed) in [("# ", "ps\n"), ("# ", "cat /proc/1/status | head -3\n"), ("# ", "exit\n")] {
        terminal.expect(wait_for, PATIENCE)?;
        terminal.send(typed)?;
    }
    let status = terminal.wait_exit(PATIENCE)?;
    eprintln!("\n    $ kubectl kitbag debug shop htop");
    for line in terminal.transcript().lines() {
        eprintln!("    | {}", line.trim_end());
    }
    if status.success() { Ok(()) } else { Err(format!("the shell ended with {status}").into()) }
}

/// What a newcomer wants to know at the end.
fn report(node: &Node, sessions: &[(String, Shown)]) -> Result {
    for path in ["strace/tcpdump/dig/htop", "net"] {
        eprintln!("\n  the image {NODE_ADDRESS}/{path} (linux/{}), compressed:", architecture());
        let mut total = 0;
        for (title, size) in layers(node, path)? {
            total += size;
            eprintln!("    {:>8.0} KiB  {title}", size as f64 / 1024.0);
        }
        eprintln!("    {:>8.0} KiB  in all", total as f64 / 1024.0);
    }
    eprintln!("\n  sessions (the first of each image pulls it):");
    for (command, shown) in sessions {
        let first = shown.first_output.map_or_else(|| "none".to_owned(), seconds);
        eprintln!("    first output {first:>7}, end {:>7}, {}: {command}", seconds(shown.total), shown.status);
    }
    eprintln!("\n  what `kubectl describe pod shop` shows now:");
    let description = node.kubectl(&["describe", "pod", "shop"])?;
    let from = description.find("Ephemeral Containers:").unwrap_or(0);
    for line in description[from..].lines() {
        eprintln!("    | {line}");
    }
    Ok(())
}

/// The layers of an image for this machine, as the registry says: what each is, and its compressed size in bytes.
fn layers(node: &Node, path: &str) -> Result<Vec<(String, u64)>> {
    let reference = format!("docker://{NODE_ADDRESS}/{path}");
    let manifest = skopeo(node, &["inspect", "--tls-verify=false", "--raw", &reference])?;
    let digest = manifest["manifests"].as_array().and_then(|manifests| {
        manifests.iter().find(|manifest| manifest["platform"]["architecture"] == architecture())?["digest"].as_str()
    });
    let reference = format!("docker://{NODE_ADDRESS}/{path}@{}", digest.ok_or("the index lacks this platform")?);
    let manifest = skopeo(node, &["inspect", "--tls-verify=false", "--raw", &reference])?;
    let config = skopeo(node, &["inspect", "--tls-verify=false", "--raw", "--config", &reference])?;
    let titles = config["history"].as_array().ok_or("the config has no history")?;
    let layers = manifest["layers"].as_array().ok_or("the manifest has no layers")?;
    let layer = |(title, layer): (&Value, &Value)| {
        let title = title["created_by"].as_str().unwrap_or_default().trim_start_matches("kitbag: ").to_owned();
        (title, layer["size"].as_u64().unwrap_or_default())
    };
    Ok(titles.iter().zip(layers).map(layer).collect())
}

fn skopeo(node: &Node, arguments: &[&str]) -> Result<Value> {
    let mut command: Command = node.client_command("/usr/bin/skopeo");
    let output = command.args(arguments).output()?;
    if !output.status.success() {
        return Err(format!("skopeo failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn architecture() -> &'static str {
    kitbag_tests::image::architecture()
}

fn directory() -> PathBuf {
    cache::dir().join("demo")
}

/// A line of progress, with a margin.
pub(crate) fn say(text: &str) {
    for line in text.lines() {
        eprintln!("  {line}");
    }
}
