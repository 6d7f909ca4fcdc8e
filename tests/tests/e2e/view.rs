//! What a session has of the pod: its volumes, its environment, and what is wanted instead.

use serde_json::Value;

use crate::{Test, world::World};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("volumes and environment of the target", volumes_and_environment),
    ("no volumes and no environment on request", nothing_of_the_target),
    ("a dry run sends nothing and prints what it would", a_dry_run),
    ("kubectl's profiles and a custom container", profiles_and_custom),
];

fn volumes_and_environment(world: &World) {
    let script = "cat /etc/settings/colour; echo; echo $PLAIN $COMPOSED $COLOUR $SECRET $POD $GREETING; echo $PATH; \
                  touch /scratch/by-the-debugger; ls /target/scratch /target/etc/one; ls /tmp";
    let seen = world.kitbag(&["debug", "mounts", "shell", "--", "sh", "-c", script]).expect_code(0);
    assert!(seen.stdout.starts_with("green\nplain plain-and-more green open-sesame mounts hello\n"), "{}", seen.stdout);
    assert!(!seen.stdout.contains("/nowhere"), "{}", seen.stdout);
    assert!(seen.stdout.contains("by-the-debugger") && seen.stdout.contains("/target/etc/one"), "{}", seen.stdout);
    for left_out in ["/etc/one", "subPath", "/tmp"] {
        assert!(seen.stderr.contains(left_out), "`{left_out}` was not said: {}", seen.stderr);
    }
    // By reference, never by value.
    let spec = world.node.kubectl(&["get", "pod", "mounts", "-o", "jsonpath={.spec.ephemeralContainers}"]).unwrap();
    assert!(spec.contains("secretKeyRef") && !spec.contains("open-sesame"), "{spec}");
}

fn nothing_of_the_target(world: &World) {
    let script = "ls -d /scratch; echo ${PLAIN-none}";
    let arguments = ["debug", "mounts", "shell", "--new", "--no-volumes", "--no-env", "--", "sh", "-c", script];
    let seen = world.kitbag(&arguments).expect_code(0);
    assert_eq!(seen.stdout, "none\n", "{}", seen.stderr);
}

fn a_dry_run(world: &World) {
    for side in ["client", "server"] {
        let dry_run = format!("--dry-run={side}");
        let seen = world.kitbag(&["debug", "untouched", "strace", &dry_run, "-o", "json"]).expect_code(0);
        let container: Value = serde_json::from_str(&seen.stdout).unwrap();
        let text = container.to_string();
        assert!(text.contains("SYS_PTRACE") && text.contains("@sha256:") && text.contains("kitbag-init"), "{text}");
        let yaml = world.kitbag(&["debug", "untouched", "strace", &dry_run, "-o", "yaml"]).expect_code(0).stdout;
        assert!(yaml.contains("targetContainerName: shop"), "{yaml}");
    }
    assert_eq!(world.debug_containers("untouched"), "");
    // The server is asked for a trial that it refuses.
    let refused = ["debug", "locked", "-n", "restricted", "strace", "--profile", "sysadmin", "--dry-run=server"];
    let seen = world.kitbag(&refused);
    assert_eq!(seen.code, Some(73), "{}", seen.stderr);
}

fn profiles_and_custom(world: &World) {
    let capabilities = "grep CapEff /proc/self/status";
    let effective = |flags: &[&str]| {
        let arguments = [&["debug", "locked", "shell"], flags, &["--", "sh", "-c", capabilities]].concat();
        let seen = world.kitbag(&arguments).expect_code(0).stdout;
        u64::from_str_radix(seen.trim().rsplit('\t').next().unwrap(), 16).unwrap()
    };
    const NET_ADMIN: u64 = 1 << 12;
    const SYS_PTRACE: u64 = 1 << 19;
    const SYS_ADMIN: u64 = 1 << 21;
    assert_eq!(effective(&["--cap-add", "NET_ADMIN"]) & NET_ADMIN, NET_ADMIN);
    assert_eq!(effective(&["--profile", "sysadmin", "--as-user", "0"]) & SYS_ADMIN, SYS_ADMIN);
    assert_eq!(effective(&["--as-user", "1000"]) & SYS_PTRACE, 0);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("custom.yaml");
    std::fs::write(&path, "env:\n- name: CUSTOM\n  value: \"yes\"\n").unwrap();
    let custom = ["debug", "locked", "shell", "--custom", path.to_str().unwrap(), "--", "sh", "-c", "echo $CUSTOM"];
    assert_eq!(world.kitbag(&custom).expect_code(0).stdout, "yes\n");
    std::fs::write(&path, "name: mine\n").unwrap();
    let refused = world.kitbag(&custom);
    assert_eq!(refused.code, Some(64), "{}", refused.stderr);
    assert!(refused.stderr.contains("`name`"), "{}", refused.stderr);
}
