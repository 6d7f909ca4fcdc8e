//! What all tests share: the node, the registry in it, the pods, and how to type a command as a person would.

use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

pub(crate) use kitbag_tests::printed::{Printed, run};
use kitbag_tests::{
    Node, Options, Result, cache, programs,
    programs::Programs,
    registry::{NODE_ADDRESS, Registry},
    workload,
};
use serde_json::{Value, json};

/// For what has to happen some time.
const PATIENCE: Duration = Duration::from_secs(90);
/// Where the registry that wants a password listens, in the node.
const PRIVATE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5006);

/// A node with the registry on its loopback, the pods `shop`, `shop-two` and `untouched`, and those of
/// [`workload::DEBUGGED`].
pub(crate) struct World {
    /// The node.
    pub(crate) node: Node,
    /// kitbag's programs.
    pub(crate) programs: Programs,
    /// The store that the registry serves.
    pub(crate) store: PathBuf,
    registry: Mutex<Option<Registry>>,
    private: Mutex<Option<Registry>>,
    /// Holds the node's files.
    dir: tempfile::TempDir,
}

impl World {
    /// Builds what is missing, and starts everything.
    pub(crate) fn start() -> Result<Self> {
        let mut say = |text: &str| eprintln!("{text}");
        let programs = programs::build(&mut say)?;
        let store = programs::store(&programs, true)?;
        let options = Options::build(&mut say)?;
        let dir = cache::scratch("e2e-")?;
        let node = Node::start(&dir.path().join("node"), &options)?;
        let registry = Registry::start_in(&node, &programs.registry, &store, NODE_ADDRESS, &[])?;
        node.add_client("kubectl-kitbag", &programs.plugin)?;
        node.apply(workload::SHOP)?;
        node.apply(workload::SHOP_TWO)?;
        node.apply(&workload::SHOP.replace("name: shop\n  labels", "name: untouched\n  labels"))?;
        // A namespace that was made a moment ago has no service account yet, and takes no pod.
        let patience = Instant::now() + Duration::from_secs(30);
        while let Err(error) = node.apply(workload::DEBUGGED) {
            if Instant::now() > patience {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(200));
        }
        for pod in ["shop", "shop-two", "untouched"] {
            node.wait_ready(pod)?;
        }
        for namespace in ["default", "baseline", "restricted"] {
            let ready = ["wait", "--for=condition=Ready", "--timeout=60s", "pods", "-l", "lasts=yes", "-n", namespace];
            node.kubectl(&ready)?;
        }
        Ok(Self { node, programs, store, registry: Mutex::new(Some(registry)), private: Mutex::default(), dir })
    }

    /// Ends everything.
    pub(crate) fn stop(self) -> Result<()> {
        drop((self.registry, self.private));
        let stopped = self.node.stop();
        drop(self.dir);
        stopped
    }

    /// `host:port` of the registry, in the node.
    pub(crate) fn registry(&self) -> String {
        NODE_ADDRESS.to_string()
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

    /// How a pod does, as far as debugging it must not change that: readiness and restarts of its containers, and all
    /// processes in it.
    pub(crate) fn condition(&self, namespace: &str, pod: &str) -> String {
        let path = "jsonpath={.metadata.uid} {range .status.initContainerStatuses[*]}{.name}={.ready},{.restartCount} {end}\
                    {range .status.containerStatuses[*]}{.name}={.ready},{.restartCount} {end}";
        let status = self.node.kubectl(&["get", "pod", pod, "-n", namespace, "-o", path]).expect("the pod is there");
        let uid = status.split(' ').next().expect("a pod has a uid");
        // Of the control groups of a pod's processes, each one names the pod.
        let script = format!(
            "for group in $(grep -sl 'pod{uid}' /proc/[0-9]*/cgroup); do tr '\\0' ' ' < ${{group%cgroup}}cmdline; echo; done | sort"
        );
        let mut command = self.node.command("sh");
        command.args(["-c", &script]);
        format!("{status}\n{}", run(command, b"").stdout)
    }

    /// Makes a pod like `locked`, and waits until it is ready. Its name.
    pub(crate) fn pod(&self, name: &str) -> String {
        self.pod_with(name, "")
    }

    /// The same, with more in its specification.
    pub(crate) fn pod_with(&self, name: &str, more: &str) -> String {
        let pod = workload::shop_called(name);
        self.node.apply(&pod.replace("spec:\n", &format!("spec:\n  {more}\n"))).unwrap();
        self.node.wait_ready(name).unwrap();
        name.to_owned()
    }

    /// Ends what debug containers the pod has. Then it must be as it was.
    #[track_caller]
    pub(crate) fn leave(&self, pod: &str, before: &str) {
        self.kitbag(&["end", pod]).expect_code(0);
        assert_eq!(self.condition("default", pod), before, "the pod is not as it was");
    }

    /// Has the debug container ended?
    pub(crate) fn is_ended(&self, pod: &str, container: &str) -> bool {
        let path =
            format!("jsonpath={{.status.ephemeralContainerStatuses[?(@.name==\"{container}\")].state.terminated}}");
        !self.node.kubectl(&["get", "pod", pod, "-o", &path]).expect("the pod is there").is_empty()
    }

    /// Asks until it is so.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, mut ask: impl FnMut() -> bool) {
        let patience = Instant::now() + PATIENCE;
        while !ask() {
            assert!(Instant::now() < patience, "{what} has not come");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// A registry that wants a password, which the secret `pull` of the default namespace has. Its `host:port`.
    pub(crate) fn private_registry(&self) -> String {
        let mut private = self.private.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = private.get_or_insert_with(|| {
            let users = self.dir.path().join("users");
            // `nodes` with the password `open sesame`.
            let line = "nodes:$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy\n";
            fs::write(&users, line).expect("the node's directory can be written");
            let auth = json!({ "auths": { PRIVATE.to_string(): { "username": "nodes", "password": "open sesame" } } });
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "pull" },
                "type": "kubernetes.io/dockerconfigjson", "stringData": { ".dockerconfigjson": auth.to_string() },
            });
            self.node.apply(&secret.to_string()).expect("a secret can be made");
            let flags = [OsStr::new("--htpasswd"), users.as_os_str()];
            Registry::start_in(&self.node, &self.programs.registry, &self.store, PRIVATE, &flags)
                .expect("a second registry starts")
        });
        registry.address().to_string()
    }

    /// Calls `test` while the registry does not run.
    pub(crate) fn without_registry(&self, test: impl FnOnce()) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        *registry = None;
        test();
        let again = Registry::start_in(&self.node, &self.programs.registry, &self.store, NODE_ADDRESS, &[]);
        *registry = Some(again.expect("the registry starts again"));
    }

    /// Kills the API server, which the node starts again, and waits until it answers.
    pub(crate) fn restart_api_server(&self) {
        let mut command = self.node.command("sh");
        // By the name of its process, in the node's own process namespace.
        let script = "for name in /proc/[0-9]*/comm; do grep -qx kube-apiserver $name && kill -KILL $(basename ${name%/comm}); done";
        command.args(["-c", script]);
        run(command, b"");
        self.wait("the API server", || self.node.kubectl(&["get", "--raw", "/readyz"]).is_ok());
    }

    /// The debug containers of a pod, by name.
    pub(crate) fn debug_containers(&self, pod: &str) -> String {
        let path = "jsonpath={.spec.ephemeralContainers[*].name}";
        self.node.kubectl(&["get", "pod", pod, "-o", path]).expect("the pod is there")
    }
}
