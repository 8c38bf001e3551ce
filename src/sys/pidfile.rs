//! The file that tells others which process the master is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::sys::process::{self, Pid};
use crate::sys::signal::Signal;

/// What is wrong with a pidfile.
#[derive(thiserror::Error, Debug)]
pub(crate) enum PidfileError {
    /// It cannot be opened, read or written.
    #[error("cannot {verb} the pidfile {path}: {reason}", path = .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// It is a directory, a device, or a file with a second name.
    #[error("the pidfile {} is not a plain file of its own (a link, directory or device); not touched", .0.display())]
    NotPlain(PathBuf),
    /// It holds something else.
    #[error("the pidfile {} holds no process id", .0.display())]
    NoPid(PathBuf),
    /// The process is gone.
    #[error("no process has the id {pid} that the pidfile {path} holds: the instance does not run", path = .path.display())]
    NotRunning {
        /// Which file.
        path: PathBuf,
        /// What it holds.
        pid: Pid,
    },
    /// The process is another user's.
    #[error("not allowed to signal process {pid} of the pidfile {path}: use its user, or root", path = .path.display())]
    NotAllowed {
        /// Which file.
        path: PathBuf,
        /// What it holds.
        pid: Pid,
    },
}

/// Writes `pid` and a newline to the file, which is created (0644, less the umask) or written in place.
///
/// A symbolic link is not followed, and only a plain file is touched: root may write into a directory
/// that somebody else controls.
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
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() || about.nlink() != 1 {
        return Err(PidfileError::NotPlain(path.to_owned()));
    }
    let text = format!("{pid}\n");
    // written over, then cut: a reader finds the old pid or the new one, never an empty file
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.set_len(text.len() as u64).map_err(failed)
}

fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    // without O_CREAT first: in /tmp the kernel refuses even root to "create" over another user's file
    match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            options.create_new(true).mode(0o644).open(path)
        }
        other => other,
    }
}

/// Reads the pid that a pidfile holds, for `--stop` and `--reload`.
pub(crate) fn read(path: &Path) -> Result<Pid, PidfileError> {
    let failed = |reason| PidfileError::File {
        verb: "read",
        path: path.to_owned(),
        reason,
    };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(64).read_to_string(&mut text).map_err(failed)?;
    let first = text.lines().next().unwrap_or_default().trim();
    // 0, 1 and negative numbers would signal others than one instance
    let pid = first.parse().ok().filter(|pid| *pid > 1).and_then(Pid::new);
    pid.ok_or_else(|| PidfileError::NoPid(path.to_owned()))
}

/// A process that began so long after its pidfile was written is another one; a clock may be set back and forth a bit.
const SLACK: Duration = Duration::from_secs(60);

/// Whether the process with the id that the pidfile holds has got it after another one, whose it was when the file was
/// written: it began later. One whose command line has `word` in it is believed all the same, since a machine's clock may
/// have been set right meanwhile.
pub(crate) fn names_another(path: &Path, pid: Pid, word: &str) -> bool {
    let written = path.metadata().and_then(|file| file.modified());
    let (Ok(written), Some(began)) = (written, began(pid)) else {
        return false;
    };
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let another = began > written + SLACK && !String::from_utf8_lossy(&command).contains(word);
    if another {
        let path = path.display();
        tracing::warn!("process {pid} is another one than that for which {path} was written");
    }
    another
}

/// When the process with this id began, by the clock of now.
fn began(pid: Pid) -> Option<SystemTime> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    // since the machine was started, in ticks
    let ticks: u64 = after_name.split(' ').nth(19)?.parse().ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    let began = Duration::from_millis(ticks * 1000 / u64::try_from(per_second).ok()?.max(1));
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).ok()?;
    let age = Duration::from(now).saturating_sub(began);
    SystemTime::now().checked_sub(age)
}

/// Sends a signal to the process that a pidfile names, and says which that was.
pub(crate) fn signal(path: &Path, signal: Signal) -> Result<Pid, PidfileError> {
    let pid = read(path)?;
    let path = path.to_owned();
    match process::signal(pid, signal) {
        Ok(()) => Ok(pid),
        Err(e) => Err(match e.raw_os_error() {
            Some(libc::ESRCH) => PidfileError::NotRunning { path, pid },
            Some(libc::EPERM) => PidfileError::NotAllowed { path, pid },
            _ => PidfileError::File {
                verb: "signal the process of",
                path,
                reason: e,
            },
        }),
    }
}

/// Removes the file if it still holds `pid`; says whether it did.
pub(crate) fn remove(path: &Path, pid: Pid) -> io::Result<bool> {
    match read(path) {
        Ok(held) if held == pid => std::fs::remove_file(path).map(|()| true),
        _ => Ok(false),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_pidfile_is_written_read_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        std::fs::write(&path, "4000000000 and much more\n").unwrap();
        let me = Pid::own();
        write(&path, me).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{me}\n"));
        assert_eq!(read(&path).unwrap(), me);
        assert!(!remove(&path, Pid::new(1234567).unwrap()).unwrap());
        assert!(path.exists());
        assert!(remove(&path, me).unwrap());
        assert!(!path.exists());
        assert!(!remove(&path, me).unwrap());
    }

    #[test]
    fn a_process_that_began_after_its_pidfile_was_written_is_another() {
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
    fn a_pidfile_without_a_pid_is_refused_in_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let missing = read(&path).unwrap_err().to_string();
        assert!(
            missing.starts_with("cannot read the pidfile ") && missing.contains("No such file")
        );
        for text in ["", "-1", "0", "1", "abc", "99999999999999999999"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(read(&path), Err(PidfileError::NoPid(_))), "{text}");
        }
    }

    #[test]
    fn a_signal_reaches_nobody_when_the_process_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .unwrap();
        write(&path, Pid::new(child.id() as i32).unwrap()).unwrap();
        signal(&path, Signal::SIGTERM).unwrap();
        child.wait().unwrap();
        let error = signal(&path, Signal::SIGTERM).unwrap_err();
        assert!(error.to_string().ends_with("the instance does not run"));
    }
}
