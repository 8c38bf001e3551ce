//! Log files: opening, ownership, and rotation by rename.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::fcntl::renameat;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown};

use super::{stdio, trusted_path};

/// Owner and permissions that a log file gets when it is opened. A field of `None` leaves that attribute unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The user id of the owner.
    pub uid: Option<u32>,
    /// The group id.
    pub gid: Option<u32>,
    /// The permission bits.
    pub mode: Option<u32>,
}

impl Ownership {
    /// Opens a log for appending (see [`stdio::open_log`]), and sets its owner and permissions.
    ///
    /// # Errors
    /// Those of [`stdio::open_log`], fchown(2) and fchmod(2).
    pub fn open(&self, path: &Path) -> io::Result<File> {
        let file = stdio::open_log(path)?;
        self.apply(&file)?;
        Ok(file)
    }

    /// Sets the owner and permissions of an open log.
    ///
    /// # Errors
    /// Those of fchown(2) and fchmod(2).
    pub fn apply(&self, file: impl AsFd) -> io::Result<()> {
        let file = file.as_fd();
        if self.uid.is_some() || self.gid.is_some() {
            fchown(
                file,
                self.uid.map(Uid::from_raw),
                self.gid.map(Gid::from_raw),
            )?;
        }
        if let Some(mode) = self.mode {
            fchmod(file, Mode::from_bits_truncate(mode))?;
        }
        Ok(())
    }
}

/// Renames a file. A process of root follows only root's symbolic links on both paths, as in [`trusted_path::open`].
///
/// # Errors
/// Those of [`trusted_path::directory_of`] and renameat(2).
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let (from_directory, from) = trusted_path::directory_of(from)?;
    let (to_directory, to) = trusted_path::directory_of(to)?;
    Ok(renameat(
        &from_directory,
        from.as_os_str(),
        &to_directory,
        to.as_os_str(),
    )?)
}

/// The name that the full file of a log gets at rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backup {
    /// `FILE.SECONDS`, with the time of the rotation in seconds since 1970.
    Dated,
    /// This path. An existing file there is overwritten.
    Named(PathBuf),
    /// `FILE.1`. An existing `FILE.1` becomes `FILE.2`, and so on up to this number. The oldest file is overwritten.
    Numbered(u32),
}

impl Backup {
    /// Renames the full file of a log; returns its new path. `seconds` is the time of the rotation.
    ///
    /// # Errors
    /// Those of [`rename`].
    pub fn take(&self, path: &Path, seconds: u64) -> io::Result<PathBuf> {
        let target = match self {
            Self::Named(name) => name.clone(),
            Self::Dated => unused(path, seconds),
            Self::Numbered(count) => {
                // from the oldest file to the newest; the oldest file is overwritten
                for number in (1..*count).rev() {
                    let from = suffixed(path, &number.to_string());
                    match rename(&from, &suffixed(path, &(number + 1).to_string())) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
                suffixed(path, "1")
            }
        };
        rename(path, &target)?;
        Ok(target)
    }
}

/// An unused path: `FILE.SECONDS`, or `FILE.SECONDS.NUMBER` if that file exists.
fn unused(path: &Path, seconds: u64) -> PathBuf {
    let first = suffixed(path, &seconds.to_string());
    let others = (1..1000).map(|number| suffixed(path, &format!("{seconds}.{number}")));
    let free = |path: &PathBuf| path.symlink_metadata().is_err();
    let mut candidates = std::iter::once(first.clone()).chain(others);
    candidates.find(free).unwrap_or(first)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn numbered_backups_move_up_and_the_last_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a.log");
        for text in ["first", "second", "third", "fourth"] {
            fs::write(&log, text).unwrap();
            Backup::Numbered(2).take(&log, 0).unwrap();
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(
            (read("a.log.1"), read("a.log.2")),
            ("fourth".into(), "third".into())
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn two_rotations_in_one_second_have_two_files() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a.log");
        for name in ["a.log.5", "a.log.5.1"] {
            fs::write(&log, name).unwrap();
            assert_eq!(Backup::Dated.take(&log, 5).unwrap(), dir.path().join(name));
        }
    }
}
