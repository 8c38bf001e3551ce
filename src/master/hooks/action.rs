//! The actions that complete at once, and the description of an action in the log.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::config::Action;
use crate::sys::{environment, pipe, trusted_path, user};

/// Returns the description of an action for log messages: TEXT in `hook pre-app: TEXT failed: …`.
pub(super) fn describe(action: &Action) -> String {
    match action {
        Action::Exec(command) | Action::SafeExec(command) => format!("command {command:?}"),
        Action::Print(_) => "print".to_owned(),
        Action::ChangeDirectory(path) => format!("cd {path}"),
        Action::PutEnv(name, _) => format!("putenv {name}"),
        Action::Exit(status) => format!("exit {status}"),
        Action::UnixSignal(number, _) => format!("unix_signal {number}"),
        Action::MakeDirectory(path) => format!("mkdir {path}"),
        Action::ChangeMode(path, mode) => format!("chmod {path} {mode:o}"),
        Action::Sticky(path) => format!("sticky {path}"),
        Action::ChangeOwner(path, user, group) => format!("chown {path} {user} {group}"),
        Action::Unlink(path) => format!("unlink {path}"),
        Action::Create(path) => format!("creat {path}"),
        Action::Write(path, _) => format!("write {path}"),
        Action::Append(path, _) => format!("append {path}"),
        Action::WriteFifo(path, _) => format!("writefifo {path}"),
        Action::WaitFor(_, target, _) => format!("wait for {target}"),
    }
}

/// Performs an action that completes at once. Relative paths start at `directory`. `cd` and `putenv` change the
/// master's own directory and environment. Does nothing for an action that the runner performs itself.
///
/// # Errors
/// If a system call fails, or the user or group of `chown` does not exist.
pub(super) fn perform(action: &Action, directory: &Path) -> io::Result<()> {
    let at = |path: &str| directory.join(path);
    match action {
        Action::Print(text) => {
            tracing::info!("{text}");
            Ok(())
        }
        Action::ChangeDirectory(path) => std::env::set_current_dir(at(path)),
        Action::PutEnv(name, value) => {
            environment::set(name, value);
            Ok(())
        }
        Action::MakeDirectory(path) => make_directory(&at(path)),
        Action::ChangeMode(path, mode) => set_mode(&refer_to(&at(path))?, *mode),
        Action::Sticky(path) => {
            let file = refer_to(&at(path))?;
            set_mode(&file, file.metadata()?.permissions().mode() | 0o1000)
        }
        Action::ChangeOwner(path, user, group) => {
            let user = user::find_user(user).map_err(io::Error::other)?.uid;
            let group = user::find_group(group).map_err(io::Error::other)?;
            chown(name_of(&refer_to(&at(path))?), Some(user), Some(group))
        }
        Action::Unlink(path) => trusted_path::unlink(&at(path)),
        Action::Create(path) => open(&at(path), OFlag::O_TRUNC).map(drop),
        Action::Write(path, text) => open(&at(path), OFlag::O_TRUNC)?.write_all(text.as_bytes()),
        Action::Append(path, text) => open(&at(path), OFlag::O_APPEND)?.write_all(text.as_bytes()),
        Action::WriteFifo(path, text) => pipe::write_fifo(&at(path), text.as_bytes()).map(drop),
        Action::Exec(_)
        | Action::SafeExec(_)
        | Action::WaitFor(..)
        | Action::Exit(_)
        | Action::UnixSignal(..) => Ok(()),
    }
}

/// Opens a file to write to it, and creates it if it does not exist.
fn open(path: &Path, how: OFlag) -> io::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | how;
    trusted_path::open(path, flags, Mode::from_bits_truncate(0o666))
}

/// Opens a file or directory to change its mode or owner through the descriptor.
fn refer_to(path: &Path) -> io::Result<File> {
    trusted_path::open(path, OFlag::O_PATH, Mode::empty())
}

/// The name in /proc that refers to an open file.
fn name_of(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    fs::set_permissions(name_of(file), fs::Permissions::from_mode(mode))
}

/// Creates a directory. An existing directory is no error.
fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_written_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let text = |text: &str| text.to_owned();
        for action in [
            Action::MakeDirectory(text("made")),
            Action::MakeDirectory(text("made")),
            Action::Sticky(text("made")),
            Action::Write(text("made/f"), text("one\n")),
            Action::Append(text("made/f"), text("two")),
            Action::ChangeMode(text("made/f"), 0o640),
            Action::Create(text("made/g")),
            Action::Unlink(text("made/g")),
        ] {
            perform(&action, dir.path()).unwrap();
        }
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        let file = dir.path().join("made/f");
        assert_eq!(fs::read_to_string(&file).unwrap(), "one\ntwo");
        assert_eq!(mode(&file) & 0o7777, 0o640);
        assert_eq!(mode(&dir.path().join("made")) & 0o1000, 0o1000);
        assert!(!dir.path().join("made/g").exists());
    }
}
