//! The node by hand: started, entered, ended.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

use kitbag_tests::{Error, Node, Options, machine, packages, workload};

const USAGE: &str = "\
usage: kitbag-node up DIR                 start a one-node Kubernetes that stays, with the pod `shop`
       kitbag-node join DIR               start one more node of that cluster, in DIR/others/NAME
       kitbag-node down DIR               end it, or just such a one
       kitbag-node run DIR COMMAND...     start one, run a command as `client` does, end it
       kitbag-node exec DIR COMMAND...    run a command inside, in all its namespaces
       kitbag-node client DIR COMMAND...  run a command of the host's in its network, with KUBECONFIG
       kitbag-node pull DIR IMAGE...      pull images as the kubelet does";

fn main() -> ExitCode {
    machine::enter();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["up", dir] => up(Path::new(dir)),
        ["run", dir, program, ref rest @ ..] => match run(Path::new(dir), program, rest) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        ["join", dir] => join(Path::new(dir)),
        ["down", dir] => Node::down(Path::new(dir)),
        ["exec", dir, program, ref rest @ ..] => {
            Node::open(Path::new(dir)).and_then(|node| become_command(node.command(program), rest))
        }
        ["client", dir, program, ref rest @ ..] => {
            Node::open(Path::new(dir)).and_then(|node| become_command(node.client_command(program), rest))
        }
        ["pull", dir, ref images @ ..] if !images.is_empty() => {
            Node::open(Path::new(dir)).and_then(|node| node.cri_pull(images)).map(|text| print!("{text}"))
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kitbag-node: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a node is started with, built if it is missing.
fn options(say: &mut dyn FnMut(&str)) -> Result<Options, Error> {
    packages::install(&packages::PACKAGES, say)?;
    packages::add_targets(&packages::TARGETS, say)?;
    Options::build(say)
}

/// A node with the pod `shop`.
fn start(dir: &Path) -> Result<Node, Error> {
    let start = Instant::now();
    let mut say = |text: &str| eprintln!("{:7.1} s  {text}", start.elapsed().as_secs_f64());
    let options = options(&mut say)?;
    say("starting the node");
    let node = Node::start(dir, &options)?;
    say("the node is Ready");
    node.apply(workload::SHOP)?;
    node.wait_ready("shop")?;
    say("the pod `shop` is Ready");
    Ok(node)
}

fn up(dir: &Path) -> Result<(), Error> {
    let node = start(dir)?;
    let paste = format!("export PATH={}:$PATH KUBECONFIG={}", node.bin().display(), node.kubeconfig().display());
    node.keep()?;
    println!("{paste}");
    Ok(())
}

fn join(dir: &Path) -> Result<(), Error> {
    let node = Node::open(dir)?.join(&options(&mut |text| eprintln!("{text}"))?)?;
    println!("{} in {}", node.name(), node.dir().display());
    node.keep()
}

fn run(dir: &Path, program: &str, arguments: &[&str]) -> Result<ExitCode, Error> {
    let node = start(dir)?;
    let status = node.client_command(program).args(arguments).status();
    node.stop()?;
    let status = status.map_err(|source| Error::Spawn { program: program.into(), source })?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255)))
}

fn become_command(mut command: Command, arguments: &[&str]) -> Result<(), Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    Err(Error::Spawn { program, source: command.args(arguments).exec() })
}
