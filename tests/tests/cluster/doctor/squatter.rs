//! A stranger on the registry's port of a node, who serves images of their own.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kitbag_tests::Node;

use crate::installed::{REGISTRY, registries, shell};

/// Listens until it is dropped.
pub(crate) struct Squatter {
    done: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

/// A registry that was killed starts again in a second or two.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for a client.
const PAUSE: Duration = Duration::from_millis(5);

impl Squatter {
    /// Takes the port in the moment in which the registry starts anew.
    pub(crate) fn start(node: &Node) -> Self {
        let own = shell(node, registries());
        shell(node, &format!("kill -KILL {own}"));
        let end = Instant::now() + PATIENCE;
        let bind = move || loop {
            match TcpListener::bind(REGISTRY) {
                Ok(listener) => return listener,
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
        };
        let listener = node.inside(bind).unwrap();
        listener.set_nonblocking(true).unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&done);
        let serving = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((client, _)) => answer(client),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
                    Err(error) => panic!("{error}"),
                }
            }
        });
        Self { done, serving: Some(serving) }
    }
}

impl Drop for Squatter {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        let _ = self.serving.take().map(JoinHandle::join);
    }
}

/// An index, whatever is asked for.
fn answer(mut client: TcpStream) {
    client.set_nonblocking(false).unwrap();
    let mut asked = [0; 2048];
    let count = client.read(&mut asked).unwrap_or_default();
    let body = if asked[..count].starts_with(b"HEAD") { "" } else { INDEX };
    let kind = "application/vnd.oci.image.index.v1+json";
    let length = INDEX.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    // Whoever hangs up has heard enough.
    let _ = client.write_all(answer.as_bytes());
}

const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
