//! A real Kubernetes: etcd, API server, controllers, scheduler, kubelet, containerd, runc, and a DNS server, all in one
//! set of namespaces. A registry that listens on 127.0.0.1 there is one that the node pulls from. More nodes can join it,
//! each a kubelet and a containerd in namespaces and with disks of their own.

mod start;

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{
    cache,
    error::{Error, Result, feed, file, run},
    machine,
    member::Member,
    services::programs,
    state::{self, Process, State},
    workload,
};

pub use crate::services::{ADDRESS, IMAGES};

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Kubernetes binary: [`crate::cache::kubernetes`].
    pub kubernetes: PathBuf,
    /// The workload's program: [`crate::workload::build`]. Its images are imported.
    pub shop: PathBuf,
}

impl Options {
    /// Both, built if they are missing. `say` is told before a build starts.
    ///
    /// # Errors
    /// When a build fails.
    pub fn build(say: &mut dyn FnMut(&str)) -> Result<Self> {
        Ok(Self { kubernetes: cache::kubernetes(say)?, shop: workload::build()? })
    }
}

/// A running node. It ends when this is dropped, or when its process ends, in whatever way; unless it was told to stay.
#[derive(Debug)]
pub struct Node {
    dir: PathBuf,
    init: Process,
    member: Member,
    /// Holds the leash, the keeper's standard input.
    keeper: Option<Child>,
}

const PROXIES: [&str; 6] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];

impl Node {
    /// Start a node in `dir`, which is new, empty, or an ended node's, and wait until it takes pods: about 5 s.
    ///
    /// # Errors
    /// Without root or the programs that [`crate::packages`] installs; when something in the node doesn't start. Nothing
    /// is left running then.
    pub fn start(dir: &Path, options: &Options) -> Result<Self> {
        start::start(dir, options)
    }

    /// Start another node of this one's cluster, and wait until it takes pods. `self` is the node with the control plane.
    /// The other one ends as any, and when that one does. Its clients reach the same API server, over its own network.
    ///
    /// # Errors
    /// When something in the node doesn't start. Nothing of it is left running then.
    pub fn join(&self, options: &Options) -> Result<Self> {
        start::join(self, options)
    }

    /// The node that runs in `dir`, started by someone else; it isn't ended when this is dropped.
    ///
    /// # Errors
    /// [`Error::NotUp`].
    pub fn open(dir: &Path) -> Result<Self> {
        let dir = fs::canonicalize(dir).map_err(|_| Error::NotUp(dir.into()))?;
        let state = State::read(&dir)?;
        let init = state.init.filter(|init| init.runs()).ok_or_else(|| Error::NotUp(dir.clone()))?;
        Ok(Self { dir, init, member: state.member, keeper: None })
    }

    /// Let the node stay when this process ends; [`Node::down`] ends it.
    ///
    /// # Errors
    /// When the node has ended already.
    pub fn keep(mut self) -> Result<()> {
        match self.keeper.take().and_then(|mut keeper| keeper.stdin.take()) {
            Some(mut leash) => leash.write_all(&[machine::RELEASE]).map_err(file("let go of", &self.dir)),
            None => Ok(()),
        }
    }

    /// End the node in `dir`, whoever started it: its processes, control groups and files, but for the logs.
    ///
    /// # Errors
    /// [`Error::NotUp`] if there is no trace of one.
    pub fn down(dir: &Path) -> Result<()> {
        state::down(dir)
    }

    /// End the node, if it was started here.
    ///
    /// # Errors
    /// When something of it remains: a control group, a file.
    pub fn stop(mut self) -> Result<()> {
        self.keeper.take().map_or(Ok(()), |keeper| start::end(&self.dir, keeper))
    }

    /// What Kubernetes calls it: `node1` is the one with the control plane.
    pub fn name(&self) -> String {
        self.member.name()
    }

    /// Its address, as other machines have it.
    pub fn address(&self) -> String {
        self.member.address()
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of its logs, one for each program.
    pub fn logs(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// An administrator's kubeconfig. It is of use in the node's network only: see [`Node::bin`].
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("pki/admin.kubeconfig")
    }

    /// The kubeconfig of `dev`, who may do nothing until a role is bound to that name.
    pub fn dev_kubeconfig(&self) -> PathBuf {
        self.dir.join("pki/dev.kubeconfig")
    }

    /// The certificate authority of the node's servers, the DNS server among them.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("pki/ca.crt")
    }

    /// A directory for PATH: `kubectl`, and what [`Node::add_client`] added, each entering the node's network by itself.
    pub fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// Put `program` into [`Node::bin`] under `name`.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn add_client(&self, name: &str, program: &Path) -> Result<()> {
        let path = self.bin().join(name);
        let (network, kubeconfig) = (self.network(), self.kubeconfig());
        let script = format!(
            "#!/bin/sh\nexport KUBECONFIG=\"${{KUBECONFIG:-{}}}\"\nexec nsenter --net={} -- '{}' \"$@\"\n",
            kubeconfig.display(),
            network.display(),
            program.display()
        );
        fs::write(&path, script).map_err(file("write", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(file("make executable", &path))
    }

    /// A command inside the node, in all its namespaces, with its programs first in PATH: `ctr`, `ip`, `etcd`...
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.pid.to_string()]);
        command.args(["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--"]).arg(program);
        command.env("PATH", machine::search_path(&programs(&self.dir)));
        self.clean(command)
    }

    /// A command of a client's: in the node's network, with the host's files, an administrator's KUBECONFIG, and
    /// [`Node::bin`] first in PATH.
    pub fn client_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network().display())).arg("--").arg(program);
        let host = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        command.env("PATH", format!("{}:{host}", self.bin().display()));
        self.clean(command)
    }

    /// Call `function` on a thread in the node's network: its sockets, and its child processes', are the node's.
    ///
    /// # Errors
    /// When the namespace can't be entered.
    ///
    /// # Panics
    /// When `function` does.
    pub fn inside<T: Send>(&self, function: impl FnOnce() -> T + Send) -> Result<T> {
        let path = self.network();
        let network = fs::File::open(&path).map_err(file("open", &path))?;
        let call = move || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(file("enter", &path))?;
            Ok(function())
        };
        thread::scope(|scope| scope.spawn(call).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Run kubectl as the administrator; what it printed.
    ///
    /// # Errors
    /// When it fails: with what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.kubectl_command();
        let output = run(command.args(arguments))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// kubectl as the administrator, to be given arguments and run.
    pub fn kubectl_command(&self) -> Command {
        self.client_command(programs(&self.dir).join("kubectl"))
    }

    /// `kubectl apply` of these manifests.
    ///
    /// # Errors
    /// When it fails: with what it printed.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        let mut command = self.kubectl_command();
        feed(command.args(["apply", "-f", "-"]), yaml.as_bytes())
    }

    /// Wait until a pod is Ready, at most 60 s.
    ///
    /// # Errors
    /// When it isn't by then: with what `kubectl describe` says of it.
    pub fn wait_ready(&self, pod: &str) -> Result<()> {
        let object = format!("pod/{pod}");
        let ready = self.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &object]);
        ready.map(drop).map_err(|error| Error::Timeout {
            what: format!("{object} getting Ready"),
            seconds: 60,
            seen: self.kubectl(&["describe", &object]).unwrap_or_else(|_| error.to_string()),
        })
    }

    /// Import an OCI archive into containerd, under the names that its index gives.
    ///
    /// # Errors
    /// When containerd refuses it.
    pub fn import_image(&self, archive: &[u8]) -> Result<()> {
        let mut command = self.command("ctr");
        feed(command.args(["--namespace", "k8s.io", "images", "import", "-"]), archive).map(drop)
    }

    /// Pull images as the kubelet has them pulled, through the CRI; a line for each with its ID and the seconds it took.
    ///
    /// # Errors
    /// When one can't be pulled: with containerd's words.
    pub fn cri_pull(&self, images: &[&str]) -> Result<String> {
        let output = run(self.command("cri-pull").args(images))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Remove images through the CRI.
    ///
    /// # Errors
    /// When containerd refuses.
    pub fn cri_remove(&self, images: &[&str]) -> Result<()> {
        run(self.command("cri-pull").arg("--remove").args(images)).map(drop)
    }

    /// A command in the node's network and process namespaces, with the host's files: for a server that ends with the
    /// node at the latest.
    pub(crate) fn server_command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.pid.to_string(), "--net", "--pid", "--"]).arg(program);
        self.clean(command)
    }

    /// Have `ip` do this in the node's network, with the host's files and processes.
    fn ip(&self, script: &str) -> Result<()> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network().display())).args(["--", "ip", "-batch", "-"]);
        feed(&mut command, script.as_bytes()).map(drop)
    }

    fn network(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.init.pid).into()
    }

    /// The node has a network of its own, so the host's proxies don't exist there.
    fn clean(&self, mut command: Command) -> Command {
        command.env("KUBECONFIG", self.kubeconfig());
        for proxy in PROXIES {
            command.env_remove(proxy);
        }
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            // Who wants to know how it went calls `stop`.
            let _ = start::end(&self.dir, keeper);
        }
    }
}
