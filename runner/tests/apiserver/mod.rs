//! An API server on a port of this machine that answers as it is told, over HTTP and WebSockets.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::SinkExt as _;
use kitbag_runner::session::Place;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// A request.
pub(crate) struct Asked {
    /// `exec`, `attach`, or nothing for the pod itself, and for all pods; the path of anything else.
    pub(crate) subresource: String,
    query: Vec<(String, String)>,
    key: String,
}

impl Asked {
    /// The parameters of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.query.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.all("watch") == ["true"]
    }
}

type Part = Box<dyn FnOnce(Wire) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// What it gets.
pub(crate) enum Answer {
    /// A document.
    Json(u16, Value),
    /// A WebSocket, on which this happens.
    Talk(Part),
}

/// A WebSocket, and what it is used for.
pub(crate) fn talk<F: Future<Output = ()> + Send + 'static>(part: impl FnOnce(Wire) -> F + Send + 'static) -> Answer {
    Answer::Talk(Box::new(move |wire| Box::pin(part(wire))))
}

/// A refusal.
pub(crate) fn refusal(code: u16, message: &str) -> Answer {
    let reason = if code == 404 { "NotFound" } else { "" };
    Answer::Json(
        code,
        json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message }),
    )
}

/// The server's end of an exec.
pub(crate) struct Wire(pub(crate) WebSocketStream<TcpStream>);

impl Wire {
    pub(crate) async fn say(&mut self, channel: u8, data: &[u8]) {
        // A client that has left hears nothing.
        let _ = self.0.send(Message::Binary([&[channel], data].concat().into())).await;
    }

    pub(crate) async fn end(&mut self, code: i32) {
        let cause = json!({ "reason": "ExitCode", "message": code.to_string() });
        let status = match code {
            0 => json!({ "status": "Success" }),
            _ => json!({ "status": "Failure", "reason": "NonZeroExitCode", "details": { "causes": [cause] } }),
        };
        self.say(3, status.to_string().as_bytes()).await;
        let _ = self.0.close(None).await;
    }
}

/// A pod `shop` in namespace `web` with the debug container `kitbag-b2c4d`, whose API server answers like this.
pub(crate) async fn place(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Place {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&answer)));
        }
    });
    let mut config = Config::new(format!("http://{address}").parse().unwrap());
    config.proxy_url = None;
    let (namespace, pod, container) = ("web".to_owned(), "shop".to_owned(), "kitbag-b2c4d".to_owned());
    Place { client: Client::try_from(config).unwrap(), namespace, pod, container }
}

async fn serve(mut stream: TcpStream, answer: Arc<impl Fn(&Asked) -> Answer>) {
    let asked = read(&mut stream).await;
    match answer(&asked) {
        Answer::Json(code, body) => {
            let body = format!("{body}\n");
            let head = format!("HTTP/1.1 {code} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
        Answer::Talk(part) => {
            let head = format!(
                "HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {}\r\nsec-websocket-protocol: v5.channel.k8s.io\r\n\r\n",
                derive_accept_key(asked.key.as_bytes())
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            part(Wire(WebSocketStream::from_raw_socket(stream, Role::Server, None).await)).await;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Asked {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let uri = head.split(' ').nth(1).unwrap();
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let subresource = path.strip_prefix("/api/v1/namespaces/web/pods").unwrap_or(path);
    let subresource = subresource.strip_prefix("/shop").unwrap_or(subresource);
    let subresource = if path.contains("/pods") { subresource.trim_start_matches('/') } else { path }.to_owned();
    let header = |line: &str| Some(line.split_once(": ")?.1.to_owned());
    let key = head.lines().find(|line| line.to_lowercase().starts_with("sec-websocket-key")).and_then(header);
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Asked { subresource, query, key: key.unwrap_or_default() }
}
