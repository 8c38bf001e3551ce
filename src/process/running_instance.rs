//! Finding and signalling the running instance that a pidfile names, for `--stop` and `--reload`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::sys::process::{self, Pid};
use crate::sys::program::{self, Program};
use crate::sys::signal::Signal;
use crate::sys::user;

use super::pidfile::{self, PidfileError, Record};

/// The beginning of the program's file name. A suffix such as a version may follow.
const PROGRAM: &str = "ruwsgi";

/// Why the process that a pidfile names gets no signal.
#[derive(thiserror::Error, Debug)]
pub(crate) enum SignalError {
    /// The pidfile cannot be used.
    #[error(transparent)]
    Pidfile(#[from] PidfileError),
    /// There is no process with the id that the pidfile holds.
    #[error("no process has the id {pid} that the pidfile {path} holds: the instance does not run", path = .path.display())]
    NotRunning {
        /// The pidfile.
        path: PathBuf,
        /// The id that the pidfile holds.
        pid: Pid,
    },
    /// The kernel refuses the signal: the process belongs to another user.
    #[error("not allowed to signal process {pid} of the pidfile {path}: use its user, or root", path = .path.display())]
    NotAllowed {
        /// The pidfile.
        path: PathBuf,
        /// The id that the pidfile holds.
        pid: Pid,
    },
    /// A user other than root and the process's own user could have written the pidfile.
    #[error("process {pid} of user {user} gets no signal: {writer} could have written its id to the pidfile {path}; only a pidfile of root, or of the user of the process, is trusted", path = .path.display())]
    NotTrusted {
        /// The pidfile.
        path: PathBuf,
        /// The id that the pidfile holds.
        pid: Pid,
        /// The name of the process's user.
        user: String,
        /// A description of who can write to the pidfile.
        writer: String,
    },
    /// The process executes another program, so the pidfile is left over from an instance that has ended.
    #[error("process {pid} gets no signal: it is not ruwsgi but {program}; the pidfile {path} is left over, remove it", path = .path.display())]
    NotRuwsgi {
        /// The pidfile.
        path: PathBuf,
        /// The id that the pidfile holds.
        pid: Pid,
        /// The program.
        program: String,
    },
    /// Another error of a system call.
    #[error("cannot signal process {pid} of the pidfile {path}: {reason}", path = .path.display())]
    Kernel {
        /// The pidfile.
        path: PathBuf,
        /// The id that the pidfile holds.
        pid: Pid,
        /// The system's error.
        reason: io::Error,
    },
}

/// A running ruwsgi process, held by a pidfd. The pidfd ensures that a signal never reaches a later process with the
/// same id.
#[derive(Debug)]
pub(crate) struct RunningInstance {
    path: PathBuf,
    pid: Pid,
    handle: OwnedFd,
}

impl RunningInstance {
    /// Finds the instance that a pidfile names, and checks that it may be signalled.
    ///
    /// # Errors
    /// [`SignalError`].
    pub(crate) fn of_pidfile(path: &Path) -> Result<Self, SignalError> {
        let record = pidfile::read(path)?;
        let pid = record.pid;
        let failed = |reason| failure(path, pid, reason);
        // the pidfd is opened before the checks, so that the checks and the signal apply to the same process
        let handle = process::handle(pid).map_err(failed)?;
        let uid = program::user_of(pid).map_err(failed)?;
        check_owner(path, &record, uid)?;
        let program = Program::of(pid).map_err(failed)?;
        if !is_ruwsgi(&program, Program::of(Pid::own()).ok().as_ref()) {
            return Err(SignalError::NotRuwsgi {
                path: path.to_owned(),
                pid,
                program: match program {
                    Program::File { path, .. } => path.display().to_string(),
                    Program::Hidden { name } => format!("a process named {name}"),
                },
            });
        }
        Ok(Self {
            path: path.to_owned(),
            pid,
            handle,
        })
    }

    /// The process id of the instance.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to the instance.
    ///
    /// # Errors
    /// [`SignalError::NotRunning`], [`SignalError::NotAllowed`].
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        process::signal_by_handle(self.handle.as_fd(), signal)
            .map_err(|reason| failure(&self.path, self.pid, reason))
    }
}

impl AsFd for RunningInstance {
    /// The pidfd, which is readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Refuses a pidfile that could have been written by a user other than root and `uid`, the user of the process.
///
/// # Errors
/// [`SignalError::NotTrusted`].
fn check_owner(path: &Path, record: &Record, uid: u32) -> Result<(), SignalError> {
    match record.names_process_of(uid) {
        true => Ok(()),
        false => Err(SignalError::NotTrusted {
            path: path.to_owned(),
            pid: record.pid,
            user: user::name_of(uid),
            writer: record.writer(),
        }),
    }
}

fn failure(path: &Path, pid: Pid, reason: io::Error) -> SignalError {
    let path = path.to_owned();
    match reason.raw_os_error() {
        Some(libc::ESRCH | libc::ENOENT) => SignalError::NotRunning { path, pid },
        Some(libc::EPERM) => SignalError::NotAllowed { path, pid },
        _ => SignalError::Kernel { path, pid, reason },
    }
}

/// Whether a program is ruwsgi: it is the same file as the program of this process, or its name starts with
/// [`PROGRAM`]. The name is needed for other versions, and after an upgrade has replaced the file.
fn is_ruwsgi(program: &Program, own: Option<&Program>) -> bool {
    match (program, own) {
        (Program::File { id, .. }, Some(Program::File { id: own, .. })) if id == own => true,
        (Program::File { path, .. }, _) => path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(PROGRAM)),
        (Program::Hidden { name }, _) => name.starts_with(PROGRAM),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::socket::FileId;
    use std::process::Command;

    fn file(inode: u64, path: &str) -> Program {
        let id = FileId { device: 1, inode };
        let path = path.into();
        Program::File { id, path }
    }

    #[test]
    fn a_ruwsgi_is_known_by_its_file_or_by_its_name() {
        let own = file(7, "/usr/bin/uwsgi");
        for (program, expected) in [
            (file(7, "/elsewhere/name"), true),
            (file(8, "/usr/bin/ruwsgi"), true),
            (file(8, "/venv/bin/ruwsgi-1.2"), true),
            (file(8, "/usr/bin/sshd"), false),
            (file(8, "/ruwsgi/bin/python3"), false),
        ] {
            assert_eq!(is_ruwsgi(&program, Some(&own)), expected, "{program:?}");
        }
        for (name, expected) in [("ruwsgi master", true), ("sshd", false)] {
            let name = name.to_owned();
            assert_eq!(is_ruwsgi(&Program::Hidden { name }, None), expected);
        }
    }

    #[test]
    fn another_program_gets_no_signal_and_an_ended_process_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let pid = Pid::new(child.id().cast_signed()).unwrap();
        pidfile::write(&path, pid).unwrap();
        let error = RunningInstance::of_pidfile(&path).unwrap_err().to_string();
        assert!(
            error.contains("sleep") && error.contains("not ruwsgi"),
            "{error}"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        let error = RunningInstance::of_pidfile(&path).unwrap_err().to_string();
        assert!(error.ends_with("the instance does not run"), "{error}");
    }
}
