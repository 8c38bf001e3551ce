//! Named pipes, for who is told things by writing letters to a file.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;

use super::socket::FileId;

/// A fifo that was made here, open for reading.
#[derive(Debug)]
pub struct Fifo {
    file: File,
    path: PathBuf,
    id: FileId,
}

impl Fifo {
    /// Makes a fifo of mode 0600 at a path, in the place of one that is there; it never blocks.
    ///
    /// # Errors
    /// `AlreadyExists` when another kind of file is there, which stays; those of mkfifo(3), unlink(2) and open(2).
    pub fn make(path: &Path) -> io::Result<Self> {
        match std::fs::symlink_metadata(path) {
            Ok(about) if about.file_type().is_fifo() => std::fs::remove_file(path)?,
            Ok(_) => {
                let sentence = "a file of another kind is in the way, which is left alone";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, sentence));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // for writing too: then it has a writer always, and does not end when one who wrote closes it
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
            .open(path)?;
        let about = file.metadata()?;
        if !about.file_type().is_fifo() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "another file has taken its place",
            ));
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            id: FileId {
                device: about.dev(),
                inode: about.ino(),
            },
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What has been written to it, a few hundred bytes at the most.
    pub fn take(&self) -> Vec<u8> {
        let mut bytes = [0; 256];
        let read = (&self.file).read(&mut bytes).unwrap_or(0);
        bytes[..read].to_vec()
    }

    /// Removes the file, if it is still this one.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn remove(&self) -> io::Result<()> {
        match FileId::of(&self.path) {
            Ok(found) if found == self.id => std::fs::remove_file(&self.path),
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
        // it is no longer its own
        stale.remove().unwrap();
        assert!(path.exists());
        fifo.remove().unwrap();
        std::fs::write(&path, "precious").unwrap();
        let error = Fifo::make(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
