//! The workload that the tests debug: a server that does a little of what servers do, so that there is something to see
//! from outside. It answers HTTP on port 8080, reads a file and writes its text every second, and resolves a name every
//! three seconds. Its image holds this program, that file, and nothing else.
//!
//! `shop FILE` is the server; `shop pause` only waits: the sandbox's program, and a second container's with nothing to do.
//! `shop hide FILE` is a server that other processes may not look into, `shop crash SECONDS` one that does not last.
#![forbid(unsafe_code)]

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs},
    thread,
    time::Duration,
};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Resolved every three seconds; the node's DNS server knows it.
const NAME: (&str, u16) = ("shop.kitbag.test", 80);

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let marker = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["pause"] => loop {
            thread::park();
        },
        ["crash", seconds] => {
            let seconds = seconds.parse().map_err(io::Error::other)?;
            println!("crashing in {seconds} s");
            thread::sleep(Duration::from_secs(seconds));
            return Err(io::Error::other("crashed, as it was told to"));
        }
        ["hide", marker] => {
            set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
            marker.to_owned()
        }
        [marker] => marker.to_owned(),
        _ => return Err(io::Error::other("usage: shop FILE | pause | hide FILE | crash SECONDS")),
    };
    let listener = TcpListener::bind(("0.0.0.0", 8080))?;
    thread::spawn(move || read_again_and_again(&marker));
    thread::spawn(resolve);
    for connection in listener.incoming().flatten() {
        // A client that leaves early is its own affair.
        thread::spawn(move || answer(connection).ok());
    }
    Ok(())
}

fn read_again_and_again(path: &str) {
    loop {
        match fs::read_to_string(path) {
            Ok(text) => println!("{}", text.trim_end()),
            Err(error) => println!("cannot read `{path}`: {error}"),
        }
        thread::sleep(Duration::from_secs(1));
    }
}

fn resolve() {
    let mut before = String::new();
    loop {
        let now = match NAME.to_socket_addrs() {
            Ok(addresses) => format!("{} is {:?}", NAME.0, addresses.map(|address| address.ip()).collect::<Vec<_>>()),
            Err(error) => format!("cannot resolve `{}`: {error}", NAME.0),
        };
        if now != before {
            println!("{now}");
        }
        before = now;
        thread::sleep(Duration::from_secs(3));
    }
}

/// One request, one answer, whatever was asked for.
fn answer(mut connection: TcpStream) -> io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    for line in BufReader::new(&connection).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let text = "the shop is open\n";
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn every_request_is_answered() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"GET /anything HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
        answer(listener.accept().unwrap().0).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nthe shop is open\n"), "{text}");
    }
}
