//! Unix sockets and their files.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::fchmod;
use socket2::{Domain, SockAddr, Socket, Type};

use super::endpoint::abstract_name;

/// Listens at the path. A socket file at which nobody answers is of an instance that was killed, and makes way.
pub(crate) fn bind(path: &Path, mode: u32, backlog: i32) -> io::Result<Socket> {
    if abstract_name(path).is_some() {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&address(path)?)?;
        socket.listen(backlog)?;
        return Ok(socket);
    }
    make_way(path)?;
    bind_file(path, mode, backlog)
}

/// Listens at the path, and takes the name over from whoever listens there, in one step: somebody answers at any time.
pub(crate) fn replace(path: &Path, mode: u32, backlog: i32) -> io::Result<Socket> {
    if abstract_name(path).is_some() {
        return bind(path, mode, backlog);
    }
    match path.symlink_metadata() {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        _ => {}
    }
    // Not longer than most names, because the kernel's limit is on this path too.
    let new = path.with_file_name(format!(".{}", std::process::id()));
    // What is left there is of a process that had our number, and is gone.
    make_way(&new)?;
    let socket = bind_file(&new, mode, backlog)?;
    std::fs::rename(&new, path).inspect_err(|_| drop(std::fs::remove_file(&new)))?;
    Ok(socket)
}

fn bind_file(path: &Path, mode: u32, backlog: i32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // On Linux the file gets the mode of the socket, less the umask. So it is at no time open to more than the mode
    // says, and the rest is added afterwards.
    fchmod(&socket, mode.into())?;
    socket.bind(&address(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// The address of the socket at the path; with `@`, of the name that is in no file system.
pub(crate) fn address(path: &Path) -> io::Result<SockAddr> {
    match abstract_name(path) {
        // To socket2 a zero at the beginning is what it is to the kernel.
        Some(name) => SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat())),
        None => SockAddr::unix(path),
    }
}

/// The path of an address, as [`address`] takes it.
pub(super) fn path(address: &SockAddr) -> Option<PathBuf> {
    let name = address.as_abstract_namespace().map(|name| OsString::from_vec([b"@", name].concat()).into());
    name.or_else(|| address.as_pathname().map(Path::to_owned))
}

/// Connects to the socket at the path.
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    match abstract_name(path) {
        Some(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
        None => UnixStream::connect(path),
    }
}

fn make_way(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(file) if file.file_type().is_socket() => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
            _ => Err(io::ErrorKind::AddrInUse.into()),
        },
        // It is something that somebody wants to keep: `bind` says that it is in use.
        _ => Ok(()),
    }
}

/// The file of a socket that listens.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
    ours: AtomicBool,
}

impl SocketFile {
    /// The file at the path, if there is one. Whether it is `ours`, and goes with us.
    pub(crate) fn of(path: &Path, ours: bool) -> Option<Self> {
        let inode = inode(path).filter(|_| abstract_name(path).is_none())?;
        Some(Self { path: path.to_owned(), inode, ours: AtomicBool::new(ours) })
    }

    /// Leaves it to another process, which listens on the same socket.
    pub(crate) fn leave(&self) {
        self.ours.store(false, Ordering::Relaxed);
    }

    /// Takes it from another process, which does not need it any more.
    pub(crate) fn claim(&self) {
        self.ours.store(true, Ordering::Relaxed);
    }

    /// Removes it, if it is ours and has not been replaced.
    pub(crate) fn remove(&self) {
        if self.ours.swap(false, Ordering::Relaxed) && inode(&self.path) == Some(self.inode) {
            // Where that fails the next instance finds that nobody answers.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    path.symlink_metadata().ok().map(|file| (file.dev(), file.ino()))
}
