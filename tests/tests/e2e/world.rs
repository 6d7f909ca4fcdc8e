//! What all tests share: the node, the registry in it, the pods, and how to type a command as a person would.

use std::{path::PathBuf, process::Command};

pub(crate) use kitbag_tests::printed::{Printed, run};
use kitbag_tests::{Node, Options, Result, cache, programs, programs::Programs, registry::Registry, workload};
use serde_json::Value;

/// A node with the registry on its loopback and the pods `shop`, `shop-two` and `untouched`.
pub(crate) struct World {
    /// The node.
    pub(crate) node: Node,
    /// kitbag's programs.
    pub(crate) programs: Programs,
    /// The store that the registry serves.
    pub(crate) store: PathBuf,
    registry: Registry,
    /// Holds the node's files.
    dir: tempfile::TempDir,
}

impl World {
    /// Builds what is missing, and starts everything.
    pub(crate) fn start() -> Result<Self> {
        let mut say = |text: &str| eprintln!("{text}");
        let programs = programs::build(&mut say)?;
        let store = programs::store(&programs, true)?;
        let (kubernetes, shop) = (cache::kubernetes(&mut say)?, workload::build()?);
        // Not below the directory for temporary files, which may be a mount that the node hides.
        let dir = tempfile::Builder::new().prefix("e2e-").tempdir_in(cache::dir()).expect("the cache can be written");
        let node = Node::start(&dir.path().join("node"), &Options { kubernetes, shop })?;
        let registry = Registry::start_in(&node, &programs.registry, &store)?;
        node.add_client("kubectl-kitbag", &programs.plugin)?;
        node.apply(workload::SHOP)?;
        node.apply(workload::SHOP_TWO)?;
        node.apply(&workload::SHOP.replace("name: shop\n  labels", "name: untouched\n  labels"))?;
        for pod in ["shop", "shop-two", "untouched"] {
            node.wait_ready(pod)?;
        }
        Ok(Self { node, programs, store, registry, dir })
    }

    /// Ends everything.
    pub(crate) fn stop(self) -> Result<()> {
        drop(self.registry);
        let stopped = self.node.stop();
        drop(self.dir);
        stopped
    }

    /// `host:port` of the registry, in the node.
    pub(crate) fn registry(&self) -> String {
        self.registry.address().to_string()
    }

    /// `kubectl kitbag ARGUMENTS`, without input.
    pub(crate) fn kitbag(&self, arguments: &[&str]) -> Printed {
        self.kitbag_with_input(arguments, b"")
    }

    /// `kubectl kitbag ARGUMENTS`, with this input.
    pub(crate) fn kitbag_with_input(&self, arguments: &[&str], input: &[u8]) -> Printed {
        run(self.kitbag_command(arguments), input)
    }

    /// `kubectl kitbag ARGUMENTS`, to be run.
    pub(crate) fn kitbag_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.node.kubectl_command();
        command.arg("kitbag").args(arguments);
        command
    }

    /// A client of the registry, in the node's network. It must succeed.
    pub(crate) fn client(&self, program: &str, arguments: &[&str]) -> Printed {
        let mut command = self.node.client_command(program);
        command.args(arguments);
        let printed = run(command, b"");
        assert_eq!(printed.code, Some(0), "{program} {arguments:?}: {}", printed.stderr);
        printed
    }

    /// `skopeo inspect --raw` of an image of the registry.
    pub(crate) fn manifest(&self, path: &str) -> Value {
        let reference = format!("docker://{}/{path}", self.registry());
        let printed = self.client("skopeo", &["inspect", "--tls-verify=false", "--raw", &reference]);
        serde_json::from_str(&printed.stdout).expect("a manifest is JSON")
    }

    /// The debug containers of a pod, by name.
    pub(crate) fn debug_containers(&self, pod: &str) -> String {
        let path = "jsonpath={.spec.ephemeralContainers[*].name}";
        self.node.kubectl(&["get", "pod", pod, "-o", path]).expect("the pod is there")
    }
}
