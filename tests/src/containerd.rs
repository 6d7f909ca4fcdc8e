//! A containerd of its own, as a client of registries: by its `ctr` and by the CRI. It runs no containers.

use std::{
    fs::{self, File},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Error, Result, file, spawn, tail};

/// A running containerd; it ends when this is dropped.
#[derive(Debug)]
pub struct Containerd {
    dir: PathBuf,
    ctr: PathBuf,
    child: Child,
}

impl Containerd {
    /// Starts the programs `containerd` and `ctr` of one version, with everything in `dir`. Layers of more than
    /// `chunk` bytes are fetched in parallel pieces of that size, by versions that can: 2.1 and later.
    ///
    /// # Errors
    /// When it ends or doesn't listen: with the end of its log.
    pub fn start(containerd: &Path, ctr: &Path, dir: &Path, chunk: usize) -> Result<Self> {
        fs::create_dir_all(dir).map_err(file("make", dir))?;
        let path = dir.join("config.toml");
        fs::write(&path, configuration(dir, chunk)).map_err(file("write", &path))?;
        let log = dir.join("log");
        let output = File::create(&log).map_err(file("write", &log))?;
        let mut command = Command::new(containerd);
        command.arg("--config").arg(&path).stdin(Stdio::null());
        command.stdout(output.try_clone().map_err(file("write", &log))?).stderr(output);
        let child = command.spawn().map_err(spawn(&command))?;
        let mut started = Self { dir: dir.to_owned(), ctr: ctr.to_owned(), child };
        let end = Instant::now() + Duration::from_secs(60);
        while UnixStream::connect(started.socket()).is_err() {
            let ended = !matches!(started.child.try_wait(), Ok(None));
            if ended || Instant::now() > end {
                let what = format!("the start of `{}`", containerd.display());
                let seen = tail(&fs::read_to_string(&log).unwrap_or_default(), 15);
                return Err(Error::Timeout { what, seconds: 60, seen });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(started)
    }

    /// `ctr` for one of its namespaces, which share nothing. To be given a command.
    pub fn ctr(&self, namespace: &str) -> Command {
        let mut command = Command::new(&self.ctr);
        command.arg("--address").arg(self.socket()).args(["--namespace", namespace]);
        command
    }

    /// Where the CRI is served.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // It may have ended by itself.
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let end = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the form of version 2, which containerd 2 reads as well.
fn configuration(dir: &Path, chunk: usize) -> String {
    let dir = dir.display();
    format!(
        r#"version = 2
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]

[grpc]
  address = "{dir}/socket"

[debug]
  address = "{dir}/debug"

[plugins."io.containerd.metadata.v1.bolt"]
  # What one test has pulled, the next one pulls again.
  content_sharing_policy = "isolated"

[plugins."io.containerd.transfer.v1.local"]
  max_concurrent_downloads = 4
  concurrent_layer_fetch_buffer = {chunk}

[plugins."io.containerd.grpc.v1.cri"]
  disable_apparmor = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{dir}/cni"
    conf_dir = "{dir}/cni"
"#
    )
}
