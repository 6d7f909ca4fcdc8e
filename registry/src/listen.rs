//! Listening sockets: opened, inherited or taken over. What is done with the connections is `serve`'s affair.

mod endpoint;
mod unix;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
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
    /// Whether the name of a Unix socket is taken over from an instance that answers there. Else it is in use.
    pub replace: bool,
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
        Self {
            reuse_port: false,
            backlog: 4096,
            replace: false,
            unix_mode: 0o660,
            unconfirmed: Duration::from_secs(60),
            tls: None,
        }
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

/// Sockets that listen already.
#[derive(Debug, Default)]
pub struct Given {
    /// Those that this process was started with. `systemd` is these.
    pub inherited: Vec<OwnedFd>,
    /// Another instance's. Where nothing was inherited, `systemd` is those of them that no other endpoint is.
    pub taken: Vec<OwnedFd>,
}

/// Listens on every endpoint: [`bind`] and [`open`].
///
/// # Errors
/// As both have them.
pub fn listen(endpoints: &[Endpoint], options: &Options, given: Given) -> Result<Vec<Listener>, Error> {
    let listeners = bind(endpoints, options, given)?;
    open(&listeners, options)?;
    Ok(listeners)
}

/// Takes possession of every endpoint, without a connection being accepted by any that is not given. What is given and
/// not asked for is closed.
///
/// # Errors
/// [`Error::InUse`], [`Error::Listen`], [`Error::NoCertificate`], [`Error::NothingInherited`].
pub fn bind(endpoints: &[Endpoint], options: &Options, given: Given) -> Result<Vec<Listener>, Error> {
    let mut taken: Vec<Socket> = given.taken.into_iter().map(Socket::from).collect();
    // First what has a name: `systemd` is what is left.
    let named = |endpoint: &Endpoint| {
        let position = taken.iter().position(|socket| is(socket, endpoint));
        position.map(|position| taken.remove(position))
    };
    let named: Vec<Option<Socket>> = endpoints.iter().map(named).collect();
    let mut unnamed = given.inherited.into_iter().map(Socket::from).collect::<Vec<_>>();
    if unnamed.is_empty() {
        unnamed = taken;
    }
    let mut listeners = Vec::new();
    for (endpoint, named) in endpoints.iter().zip(named) {
        let tls = match (endpoint.is_tls(), &options.tls) {
            (false, _) => None,
            (true, Some(tls)) => Some(Arc::clone(tls)),
            (true, None) => return Err(Error::NoCertificate(endpoint.clone())),
        };
        let failed = failed(endpoint);
        let bound = match (endpoint, named) {
            (Endpoint::Unix(path), Some(socket)) => vec![Listener::unix(socket, path, false)],
            (_, Some(socket)) => vec![Listener::plain(socket)],
            (Endpoint::Tcp(address) | Endpoint::Tls(address), None) => {
                let socket = bind_tcp(*address, only_v6(*address, endpoints), options.reuse_port).map_err(failed)?;
                vec![Listener::plain(socket)]
            }
            (Endpoint::Unix(path), None) => vec![unix(path, options).map_err(failed)?],
            (Endpoint::Systemd, None) => std::mem::take(&mut unnamed).into_iter().map(Listener::plain).collect(),
        };
        if bound.is_empty() {
            return Err(Error::NothingInherited);
        }
        for mut listener in bound {
            prepare(&listener.socket, options).map_err(failed)?;
            listener.tls.clone_from(&tls);
            listeners.push(listener);
        }
    }
    Ok(listeners)
}

/// From here on the kernel accepts connections. Where a port is shared, an instance that fails after this takes some of
/// them down with it, so this belongs after all that can fail.
///
/// # Errors
/// [`Error::InUse`], [`Error::Listen`].
pub fn open(listeners: &[Listener], options: &Options) -> Result<(), Error> {
    listeners
        .iter()
        .try_for_each(|listener| listener.open(options.backlog).map_err(|error| failed(&listener.endpoint())(error)))
}

/// Listens on an address.
pub(crate) fn tcp(address: SocketAddr, options: &Options) -> io::Result<Listener> {
    let listener = Listener::plain(bind_tcp(address, false, options.reuse_port)?);
    prepare(&listener.socket, options)?;
    listener.open(options.backlog)?;
    Ok(listener)
}

/// Listens at a path.
pub(crate) fn unix(path: &Path, options: &Options) -> io::Result<Listener> {
    let bind = if options.replace { unix::replace } else { unix::bind };
    let listener = Listener::unix(bind(path, options.unix_mode, options.backlog)?, path, true);
    prepare(&listener.socket, options)?;
    Ok(listener)
}

/// The sockets that this process was started with, if one of the endpoints is these.
///
/// It reads and removes variables of the environment, so this belongs before other threads.
///
/// # Errors
/// [`Error::Listen`].
pub fn inherited(endpoints: &[Endpoint]) -> Result<Vec<OwnedFd>, Error> {
    if !endpoints.contains(&Endpoint::Systemd) {
        return Ok(Vec::new());
    }
    let mut sockets = ListenFd::from_env();
    let mut found = Vec::new();
    for index in 0..sockets.len() {
        let tcp = sockets.take_tcp_listener(index).map(|socket| socket.map(OwnedFd::from));
        let socket = match tcp {
            Ok(socket) => socket,
            Err(_) => sockets.take_unix_listener(index).map_err(failed(&Endpoint::Systemd))?.map(OwnedFd::from),
        };
        found.extend(socket);
    }
    Ok(found)
}

impl Listener {
    fn plain(socket: Socket) -> Self {
        Self { socket, tls: None, file: None }
    }

    fn unix(socket: Socket, path: &Path, ours: bool) -> Self {
        Self { socket, tls: None, file: SocketFile::of(path, ours).map(Arc::new) }
    }

    fn open(&self, backlog: i32) -> io::Result<()> {
        if self.socket.is_listener()? { Ok(()) } else { self.socket.listen(backlog) }
    }

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

/// Why it cannot be listened there.
fn failed(endpoint: &Endpoint) -> impl Fn(io::Error) -> Error + Copy {
    move |source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::InUse(endpoint.clone()),
        _ => Error::Listen { endpoint: endpoint.clone(), source },
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

fn bind_tcp(address: SocketAddr, only_v6: bool, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // The connections of an instance that has just ended are no reason to refuse the port to the next.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
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
