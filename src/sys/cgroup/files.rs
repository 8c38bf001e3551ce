//! The files of a cgroup.

use std::fs;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::{CgroupError, failed};

/// The file with the processes of a cgroup; a process that is written to it moves there.
pub(super) const PROCESSES: &str = "cgroup.procs";
/// The file with the controllers that a cgroup can enable for its children.
pub(super) const CONTROLLERS: &str = "cgroup.controllers";
/// The file with the controllers that it has enabled for them.
pub(super) const ENABLED: &str = "cgroup.subtree_control";
/// The files that a delegatee owns beside the directory.
pub(super) const DELEGATED: [&str; 3] = [PROCESSES, ENABLED, "cgroup.threads"];

/// Moves this process into the cgroup whose open `cgroup.procs` this is. Async-signal-safe.
///
/// # Errors
/// Those of write(2): `EAGAIN` where the cgroup may have no more processes.
pub(in crate::sys) fn enter(processes: BorrowedFd<'_>) -> io::Result<()> {
    nix::unistd::write(processes, b"0")?;
    Ok(())
}

/// Creates a cgroup, if it does not exist.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Writes a file in one write(2). With `O_NONBLOCK` a limit below the present usage does not make this process wait for
/// the reclaim, where the kernel supports that.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::File::options();
    let mut file = options
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// The words of a file.
pub(super) fn words(path: &Path) -> Result<Vec<String>, CgroupError> {
    let text = fs::read_to_string(path).map_err(|error| failed(path, error))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// The same error, with the path in its text.
pub(super) fn naming(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
