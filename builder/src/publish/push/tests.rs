//! Against a registry of a few lines, which takes everything and can be told to fail.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use kitbag_toolsets::{Compression, canonical};

use super::*;
use crate::publish::tests::{image, store};

/// What the registry has seen and how it behaves.
#[derive(Debug, Default)]
struct State {
    /// Lines of requests, in their order.
    requests: Vec<String>,
    /// What was put, by digest or tag.
    content: BTreeMap<String, Vec<u8>>,
    /// How many uploads still fail with 503.
    failures: usize,
    /// The only credentials that may write, in base64.
    credentials: Option<&'static str>,
    /// Whether locations are left out of answers to manifests.
    no_location: bool,
}

struct Registry {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Registry {
    /// It listens until the test ends.
    fn start(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&stream.unwrap(), &shared);
            }
        });
        Self { address, state }
    }

    fn push(&self, content: &Content, auth: &RegistryAuth) -> Result<Pushed, PushError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let to = format!("{}/team/strace:6.1", self.address).parse().unwrap();
        let options = Options { plain_http: false, pause: Duration::ZERO };
        runtime.block_on(push(content, &to, auth, options))
    }

    fn has(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.lock().unwrap().content.clone()
    }

    fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

fn answer(stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let [method, path] = [0, 1].map(|part| line.split(' ').nth(part).unwrap());
    let (status, extra) = state.lock().unwrap().decide(method, path, &headers, body);
    let reason = if status == "403" { r#"{"errors":[{"code":"DENIED","message":"not in this team"}]}"# } else { "" };
    let length = if method == "HEAD" { 0 } else { reason.len() };
    write!(&*stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{extra}\r\n").unwrap();
    if method != "HEAD" {
        (&*stream).write_all(reason.as_bytes()).unwrap();
    }
}

impl State {
    fn decide(
        &mut self,
        method: &str,
        path: &str,
        headers: &BTreeMap<String, String>,
        body: Vec<u8>,
    ) -> (&'static str, String) {
        self.requests.push(format!("{method} {path}"));
        let path = path.strip_prefix("/v2/").unwrap();
        if path.is_empty() {
            let challenge = "WWW-Authenticate: Basic realm=\"registry\"\r\n".to_owned();
            return if self.credentials.is_some() { ("401", challenge) } else { ("200", String::new()) };
        }
        let authorized = headers.get("authorization").map(String::as_str);
        if method != "HEAD" && self.credentials.is_some_and(|wanted| authorized != Some(&format!("Basic {wanted}"))) {
            return ("403", String::new());
        }
        let rest = path.strip_prefix("team/strace/").unwrap();
        match method {
            "HEAD" => {
                let there = self.content.contains_key(rest.strip_prefix("blobs/").unwrap());
                (if there { "200" } else { "404" }, String::new())
            }
            "POST" => ("202", "Location: /v2/team/strace/blobs/uploads/1?state=secret\r\n".to_owned()),
            "PUT" if self.failures > 0 => {
                self.failures -= 1;
                ("503", String::new())
            }
            "PUT" => {
                let name = match rest.strip_prefix("manifests/") {
                    Some(name) => name.to_owned(),
                    None => {
                        let digest = rest.split("digest=").nth(1).unwrap().replace("%3A", ":");
                        assert_eq!(digest, format!("sha256:{}", canonical::sha256_hex(&body)));
                        digest
                    }
                };
                let location = format!("Location: /v2/team/strace/{name}\r\n");
                self.content.insert(name, body);
                ("201", if self.no_location { String::new() } else { location })
            }
            other => panic!("{other} {path}"),
        }
    }
}

fn auth() -> RegistryAuth {
    RegistryAuth::Basic("u".to_owned(), "one".to_owned())
}

#[test]
fn everything_is_there_and_the_tag_comes_last() {
    let (_dir, store) = store();
    let image = image(&store, "strace/tcpdump");
    for compression in Compression::ALL {
        let content = Content::of(&image, compression, &store);
        let registry = Registry::start(State::default());
        let pushed = registry.push(&content, &RegistryAuth::Anonymous).unwrap();
        assert_eq!((pushed.uploaded, pushed.present), (8, 0));
        let mut expected: BTreeMap<_, _> =
            content.all().iter().map(|blob| (blob.digest.to_string(), blob.read().unwrap().to_vec())).collect();
        let index = expected.remove(image.form(compression).index.digest.as_ref()).unwrap();
        expected.insert("6.1".to_owned(), index);
        assert_eq!(registry.has(), expected);
        assert_eq!(registry.requests().last().unwrap(), "PUT /v2/team/strace/manifests/6.1");
    }
}

#[test]
fn what_is_there_is_not_sent_again() {
    let (_dir, store) = store();
    let registry = Registry::start(State::default());
    let content = |path| Content::of(&image(&store, path), Compression::Gzip, &store);
    registry.push(&content("strace"), &RegistryAuth::Anonymous).unwrap();
    let pushed = registry.push(&content("strace/tcpdump"), &RegistryAuth::Anonymous).unwrap();
    assert_eq!((pushed.uploaded, pushed.present), (4, 4), "two layers and two configs are new");
    let pushed = registry.push(&content("strace/tcpdump"), &RegistryAuth::Anonymous).unwrap();
    assert_eq!(pushed, Pushed { uploaded: 0, bytes: 0, present: 8 });
}

#[test]
fn a_registry_that_is_busy_is_asked_again_but_not_for_ever() {
    let (_dir, store) = store();
    let content = Content::of(&image(&store, "strace"), Compression::Gzip, &store).only(kitbag_toolsets::Arch::Amd64);
    let content = content.unwrap();
    let registry = Registry::start(State { failures: 3, ..State::default() });
    assert_eq!(registry.push(&content, &RegistryAuth::Anonymous).unwrap().uploaded, 3);
    let registry = Registry::start(State { failures: 100, ..State::default() });
    let error = registry.push(&content, &RegistryAuth::Anonymous).unwrap_err().to_string();
    assert!(error.contains("does not take blob `sha256:") && error.ends_with("status 503"), "{error}");
}

#[test]
fn registries_without_locations_are_borne_with() {
    let (_dir, store) = store();
    let content = Content::of(&image(&store, "strace"), Compression::Gzip, &store);
    let registry = Registry::start(State { no_location: true, ..State::default() });
    registry.push(&content, &RegistryAuth::Anonymous).unwrap();
    assert!(registry.has().contains_key("6.1"));
}

#[test]
fn who_may_not_push_is_told_so_without_the_secret() {
    let (_dir, store) = store();
    let content = Content::of(&image(&store, "strace"), Compression::Gzip, &store);
    let state = || State { credentials: Some("dTpvbmU="), ..State::default() };
    Registry::start(state()).push(&content, &auth()).unwrap();
    let other = RegistryAuth::Basic("u".to_owned(), "hunter2".to_owned());
    for (auth, who) in [(other, "`u`"), (RegistryAuth::Anonymous, "anybody")] {
        let registry = Registry::start(state());
        let error = registry.push(&content, &auth).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(!told.contains("hunter2") && !told.contains("secret"), "{told}");
        let error = error.to_string().replace(&registry.address, "HOST");
        let expected =
            format!("the registry at `HOST` does not let {who} push to `team/strace`: status 403 not in this team");
        assert_eq!(error, expected);
    }
}

#[test]
fn an_answer_is_cut_to_what_a_person_reads() {
    assert_eq!(said(r#"{"errors":[{"code":"DENIED","message":"no"}]}"#), "no");
    assert_eq!(said("<html>\u{1b}[31m\nmore"), "<html>[31m");
    assert_eq!(said(&"x".repeat(1000)).len(), SHOWN);
    assert_eq!(said(""), "");
}
