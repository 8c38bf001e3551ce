//! The output of commands: the master copies their stdout and stderr line by line to the log.

use std::io::{ErrorKind, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};

use crate::log;
use crate::sys::process::Pid;

/// Maximum length of a log line in bytes; a longer line is split.
const MAX_LINE: usize = 8 << 10;

/// Maximum number of bytes read from one pipe in one call. A command that writes without end therefore does not block
/// the master.
const MAX_READ: usize = 32 << 10;

/// Maximum number of pipes of commands that have exited while their descendants still hold the pipe. The oldest pipe is
/// closed first.
const MAX_ORPHANED: usize = 64;

/// The output pipes of all commands.
#[derive(Debug, Default)]
pub(in crate::master) struct Outputs(Vec<Output>);

#[derive(Debug)]
struct Output {
    name: String,
    pid: Pid,
    pipe: PipeReader,
    /// The bytes of the last line, until the newline arrives.
    partial_line: Vec<u8>,
    writer: Writer,
}

/// The processes that may write to a pipe.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Writer {
    /// The command and its descendants.
    Command,
    /// Descendants only: the command has exited.
    Orphans,
}

impl Outputs {
    /// Adds the output pipe of a command.
    pub(super) fn add(&mut self, name: &str, pid: Pid, pipe: PipeReader) {
        self.0.push(Output {
            name: name.to_owned(),
            pid,
            pipe,
            partial_line: Vec::new(),
            writer: Writer::Command,
        });
    }

    /// The descriptors to poll for input.
    pub(in crate::master) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|output| output.pipe.as_fd())
    }

    /// Reads the pipes at these indexes of [`Outputs::descriptors`] and logs their lines. Closes the pipes at end of
    /// file.
    pub(in crate::master) fn read(&mut self, indexes: &[usize]) {
        let mut index = 0;
        self.0.retain_mut(|output| {
            let keep = !indexes.contains(&index) || output.read();
            index += 1;
            keep
        });
    }

    /// Reads and logs the available output of a command that has exited. The pipe stays open while descendants of the
    /// command hold it, up to [`MAX_ORPHANED`] such pipes.
    pub(in crate::master) fn command_exited(&mut self, pid: Pid) {
        self.0.retain_mut(|output| {
            if output.pid != pid {
                return true;
            }
            output.writer = Writer::Orphans;
            output.read()
        });
        let is_orphaned = |output: &Output| output.writer == Writer::Orphans;
        while self.0.iter().filter(|output| is_orphaned(output)).count() > MAX_ORPHANED {
            if let Some(oldest) = self.0.iter().position(is_orphaned) {
                self.0.remove(oldest);
            }
        }
    }
}

impl Output {
    /// Reads the available output, up to about [`MAX_READ`] bytes, and logs complete lines. Returns false at end of
    /// file or on error.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 4096];
        let mut total = 0;
        while total < MAX_READ {
            match self.pipe.read(&mut chunk) {
                Ok(0) => {
                    self.log_partial_line();
                    return false;
                }
                Ok(bytes) => {
                    self.append(&chunk[..bytes]);
                    total += bytes;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }

    /// Logs the complete lines, and keeps the incomplete last line.
    fn append(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.append_to_line(&bytes[..end]);
            self.log_partial_line();
            bytes = &bytes[end + 1..];
        }
        self.append_to_line(bytes);
    }

    /// Extends the partial line, and logs it each time it reaches [`MAX_LINE`].
    fn append_to_line(&mut self, mut bytes: &[u8]) {
        while self.partial_line.len() + bytes.len() > MAX_LINE {
            let (fits, rest) = bytes.split_at(MAX_LINE - self.partial_line.len());
            self.partial_line.extend_from_slice(fits);
            self.log_partial_line();
            bytes = rest;
        }
        self.partial_line.extend_from_slice(bytes);
    }

    fn log_partial_line(&mut self) {
        let line = self.partial_line.trim_ascii_end();
        if !line.is_empty() {
            log::relay(&self.name, self.pid.get(), line);
        }
        self.partial_line.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{PipeWriter, Write};

    use crate::sys::pipe;

    use super::*;

    fn output() -> (Output, PipeWriter) {
        let (pipe, writer) = pipe::for_output().unwrap();
        let output = Output {
            name: "test".to_owned(),
            pid: Pid::own(),
            pipe,
            partial_line: Vec::new(),
            writer: Writer::Command,
        };
        (output, writer)
    }

    #[test]
    fn a_partial_line_is_kept_until_its_newline_or_the_maximum_length() {
        let (mut output, _writer) = output();
        output.append(b"one\ntwo");
        assert_eq!(output.partial_line, b"two");
        output.append(b"\n");
        assert!(output.partial_line.is_empty());
        output.append(&vec![b'x'; MAX_LINE * 2 + 5]);
        assert_eq!(output.partial_line.len(), 5);
    }

    #[test]
    fn an_output_ends_with_its_last_writer() {
        let (mut output, mut writer) = output();
        writer.write_all(b"text").unwrap();
        assert!(output.read());
        drop(writer);
        assert!(!output.read());
    }

    #[test]
    fn one_read_is_bounded() {
        let (mut output, mut writer) = output();
        writer.write_all(&[b'\n'; MAX_READ + 4096]).unwrap();
        drop(writer);
        assert!(output.read());
        assert!(!output.read());
    }
}
