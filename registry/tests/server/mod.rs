//! A registry on a real socket, and clients of it that say exactly what they are told to.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "this file is part of several test programs, and not each asks for all of it"
)]

#[path = "../../src/testing.rs"]
pub mod testing;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kitbag_builder::store::Store;
use kitbag_registry::listen::{Endpoint, Given, Options, listen};
use kitbag_registry::serve::{Ending, Settings, serve};
use kitbag_registry::{Metrics, Registry, Service};
use kitbag_toolsets::canonical::sha256_hex;
use serde_json::Value;
use tokio::sync::oneshot;

/// A registry in a thread of its own.
pub struct Server {
    pub address: SocketAddr,
    pub metrics: Arc<Metrics>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Ending>>,
}

impl Server {
    pub fn start(store: &Store) -> Self {
        Self::with(store, Settings::default())
    }

    pub fn with(store: &Store, settings: Settings) -> Self {
        Self::on(&["127.0.0.1:0".parse().unwrap()], &Options::default(), store, settings)
    }

    pub fn on(endpoints: &[Endpoint], options: &Options, store: &Store, settings: Settings) -> Self {
        let listeners = listen(endpoints, options, Given::default()).unwrap();
        let address = listeners[0].endpoint().address().unwrap();
        let metrics = Arc::new(Metrics::default());
        let registry = Registry::open(store.dir(), Arc::clone(&metrics)).unwrap();
        let service = Arc::new(Service::new(Arc::new(registry), Arc::clone(&metrics)));
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let stop = async {
                let _ = stopped.await;
            };
            runtime.block_on(serve(listeners, service, settings, stop)).unwrap()
        });
        Self { address, metrics, stop: Some(stop), thread: Some(thread) }
    }

    /// Asks it to stop, which takes until every response is finished.
    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub fn ended(mut self) -> Ending {
        self.stop();
        self.thread.take().unwrap().join().unwrap()
    }

    /// Sends bytes and reads all that comes back.
    pub fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }

    pub fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("{method} {target} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n{headers}\r\n");
        Answer::parse(&self.raw(request.as_bytes()))
    }

    pub fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A response, as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a response has a head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        // The clock's, and the connection's.
        let ours = |(name, _): &(String, String)| name != "date" && name != "connection";
        let headers = lines.map(|line| header(line).unwrap()).filter(ours).collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> &str {
        let found: Vec<_> = self.headers.iter().filter(|(header, _)| header == name).collect();
        assert_eq!(found.len(), 1, "{name} in {:?}", self.headers);
        &found[0].1
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn digest(&self) -> String {
        format!("sha256:{}", sha256_hex(&self.body))
    }
}

pub fn store() -> (tempfile::TempDir, Store, testing::Ids) {
    let dir = tempfile::tempdir().unwrap();
    let (store, ids) = testing::make(dir.path());
    (dir, store, ids)
}

/// A client that speaks HTTP/2 at once, and takes no more of a body than 64 KB before it is read.
pub async fn http2_client(address: SocketAddr) -> http2::SendRequest<Empty<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(65_535)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

pub fn http2_request(server: &Server, method: Method, target: &str) -> Request<Empty<Bytes>> {
    Request::builder().method(method).uri(format!("http://{}{target}", server.address)).body(Empty::new()).unwrap()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Every document and blob of an image: (target, digest, size).
pub fn everything(server: &Server, image: &str, tag: &str) -> Vec<(String, String, u64)> {
    let mut all = Vec::new();
    let mut add = |kind: &str, descriptor: &Value| {
        let digest = text(&descriptor["digest"]).to_owned();
        let target = format!("/v2/{image}/{kind}/{digest}");
        all.push((target.clone(), digest, descriptor["size"].as_u64().unwrap()));
        target
    };
    let index = server.get(&format!("/v2/{image}/manifests/{tag}"));
    for descriptor in index.json()["manifests"].as_array().unwrap() {
        let manifest = server.get(&add("manifests", descriptor)).json();
        add("blobs", &manifest["config"]);
        for layer in manifest["layers"].as_array().unwrap() {
            add("blobs", layer);
        }
    }
    all
}
