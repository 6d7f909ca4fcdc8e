//! A line to the API server that can be cut.

use std::{
    fs,
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use kitbag_tests::Node;

/// Where the API server listens in the node.
const API: &str = "127.0.0.1:6443";

/// A port in the node's network that leads to the API server, and a kubeconfig that names it.
pub(crate) struct Line {
    connections: Arc<Mutex<Vec<TcpStream>>>,
    kubeconfig: PathBuf,
    _dir: tempfile::TempDir,
}

impl Line {
    pub(crate) fn to_the_api(node: &Node) -> Self {
        let connections: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let all = Arc::clone(&connections);
        // Threads are in the network of the thread that starts them.
        let port = node
            .inside(move || {
                let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
                let port = listener.local_addr().unwrap().port();
                thread::spawn(move || {
                    for client in listener.incoming().map_while(Result::ok) {
                        let Ok(server) = TcpStream::connect(API) else { return };
                        for (from, to) in [(&client, &server), (&server, &client)] {
                            let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                            thread::spawn(move || {
                                let _ = std::io::copy(&mut from, &mut to);
                                let _ = to.shutdown(Shutdown::Write);
                            });
                        }
                        all.lock().unwrap().extend([client, server]);
                    }
                });
                port
            })
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = dir.path().join("kubeconfig");
        let text = fs::read_to_string(node.kubeconfig()).unwrap().replace(API, &format!("127.0.0.1:{port}"));
        fs::write(&kubeconfig, text).unwrap();
        Self { connections, kubeconfig, _dir: dir }
    }

    pub(crate) fn kubeconfig(&self) -> &str {
        self.kubeconfig.to_str().unwrap()
    }

    /// Ends every connection; new ones are passed on.
    pub(crate) fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}
