//! A registry that has run out of files: who is connected is served on, blobs that were never opened too, and it takes
//! new clients as soon as it can.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    Row, World, row,
    site::{self, Site},
};
use crate::{
    Result,
    http::{Connection, fetch},
};

/// Files that the process may have.
const FILES: usize = 192;
/// Connections that are too many for that.
const CONNECTIONS: usize = 300;
/// A new client must be served by then.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn rows(world: &World) -> Vec<Row> {
    vec![row("file descriptor limit reached", || exhausted(world))]
}

fn exhausted(world: &World) -> Result<String> {
    let site = Site::start_by(world, "files", |program| {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={FILES}:{FILES}")).arg(program);
        command
    })?;
    let (opened, unopened) = (site.layer(0)?, site.layer(1)?);
    let mut existing = Connection::open(site.flags.listen)?;
    opened.check(&existing.get(&opened.path)?)?;
    let mut crowd = Vec::new();
    for _ in 0..CONNECTIONS {
        // The kernel takes them all; the registry can't.
        crowd.push(Connection::open(site.flags.listen)?);
    }
    thread::sleep(Duration::from_millis(500));
    site::check_manifest(&existing.get(site::MANIFEST)?)?;
    opened.check(&existing.get(&opened.path)?)?;
    unopened.check(&existing.get(&unopened.path)?).map_err(|error| format!("a blob not opened before: {error}"))?;
    drop(crowd);
    let began = Instant::now();
    super::until("a new client is served", PATIENCE, || {
        fetch(site.flags.listen, site::MANIFEST).is_ok_and(|answer| answer.head.status == 200)
    })?;
    let recovered = began.elapsed();
    site.good(&site.layer(2)?)?;
    drop(existing);
    site.end()?;
    Ok(format!(
        "{CONNECTIONS} connections, {FILES} files; who was there is served; a new client {} ms after the crowd has gone",
        recovered.as_millis()
    ))
}
