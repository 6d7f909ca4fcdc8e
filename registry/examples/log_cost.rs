//! What the access log costs: the time on processors, of all threads, of one warm manifest GET without sockets, with the log off, with ours, and with
//! `tracing`'s own formatter. `cargo run --release -p kitbag-registry --example log_cost -- STORE`

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use http::Request;
use kitbag_registry::exchange::Client;
use kitbag_registry::log::{self, Format, Sample, Settings};
use kitbag_registry::{Registry, Service};

/// Requests of a round, and rounds of which the fastest counts.
const REQUESTS: u32 = 100_000;
const ROUNDS: usize = 15;

fn main() {
    let store = std::env::args_os().nth(1).expect("the directory of a store");
    let service = Service::new(Arc::new(Registry::open(store.as_ref(), Arc::default()).unwrap()), Arc::default());
    let null = || Box::new(File::options().write(true).open("/dev/null").unwrap()) as Box<dyn Write + Send>;
    let base = measure(&service);
    println!("no log                          {base:6.0} ns");
    for (name, access, format, sample) in [
        ("ours, access log off", false, Format::Text, Sample::ALL),
        ("ours, text", true, Format::Text, Sample::ALL),
        ("ours, JSON", true, Format::Json, Sample::ALL),
        ("ours, JSON, one of 100", true, Format::Json, "1/100".parse().unwrap()),
    ] {
        let settings = Settings { filter: "warn,kitbag_registry=info".to_owned(), format, access, sample };
        let (_log, subscriber) = log::make(&settings, null(), false).unwrap();
        let time = tracing::subscriber::with_default(subscriber, || measure(&service));
        println!("{name:30}  {time:6.0} ns, {:+.0}", time - base);
    }
    let plain = tracing_subscriber::fmt().with_ansi(false);
    let writer = || Mutex::new(BufWriter::with_capacity(64 << 10, null()));
    let text = plain.with_writer(writer()).finish();
    let time = tracing::subscriber::with_default(text, || measure(&service));
    println!("tracing's text, buffered        {time:6.0} ns, {:+.0}", time - base);
    let json = tracing_subscriber::fmt().json().flatten_event(true).with_writer(writer()).finish();
    let time = tracing::subscriber::with_default(json, || measure(&service));
    println!("tracing's JSON, buffered        {time:6.0} ns, {:+.0}", time - base);
    let json = tracing_subscriber::fmt().json().flatten_event(true).with_writer(Mutex::new(null())).finish();
    let time = tracing::subscriber::with_default(json, || measure(&service));
    println!("tracing's JSON, a write a line  {time:6.0} ns, {:+.0}", time - base);
}

/// Nanoseconds of an exchange.
fn measure(service: &Service) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let request = Request::get("/v2/strace/tcpdump/manifests/latest")
        .header("accept", "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json")
        .header("user-agent", "containerd/2.1.4")
        .body(())
        .unwrap();
    let client = Client::Address(Ipv4Addr::new(192, 0, 2, 17).into());
    let round = || {
        let begin = processor_time();
        runtime.block_on(async {
            for _ in 0..REQUESTS {
                assert!(service.exchange(client, &request).await.status().is_success());
            }
        });
        (processor_time() - begin) / f64::from(REQUESTS)
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// Nanoseconds that the threads of this process have run.
fn processor_time() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let text = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap());
    text.map(|text| text.split(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}
