//! Clients that are rude, one kind after another; after each, a good one is served as always.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use super::http2;
use crate::{
    Result,
    http::{Connection, get},
    torture::{
        Row, World, row,
        site::{self, MANIFEST, Site},
    },
};

/// Requests that are sent before the first answer is read.
const PIPELINED: usize = 100;
/// Requests that are cancelled.
const RESETS: u32 = 10_000;
/// MiB by which a client may make the registry grow.
const GROWTH: f64 = 16.0;
/// Who has said something that is no request, and that it is all, is let go by then.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) fn rows(world: &World) -> Vec<Row> {
    let site = match Site::start(world, "rude") {
        Ok(site) => site,
        Err(error) => return vec![row("clients that are rude", || Err(error))],
    };
    type Client = fn(&Site) -> Result<String>;
    let clients: [(&str, Client); 9] = [
        ("10,000 header bytes", long_headers),
        ("too many header bytes", too_long_headers),
        ("pipelining", pipelining),
        ("half-closed socket", half_closed),
        ("absolute-form", absolute_form),
        ("asterisk-form", asterisk_form),
        ("TLS hello on a plain port", tls_hello),
        ("no HTTP at all", garbage),
        ("HTTP/2 rapid reset", rapid_reset),
    ];
    let mut rows: Vec<Row> = clients
        .into_iter()
        .map(|(name, client)| {
            row(name, || {
                let seen = client(&site)?;
                site.good_manifest().map_err(|error| format!("{seen}; then {error}"))?;
                Ok(seen)
            })
        })
        .collect();
    rows.push(row("after the rude ones", || site.end().map(|()| "it ends well".to_owned())));
    rows
}

fn long_headers(site: &Site) -> Result<String> {
    let mut connection = Connection::open(site.flags.listen)?;
    connection.ask(MANIFEST, &format!("X-Long: {}\r\n", "x".repeat(9800)))?;
    site::check_manifest(&connection.answer()?)?;
    Ok("answered".into())
}

fn too_long_headers(site: &Site) -> Result<String> {
    let mut statuses = Vec::new();
    let many: String = (0..200).map(|number| format!("X-{number}: x\r\n")).collect();
    for headers in [format!("X-Long: {}\r\n", "x".repeat(100_000)), many] {
        let mut connection = Connection::open(site.flags.listen)?;
        // Who is refused early may be so while it still sends.
        let _ = connection.ask(MANIFEST, &headers);
        match connection.head() {
            Ok(head) if head.status == 431 => statuses.push("431"),
            Ok(head) => return Err(format!("status {}", head.status).into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => statuses.push("reset"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(statuses.join(", "))
}

fn pipelining(site: &Site) -> Result<String> {
    let layer = site.layer(0)?;
    let mut connection = Connection::open(site.flags.listen)?;
    let two = [MANIFEST, &layer.path].map(|path| get(site.flags.listen, path, "")).concat();
    connection.send(two.repeat(PIPELINED / 2).as_bytes())?;
    for _ in 0..PIPELINED / 2 {
        site::check_manifest(&connection.answer()?)?;
        layer.check(&connection.answer()?)?;
    }
    Ok(format!("{PIPELINED} requests in one piece, answered in their order"))
}

fn half_closed(site: &Site) -> Result<String> {
    let layer = site.big_layer()?;
    let mut connection = Connection::open(site.flags.listen)?;
    connection.ask(&layer.path, "")?;
    connection.socket().shutdown(Shutdown::Write)?;
    layer.check(&connection.answer()?)?;
    Ok("answered to the end".into())
}

fn absolute_form(site: &Site) -> Result<String> {
    let mut connection = Connection::open(site.flags.listen)?;
    connection.ask(&format!("http://{}{MANIFEST}", site.flags.listen), "")?;
    site::check_manifest(&connection.answer()?)?;
    Ok("answered".into())
}

fn asterisk_form(site: &Site) -> Result<String> {
    let mut statuses = Vec::new();
    for method in ["OPTIONS", "GET"] {
        let mut connection = Connection::open(site.flags.listen)?;
        connection.send(format!("{method} * HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
        let status = connection.answer()?.head.status;
        if !(400..500).contains(&status) {
            return Err(format!("{method} *: status {status}").into());
        }
        statuses.push(format!("{method} *: {status}"));
    }
    Ok(statuses.join(", "))
}

/// containerd asks a port of the loopback by TLS first, and goes on without it only when the answer begins like HTTP.
fn tls_hello(site: &Site) -> Result<String> {
    let hello = [&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[7; 194]].concat();
    let said = said_to(site, &hello)?;
    if said.starts_with(b"HTTP/") {
        Ok("the answer begins `HTTP/`".into())
    } else {
        Err(format!("it said {said:?}").into())
    }
}

fn garbage(site: &Site) -> Result<String> {
    let bytes: Vec<u8> = (0..5000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut answers = Vec::new();
    for bytes in [&bytes[..], b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n\r\n\r\nX"] {
        let said = said_to(site, bytes)?;
        if !said.is_empty() && !said.starts_with(b"HTTP/1.1 4") && !said.starts_with(b"HTTP/1.1 505") {
            return Err(format!("it said {:?}", String::from_utf8_lossy(&said)).into());
        }
        answers.push(String::from_utf8_lossy(said.get(9..12).unwrap_or(b"closed")).into_owned());
    }
    Ok(answers.join(", "))
}

/// Everything that the server says to these bytes, when nothing follows them.
fn said_to(site: &Site, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(site.flags.listen)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // It may hang up before it has read everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err("still open after 15 s".into())
        }
        _ => Ok(said),
    }
}

fn rapid_reset(site: &Site) -> Result<String> {
    let layer = site.big_layer()?;
    site.good(&layer)?;
    let before = site.server.anonymous()?;
    let end = http2::rapid_reset(site.flags.listen, MANIFEST, RESETS)?;
    let blobs = http2::rapid_reset(site.flags.listen, &layer.path, RESETS)?;
    let growth = site.server.anonymous()? - before;
    if growth > GROWTH {
        return Err(format!("RssAnon has grown by {growth:.1} MiB").into());
    }
    Ok(format!("twice {RESETS} requests: {end:?} and {blobs:?}; RssAnon grew by {growth:.1} MiB"))
}
