//! Handing the listening sockets to the instance that follows, so that an upgrade loses no connection.
//!
//! The new instance connects to the socket at which the running one offers its own. It gets them in one message, and
//! both accept from the same queues until the new one confirms. Then the old one stops accepting and finishes what it
//! has begun. The socket of the offer is handed over with the rest. The files of Unix sockets belong to the old instance
//! until it gives its sockets, to nobody until the new one confirms, and then to the new one.

use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::process::geteuid;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::UnixListener;
use tokio::time::{sleep, timeout};

use crate::error::Error;
use crate::listen::{Listener, SocketFile, bind_unix, connect_unix};

/// What the message with the sockets says, so that other versions of it are told apart.
const MESSAGE: &[u8] = b"kitbag-registry handover 1\n";
/// What the new instance says when it is ready.
const READY: u8 = b'r';
/// Sockets that can be handed over.
const MAX_SOCKETS: usize = 64;
/// New instances that may wait until the sockets are given to them.
const BACKLOG: i32 = 8;
/// How long the running instance may take to give its sockets.
const GIVE: Duration = Duration::from_secs(5);
/// How long the new instance may take to be ready, after which another one may ask.
const READY_TIME: Duration = Duration::from_secs(60);
/// Pause after nobody could be listened to because the process has no more files.
const PAUSE: Duration = Duration::from_millis(100);

/// Why sockets could not be taken over or offered.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// Whoever is at the socket is another user.
    #[error("what answers at `{path}` runs as user {uid}: choose another socket with `--handover`", path = path.display())]
    Stranger {
        /// The socket.
        path: PathBuf,
        /// Who is there.
        uid: u32,
    },
    /// It is no registry, or one that is too old or new.
    #[error(
        "what answers at `{path}` does not hand over sockets as this version does: stop it first",
        path = path.display()
    )]
    Language {
        /// The socket.
        path: PathBuf,
    },
    /// It does not answer, or the socket cannot be had.
    #[error("cannot hand over sockets at `{path}`: {source}", path = path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// What another instance has given.
#[derive(Debug)]
pub struct Taken {
    /// The socket of the offer.
    pub control: Control,
    /// The sockets that it listens on.
    pub sockets: Vec<OwnedFd>,
    /// To whoever gave them.
    pub giver: Giver,
}

/// The socket by which listening sockets are offered.
#[derive(Debug)]
pub struct Control {
    socket: OwnedFd,
    file: Option<SocketFile>,
}

/// The instance that has given its sockets, and still serves.
#[derive(Debug)]
pub struct Giver(UnixStream);

/// Asks the instance that offers its sockets at the path for them. There may be none.
///
/// # Errors
/// [`Error::Handover`].
pub fn take(path: &Path) -> Result<Option<Taken>, Error> {
    let failed = |source| Error::Handover(HandoverError::Io { path: path.to_owned(), source });
    let stream = match connect_unix(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let uid = socket_peercred(&stream).map_err(|error| failed(error.into()))?.uid;
    if uid != geteuid() {
        return Err(Error::Handover(HandoverError::Stranger { path: path.to_owned(), uid: uid.as_raw() }));
    }
    stream.set_read_timeout(Some(GIVE)).map_err(failed)?;
    let (said, sockets) = receive(&stream).map_err(failed)?;
    let mut sockets = sockets.into_iter();
    match sockets.next() {
        Some(socket) if said == MESSAGE => {
            let control = Control { socket, file: SocketFile::of(path, false) };
            Ok(Some(Taken { control, sockets: sockets.collect(), giver: Giver(stream) }))
        }
        // It ends, and gives nothing.
        None if said.is_empty() => Ok(None),
        _ => Err(Error::Handover(HandoverError::Language { path: path.to_owned() })),
    }
}

impl Control {
    /// Makes the socket, where there is none to take.
    ///
    /// # Errors
    /// [`Error::Handover`].
    pub fn new(path: &Path) -> Result<Self, Error> {
        match bind_unix(path, 0o600, BACKLOG) {
            Ok(socket) => Ok(Self { socket: socket.into(), file: SocketFile::of(path, true) }),
            Err(source) => Err(Error::Handover(HandoverError::Io { path: path.to_owned(), source })),
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}

impl Giver {
    /// Says that the sockets are served from here on, by whoever makes this offer, which also has their files. The other
    /// instance then stops accepting.
    pub fn ready(mut self, offer: &Offer) {
        offer.files().for_each(SocketFile::claim);
        // If it is gone already, it has left the files to us.
        let _ = self.0.write_all(&[READY]);
    }
}

/// Listening sockets that whoever comes next may have.
#[derive(Debug)]
pub struct Offer {
    control: Control,
    sockets: Vec<OwnedFd>,
    files: Vec<Arc<SocketFile>>,
}

impl Offer {
    /// Offers the listeners' sockets.
    ///
    /// # Errors
    /// [`Error::Start`].
    pub fn new(control: Control, listeners: &[Listener]) -> Result<Self, Error> {
        let (mut sockets, mut files) = (Vec::new(), Vec::new());
        for listener in listeners {
            let (socket, file) = listener.share().map_err(Error::Start)?;
            sockets.push(socket);
            files.extend(file);
        }
        Ok(Self { control, sockets, files })
    }

    /// Ends when another instance has the sockets and serves them.
    pub async fn taken(self) {
        let control = match self.control() {
            Ok(control) => control,
            Err(error) => {
                tracing::error!("cannot hand over the sockets to another instance: {error}");
                return std::future::pending().await;
            }
        };
        loop {
            match control.accept().await {
                Ok((stream, _)) => match self.give(stream).await {
                    Ok(true) => return,
                    Ok(false) => tracing::warn!("an instance asked for the sockets and did not get ready"),
                    Err(error) => tracing::warn!("cannot hand over the sockets: {error}"),
                },
                Err(error) => {
                    tracing::warn!("cannot hear who wants the sockets for now: {error}");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// The files of all that is offered.
    fn files(&self) -> impl Iterator<Item = &SocketFile> {
        self.control.file.iter().chain(self.files.iter().map(Arc::as_ref))
    }

    fn control(&self) -> io::Result<UnixListener> {
        let control = std::os::unix::net::UnixListener::from(self.control.socket.try_clone()?);
        control.set_nonblocking(true)?;
        UnixListener::from_std(control)
    }

    /// Gives the sockets to a client. Whether it then was ready.
    async fn give(&self, mut stream: tokio::net::UnixStream) -> io::Result<bool> {
        let uid = stream.peer_cred()?.uid();
        if uid != geteuid().as_raw() {
            tracing::warn!("user {uid} asked for the sockets, and is another one");
            return Ok(false);
        }
        let sockets: Vec<BorrowedFd> = std::iter::once(self.control.socket.as_fd())
            .chain(self.sockets.iter().map(|socket| socket.as_fd()))
            .collect();
        // Should we be told to end while the client has them, then it needs the files. If it fails in that moment too,
        // they are left behind, and make way.
        self.files().for_each(SocketFile::leave);
        let given = async {
            stream.async_io(Interest::WRITABLE, || send(stream.as_fd(), &sockets)).await?;
            Ok(matches!(timeout(READY_TIME, stream.read_u8()).await, Ok(Ok(READY))))
        };
        let given = given.await;
        if !matches!(given, Ok(true)) {
            self.files().for_each(SocketFile::claim);
        }
        given
    }
}

fn send(stream: BorrowedFd<'_>, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there are more than {MAX_SOCKETS}")));
    }
    sendmsg(stream, &[IoSlice::new(MESSAGE)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut said = vec![0; MESSAGE.len()];
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut said)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    said.truncate(received.bytes);
    let sockets = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    Ok((said, sockets.flatten().collect()))
}
