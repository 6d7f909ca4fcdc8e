//! What the registry costs beside CPU: memory, the time to start, and work that is done once for all who wait for it.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Figure, Goal, MANY_TOOLS, TOOLS, content::Content, image, median, peers};
use crate::{
    Result,
    http::{Connection, fetch},
    server::{Flags, Server, free_address},
};

/// Clients that pull at the same time.
const CLIENTS: usize = 64;
/// For how long they do.
const PULLING: Duration = Duration::from_secs(3);
/// Connections that asked once and then say nothing.
const IDLE: usize = 1000;
/// How often the start is measured.
const STARTS: usize = 11;
/// Clients that ask for one image first.
const FIRST: usize = 100;

const PAUSE: Duration = Duration::from_millis(5);

/// Memory that belongs to no file: idle, with clients that pull, with clients that only hold a connection.
pub(super) fn memory(dir: &Path, registry: &Path, stores: [&Path; 2], content: &Content) -> Result<Vec<Figure>> {
    let at_most = |goal| Some(Goal::AtMost(goal));
    let large = peers::kitbag(dir, registry, stores[1])?.wait("/v2/", PAUSE)?;
    let idle_large = settled(&large)?;
    drop(large);
    let server = peers::kitbag(dir, registry, stores[0])?.wait("/v2/", PAUSE)?;
    let idle = settled(&server)?;
    let mut connections = Vec::new();
    for _ in 0..IDLE {
        let mut connection = Connection::open(server.address)?;
        connection.get(&content.by_tag())?;
        connections.push(connection);
    }
    let holding = settled(&server)?;
    drop(connections);
    let pulling = while_pulling(&server, &content.blob("blob20")?)?;
    let name = |when: &str| format!("RssAnon, {when}");
    Ok(vec![
        Figure::new(&name(&format!("idle, {TOOLS} tools")), idle, "MiB", at_most(4.0)),
        Figure::new(&name(&format!("idle, {MANY_TOOLS} tools")), idle_large, "MiB", None),
        Figure::new(&name(&format!("{CLIENTS} clients pull 20 MB each")), pulling, "MiB", at_most(16.0)),
        Figure::new(&name(&format!("{IDLE} idle connections")), holding, "MiB", at_most(20.0)),
    ])
}

/// Memory when nothing has happened for a moment.
fn settled(server: &Server) -> Result<f64> {
    thread::sleep(Duration::from_millis(500));
    server.anonymous()
}

/// The most that was seen while every client pulled, again and again.
fn while_pulling(server: &Server, path: &str) -> Result<f64> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let pull = || -> io::Result<()> {
            let mut connection = Connection::open(server.address)?;
            let mut buffer = vec![0; 64 << 10];
            while !stop.load(Ordering::Relaxed) {
                connection.ask(path, "")?;
                let mut left = connection.head()?.length();
                while left > 0 {
                    match connection.read(&mut buffer)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        count => left -= count as u64,
                    }
                }
            }
            Ok(())
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(pull)).collect();
        let end = Instant::now() + PULLING;
        let mut most: f64 = 0.0;
        let mut sampled = Ok(());
        while sampled.is_ok() && Instant::now() < end {
            sampled = server.anonymous().map(|now| most = most.max(now));
            thread::sleep(PAUSE);
        }
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        sampled.map(|()| most)
    })
}

/// From the start of the process to the first manifest, beside nginx, in turn.
pub(super) fn starts(dir: &Path, registry: &Path, large: &Path) -> Result<Vec<Figure>> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // nginx has no store: it finds under the same path whatever file is there.
    let path = format!("/v2/{}/manifests/latest", image(super::content::IMAGE));
    for _ in 0..STARTS {
        ours.push(start(&path, || peers::kitbag(dir, registry, large))?);
        let other = free_address()?;
        theirs.push(start(&path, || peers::nginx(dir, &dir.join("www"), other))?);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let what = format!("start to ready, {MANY_TOOLS} tools");
    Ok(vec![
        Figure::new(&format!("{what}: kitbag-registry"), ours, "ms", Some(Goal::AtMost(theirs))),
        Figure::new(&format!("{what}: nginx"), theirs, "ms", None),
    ])
}

/// Milliseconds.
fn start(path: &str, server: impl FnOnce() -> Result<Server>) -> Result<f64> {
    let began = Instant::now();
    let _server = server()?.wait(path, Duration::from_micros(100))?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// How often an image is composed that many ask for at once, before anyone did.
pub(super) fn concurrent_first_requests(dir: &Path, registry: &Path, store: &Path) -> Result<Vec<Figure>> {
    let flags = Flags::new(store)?;
    let server = peers::kitbag_with(dir, registry, &flags)?.wait("/v2/", PAUSE)?;
    let before = composed(flags.admin)?;
    let barrier = Barrier::new(FIRST);
    let path = format!("/v2/{}/manifests/latest", image([4, 5, 6]));
    let ask = || -> io::Result<u16> {
        let mut connection = Connection::open(server.address)?;
        barrier.wait();
        Ok(connection.get(&path)?.head.status)
    };
    thread::scope(|scope| -> Result {
        let clients: Vec<_> = (0..FIRST).map(|_| scope.spawn(ask)).collect();
        for client in clients {
            let status = client.join().map_err(|_| "a client panicked")??;
            if status != 200 {
                return Err(format!("a first request was answered with {status}").into());
            }
        }
        Ok(())
    })?;
    let times = composed(flags.admin)? - before;
    Ok(vec![Figure::new(&format!("compositions for {FIRST} first requests"), times, "", Some(Goal::AtMost(1.0)))])
}

/// How many images have been composed, as the metrics say.
fn composed(admin: SocketAddr) -> Result<f64> {
    let text = String::from_utf8(fetch(admin, "/metrics")?.body)?;
    let line = text.lines().find_map(|line| line.strip_prefix("kitbag_registry_composed_total "));
    Ok(line.ok_or("the metrics do not tell how many images were composed")?.trim().parse()?)
}
