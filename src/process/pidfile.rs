//! Reading, writing and checking pidfiles of a master, an emperor or a service.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::sys::process::{self, Pid};
use crate::sys::{path_error, program, trusted_path, user};

/// Why a pidfile cannot be used.
#[derive(thiserror::Error, Debug)]
pub(crate) enum PidfileError {
    /// The pidfile cannot be opened, read or written.
    #[error("cannot {verb} the pidfile {}: {}", .path.display(), path_error::reason(.path, .reason))]
    File {
        /// The operation that failed.
        verb: &'static str,
        /// The pidfile.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The path is a directory, a device, a symbolic link, or a file with a second hard link.
    #[error("the pidfile {} is not a plain file (it is a link, directory or device); not touched", .0.display())]
    NotPlain(PathBuf),
    /// The first line of the pidfile is not the id of a process.
    #[error("the pidfile {} holds no process id", .0.display())]
    NoPid(PathBuf),
}

/// Writes `pid` and a newline to the file at `path`. The file is created (mode 0644 less the umask) or overwritten in
/// place.
///
/// This process may be root, and another user may be able to write to the directory. Therefore a symbolic link is not
/// followed, and only a regular file with one hard link is written.
///
/// # Errors
/// [`PidfileError::NotPlain`], [`PidfileError::File`].
pub(crate) fn write(path: &Path, pid: Pid) -> Result<(), PidfileError> {
    let failed = |reason| PidfileError::File {
        verb: "write",
        path: path.to_owned(),
        reason,
    };
    let mut file = open_or_create(path).map_err(|e| match e.raw_os_error() {
        Some(libc::ELOOP) => PidfileError::NotPlain(path.to_owned()),
        _ => failed(e),
    })?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.nlink() != 1 {
        return Err(PidfileError::NotPlain(path.to_owned()));
    }
    let text = format!("{pid}\n");
    // the file is truncated after the write, so that a reader never finds an empty file
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.set_len(text.len() as u64).map_err(failed)
}

fn open_or_create(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    // first without O_CREAT: with this flag the kernel may refuse another user's file in a sticky directory, even to
    // root (fs.protected_regular)
    match trusted_path::open(path, flags, Mode::empty()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let flags = flags | OFlag::O_CREAT | OFlag::O_EXCL;
            trusted_path::open(path, flags, Mode::from_bits_truncate(0o644))
        }
        other => other,
    }
}

/// The process id in a pidfile, and the facts that show which users could have written it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// The process id.
    pub(crate) pid: Pid,
    /// The user id of the file's owner.
    owner: u32,
    /// Whether every user may write to the file.
    is_public: bool,
}

impl Record {
    /// Whether the file is trusted to name a process of the user `uid`: only root or that user can have written the
    /// file.
    pub(crate) fn names_process_of(&self, uid: u32) -> bool {
        !self.is_public && (self.owner == 0 || self.owner == uid)
    }

    /// Describes who could have written the file, for messages.
    pub(crate) fn writer(&self) -> String {
        match self.is_public {
            true => "every user".to_owned(),
            false => format!("user {}", user::name_of(self.owner)),
        }
    }
}

/// Reads a pidfile, which must be a regular file. A process of root follows no symbolic link of another user.
///
/// # Errors
/// [`PidfileError`].
pub(crate) fn read(path: &Path) -> Result<Record, PidfileError> {
    let failed = |reason| PidfileError::File {
        verb: "read",
        path: path.to_owned(),
        reason,
    };
    // O_NONBLOCK: opening a FIFO must not wait for a writer
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = trusted_path::open(path, flags, Mode::empty()).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(PidfileError::NotPlain(path.to_owned()));
    }
    let mut text = String::new();
    file.take(64).read_to_string(&mut text).map_err(failed)?;
    let first = text.lines().next().unwrap_or_default().trim();
    // a signal to 0, to 1 or to a negative number would reach a process group, init, or all processes
    let pid = first.parse().ok().filter(|pid| *pid > 1).and_then(Pid::new);
    let pid = pid.ok_or_else(|| PidfileError::NoPid(path.to_owned()))?;
    Ok(Record {
        pid,
        owner: about.uid(),
        is_public: about.mode() & 0o002 != 0,
    })
}

/// Whether a pidfile may be trusted: only root or the user of the named process could have written it. Logs a warning
/// if not. The caller sends a signal to the process, and another user could have written the id of any process.
pub(crate) fn is_trusted(path: &Path, record: &Record) -> bool {
    let Ok(uid) = program::user_of(record.pid) else {
        return true; // the process has ended, or /proc is hidden
    };
    let trusted = record.names_process_of(uid);
    if !trusted {
        tracing::warn!(
            "pidfile {} ignored: it names process {} of user {}, and {} could have written it",
            path.display(),
            record.pid,
            user::name_of(uid),
            record.writer()
        );
    }
    trusted
}

/// Tolerance for steps of the clock. If a process has started more than this time after its pidfile was written, the
/// pidfile was written for another process.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// Whether the process `pid` has started later than the pidfile was written. The pidfile was then written for another
/// process, and a warning is logged.
///
/// The result is false if the command line of the process contains `word`, because the machine's clock may have been
/// set.
pub(crate) fn names_another(path: &Path, pid: Pid, word: &str) -> bool {
    let written = path.metadata().and_then(|file| file.modified());
    let (Ok(written), Some(started)) = (written, process::start_time(pid)) else {
        return false;
    };
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let another =
        started > written + CLOCK_SLACK && !String::from_utf8_lossy(&command).contains(word);
    if another {
        let path = path.display();
        tracing::warn!(
            "pidfile {path} ignored: process {pid} started after the file was written, so it is another one"
        );
    }
    another
}

/// Removes a pidfile if it still holds `pid`; returns whether it was removed. A process of root follows no symbolic
/// link of another user.
///
/// # Errors
/// Those of unlink(2).
pub(crate) fn remove(path: &Path, pid: Pid) -> io::Result<bool> {
    match read(path) {
        Ok(held) if held.pid == pid => trusted_path::unlink(path).map(|()| true),
        _ => Ok(false),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    #[test]
    fn a_pidfile_is_written_read_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        std::fs::write(&path, "4000000000 and much more\n").unwrap();
        let me = Pid::own();
        write(&path, me).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{me}\n"));
        assert_eq!(read(&path).unwrap().pid, me);
        assert!(!remove(&path, Pid::new(1234567).unwrap()).unwrap());
        assert!(path.exists());
        assert!(remove(&path, me).unwrap());
        assert!(!path.exists());
        assert!(!remove(&path, me).unwrap());
    }

    #[test]
    fn a_process_that_started_after_its_pidfile_was_written_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let me = Pid::own();
        write(&path, me).unwrap();
        assert!(!names_another(&path, me, "no such word"));
        let file = File::options().append(true).open(&path).unwrap();
        let before = SystemTime::now() - Duration::from_secs(3600);
        file.set_modified(before).unwrap();
        assert!(names_another(&path, me, "no such word"));
        let own = std::env::args().next().unwrap();
        let own = own.rsplit('/').next().unwrap();
        assert!(!names_another(&path, me, own));
        assert!(!names_another(&dir.path().join("none"), me, "x"));
    }

    #[test]
    fn links_and_directories_are_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("shadow"), dir.path().join("pid"));
        std::fs::write(&target, "precious").unwrap();
        symlink(&target, &link).unwrap();
        assert!(matches!(
            write(&link, Pid::own()),
            Err(PidfileError::NotPlain(_))
        ));
        let hard = dir.path().join("hard");
        std::fs::hard_link(&target, &hard).unwrap();
        assert!(matches!(
            write(&hard, Pid::own()),
            Err(PidfileError::NotPlain(_))
        ));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
        assert!(write(dir.path(), Pid::own()).is_err());
    }

    #[test]
    fn a_pidfile_names_processes_of_its_writer_only() {
        let record = |owner, is_public| Record {
            pid: Pid::own(),
            owner,
            is_public,
        };
        assert!(record(0, false).names_process_of(0));
        assert!(record(0, false).names_process_of(33));
        assert!(record(33, false).names_process_of(33));
        assert!(!record(33, false).names_process_of(0));
        assert!(!record(33, false).names_process_of(34));
        assert!(!record(0, true).names_process_of(0));
    }

    #[test]
    fn only_a_plain_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        for path in [fifo.as_path(), dir.path()] {
            assert!(matches!(read(path), Err(PidfileError::NotPlain(_))));
        }
    }

    #[test]
    fn a_pidfile_without_a_pid_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let missing = read(&path).unwrap_err().to_string();
        assert!(
            missing.starts_with("cannot read the pidfile ")
                && missing.contains("it does not exist")
        );
        for text in ["", "-1", "0", "1", "abc", "99999999999999999999"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(read(&path), Err(PidfileError::NoPid(_))), "{text}");
        }
    }
}
