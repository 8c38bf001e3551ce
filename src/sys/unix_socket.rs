//! Putting a listening Unix socket at a path: never over a live one, never through a link, and never with a
//! moment in which a path that was there is missing.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg, OFlag, RenameFlags, open, renameat2};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::time::TimeVal;
use nix::unistd::{Gid, Uid, fchownat, unlink};

use super::socket::{FileId, MAX_UNIX_PATH, Probe, bind_unix, listen, probe_unix};
use super::user;

/// Who may connect. What is `None` stays as the kernel makes it: 0777 less the umask, our user, our group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// The permission bits.
    pub mode: Option<u32>,
    /// The owner's number.
    pub uid: Option<u32>,
    /// The group's number.
    pub gid: Option<u32>,
}

/// Why a socket cannot be put at a path. Each says what to do.
#[derive(thiserror::Error, Debug)]
pub enum PlaceError {
    /// Somebody listens there.
    #[error("another instance serves on it; stop that one first, or choose another path")]
    Live,
    /// Another kind of file is there, and stays.
    #[error("{0} is in the way, which is left alone; remove it, or choose another path")]
    NotASocket(&'static str),
    /// The directory is missing.
    #[error("the directory {} does not exist; create it first", .0.display())]
    NoDirectory(PathBuf),
    /// The directory is not ours to write.
    #[error("user {user} may not create files in {directory}; make it writable for that user, or choose another path", directory = .directory.display())]
    NotWritable {
        /// Where.
        directory: PathBuf,
        /// Who we are.
        user: String,
    },
    /// A socket file of somebody else, that might be live.
    #[error(
        "user {0} may not even connect to what is there, to see whether it is alive; remove it if it is not"
    )]
    Unknown(String),
    /// More than the kernel takes.
    #[error(
        "its name is longer than the {MAX_UNIX_PATH} bytes that the kernel allows; use a shorter path"
    )]
    TooLong,
    /// Mode or owner could not be set.
    #[error("{0} could not be set on it: {1}")]
    Access(&'static str, io::Error),
    /// The kernel refused otherwise.
    #[error("{0}")]
    Kernel(#[from] io::Error),
}

/// Puts a listening socket at the absolute `path`, with that access before anybody can connect.
///
/// A stale socket file is replaced by exchange: what comes out must be the very file that was found stale, or
/// it is put back. Instances that start at the same time take turns, by a lock on the directory.
pub fn place(path: &Path, access: Access, backlog: u32) -> Result<(OwnedFd, FileId), PlaceError> {
    let spot = Spot::of(path)?;
    let _turn = spot.take_turn();
    let probe = probe_unix(&spot.reach(&spot.name)?).map_err(|e| match e.kind() {
        io::ErrorKind::PermissionDenied => PlaceError::Unknown(me()),
        _ => PlaceError::Kernel(e),
    })?;
    match probe {
        Probe::Live => Err(PlaceError::Live),
        Probe::NotASocket(kind) => Err(PlaceError::NotASocket(kind)),
        Probe::Absent => spot.listen_at(&spot.name, access, backlog),
        Probe::Stale(stale) => {
            let beside = spot.name_beside();
            if let Ok(Probe::Stale(_)) = probe_unix(&spot.reach(&beside)?) {
                // left by a process of our number that was killed here
                let _ = unlink(&spot.reach(&beside)?);
            }
            let made = spot.listen_at(&beside, access, backlog)?;
            let replaced = spot.replace(stale, &beside);
            if replaced.is_err() {
                let _ = unlink(&spot.reach(&beside)?);
            }
            replaced.map(|()| made)
        }
    }
}

/// Connects to a listening stream socket; `TimedOut` where nobody accepts in time.
pub fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let seconds = i64::try_from(patience.as_secs().max(1)).unwrap_or(i64::MAX);
    socket::setsockopt(&socket, sockopt::SendTimeout, &TimeVal::new(seconds, 0))?;
    match socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => Ok(UnixStream::from(socket)),
        Err(Errno::EAGAIN) => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error.into()),
    }
}

/// Sets mode and owner of the socket file at `path`, if it is still that file.
pub fn set_access(path: &Path, id: FileId, access: Access) -> Result<(), PlaceError> {
    match apply_access(path, access)? == id {
        true => Ok(()),
        false => Err(PlaceError::NotASocket("another socket")),
    }
}

/// How long others may take to put their socket into the same directory.
const LONGEST_TURN: Duration = Duration::from_secs(2);

/// What became of a socket file at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is removed.
    Removed,
    /// It was gone.
    Gone,
    /// Another file stands there, and stays.
    Changed,
}

/// Removes the socket file at `path`, if it is still that file.
pub fn remove(path: &Path, id: FileId) -> io::Result<Removal> {
    match FileId::of(path) {
        Ok(found) if found == id => {}
        Ok(_) => return Ok(Removal::Changed),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Removal::Gone),
        Err(e) => return Err(e),
    }
    std::fs::remove_file(path)?;
    Ok(Removal::Removed)
}

/// A directory, held open, and a name in it.
struct Spot {
    directory: PathBuf,
    handle: OwnedFd,
    name: OsString,
}

impl Spot {
    fn of(path: &Path) -> Result<Self, PlaceError> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(PlaceError::NotASocket("a directory"));
        };
        let directory = directory.to_owned();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match open(&directory, flags, Mode::empty()) {
            Ok(handle) => Ok(Spot {
                directory,
                handle,
                name: name.to_owned(),
            }),
            Err(Errno::ENOENT) => Err(PlaceError::NoDirectory(directory)),
            Err(e) => Err(PlaceError::Kernel(e.into())),
        }
    }

    /// Waits for others that are putting a socket into this directory, though not for long: anyone who can read
    /// it can hold the lock.
    fn take_turn(&self) -> Option<Flock<OwnedFd>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut directory = open(&self.directory, flags, Mode::empty()).ok()?;
        let end = Instant::now() + LONGEST_TURN;
        loop {
            match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
                Ok(turn) => return Some(turn),
                Err((back, Errno::EWOULDBLOCK)) if Instant::now() < end => directory = back,
                Err(_) => return None,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A path to a name in the directory that fits into a socket address.
    fn reach(&self, name: &OsString) -> Result<PathBuf, PlaceError> {
        let fits = |path: &PathBuf| path.as_os_str().as_bytes().len() <= MAX_UNIX_PATH;
        let direct = self.directory.join(name);
        let by_handle =
            || PathBuf::from(format!("/proc/self/fd/{}", self.handle.as_raw_fd())).join(name);
        [direct, by_handle()]
            .into_iter()
            .find(fits)
            .ok_or(PlaceError::TooLong)
    }

    fn name_beside(&self) -> OsString {
        let mut name = self.name.clone();
        name.push(format!(".{}", std::process::id()));
        name
    }

    fn listen_at(
        &self,
        name: &OsString,
        access: Access,
        backlog: u32,
    ) -> Result<(OwnedFd, FileId), PlaceError> {
        let path = self.reach(name)?;
        let socket = bind_unix(&path).map_err(|e| self.explain(e))?;
        let listening = apply_access(&path, access).and_then(|id| {
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

    /// Puts the socket named `beside` in the stale file's place.
    fn replace(&self, stale: FileId, beside: &OsString) -> Result<(), PlaceError> {
        let (old, new) = (self.reach(&self.name)?, self.reach(beside)?);
        let exchange = || renameat2(AT_FDCWD, &new, AT_FDCWD, &old, RenameFlags::RENAME_EXCHANGE);
        match exchange() {
            Ok(()) if FileId::of(&new)? == stale => Ok(unlink(&new).map_err(io::Error::from)?),
            Ok(()) => {
                exchange().map_err(io::Error::from)?;
                Err(PlaceError::Live)
            }
            // removed in the meantime
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
            // a file system that cannot exchange
            Err(Errno::EINVAL | Errno::ENOSYS) if FileId::of(&old)? == stale => {
                Ok(std::fs::rename(&new, &old)?)
            }
            Err(Errno::EINVAL | Errno::ENOSYS) => Err(PlaceError::Live),
            Err(e) => Err(self.explain(e.into())),
        }
    }

    fn explain(&self, error: io::Error) -> PlaceError {
        match error.raw_os_error() {
            // it was absent a moment ago
            Some(libc::EADDRINUSE) => PlaceError::Live,
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => PlaceError::NotWritable {
                directory: self.directory.clone(),
                user: me(),
            },
            _ => PlaceError::Kernel(error),
        }
    }
}

/// Sets owner and mode through a handle on the file itself: in a directory of somebody else's the name may
/// have become a link to another file in the meantime.
fn apply_access(path: &Path, access: Access) -> Result<FileId, PlaceError> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = open(path, flags, Mode::empty()).map_err(io::Error::from)?;
    let stat = fstat(&file).map_err(io::Error::from)?;
    if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFSOCK.bits() {
        return Err(PlaceError::NotASocket("another file"));
    }
    // what is so already needs no permission to be made so
    let is_theirs = access.uid.is_none_or(|uid| uid == stat.st_uid)
        && access.gid.is_none_or(|gid| gid == stat.st_gid);
    if !is_theirs {
        let (uid, gid) = (access.uid.map(Uid::from_raw), access.gid.map(Gid::from_raw));
        fchownat(&file, "", uid, gid, AtFlags::AT_EMPTY_PATH)
            .map_err(|e| PlaceError::Access("the owner (chown-socket)", e.into()))?;
    }
    if let Some(mode) = access.mode
        && mode != stat.st_mode & 0o7777
    {
        let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
        std::fs::set_permissions(itself, Permissions::from_mode(mode))
            .map_err(|e| PlaceError::Access("the mode (chmod-socket)", e))?;
    }
    Ok(FileId {
        device: stat.st_dev,
        inode: stat.st_ino,
    })
}

fn me() -> String {
    user::name_of(Uid::effective().as_raw())
}

#[cfg(test)]
mod tests;
