//! Pipes for the output of children, and writing to FIFOs.

use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;

/// Creates a pipe for the output of a child. The reading end, for this process, is non-blocking.
///
/// # Errors
/// Those of pipe2(2).
pub fn for_output() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    super::descriptor::set_nonblocking(&reader, true)?;
    Ok((reader, writer))
}

/// Writes to a FIFO without waiting. Returns false, with nothing written, if no process has the FIFO open for reading.
///
/// # Errors
/// Those of open(2) and write(2); `WouldBlock` when the FIFO is full.
pub fn write_fifo(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let opened = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    match opened {
        Ok(mut fifo) => fifo.write_all(bytes).map(|()| true),
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn reading_does_not_wait() {
        let (mut reader, writer) = for_output().unwrap();
        let nothing = reader.read(&mut [0; 8]).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        drop(writer);
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn a_fifo_without_a_reader_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(!write_fifo(&path, b"x").unwrap());
        let mut options = OpenOptions::new();
        let mut reader = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .unwrap();
        assert!(write_fifo(&path, b"x").unwrap());
        let mut got = [0; 8];
        assert_eq!(reader.read(&mut got).unwrap(), 1);
        assert!(write_fifo(&dir.path().join("none"), b"x").is_err());
    }
}
