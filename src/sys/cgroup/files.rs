//! Names of the files in a cgroup's directory, and functions that read and write them.

use std::fs;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::{CgroupError, failed};

/// The file that lists the processes of a cgroup. A process whose id is written to the file moves into the cgroup.
pub(super) const PROCESSES: &str = "cgroup.procs";
/// The file that lists the controllers that a cgroup can enable for its children.
pub(super) const CONTROLLERS: &str = "cgroup.controllers";
/// The file that lists the controllers that a cgroup has enabled for its children.
pub(super) const ENABLED: &str = "cgroup.subtree_control";
/// The files of a delegated cgroup that must belong to the user who manages it, in addition to the directory.
pub(super) const DELEGATED: [&str; 3] = [PROCESSES, ENABLED, "cgroup.threads"];

/// Moves this process into a cgroup. `processes` is the cgroup's `cgroup.procs`, open for writing. Async-signal-safe.
///
/// # Errors
/// Those of write(2): `EAGAIN` when the cgroup has reached its limit of processes.
pub(in crate::sys) fn enter(processes: BorrowedFd<'_>) -> io::Result<()> {
    nix::unistd::write(processes, b"0")?;
    Ok(())
}

/// Creates the directory of a cgroup, if it does not exist.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Writes `text` to a file of a cgroup, in one write(2). The file is opened with `O_NONBLOCK`. If the kernel supports
/// this, a memory limit below the present usage does not make this process wait until memory is reclaimed.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::File::options();
    let mut file = options
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// Reads a file of a cgroup and splits it at white space.
pub(super) fn words(path: &Path) -> Result<Vec<String>, CgroupError> {
    let text = fs::read_to_string(path).map_err(|error| failed(path, error))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// Returns an error of the same kind whose text begins with the path.
pub(super) fn naming(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
