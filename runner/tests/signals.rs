//! What a signal does to the program where it has no session.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::io::Read as _;
use std::net::TcpListener;
use std::process::Command;

#[test]
fn a_signal_outside_of_sessions_ends_the_program_with_its_number() {
    for (name, number) in [("HUP", 1), ("INT", 2), ("QUIT", 3), ("TERM", 15)] {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", server.local_addr().unwrap());
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config");
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, users: [{{name: u, user: {{}}}}], \
             clusters: [{{name: s, cluster: {{server: \"{address}\"}}}}], contexts: [{{name: c, context: {{cluster: s, user: u}}}}]}}"
        );
        std::fs::write(&config, text).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-kitbag"));
        let mut child = program.arg("list").env("KUBECONFIG", &config).env_remove("http_proxy").spawn().unwrap();
        // It has asked, and is not answered.
        let (mut connection, _) = server.accept().unwrap();
        connection.read_exact(&mut [0; 4]).unwrap();
        let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert_eq!(child.wait().unwrap().code(), Some(128 + number), "{name}");
    }
}
