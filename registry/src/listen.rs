//! Listening sockets: opened, inherited or taken over. What is done with the connections is `serve`'s affair.

mod endpoint;
mod unix;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

pub use endpoint::{Endpoint, EndpointError, unix_path};
pub(crate) use unix::{SocketFile, bind as bind_unix, connect as connect_unix};

use crate::error::Error;
use crate::tls::Tls;

/// How to listen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether another instance may listen on the same addresses (`SO_REUSEPORT`). The kernel then gives each
    /// connection to one of them. One that stops loses what the kernel gave it last: hand the sockets over instead.
    pub reuse_port: bool,
    /// Connections that may wait to be accepted. The kernel lowers it to `net.core.somaxconn`.
    pub backlog: i32,
    /// Who may connect to a Unix socket.
    pub unix_mode: u32,
    /// How long what was sent to a client may stay unconfirmed until the kernel ends the connection
    /// (`TCP_USER_TIMEOUT`). Without it, a client that is gone is told so for a quarter of an hour.
    pub unconfirmed: Duration,
    /// What clients of `tls:` endpoints are shown.
    pub tls: Option<Arc<Tls>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { reuse_port: false, backlog: 4096, unix_mode: 0o660, unconfirmed: Duration::from_secs(60), tls: None }
    }
}

/// A socket that clients connect to.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: Socket,
    pub(crate) tls: Option<Arc<Tls>>,
    /// The file of a Unix socket, which goes with it.
    file: Option<Arc<SocketFile>>,
}

/// Listens on every endpoint; on the `taken` sockets where they are what is asked for. The others of them are closed.
///
/// `systemd` reads and removes the environment's variables, so this belongs before other threads.
///
/// # Errors
/// [`Error::InUse`], [`Error::Listen`], [`Error::NoCertificate`], [`Error::NothingInherited`].
pub fn listen(endpoints: &[Endpoint], options: &Options, taken: Vec<OwnedFd>) -> Result<Vec<Listener>, Error> {
    let mut taken: Vec<Socket> = taken.into_iter().map(Socket::from).collect();
    let mut listeners = Vec::new();
    for endpoint in endpoints {
        let tls = match (endpoint.is_tls(), &options.tls) {
            (false, _) => None,
            (true, Some(tls)) => Some(Arc::clone(tls)),
            (true, None) => return Err(Error::NoCertificate(endpoint.clone())),
        };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => Error::InUse(endpoint.clone()),
            _ => Error::Listen { endpoint: endpoint.clone(), source },
        };
        let position = taken.iter().position(|socket| is(socket, endpoint));
        let sockets = match (endpoint, position.map(|position| taken.remove(position))) {
            (_, Some(socket)) => vec![socket],
            (Endpoint::Tcp(address) | Endpoint::Tls(address), None) => {
                vec![bind_tcp(*address, only_v6(*address, endpoints), options).map_err(failed)?]
            }
            (Endpoint::Unix(path), None) => {
                vec![bind_unix(path, options.unix_mode, options.backlog).map_err(failed)?]
            }
            (Endpoint::Systemd, None) => inherited().map_err(failed)?,
        };
        if sockets.is_empty() {
            return Err(Error::NothingInherited);
        }
        for socket in sockets {
            prepare(&socket, options).map_err(failed)?;
            let file = match endpoint {
                Endpoint::Unix(path) => SocketFile::of(path).map(Arc::new),
                _ => None,
            };
            listeners.push(Listener { socket, tls: tls.clone(), file });
        }
    }
    Ok(listeners)
}

impl Listener {
    /// Where it listens, with the port that the kernel has chosen if it was left to choose.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        let address = self.socket.local_addr().ok();
        match address.as_ref().and_then(SockAddr::as_socket) {
            Some(address) if self.tls.is_some() => Endpoint::Tls(address),
            Some(address) => Endpoint::Tcp(address),
            None => address.as_ref().and_then(unix::path).map_or(Endpoint::Systemd, Endpoint::Unix),
        }
    }

    /// Whether clients connect by a Unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        self.socket.local_addr().is_ok_and(|address| address.is_unix())
    }

    /// The same socket once more, for another process. What happens to the socket's file is the same affair.
    pub(crate) fn share(&self) -> io::Result<(OwnedFd, Option<Arc<SocketFile>>)> {
        Ok((self.socket.as_fd().try_clone_to_owned()?, self.file.clone()))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}

/// Whether the socket is what listening on the endpoint would give. Port 0 is any.
fn is(socket: &Socket, endpoint: &Endpoint) -> bool {
    let Ok(address) = socket.local_addr() else { return false };
    match endpoint {
        Endpoint::Tcp(wanted) | Endpoint::Tls(wanted) => address
            .as_socket()
            .is_some_and(|found| found.ip() == wanted.ip() && (wanted.port() == 0 || found.port() == wanted.port())),
        Endpoint::Unix(path) => unix::path(&address).is_some_and(|found| found == *path),
        Endpoint::Systemd => false,
    }
}

/// `[::]` has the IPv4 addresses too, unless another endpoint wants them.
fn only_v6(address: SocketAddr, endpoints: &[Endpoint]) -> bool {
    let v4 = |other: SocketAddr| other.is_ipv4() && other.port() == address.port();
    address.is_ipv6() && endpoints.iter().filter_map(Endpoint::address).any(v4)
}

fn bind_tcp(address: SocketAddr, only_v6: bool, options: &Options) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // The connections of an instance that has just ended are no reason to refuse the port to the next.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    Ok(socket)
}

/// The sockets that this process was started with.
fn inherited() -> io::Result<Vec<Socket>> {
    let mut sockets = ListenFd::from_env();
    let mut found = Vec::new();
    for index in 0..sockets.len() {
        let tcp = sockets.take_tcp_listener(index).map(|socket| socket.map(Socket::from));
        let socket = match tcp {
            Ok(socket) => socket,
            Err(_) => sockets.take_unix_listener(index)?.map(Socket::from),
        };
        found.extend(socket);
    }
    Ok(found)
}

/// Sets what each accepted connection gets from its listener, which saves the calls for each.
fn prepare(socket: &Socket, options: &Options) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if socket.local_addr()?.as_socket().is_some() {
        let socket = SockRef::from(socket);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(options.unconfirmed))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
