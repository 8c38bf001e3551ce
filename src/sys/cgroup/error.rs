//! The errors of the cgroup functions.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use thiserror::Error;

/// Why no child cgroups can be created. Displays as one sentence with the remedy.
#[derive(Debug, Error)]
pub(crate) enum CgroupError {
    /// cgroup v2 is not available or not mounted.
    #[error("there is no cgroup v2 here, or it is not mounted")]
    Missing,
    /// This process is in the root cgroup, which cannot be delegated.
    #[error(
        "this process runs in the root cgroup; start it in another one, as a systemd service with Delegate=yes"
    )]
    Root,
    /// The cgroup belongs to a systemd unit without delegation.
    #[error(
        "{} belongs to systemd; set Delegate=yes in this unit, or start with systemd-run -p Delegate=yes",
        .0.display()
    )]
    NotDelegated(PathBuf),
    /// A process other than this one is in the cgroup.
    #[error(
        "other processes run in {} too (pid {pid}); start this process alone in a cgroup, as a systemd service with Delegate=yes does",
        .directory.display()
    )]
    Foreign {
        /// The cgroup.
        directory: PathBuf,
        /// The id of the other process.
        pid: String,
    },
    /// The cgroup is mounted read-only.
    #[error(
        "{} is read-only; set ProtectControlGroups=no (and Delegate=yes) in its systemd unit, or let the container write there",
        .0.display()
    )]
    ReadOnly(PathBuf),
    /// This process may not write to the cgroup.
    #[error("{} may not be written to; set Delegate=yes in its systemd unit", .0.display())]
    Denied(PathBuf),
    /// A needed controller is not available in the cgroup.
    #[error(
        "{} has no {controller} controller (it has: {available}); set Delegate=yes in its systemd unit",
        .directory.display()
    )]
    Controller {
        /// The cgroup.
        directory: PathBuf,
        /// The missing controller.
        controller: String,
        /// The available controllers, separated by spaces; `none` if there are none.
        available: String,
    },
    /// Another error of a system call.
    #[error("{} cannot be changed: {error}", .path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

/// Converts the error of a system call on the file or directory `path` of a cgroup.
pub(super) fn failed(path: &Path, error: io::Error) -> CgroupError {
    let path = path.to_owned();
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EROFS) => CgroupError::ReadOnly(path),
        Some(Errno::EACCES | Errno::EPERM) => CgroupError::Denied(path),
        _ => CgroupError::Failed { path, error },
    }
}
