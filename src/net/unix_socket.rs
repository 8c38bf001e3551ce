//! Binds a listening Unix socket to a path. A live socket is never replaced. A symbolic link at the path is never
//! followed. While a stale socket is replaced, the path always exists.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, RenameFlags, open, renameat2};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::stat::Mode;
use nix::sys::time::TimeVal;
use nix::unistd::unlink;

use crate::sys::socket::{FileId, MAX_UNIX_PATH, Probe, bind_unix, listen, probe_unix};
use crate::sys::user;

use super::error::PlaceError;
use super::socket_permissions::SocketPermissions;

/// Binds a listening socket to the absolute `path`. Sets mode and owner before clients can connect.
///
/// A stale socket file is replaced by an exchange of two names (renameat2(2)). If the exchanged file is not the file
/// that was found stale, the exchange is undone. A lock on the directory makes processes that start at the same time
/// take turns. The function waits up to two seconds for the lock.
///
/// # Errors
/// [`PlaceError`].
pub(crate) fn place(
    path: &Path,
    permissions: SocketPermissions,
    backlog: u32,
) -> Result<(OwnedFd, FileId), PlaceError> {
    let target = Target::of(path)?;
    let _lock = target.lock_directory();
    let probe = probe_unix(&target.short_path(&target.name)?).map_err(|e| match e.kind() {
        io::ErrorKind::PermissionDenied => PlaceError::Unknown(user::current_name()),
        _ => PlaceError::Kernel(e),
    })?;
    match probe {
        Probe::Live => Err(PlaceError::Live),
        Probe::NotASocket(kind) => Err(PlaceError::NotASocket(kind)),
        Probe::Absent => target.listen_at(&target.name, permissions, backlog),
        Probe::Stale(stale) => {
            let temporary = target.temporary_name();
            if let Ok(Probe::Stale(_)) = probe_unix(&target.short_path(&temporary)?) {
                // an earlier process with the same pid may have left the file, because it was killed before it renamed
                // or removed the file
                let _ = unlink(&target.short_path(&temporary)?);
            }
            let made = target.listen_at(&temporary, permissions, backlog)?;
            let replaced = target.replace(stale, &temporary);
            if replaced.is_err() {
                let _ = unlink(&target.short_path(&temporary)?);
            }
            replaced.map(|()| made)
        }
    }
}

/// Connects to a listening Unix stream socket. Waits while its accept queue is full, at most for `timeout`, which is
/// rounded down to whole seconds and is at least one second.
///
/// # Errors
/// Those of connect(2); `TimedOut` when the accept queue stays full.
pub(crate) fn connect(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let seconds = i64::try_from(timeout.as_secs().max(1)).unwrap_or(i64::MAX);
    socket::setsockopt(&socket, sockopt::SendTimeout, &TimeVal::new(seconds, 0))?;
    match socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => Ok(UnixStream::from(socket)),
        Err(Errno::EAGAIN) => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error.into()),
    }
}

/// Connects to a listening Unix stream socket without waiting. The returned stream is non-blocking.
///
/// # Errors
/// Those of connect(2); `WouldBlock` when the accept queue is full.
pub(crate) fn connect_now(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// Maximum time that this process waits for the lock on the directory.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// The result of [`remove`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// The file was removed.
    Removed,
    /// There was no file.
    Gone,
    /// Another file is at the path. It is left alone.
    Changed,
}

/// Removes the socket file at `path`, if it is still the file `id`.
///
/// # Errors
/// Those of lstat(2) and unlink(2).
pub(crate) fn remove(path: &Path, id: FileId) -> io::Result<Removal> {
    match FileId::of(path) {
        Ok(found) if found == id => {}
        Ok(_) => return Ok(Removal::Changed),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Removal::Gone),
        Err(e) => return Err(e),
    }
    std::fs::remove_file(path)?;
    Ok(Removal::Removed)
}

/// The path at which a socket is bound: the directory with its open descriptor, and a name in the directory.
struct Target {
    directory: PathBuf,
    handle: OwnedFd,
    name: OsString,
}

impl Target {
    fn of(path: &Path) -> Result<Self, PlaceError> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(PlaceError::NotASocket("a directory"));
        };
        let directory = directory.to_owned();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match open(&directory, flags, Mode::empty()) {
            Ok(handle) => Ok(Self {
                directory,
                handle,
                name: name.to_owned(),
            }),
            Err(Errno::ENOENT) => Err(PlaceError::NoDirectory(directory)),
            Err(e) => Err(PlaceError::Kernel(e.into())),
        }
    }

    /// Locks the directory against other processes that bind a socket in it, and waits up to [`LOCK_TIMEOUT`]. Any user
    /// who can read the directory can hold the lock. Therefore the result is `None` after the timeout, and the caller
    /// continues without the lock.
    fn lock_directory(&self) -> Option<Flock<OwnedFd>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut directory = open(&self.directory, flags, Mode::empty()).ok()?;
        let end = Instant::now() + LOCK_TIMEOUT;
        loop {
            match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Some(lock),
                Err((unlocked, Errno::EWOULDBLOCK)) if Instant::now() < end => directory = unlocked,
                Err(_) => return None,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A path to `name` in the directory that fits into a socket address. If the plain path is too long, uses the
    /// directory's descriptor in /proc/self/fd.
    fn short_path(&self, name: &OsString) -> Result<PathBuf, PlaceError> {
        let fits = |path: &PathBuf| path.as_os_str().as_bytes().len() <= MAX_UNIX_PATH;
        let direct = self.directory.join(name);
        let by_handle =
            || PathBuf::from(format!("/proc/self/fd/{}", self.handle.as_raw_fd())).join(name);
        [direct, by_handle()]
            .into_iter()
            .find(fits)
            .ok_or(PlaceError::TooLong)
    }

    /// The name, in the same directory, at which the new socket is bound before it replaces a stale socket.
    fn temporary_name(&self) -> OsString {
        let mut name = self.name.clone();
        name.push(format!(".{}", std::process::id()));
        name
    }

    fn listen_at(
        &self,
        name: &OsString,
        permissions: SocketPermissions,
        backlog: u32,
    ) -> Result<(OwnedFd, FileId), PlaceError> {
        let path = self.short_path(name)?;
        let socket = bind_unix(&path).map_err(|e| self.explain(e))?;
        let listening = permissions.apply(&path).and_then(|id| {
            listen(socket.as_fd(), backlog)?;
            Ok(id)
        });
        match listening {
            Ok(id) => Ok((socket, id)),
            Err(e) => {
                let _ = unlink(&path);
                Err(e)
            }
        }
    }

    /// Replaces the file `stale` at the target's name by the socket at the name `temporary`.
    fn replace(&self, stale: FileId, temporary: &OsString) -> Result<(), PlaceError> {
        let (old, new) = (self.short_path(&self.name)?, self.short_path(temporary)?);
        let exchange = || renameat2(AT_FDCWD, &new, AT_FDCWD, &old, RenameFlags::RENAME_EXCHANGE);
        match exchange() {
            Ok(()) if FileId::of(&new)? == stale => Ok(unlink(&new).map_err(io::Error::from)?),
            Ok(()) => {
                exchange().map_err(io::Error::from)?;
                Err(PlaceError::Live)
            }
            // the stale file was removed meanwhile
            Err(Errno::ENOENT) => {
                match renameat2(
                    AT_FDCWD,
                    &new,
                    AT_FDCWD,
                    &old,
                    RenameFlags::RENAME_NOREPLACE,
                ) {
                    Err(Errno::EEXIST) => Err(PlaceError::Live),
                    other => other.map_err(|e| self.explain(e.into())),
                }
            }
            // the file system does not support the exchange, so the new file is renamed over the stale file
            Err(Errno::EINVAL | Errno::ENOSYS) if FileId::of(&old)? == stale => {
                Ok(std::fs::rename(&new, &old)?)
            }
            Err(Errno::EINVAL | Errno::ENOSYS) => Err(PlaceError::Live),
            Err(e) => Err(self.explain(e.into())),
        }
    }

    fn explain(&self, error: io::Error) -> PlaceError {
        match error.raw_os_error() {
            // this function found no file at the path, so another process has bound a socket there meanwhile
            Some(libc::EADDRINUSE) => PlaceError::Live,
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => PlaceError::NotWritable {
                directory: self.directory.clone(),
                user: user::current_name(),
            },
            _ => PlaceError::Kernel(error),
        }
    }
}

#[cfg(test)]
mod tests;
