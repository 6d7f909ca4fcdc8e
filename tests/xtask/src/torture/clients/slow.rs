//! Clients that take their time, all at the same time: those who go on are served to the end, the others are cut off.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result,
    http::{Connection, get},
    server::Flags,
    torture::{
        Row, World, row, side_by_side,
        site::{self, Site},
    },
};

/// Connections that say nothing.
const SILENT: usize = 1000;
/// They are closed by then.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a response may stand still, as the registry is told here. By default it is a minute.
const STALL: &str = "3s";
/// It is cut by then.
const STALLED: Duration = Duration::from_secs(10);

pub(crate) fn rows(world: &World) -> Vec<Row> {
    let site = match start(world) {
        Ok(site) => site,
        Err(error) => return vec![row("clients that are slow", || Err(error))],
    };
    let mut rows = side_by_side([
        ("1,000 connections that say nothing", &|| silent(&site)),
        ("slow headers", &|| slow_headers(&site)),
        ("slow body of a request", &|| slow_body(&site)),
        ("slow reader of a response", &|| slow_reader(&site)),
        ("reader that stands still", &|| stalled(&site)),
    ]);
    rows.push(row("after the slow ones", || site.end().map(|()| "it ends well".to_owned())));
    rows
}

fn start(world: &World) -> Result<Site> {
    let store = world.dir.join("slow/store");
    site::copy(world.store, &store)?;
    let flags = Flags { more: &["--stall-timeout", STALL], ..Flags::new(&store)? };
    Site::serve(world, flags, |program| Command::new(program))
}

fn silent(site: &Site) -> Result<String> {
    let mut connections = Vec::new();
    for _ in 0..SILENT {
        connections.push((TcpStream::connect(site.flags.listen)?, Instant::now()));
    }
    let mut longest = Duration::ZERO;
    for (stream, since) in &mut connections {
        longest = longest.max(closed(stream, *since + SILENCE, *since)?);
    }
    Ok(format!("the last was closed after {:.1} s", longest.as_secs_f64()))
}

/// Waits until the server has closed a connection; after how long it has.
fn closed(stream: &mut TcpStream, end: Instant, since: Instant) -> Result<Duration> {
    let mut buffer = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(since.elapsed()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(format!("still open after {:.1} s", since.elapsed().as_secs_f64()).into());
            }
            Err(_) => return Ok(since.elapsed()),
        }
    }
}

/// A byte now and then: closed, however steadily they come.
fn slow_headers(site: &Site) -> Result<String> {
    dribble(site, b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", "")
}

/// The body of a request that needs none: the answer does not wait for it, nor does the registry for ever.
fn slow_body(site: &Site) -> Result<String> {
    let head = get(site.flags.listen, "/v2/", "Content-Length: 1000000\r\n");
    dribble(site, head.as_bytes(), "HTTP/1.1 ")
}

/// Sends a byte every half second behind `start` until the server hangs up; what it said must begin with `said`.
fn dribble(site: &Site, start: &[u8], said: &str) -> Result<String> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(site.flags.listen)?;
    stream.write_all(start)?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while began.elapsed() < SILENCE {
        let sent = stream.write_all(b"x");
        let ended = match stream.read(&mut buffer) {
            Ok(0) => true,
            Ok(count) => {
                answer.extend_from_slice(&buffer[..count]);
                false
            }
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        };
        if ended || sent.is_err() {
            let answer = String::from_utf8_lossy(&answer);
            if !answer.starts_with(said) {
                return Err(format!("closed without an answer: {answer:?}").into());
            }
            let status = answer.lines().next().unwrap_or("without an answer").to_owned();
            return Ok(format!("closed after {:.1} s ({status})", began.elapsed().as_secs_f64()));
        }
    }
    Err(format!("still open after {:.1} s", began.elapsed().as_secs_f64()).into())
}

/// Slow, but going on: it gets everything.
fn slow_reader(site: &Site) -> Result<String> {
    let (layer, began) = (site.big_layer()?, Instant::now());
    let mut connection = Connection::open(site.flags.listen)?;
    connection.ask(&layer.path, "")?;
    let length = connection.head()?.length() as usize;
    let (mut body, mut buffer) = (Vec::with_capacity(length), vec![0; 64 << 10]);
    let mut step = 0;
    while body.len() < length {
        let count = connection.read(&mut buffer)?;
        if count == 0 {
            return Err(format!("cut after {} of {length} bytes", body.len()).into());
        }
        body.extend_from_slice(&buffer[..count]);
        step += 1;
        if step % 10 == 0 {
            thread::sleep(Duration::from_millis(100));
        }
    }
    layer.check_bytes(&body)?;
    Ok(format!("{} MB in {:.1} s, all right", length / 1_000_000, began.elapsed().as_secs_f64()))
}

/// Asks for much and reads nothing.
fn stalled(site: &Site) -> Result<String> {
    let layer = site.big_layer()?;
    let mut connection = Connection::open(site.flags.listen)?;
    connection.ask(&layer.path, "")?;
    let length = connection.head()?.length();
    thread::sleep(STALLED);
    let (mut read, mut buffer) = (0, vec![0; 1 << 20]);
    while read < length {
        match connection.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok(format!("cut; {read} of {length} bytes were under way")),
            Ok(count) => read += count as u64,
        }
    }
    Err(format!("kept for {} s", STALLED.as_secs()).into())
}
