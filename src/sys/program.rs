//! The user and the program of another process: /proc/PID.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::process::Pid;
use super::socket::FileId;

/// Suffix that the kernel appends to the path of a program whose file was removed or replaced.
const DELETED: &[u8] = b" (deleted)";

/// The program that a process executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// The kernel shows the program's file.
    File {
        /// The device and inode, which identify the file even after it was removed.
        id: FileId,
        /// The path of the file. If the file was removed, this is its path before the removal.
        path: PathBuf,
    },
    /// The kernel does not show the file, because the process has changed its user and this process has no
    /// `CAP_SYS_PTRACE`.
    Hidden {
        /// The short name of the process (`comm`), which the process can change.
        name: String,
    },
}

impl Program {
    /// Reads the program of a process.
    ///
    /// # Errors
    /// `NotFound` when the process has ended.
    pub fn of(pid: Pid) -> io::Result<Self> {
        let link = format!("/proc/{pid}/exe");
        let file = std::fs::read_link(&link).and_then(|path| Ok((path, std::fs::metadata(&link)?)));
        match file {
            Ok((path, about)) => {
                let bytes = path.as_os_str().as_bytes();
                let path = OsStr::from_bytes(bytes.strip_suffix(DELETED).unwrap_or(bytes));
                Ok(Self::File {
                    id: FileId {
                        device: about.dev(),
                        inode: about.ino(),
                    },
                    path: PathBuf::from(path),
                })
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm"))?;
                let name = name.trim_end_matches('\n').to_owned();
                Ok(Self::Hidden { name })
            }
            Err(error) => Err(error),
        }
    }
}

/// Reads the real user id of a process from /proc/PID/status. (The owner of /proc/PID is not reliable: it is root after
/// the process has changed its user.)
///
/// # Errors
/// `NotFound` when the process has ended; `InvalidData` when /proc has another format.
pub fn user_of(pid: Pid) -> io::Result<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Whether a process has installed a handler for a signal. The result is `false` if /proc/PID/status cannot be read.
pub fn handles(pid: Pid, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::user;
    use std::process::Command;

    #[test]
    fn a_program_is_known_by_its_file_also_after_its_removal() {
        let own = Program::of(Pid::own()).unwrap();
        let expected = std::env::current_exe().unwrap();
        assert!(matches!(own, Program::File { path, .. } if path == expected));
        assert_eq!(user_of(Pid::own()).unwrap(), user::current_uid());

        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("a copy");
        std::fs::copy("/bin/sleep", &copy).unwrap();
        let mut child = Command::new(&copy).arg("100").spawn().unwrap();
        std::fs::remove_file(&copy).unwrap();
        let pid = Pid::new(child.id().cast_signed()).unwrap();
        let program = Program::of(pid).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(program, Program::File { path, .. } if path == copy));
        assert_eq!(
            Program::of(pid).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
