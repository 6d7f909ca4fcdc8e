//! An instance ends: what it has begun it finishes, and where another one shares its port, no client notices.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use super::{
    Row, World, side_by_side,
    site::{self, Site},
    until,
};
use crate::{
    Result,
    http::{Connection, fetch},
    server::{Flags, Server},
};

/// Upgrades of instances that share a port.
const UPGRADES: usize = 3;
/// Clients at a time, each request on a connection of its own.
const CLIENTS: usize = 4;
/// How long an instance is left alone between two upgrades.
const PAUSE: Duration = Duration::from_millis(500);
/// What happens at the end must have happened by then: a guard, not a goal.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn rows(world: &World) -> Vec<Row> {
    side_by_side([
        ("SIGTERM during a download", &|| terminated(world)),
        ("upgrades on a shared port (SO_REUSEPORT)", &|| shared_port(world)),
    ])
}

/// `/readyz` says it first, the listener goes, the download comes to its end, and so does the process.
fn terminated(world: &World) -> Result<String> {
    let mut site = Site::start(world, "ending")?;
    let layer = site.big_layer()?;
    site.good(&layer)?;
    let mut connection = Connection::open(site.flags.listen)?;
    connection.ask(&layer.path, "")?;
    let head = connection.head()?;
    site.server.terminate()?;
    let unready = until("`/readyz` says that it ends", PATIENCE, || {
        fetch(site.flags.admin, "/readyz").is_ok_and(|answer| answer.head.status == 503)
    })?;
    let refused = until("new clients are refused", PATIENCE, || Connection::open(site.flags.listen).is_err())?;
    if !site.server.runs() {
        return Err("it has not waited for the download".into());
    }
    layer.check_bytes(&connection.body(&head)?)?;
    until("it has ended", PATIENCE, || !site.server.runs())?;
    match site.server.stop()? {
        status if status.success() => Ok(format!(
            "/readyz says so after {} ms, new clients are refused after {} ms, {} MB all right, exit 0",
            unready.as_millis(),
            (unready + refused).as_millis(),
            head.length() / 1_000_000
        )),
        status => Err(format!("it ended with {status}").into()),
    }
}

fn shared_port(world: &World) -> Result<String> {
    let dir = world.dir.join("shared-port");
    let store = dir.join("store");
    site::copy(world.store, &store)?;
    let flags = Flags { more: &["--reuse-port"], ..Flags::new(&store)? };
    let spawn = |number: usize| -> Result<Server> {
        let mut command = Command::new(&world.programs.registry);
        let command = command.args(flags.arguments());
        let server = Server::spawn(&dir, &format!("registry-{number}"), flags.listen, command)?;
        until("an instance says that it listens", PATIENCE, || server.words().contains("listening on"))?;
        Ok(server)
    };
    let mut server = spawn(0)?;
    let (stop, answered, lost) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| -> Result {
        let pull = || -> std::result::Result<(), String> {
            while !stop.load(Ordering::Relaxed) {
                match fetch(flags.listen, site::MANIFEST) {
                    Ok(answer) => {
                        site::check_manifest(&answer).map_err(|error| error.to_string())?;
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                        return Err(format!("an answer broke off: {error}"));
                    }
                    Err(_) => {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            Ok(())
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(pull)).collect();
        let mut upgrade = || -> Result {
            for number in 1..=UPGRADES {
                thread::sleep(PAUSE);
                let old = std::mem::replace(&mut server, spawn(number)?);
                match old.stop()? {
                    status if status.success() => {}
                    status => return Err(format!("the old instance ended with {status}").into()),
                }
            }
            thread::sleep(PAUSE);
            Ok(())
        };
        let upgraded = upgrade();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        upgraded
    })?;
    Site::of(server, flags)?.end()?;
    let (answered, lost) = (answered.into_inner(), lost.into_inner());
    let seen = format!("{answered} connections over {UPGRADES} upgrades, {lost} lost before an answer");
    // A socket that shares its port has a queue of its own, and what reaches the queue between the last look into it and
    // the end of the socket, the kernel cuts (unless it is told otherwise by `net.ipv4.tcp_migrate_req`): of each client
    // one connection at most. Where none may be lost, instances hand their sockets over.
    if lost <= (UPGRADES * CLIENTS) as u64 && answered > lost { Ok(seen) } else { Err(seen.into()) }
}
