use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use http::Request;
use serde_json::Value;
use tracing::subscriber::with_default;

use super::{Format, Log, Sample, Settings, make};
use crate::exchange::Client;
use crate::{Metrics, Registry, Service, testing};

/// An output that a test can look at.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn settings(format: Format) -> Settings {
    Settings { filter: "warn,kitbag_registry=info".to_owned(), format, access: true, sample: Sample::ALL }
}

/// What is logged meanwhile, without what differs from one time to the next.
fn logged(settings: &Settings, work: impl FnOnce(&Log)) -> String {
    let paper = Paper::default();
    let (log, subscriber) = make(settings, Box::new(paper.clone()), false).unwrap();
    with_default(subscriber, || work(&log));
    drop(log);
    paper.text()
}

struct Asker {
    service: Service,
    runtime: tokio::runtime::Runtime,
    store: tempfile::TempDir,
}

impl Asker {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = testing::make(dir.path());
        let metrics = Arc::new(Metrics::default());
        let registry = Registry::open(store.dir(), Arc::clone(&metrics)).unwrap();
        let service = Service::new(Arc::new(registry), metrics);
        Self { service, runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(), store: dir }
    }

    /// Status and request id of the response.
    fn get(&self, path: &str, headers: &[(&str, &str)]) -> (u16, Option<String>) {
        let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
        let client = Client::Address(Ipv4Addr::new(192, 0, 2, 17).into());
        let response = self.runtime.block_on(self.service.exchange(client, &request.body(()).unwrap()));
        let id = response.headers().get("x-request-id").map(|id| id.to_str().unwrap().to_owned());
        (response.status().as_u16(), id)
    }
}

const ID: (&str, &str) = ("x-request-id", "test-1");

/// Times and sizes away.
fn steady(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for word in &mut words {
        if let Some((name @ ("us" | "bytes" | "digest"), _)) = word.split_once('=') {
            *word = format!("{name}=X");
        } else if word.ends_with('Z') && word.starts_with("20") {
            assert_eq!(word.len(), "2026-11-21T12:00:00.000000Z".len());
            *word = "TIME".to_owned();
        }
    }
    words.join(" ")
}

#[test]
fn a_request_is_a_line_of_text() {
    let asker = Asker::new();
    let text = logged(&settings(Format::Text), |_| {
        asker.get("/v2/strace/dig/manifests/latest", &[ID, ("user-agent", "containerd/2.1.4")]);
        asker.get("/v2/", &[ID]);
        asker.get("/elsewhere?secret=1", &[ID, ("user-agent", "a \"b\"\tstatus=200")]);
    });
    let lines: Vec<String> = text.lines().map(steady).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    TIME  INFO kitbag_registry::access: request_id=test-1 client=192.0.2.17 method=GET route=manifest repository=strace/dig tag=latest digest=X status=200 bytes=X us=X user_agent=containerd/2.1.4
    TIME  INFO kitbag_registry::access: request_id=test-1 client=192.0.2.17 method=GET route=base status=200 bytes=X us=X
    TIME  INFO kitbag_registry::access: request_id=test-1 client=192.0.2.17 method=GET route=none path=/elsewhere status=404 bytes=X us=X user_agent="a \"b\"\u0009status=200"
    "#);
}

#[test]
fn a_request_is_a_line_of_json() {
    let asker = Asker::new();
    let agent = "a \"b\" \\ \t c";
    let text = logged(&settings(Format::Json), |_| {
        asker.get("/v2/strace/dig/manifests/latest", &[ID, ("user-agent", agent)]);
        tracing::info!(target: "kitbag_registry", answer = 42, "something else");
    });
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut line = lines.next().unwrap();
    assert!(line["us"].is_u64() && line["bytes"].as_u64() > Some(0));
    assert!(line["digest"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(line["user_agent"], agent);
    for volatile in ["us", "bytes", "digest", "timestamp", "user_agent"] {
        line.as_object_mut().unwrap().remove(volatile);
    }
    insta::assert_snapshot!(line, @r#"{"client":"192.0.2.17","level":"INFO","method":"GET","repository":"strace/dig","request_id":"test-1","route":"manifest","status":200,"tag":"latest","target":"kitbag_registry::access"}"#);
    let other = lines.next().unwrap();
    assert_eq!((&other["message"], &other["answer"]), (&Value::from("something else"), &Value::from(42)));
}

#[test]
fn sampling_leaves_requests_out_but_none_that_failed_here() {
    let asker = Asker::new();
    let sampled = Settings { sample: "0.1".parse().unwrap(), ..settings(Format::Text) };
    let text = logged(&sampled, |_| {
        for _ in 0..100 {
            asker.get("/v2/", &[]);
        }
    });
    assert_eq!(text.lines().count(), 10, "{text}");
    let none = Settings { sample: "0".parse().unwrap(), ..settings(Format::Text) };
    let dig = kitbag_toolsets::Name::parse("dig").unwrap();
    let digest = asker.service.registry.latest().tools()[&dig].values().next().unwrap().gzip.digest.clone();
    std::fs::remove_file(asker.store.path().join("blobs/sha256").join(digest.digest())).unwrap();
    let text = logged(&none, |_| {
        assert_eq!(asker.get("/v2/dig/manifests/latest", &[]), (200, None));
        let (status, id) = asker.get(&format!("/v2/dig/blobs/{digest}"), &[]);
        assert_eq!(status, 500);
        // So that whoever complains can name the line.
        assert_eq!(id.unwrap().len(), 20);
    });
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("kitbag_registry::access")).collect();
    assert!(lines.len() == 1 && lines[0].contains("ERROR") && lines[0].contains("status=500"), "{text}");
    assert_eq!(asker.service.metrics.store_errors.get(), 1);
}

#[test]
fn a_request_id_comes_back_to_who_sent_it() {
    let asker = Asker::new();
    assert_eq!(asker.get("/v2/", &[ID]), (200, Some("test-1".to_owned())));
    assert_eq!(asker.get("/v2/", &[("x-request-id", "not decent")]), (200, None));
}

#[test]
fn the_log_changes_while_it_runs() {
    let asker = Asker::new();
    let text = logged(&settings(Format::Text), |log| {
        let off = Settings { access: false, ..settings(Format::Text) };
        let debug = Settings { filter: "kitbag_registry=debug".to_owned(), ..settings(Format::Text) };
        let say = || {
            asker.get("/v2/", &[]);
            tracing::debug!(target: "kitbag_registry", "a detail");
        };
        say();
        log.change(&off).unwrap();
        say();
        log.change(&debug).unwrap();
        say();
        assert!(log.change(&Settings { filter: "a=b=c".to_owned(), ..off }).is_err());
        say();
    });
    let told = |word: &str| text.lines().filter(|line| line.contains(word)).count();
    assert_eq!((told("::access:"), told("a detail")), (3, 2), "{text}");
}

#[test]
fn a_part_is_written_as_people_write_it() {
    let parts = ["0", "1/100", "0.1", "1/3", "1", "1/1", "1.0"].map(|text| text.parse::<Sample>().unwrap().0);
    assert!(parts.is_sorted());
    assert_eq!((parts[0], parts[4], parts[5], parts[6]), (0, Sample::ALL.0, Sample::ALL.0, Sample::ALL.0));
    for text in ["", "x", "-1", "1.1", "2/1", "1/0", "0/0", "NaN", "1/2/3"] {
        assert!(text.parse::<Sample>().is_err(), "{text}");
    }
}
