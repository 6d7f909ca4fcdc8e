//! The target's volume mounts.

use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::Shared;

/// Directories of our image that nothing may lie on: over their names there would be the target's files.
const AT: [&str; 6] = ["/", "/etc", "/tmp", "/usr", "/usr/local", "/usr/share"];

/// What of our image, the runtime and the kernel nothing may lie on or in, and where our programs are looked for.
const IN: [&str; 21] = [
    "/bin",
    "/dev",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/ssl",
    "/lib",
    "/proc",
    "/sbin",
    "/sys",
    "/target",
    "/tmp/.kitbag",
    "/tmp/.kitbag-target",
    "/usr/bin",
    "/usr/lib",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/usr/share/kitbag",
    "/usr/share/licenses",
    "/usr/share/terminfo",
];

/// Adds the mounts, and a note for each that is left out.
pub(super) fn share(container: &Container, shared: &mut Shared) {
    for mount in container.volume_mounts.iter().flatten() {
        let path = absolute(&mount.mount_path);
        let path = path.display();
        match obstacle(mount) {
            Some(why) => shared.notes.push(format!("the mount `{path}` is left out: {why}; it is at `/target{path}`")),
            None => shared.volume_mounts.push(copy(mount)),
        }
    }
    for device in container.volume_devices.iter().flatten() {
        let path = &device.device_path;
        shared.notes.push(format!("the block device `{path}` is left out: the API takes none in a debug container"));
    }
}

fn obstacle(mount: &VolumeMount) -> Option<String> {
    let is_set = |field: &Option<String>| field.as_deref().is_some_and(|value| !value.is_empty());
    if is_set(&mount.sub_path) || is_set(&mount.sub_path_expr) {
        return Some("the API takes no subPath in a debug container".to_owned());
    }
    let path = absolute(&mount.mount_path);
    let at = AT.iter().find(|own| path == Path::new(own));
    let within = || IN.iter().find(|own| path.starts_with(own));
    let own = at.or_else(within)?;
    Some(format!("our own programs need `{own}`"))
}

/// As the kubelet reads it: relative to the root, and without what leads nowhere.
fn absolute(path: &str) -> PathBuf {
    Path::new(path).components().fold(PathBuf::from("/"), |mut absolute, component| {
        match component {
            Component::Normal(name) => absolute.push(name),
            Component::ParentDir => _ = absolute.pop(),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
        absolute
    })
}

fn copy(mount: &VolumeMount) -> VolumeMount {
    let mut copy = mount.clone();
    // That one is for privileged containers; mounts of the node arrive all the same.
    if copy.mount_propagation.as_deref() == Some("Bidirectional") {
        copy.mount_propagation = Some("HostToContainer".to_owned());
    }
    // Older runtimes would not start the container.
    if copy.recursive_read_only.as_deref() == Some("Enabled") {
        copy.recursive_read_only = Some("IfPossible".to_owned());
    }
    copy
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn shared(mounts: &Value) -> Shared {
        let mut shared = Shared::default();
        let container = json!({ "name": "app", "volumeMounts": mounts });
        share(&serde_json::from_value(container).unwrap(), &mut shared);
        shared
    }

    #[test]
    fn mounts_are_copied_and_what_cannot_be_is_weakened() {
        let mounts = json!([
            { "name": "data", "mountPath": "/data" },
            { "name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true },
            { "name": "host", "mountPath": "/host", "mountPropagation": "Bidirectional" },
            { "name": "ro", "mountPath": "/ro", "readOnly": true, "recursiveReadOnly": "Enabled" },
            { "name": "if", "mountPath": "/if", "readOnly": true, "recursiveReadOnly": "IfPossible", "mountPropagation": "None" },
            { "name": "whole", "mountPath": "/whole", "subPath": "" },
        ]);
        let shared = shared(&mounts);
        assert_eq!(shared.notes, [""; 0]);
        let mut expected = mounts;
        expected[2]["mountPropagation"] = json!("HostToContainer");
        expected[3]["recursiveReadOnly"] = json!("IfPossible");
        assert_eq!(serde_json::to_value(shared.volume_mounts).unwrap(), expected);
    }

    #[test]
    fn what_our_own_programs_need_is_not_covered() {
        for (path, expected) in [
            ("/", false),
            ("/usr", false),
            ("/usr/", false),
            ("/usr/local", false),
            ("/usr/local/bin", false),
            ("/usr/local/share/app", true),
            ("/usr/bin", false),
            ("/usr/bin/app", false),
            ("/usr/binaries", true),
            ("usr/bin", false),
            ("/usr/share", false),
            ("/usr/share/nginx/html", true),
            ("/usr/share/terminfo/x", false),
            ("/usr/local/../bin", false),
            ("/bin/tool", false),
            ("/lib/modules", false),
            ("/etc", false),
            ("/etc/app", true),
            ("/etc/ssl/certs", false),
            ("/etc/passwd", false),
            ("/tmp", false),
            ("/tmp/cache", true),
            ("/tmp/.kitbag-target", false),
            ("/proc/sys", false),
            ("/dev/shm", false),
            ("/sys/fs/cgroup", false),
            ("/target", false),
            ("/targets", true),
            ("/root", true),
            ("/app", true),
        ] {
            let shared = shared(&json!([{ "name": "v", "mountPath": path }]));
            assert_eq!(
                (shared.volume_mounts.len(), shared.notes.len()),
                if expected { (1, 0) } else { (0, 1) },
                "{path}"
            );
        }
    }

    #[test]
    fn what_is_left_out_is_named_with_why_and_where_it_is() {
        let mut shared = shared(&json!([
            { "name": "config", "mountPath": "/etc/app.conf", "subPath": "app.conf" },
            { "name": "logs", "mountPath": "/logs", "subPathExpr": "$(POD_NAME)" },
            { "name": "scratch", "mountPath": "/tmp/" },
            { "name": "modules", "mountPath": "/lib/modules" },
        ]));
        let devices = json!({ "name": "app", "volumeDevices": [{ "name": "disk", "devicePath": "/dev/xvda" }] });
        share(&serde_json::from_value(devices).unwrap(), &mut shared);
        insta::assert_snapshot!(shared.notes.join("\n"), @r"
        the mount `/etc/app.conf` is left out: the API takes no subPath in a debug container; it is at `/target/etc/app.conf`
        the mount `/logs` is left out: the API takes no subPath in a debug container; it is at `/target/logs`
        the mount `/tmp` is left out: our own programs need `/tmp`; it is at `/target/tmp`
        the mount `/lib/modules` is left out: our own programs need `/lib`; it is at `/target/lib/modules`
        the block device `/dev/xvda` is left out: the API takes none in a debug container
        ");
    }
}
