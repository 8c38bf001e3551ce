//! FIFOs from which this process reads commands: mkfifo(3).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, mkfifoat, unlinkat};

use super::socket::FileId;
use super::{trusted_path, user};

/// A FIFO that this process has created, open for reading.
#[derive(Debug)]
pub struct Fifo {
    file: File,
    path: PathBuf,
    id: FileId,
}

impl Fifo {
    /// Creates a FIFO of mode 0600 at a path and opens it non-blocking. An existing FIFO is replaced.
    ///
    /// # Errors
    /// `AlreadyExists` if the path names a file that is not a FIFO; the file is left alone. Those of mkfifo(3),
    /// unlink(2) and open(2).
    pub fn make(path: &Path) -> io::Result<Self> {
        let (directory, name) = trusted_path::directory_of(path)?;
        let name = name.as_os_str();
        match fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) if found.st_mode & libc::S_IFMT == libc::S_IFIFO => {
                unlinkat(&directory, name, UnlinkatFlags::NoRemoveDir)?;
            }
            Ok(_) => {
                let reason = "the path exists and is not a FIFO; it is not replaced";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
            }
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        mkfifoat(&directory, name, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // the FIFO is opened for writing too, because a reader without any writer would see the end of the file
        let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = File::from(openat(&directory, name, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        // another user could command this process through a FIFO that the user owns
        if !metadata.file_type().is_fifo() || metadata.uid() != user::current_uid() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "another file has taken its place",
            ));
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            id: FileId {
                device: metadata.dev(),
                inode: metadata.ino(),
            },
        })
    }

    /// The path at which the FIFO was created.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads up to 256 bytes, without waiting; empty if nothing was written or the read failed.
    pub fn take(&self) -> Vec<u8> {
        let mut bytes = [0; 256];
        let read = (&self.file).read(&mut bytes).unwrap_or(0);
        bytes[..read].to_vec()
    }

    /// Removes the file at the path, if it is still this FIFO. A process of root follows no symbolic link of another
    /// user.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn remove(&self) -> io::Result<()> {
        match FileId::of(&self.path) {
            Ok(found) if found == self.id => trusted_path::unlink(&self.path),
            _ => Ok(()),
        }
    }
}

impl AsFd for Fifo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_written_is_read_and_nothing_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        let fifo = Fifo::make(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fifo.take().is_empty());
        let mut writer = File::options().write(true).open(&path).unwrap();
        writer.write_all(b"rs").unwrap();
        drop(writer);
        assert_eq!(fifo.take(), b"rs");
        assert!(fifo.take().is_empty());
        fifo.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_fifo_is_replaced_and_another_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        let stale = Fifo::make(&path).unwrap();
        let fifo = Fifo::make(&path).unwrap();
        // `stale` does not remove the file, because the file is the newer FIFO
        stale.remove().unwrap();
        assert!(path.exists());
        fifo.remove().unwrap();
        std::fs::write(&path, "precious").unwrap();
        let error = Fifo::make(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
