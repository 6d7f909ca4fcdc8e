//! Clients pull, by digest and to the end or not, while generations come, gc takes the old ones, and one instance hands
//! over to the next: no byte may be wrong, and no answer be a fault of the server.

mod client;
mod store;
mod tally;

use std::{
    process::Command,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Row, World, row, until};
use crate::{
    Result,
    http::fetch,
    server::{Flags, Server},
};
use client::Client;
use store::Changing;
use tally::{ENOUGH, Tally};

/// Clients at a time.
const CLIENTS: u64 = 6;
/// Between two looks at `/readyz`.
const LOOK: Duration = Duration::from_millis(50);
/// How long an instance may take to hand over and to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest pause between two upgrades.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) fn rows(world: &World) -> Vec<Row> {
    let churn = match Churn::start(world) {
        Ok(churn) => churn,
        Err(error) => return vec![row("pulls while the store changes", || Err(error))],
    };
    let churn = &churn;
    let end = Instant::now() + world.time * 4 / 5;
    let others = thread::scope(|scope| {
        let clients: Vec<_> = (1..=CLIENTS).map(|seed| scope.spawn(move || Client::new(churn, seed).run())).collect();
        let others = [
            scope.spawn(|| row("generations and gc meanwhile", || churn.change_store())),
            scope.spawn(|| row("hand-overs meanwhile", || churn.upgrade(world, end))),
            scope.spawn(|| row("/readyz meanwhile", || churn.watch())),
        ];
        while Instant::now() < end || (churn.tally.checked.get() < ENOUGH && Instant::now() < end + world.time) {
            thread::sleep(Duration::from_millis(20));
        }
        churn.stop.store(true, Ordering::Relaxed);
        for client in clients {
            if client.join().is_err() {
                churn.tally.fault("a client of the torture died".to_owned());
            }
        }
        let died = |_| row("what goes on meanwhile", || Err("a thread died".into()));
        others.map(|thread| thread.join().unwrap_or_else(died))
    });
    let pulls = row("by-digest GETs, all hashed", || churn.tally.verdict());
    let last = row("the last instance ends well", || churn.end());
    [pulls].into_iter().chain(others).chain([last]).collect()
}

/// What goes on, and what was seen.
struct Churn {
    flags: Flags,
    store: Changing,
    server: Mutex<Option<Server>>,
    stop: AtomicBool,
    /// There are two instances, of which one ends.
    draining: AtomicBool,
    tally: Tally,
}

impl Churn {
    fn start(world: &World) -> Result<Self> {
        let dir = world.dir.join("churn");
        let store = dir.join("store");
        let changing = Changing::make(&store, &world.programs.builder)?;
        let flags = Flags { handover: Some(dir.join("handover.sock")), ..Flags::new(&store)? };
        let server = spawn(world, &flags)?.wait("/v2/", Duration::from_millis(5))?;
        Ok(Self {
            flags,
            store: changing,
            server: Mutex::new(Some(server)),
            stop: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            tally: Tally::default(),
        })
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    fn change_store(&self) -> Result<String> {
        self.store.change(self.flags.listen, || self.is_stopped())
    }

    /// Starts the next instance, to which the running one hands over, a few times.
    fn upgrade(&self, world: &World, end: Instant) -> Result<String> {
        let pause = (world.time / 8).min(PAUSE);
        let mut upgrades = 0;
        while !self.is_stopped() && Instant::now() + pause < end {
            thread::sleep(pause);
            self.draining.store(true, Ordering::SeqCst);
            self.upgrade_once(world)?;
            self.draining.store(false, Ordering::SeqCst);
            upgrades += 1;
        }
        if upgrades == 0 { Err("there was no time for any".into()) } else { Ok(format!("{upgrades} times")) }
    }

    fn upgrade_once(&self, world: &World) -> Result {
        let mut next = spawn(world, &self.flags)?;
        let mut old = self.server().take().ok_or("there is no instance to take over from")?;
        let ended = until("the old instance ends", PATIENCE, || !old.runs() || !next.runs());
        if !next.runs() {
            *self.server() = Some(old);
            return Err(format!("the next instance ended: {}", next.words()).into());
        }
        *self.server() = Some(next);
        ended?;
        match old.stop()? {
            status if status.success() => Ok(()),
            status => Err(format!("the old instance ended with {status}").into()),
        }
    }

    /// Asks `/readyz` again and again: it may say no only while one of two instances ends.
    fn watch(&self) -> Result<String> {
        let (mut ready, mut ending) = (0, 0);
        while !self.is_stopped() {
            let before = self.is_draining();
            let answer = fetch(self.flags.admin, "/readyz");
            match &answer {
                Ok(answer) if answer.head.status == 200 => ready += 1,
                _ if before || self.is_draining() => ending += 1,
                Ok(answer) => {
                    let text = String::from_utf8_lossy(&answer.body);
                    return Err(format!("{} without a reason: {text}", answer.head.status).into());
                }
                Err(error) => return Err(format!("no answer: {error}").into()),
            }
            thread::sleep(LOOK);
        }
        Ok(format!("{ready} times 200, {ending} times another answer or none, of an instance that ended"))
    }

    fn end(&self) -> Result<String> {
        let mut server = self.server().take().ok_or("there is no instance")?;
        if !server.runs() {
            return Err(format!("it has died: {}", server.words()).into());
        }
        let memory = server.anonymous()?;
        match server.stop()? {
            status if status.success() => Ok(format!("with {memory:.1} MiB of RssAnon before")),
            status => Err(format!("with {status}").into()),
        }
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(world: &World, flags: &Flags) -> Result<Server> {
    let mut command = Command::new(&world.programs.registry);
    Server::spawn(&world.dir.join("churn"), "registry", flags.listen, command.args(flags.arguments()))
}
