//! What all tests share: two nodes with a pod on each, kitbag's programs, and how to type a command as a person would.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

pub(crate) use kitbag_tests::printed::Printed;
use kitbag_tests::{
    Node, Options, Result, cache,
    printed::run,
    programs,
    registry::{NODE_ADDRESS, Registry},
    server::{ALL, FEW, Server},
    workload,
};

/// For what has to happen some time.
const PATIENCE: Duration = Duration::from_secs(90);

/// Two nodes, each with a registry on its loopback and the pod `shop-NODE`.
pub(crate) struct World {
    /// The nodes; the first has the control plane.
    pub(crate) nodes: [Node; 2],
    /// For one more node.
    pub(crate) options: Options,
    /// The registry's image with a store of one generation.
    pub(crate) few: Server,
    /// The same with the next generation, and with that one still in it.
    pub(crate) all: Server,
    registries: Vec<Registry>,
    /// Holds the nodes' files.
    dir: tempfile::TempDir,
}

impl World {
    /// Builds what is missing, and starts everything.
    pub(crate) fn start() -> Result<Self> {
        let mut say = |text: &str| eprintln!("{text}");
        let programs = programs::build(&mut say)?;
        let store = programs::store(&programs, true)?;
        let options = Options::build(&mut say)?;
        let dir = cache::scratch("cluster-")?;
        let first = Node::start(&dir.path().join("cluster"), &options)?;
        let second = first.join(&options)?;
        first.add_client("kubectl-kitbag", &programs.plugin)?;
        let nodes = [first, second];
        let registries =
            nodes.iter().map(|node| Registry::start_in(node, &programs.registry, &store, NODE_ADDRESS, &[]));
        let registries = registries.collect::<Result<_>>()?;
        let own = dir.path().join("store");
        let few = Server::build(&programs, &own, FEW, &nodes)?;
        let all = Server::build(&programs, &own, ALL, &nodes)?;
        let world = Self { nodes, options, few, all, registries, dir };
        for node in &world.nodes {
            world.first().apply(&pod_on(node))?;
        }
        for node in &world.nodes {
            world.first().wait_ready(&shop(node))?;
        }
        Ok(world)
    }

    /// Ends everything.
    pub(crate) fn stop(self) -> Result<()> {
        drop(self.registries);
        let [first, second] = self.nodes;
        let stopped = second.stop().and(first.stop());
        drop(self.dir);
        stopped
    }

    /// The node with the control plane, where commands are typed.
    pub(crate) fn first(&self) -> &Node {
        &self.nodes[0]
    }

    /// The other one.
    pub(crate) fn second(&self) -> &Node {
        &self.nodes[1]
    }

    /// A directory that a test may fill.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join("scratch").join(name);
        fs::create_dir_all(&path).expect("the cache can be written");
        path
    }

    /// Asks until it is so.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, mut ask: impl FnMut() -> bool) {
        let patience = Instant::now() + PATIENCE;
        while !ask() {
            assert!(Instant::now() < patience, "{what} has not come");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// kubectl as the administrator. It must succeed; what it printed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.first().kubectl(arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    /// `kubectl kitbag ARGUMENTS`, without input.
    pub(crate) fn kitbag(&self, arguments: &[&str]) -> Printed {
        let mut command = self.first().kubectl_command();
        command.arg("kitbag").args(arguments);
        run(command, b"")
    }
}

/// The name of the pod on this node.
pub(crate) fn shop(node: &Node) -> String {
    format!("shop-{}", node.name())
}

/// The manifest of the pod on this node.
pub(crate) fn pod_on(node: &Node) -> String {
    workload::shop_on(node, &shop(node))
}
