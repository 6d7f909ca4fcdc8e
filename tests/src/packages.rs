//! What has to be installed on the machine: Debian packages through apt-get, targets through rustup.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    cache,
    error::{Error, Result, checked, file, run, spawn},
};

/// The packages that the builds, the node and the tests use.
pub const PACKAGES: [&str; 19] = [
    // The node.
    "bind9",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "openssl",
    "runc",
    "util-linux",
    // Builds: what configure scripts and makefiles call, and pip for the compiler.
    "bzip2",
    "ca-certificates",
    "make",
    "perl",
    "pkg-config",
    "python3-pip",
    "xz-utils",
    // Tests: other clients, what stands in front of a Service, and arm64 programs on amd64.
    "buildah",
    "curl",
    "nginx-light",
    "qemu-user-static",
    "skopeo",
];

/// The Rust targets of what runs in containers and of release binaries.
pub const TARGETS: [&str; 2] = ["aarch64-unknown-linux-musl", "x86_64-unknown-linux-musl"];

/// Install those of `packages` that are missing, without what they recommend and without starting any service. `say` is
/// told which, before.
///
/// # Errors
/// Without root, or on a system without apt-get, if something is missing; when apt-get fails.
pub fn install(packages: &[&str], say: &mut dyn FnMut(&str)) -> Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    say(&format!("installing Debian packages: {}", missing.join(" ")));
    let cache = cache::dir();
    fs::create_dir_all(&cache).map_err(file("make", &cache))?;
    let lock = cache.join("packages.lock");
    File::create(&lock).and_then(|file| file.lock().map(|()| file)).map_err(file("lock", &lock)).and_then(|_held| {
        let _no_services = NoServices::new(Path::new("/usr/sbin/policy-rc.d"))?;
        if apt_get(&["install", "--simulate"], &missing).is_err() {
            apt_get(&["update"], &[])?;
        }
        // The lists may name versions that the mirror no longer has.
        apt_get(&["install"], &missing).or_else(|_| {
            apt_get(&["update"], &[])?;
            apt_get(&["install"], &missing)
        })
    })
}

/// Add the missing Rust targets. `say` is told which, before.
///
/// # Errors
/// When rustup is missing or fails.
pub fn add_targets(targets: &[&str], say: &mut dyn FnMut(&str)) -> Result<()> {
    let installed = run(Command::new("rustup").args(["target", "list", "--installed"]))?;
    let installed = String::from_utf8_lossy(&installed.stdout);
    let missing: Vec<_> = targets.iter().filter(|target| !installed.lines().any(|line| line == **target)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.into_iter().copied().collect();
    say(&format!("adding Rust targets: {}", names.join(" ")));
    run(Command::new("rustup").args(["target", "add"]).args(names)).map(drop)
}

/// Those of `packages` that are not installed.
///
/// # Errors
/// On a system that is not Debian's kind.
pub fn missing(packages: &[&str]) -> Result<Vec<String>> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${Package} ${db:Status-Status}\\n"]).args(packages);
    // Its status is not 0 when it doesn't know one of them.
    let Ok(output) = query.stdin(Stdio::null()).output() else {
        return Err(Error::NotDebian(packages.iter().map(|&name| name.into()).collect()));
    };
    Ok(not_installed(packages, &String::from_utf8_lossy(&output.stdout)))
}

fn not_installed(packages: &[&str], known: &str) -> Vec<String> {
    let installed = |name: &str| known.lines().any(|line| line.split_once(' ') == Some((name, "installed")));
    packages.iter().filter(|name| !installed(name)).map(|&name| name.into()).collect()
}

fn apt_get(arguments: &[&str], packages: &[String]) -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    apt.args(["--quiet", "--yes", "--no-install-recommends", "--option", "DPkg::Lock::Timeout=600"]);
    let output = apt.args(arguments).args(packages).output().map_err(spawn(&apt))?;
    checked(&apt, output).map(drop)
}

/// While this lives, no package's script starts a service: they ask the program `policy-rc.d`, if there is one. Ours says
/// no while the process that wrote it runs, so that one that is left behind by an accident does no harm.
struct NoServices {
    /// Removed at the end; none if the machine has a policy of its own.
    path: Option<PathBuf>,
}

impl NoServices {
    const FIRST_LINES: &str = "#!/bin/sh\n# Written by kitbag's tests while they install packages.\n";

    fn new(path: &Path) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        if fs::read_to_string(path).is_ok_and(|text| !text.starts_with(Self::FIRST_LINES)) {
            return Ok(Self { path: None });
        }
        let own = std::process::id();
        let script = format!("{}kill -0 {own} 2>/dev/null || exit 0\nexit 101\n", Self::FIRST_LINES);
        fs::write(path, script).map_err(file("write", path))?;
        let policy = Self { path: Some(path.into()) };
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(file("make executable", path))?;
        Ok(policy)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // It is harmless from now on, see above.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_was_removed_is_missing() {
        let known = "make installed\nbind9 config-files\n";
        assert_eq!(not_installed(&["make", "bind9", "runc"], known), ["bind9", "runc"]);
    }

    #[test]
    fn services_are_refused_only_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        let policy = NoServices::new(&path).unwrap();
        assert_eq!(Command::new("sh").arg(&path).status().unwrap().code(), Some(101));
        drop(policy);
        assert!(!path.exists());

        // One that was left behind: its writer is gone.
        fs::write(&path, format!("{}exit 0\n", NoServices::FIRST_LINES)).unwrap();
        drop(NoServices::new(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_machines_own_policy_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        fs::write(&path, "#!/bin/sh\nexit 104\n").unwrap();
        drop(NoServices::new(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "#!/bin/sh\nexit 104\n");
    }
}
