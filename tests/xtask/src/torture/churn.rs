//! Clients pull, by digest and to the end or not, while generations come, gc takes the old ones, and one instance hands
//! over to the next: no byte may be wrong, and no answer be a fault of the server.

use std::{
    io,
    path::PathBuf,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use kitbag_toolsets::{GenerationId, canonical::sha256_hex};
use serde_json::Value;

use super::{Row, World, row};
use crate::{
    Result,
    http::{Answer, Connection, fetch},
    server::{Flags, Server},
    synthetic::{self, Tool},
};

/// GETs by digest that are checked at least.
const ENOUGH: u64 = 10_000;
/// Clients at a time.
const CLIENTS: u64 = 6;
/// Tools of the store.
const TOOLS: usize = 12;
/// Generations that gc keeps.
const KEEP: usize = 5;
/// Between two generations.
const PAUSE: Duration = Duration::from_millis(150);
/// A new generation that is not seen by then never will be. The goal is a second.
const SIGHT: Duration = Duration::from_secs(10);
/// Faults that are told; there may be thousands.
const TOLD: usize = 5;

pub(super) fn rows(world: &World) -> Vec<Row> {
    let churn = match Churn::start(world) {
        Ok(churn) => churn,
        Err(error) => return vec![row("pulls while the store changes", || Err(error))],
    };
    let end = Instant::now() + world.time * 4 / 5;
    let [store, instances] = thread::scope(|scope| {
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|seed| {
                scope.spawn({
                    let churn = &churn;
                    move || churn.pull(seed)
                })
            })
            .collect();
        let builder = scope.spawn(|| row("generations and gc meanwhile", || churn.change_store()));
        let upgrades = scope.spawn(|| row("hand-overs meanwhile", || churn.upgrade(world, end)));
        while Instant::now() < end || (churn.tally.checked.get() < ENOUGH && Instant::now() < end + world.time) {
            thread::sleep(Duration::from_millis(20));
        }
        churn.stop.store(true, Ordering::Relaxed);
        for client in clients {
            if client.join().is_err() {
                churn.fault("a client of the torture died".to_owned());
            }
        }
        [builder, upgrades].map(|thread| {
            thread.join().unwrap_or_else(|_| row("the store and the instances", || Err("a thread died".into())))
        })
    });
    vec![
        row("by-digest GETs, all hashed", || churn.verdict()),
        store,
        instances,
        row("the last instance ends well", || churn.end()),
    ]
}

/// What goes on, and what was seen.
struct Churn {
    flags: Flags,
    builder: PathBuf,
    server: Mutex<Option<Server>>,
    /// Every generation, the oldest first.
    generations: Mutex<Vec<GenerationId>>,
    stop: AtomicBool,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    checked: Count,
    bytes: Count,
    cut: Count,
    resumed: Count,
    /// Connections that the server had closed while they were idle, as it may.
    stale: Count,
    /// Digests of generations that gc has taken.
    expired: Count,
    draining: Count,
    faults: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Count(AtomicU64);

impl Count {
    fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a blob is pulled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pull {
    Whole,
    /// Hung up in the middle, and asked for the rest.
    Resumed,
    /// Hung up in the middle.
    Cut,
}

impl Churn {
    fn start(world: &World) -> Result<Self> {
        let dir = world.dir.join("churn");
        let store = dir.join("store");
        let first = synthetic::commit(&store, &tools(0))?;
        let flags = Flags { handover: Some(dir.join("handover.sock")), ..Flags::new(&store)? };
        let server = spawn(world, &flags)?.wait("/v2/", Duration::from_millis(5))?;
        Ok(Self {
            flags,
            builder: world.programs.builder.clone(),
            server: Mutex::new(Some(server)),
            generations: Mutex::new(vec![first]),
            stop: AtomicBool::new(false),
            tally: Tally::default(),
        })
    }

    /// Pulls images until it is told to stop.
    fn pull(&self, seed: u64) {
        let mut client =
            Client { churn: self, connection: None, random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)) };
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = client.pull_image() {
                self.fault(error.to_string());
                client.connection = None;
            }
        }
    }

    /// Adds generations and lets gc run, until it is told to stop.
    fn change_store(&self) -> Result<String> {
        let (mut slowest, mut collected, mut number) = (Duration::ZERO, 0, 0);
        while !self.stop.load(Ordering::Relaxed) {
            number += 1;
            let id = synthetic::commit(&self.flags.store, &tools(number))?;
            self.lock(&self.generations).push(id.clone());
            slowest = slowest.max(self.wait_for(&id)?);
            if number % 5 == 0 {
                let mut gc = Command::new(&self.builder);
                gc.arg("gc").arg("--store").arg(&self.flags.store).args(["--keep", &KEEP.to_string()]);
                let output = gc.output()?;
                if !output.status.success() {
                    return Err(format!("gc failed: {}", String::from_utf8_lossy(&output.stderr)).into());
                }
                collected += 1;
            }
            thread::sleep(PAUSE);
        }
        Ok(format!("{number} generations, each seen within {} ms; gc ran {collected} times", slowest.as_millis()))
    }

    fn wait_for(&self, id: &GenerationId) -> Result<Duration> {
        let path = format!("/v2/{}/manifests/{id}", synthetic::name(0));
        let seen = || fetch(self.flags.listen, &path).is_ok_and(|answer| answer.head.status == 200);
        super::until("a new generation is seen", SIGHT, || seen() || self.stop.load(Ordering::Relaxed))
    }

    /// Starts the next instance, to which the running one hands over, a few times.
    fn upgrade(&self, world: &World, end: Instant) -> Result<String> {
        let pause = (world.time / 8).min(Duration::from_secs(10));
        let mut upgrades = 0;
        while !self.stop.load(Ordering::Relaxed) && Instant::now() + pause < end {
            thread::sleep(pause);
            let mut next = spawn(world, &self.flags)?;
            let mut old = self.lock(&self.server).take().ok_or("there is no instance to take over from")?;
            let ended = super::until("the old instance ends", Duration::from_secs(30), || !old.runs() || !next.runs());
            if !next.runs() {
                *self.lock(&self.server) = Some(old);
                return Err(format!("the next instance ended: {}", next.words()).into());
            }
            *self.lock(&self.server) = Some(next);
            ended?;
            let status = old.stop()?;
            if !status.success() {
                return Err(format!("the old instance ended with {status}").into());
            }
            upgrades += 1;
        }
        Ok(format!("{upgrades} times"))
    }

    fn verdict(&self) -> Result<String> {
        let tally = &self.tally;
        let seen = format!(
            "{} ({} MB), {} cut by the client, {} resumed, {} of idle connections that had ended, {} of generations that gc took, {} while draining",
            tally.checked.get(),
            tally.bytes.get() / 1_000_000,
            tally.cut.get(),
            tally.resumed.get(),
            tally.stale.get(),
            tally.expired.get(),
            tally.draining.get(),
        );
        let faults = self.lock(&tally.faults);
        if let Some(more) = faults.len().checked_sub(1) {
            let told: Vec<&str> = faults.iter().take(TOLD).map(String::as_str).collect();
            return Err(format!("{} faults:\n{}\nin {seen}", more + 1, told.join("\n")).into());
        }
        if tally.checked.get() < ENOUGH {
            return Err(format!("too few: {seen}").into());
        }
        Ok(seen)
    }

    fn end(&self) -> Result<String> {
        let mut server = self.lock(&self.server).take().ok_or("there is no instance")?;
        if !server.runs() {
            return Err(format!("it has died: {}", server.words()).into());
        }
        let memory = server.anonymous()?;
        match server.stop()? {
            status if status.success() => Ok(format!("with {memory:.1} MiB of RssAnon before")),
            status => Err(format!("with {status}").into()),
        }
    }

    fn fault(&self, what: String) {
        let mut faults = self.lock(&self.tally.faults);
        faults.push(what);
        if faults.len() > TOLD {
            // A server that is broken is not to be asked as fast as it refuses.
            drop(faults);
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether gc may have taken the generation.
    fn is_expired(&self, generation: &str) -> bool {
        let generations = self.lock(&self.generations);
        generations.iter().rev().take(KEEP).all(|id| id.as_str() != generation)
    }

    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> std::sync::MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One client, with at most one connection.
struct Client<'a> {
    churn: &'a Churn,
    connection: Option<Connection>,
    random: Random,
}

impl Client<'_> {
    /// An image as clients pull it: the tag, then by digest the index, a manifest, the config and the layers.
    fn pull_image(&mut self) -> Result {
        let tools: Vec<String> =
            (0..=self.random.below(3)).map(|_| synthetic::name(self.random.below(TOOLS))).collect();
        let image = format!("/v2/{}", tools.join("/"));
        let tagged = self.get(&format!("{image}/manifests/latest"))?;
        if tagged.head.status == 503 {
            self.churn.tally.draining.add(1);
            return Ok(());
        }
        let digest = tagged.head.header("docker-content-digest").unwrap_or_default().to_owned();
        let index = self.check(&image, &tagged, &digest)?;
        let generation = index["annotations"]["dev.kitbag.generation"].as_str().unwrap_or_default().to_owned();
        let manifests = index["manifests"].as_array().ok_or("an index lists no manifests")?;
        let manifest = manifests[self.random.below(manifests.len().max(1))]["digest"].as_str().unwrap_or_default();
        let pulled =
            [&digest, manifest].map(|digest| self.by_digest(&image, "manifests", digest, &generation, Pull::Whole));
        let [_, manifest] = pulled;
        let Some(manifest) = manifest? else { return Ok(()) };
        let manifest: Value = serde_json::from_slice(&manifest)?;
        let layers = manifest["layers"].as_array().into_iter().flatten();
        for descriptor in layers.chain([&manifest["config"]]) {
            let digest = descriptor["digest"].as_str().ok_or("a manifest names no digest")?;
            let how = [Pull::Whole, Pull::Whole, Pull::Resumed, Pull::Cut][self.random.below(4)];
            self.by_digest(&image, "blobs", digest, &generation, how)?;
        }
        Ok(())
    }

    /// What a digest names, if it is still there.
    fn by_digest(
        &mut self,
        image: &str,
        kind: &str,
        digest: &str,
        generation: &str,
        how: Pull,
    ) -> Result<Option<Vec<u8>>> {
        let path = format!("{image}/{kind}/{digest}");
        let tally = &self.churn.tally;
        let answer = if how == Pull::Whole { self.get(&path)? } else { self.get_part(&path, how)? };
        match answer.head.status {
            200 => {}
            404 if self.churn.is_expired(generation) => {
                tally.expired.add(1);
                return Ok(None);
            }
            503 => {
                tally.draining.add(1);
                return Ok(None);
            }
            status => {
                let body = String::from_utf8_lossy(&answer.body);
                return Err(format!("{status} for {path} of generation {generation}: {body}").into());
            }
        }
        if how == Pull::Cut {
            tally.cut.add(1);
            return Ok(None);
        }
        if format!("sha256:{}", sha256_hex(&answer.body)) != digest {
            return Err(format!("WRONG BYTES for {path}").into());
        }
        tally.checked.add(1);
        tally.bytes.add(answer.body.len() as u64);
        Ok(Some(answer.body))
    }

    fn check(&self, image: &str, answer: &Answer, digest: &str) -> Result<Value> {
        if answer.head.status != 200 {
            return Err(format!("{} for {image}: {}", answer.head.status, String::from_utf8_lossy(&answer.body)).into());
        }
        if format!("sha256:{}", sha256_hex(&answer.body)) != digest {
            return Err(format!("WRONG BYTES for the tag of {image}").into());
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// A whole answer.
    fn get(&mut self, path: &str) -> Result<Answer> {
        self.begin(path, "", |connection| connection.answer())
    }

    /// Hangs up in the middle of the body, and asks for the rest if that is wanted.
    fn get_part(&mut self, path: &str, how: Pull) -> Result<Answer> {
        let (head, mut body) = self.begin(path, "", |connection| {
            let head = connection.head()?;
            let mut some = vec![0; (head.length() as usize / 2).max(1)];
            let count = if head.length() == 0 { 0 } else { connection.read(&mut some)? };
            some.truncate(count);
            Ok((head, some))
        })?;
        self.connection = None;
        if how == Pull::Cut || head.status != 200 || body.len() as u64 == head.length() {
            return Ok(Answer { head, body });
        }
        let rest = self.begin(path, &format!("Range: bytes={}-\r\n", body.len()), |connection| connection.answer())?;
        if rest.head.status != 206 {
            return Ok(rest);
        }
        self.churn.tally.resumed.add(1);
        body.extend(rest.body);
        Ok(Answer { head, body })
    }

    /// Asks, and reads by `read`. A connection that had ended while it was idle is replaced, as every client does; one
    /// that breaks otherwise is a fault.
    fn begin<T>(&mut self, path: &str, headers: &str, read: impl Fn(&mut Connection) -> io::Result<T>) -> Result<T> {
        if let Some(mut connection) = self.connection.take() {
            match connection.ask(path, headers).and_then(|()| read(&mut connection)) {
                Ok(answer) => {
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                Err(error) if is_stale(&error) => self.churn.tally.stale.add(1),
                Err(error) => return Err(format!("an answer broke off, to {path}: {error}").into()),
            }
        }
        let new = Connection::open(self.churn.flags.listen);
        let mut connection = new.map_err(|error| format!("a connection was refused: {error}"))?;
        let answer = connection.ask(path, headers).and_then(|()| read(&mut connection));
        let answer = answer.map_err(|error| format!("a new connection was lost, asking for {path}: {error}"))?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

/// Whether the connection had ended before the server saw the request.
fn is_stale(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

/// The tools of a generation: one of them has another version in each.
fn tools(generation: usize) -> Vec<Tool> {
    let tool = |number: usize| {
        // One layer is larger than what the sockets' buffers take.
        let bytes = if number == 3 { 6 << 20 } else { 30_000 };
        Tool::new(&synthetic::name(number), &format!("1.{generation}"), bytes)
    };
    match generation {
        0 => (0..TOOLS).map(tool).chain([Tool::new("base", "1.0", 100_000)]).collect(),
        _ => vec![tool(generation % TOOLS)],
    }
}

fn spawn(world: &World, flags: &Flags) -> Result<Server> {
    let mut command = Command::new(&world.programs.registry);
    Server::spawn(&world.dir.join("churn"), "registry", flags.listen, command.args(flags.arguments()))
}

/// Numbers that only have to differ: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}
