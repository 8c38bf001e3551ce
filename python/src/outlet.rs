//! Bytes of an answer that the peer has not taken yet. They wait here, in memory and then in a file, so that no
//! Python thread waits for a slow reader; the porter sends them on.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, RawFd};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ruwsgi::sys::stream;

/// Above this many bytes in memory, what follows goes to a file.
const MEMORY: u64 = 1 << 20;
/// Above this many bytes in the file, the application has to wait for the reader after all.
const FILE: u64 = 1 << 30;
/// One sendfile(2) at most, so that a fast reader of a large file does not keep the porter from the others.
const SLICE: u64 = 4 << 20;

/// A `bytes` object whose content can be read without the interpreter.
pub struct Shared {
    _object: Py<PyBytes>,
    start: *const u8,
    len: usize,
}

// SAFETY: a bytes object does not change, and the reference keeps it alive; it is only read. Dropped where the
// interpreter is not attached, the reference is given back by whoever attaches next.
unsafe impl Send for Shared {}

impl Shared {
    fn new(object: &Bound<'_, PyBytes>) -> Self {
        let bytes = object.as_bytes();
        Self {
            start: bytes.as_ptr(),
            len: bytes.len(),
            _object: object.clone().unbind(),
        }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: see `Send` above.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

enum Chunk {
    Copied(Vec<u8>, usize),
    Held(Shared, usize, usize),
    /// `offset..end` of a file is to be sent; it is our own spool if `spool`.
    File {
        file: File,
        offset: u64,
        end: u64,
        spool: bool,
    },
}

/// How far sending came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// All is sent.
    Done,
    /// The peer takes no more for now.
    Blocked,
    /// The peer is gone.
    Broken,
}

/// The queue.
#[derive(Default)]
pub struct Outlet {
    queue: VecDeque<Chunk>,
    memory: u64,
    spooled: u64,
}

impl Outlet {
    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// More waits than should: the producer is to be held up.
    pub fn is_full(&self) -> bool {
        self.spooled > FILE
    }

    /// Queues a copy.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.memory + bytes.len() as u64 > MEMORY {
            return self.spill(bytes);
        }
        self.memory += bytes.len() as u64;
        match self.queue.back_mut() {
            Some(Chunk::Copied(chunk, _)) => chunk.extend_from_slice(bytes),
            _ => self.queue.push_back(Chunk::Copied(bytes.to_vec(), 0)),
        }
        Ok(())
    }

    /// Queues `object[from..to]` itself if `last` (the application is done, so memory does not grow), else as it fits.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn push_object(
        &mut self,
        object: &Bound<'_, PyBytes>,
        from: usize,
        to: usize,
        last: bool,
    ) -> io::Result<()> {
        let len = (to - from) as u64;
        if len < 4096 || (!last && self.memory + len > MEMORY) {
            return self.push(&object.as_bytes()[from..to]);
        }
        self.memory += len;
        self.queue
            .push_back(Chunk::Held(Shared::new(object), from, to));
        Ok(())
    }

    /// Queues a stretch of a file.
    pub fn push_file(&mut self, file: File, offset: u64, end: u64) {
        self.queue.push_back(Chunk::File {
            file,
            offset,
            end,
            spool: false,
        });
    }

    fn spill(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.spooled += bytes.len() as u64;
        if let Some(Chunk::File {
            file,
            end,
            spool: true,
            ..
        }) = self.queue.back_mut()
        {
            file.write_all(bytes)?;
            *end += bytes.len() as u64;
            return Ok(());
        }
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        self.queue.push_back(Chunk::File {
            file,
            offset: 0,
            end: bytes.len() as u64,
            spool: true,
        });
        Ok(())
    }

    /// Sends what the peer takes.
    pub fn flush(&mut self, fd: RawFd) -> Flow {
        loop {
            let flow = match self.queue.front_mut() {
                None => {
                    self.memory = 0;
                    self.spooled = 0;
                    return Flow::Done;
                }
                Some(Chunk::Copied(bytes, sent)) => send_bytes(fd, bytes, sent),
                Some(Chunk::Held(object, from, to)) => send_bytes(fd, &object.bytes()[..*to], from),
                Some(Chunk::File {
                    file, offset, end, ..
                }) => send_file(fd, file, offset, *end),
            };
            match flow {
                Flow::Done => drop(self.queue.pop_front()),
                other => return other,
            }
        }
    }
}

fn send_bytes(fd: RawFd, bytes: &[u8], sent: &mut usize) -> Flow {
    while *sent < bytes.len() {
        match stream::send(fd, &[IoSlice::new(&bytes[*sent..])]) {
            Ok(count) => *sent += count,
            Err(error) => return flow_of(&error),
        }
    }
    Flow::Done
}

fn send_file(fd: RawFd, file: &File, offset: &mut u64, end: u64) -> Flow {
    while *offset < end {
        match stream::sendfile(fd, file.as_raw_fd(), offset, (end - *offset).min(SLICE)) {
            // the file was cut short under us: what was promised cannot be sent
            Ok(0) => return Flow::Broken,
            Ok(_) => {}
            Err(error) => return flow_of(&error),
        }
    }
    Flow::Done
}

/// What an error of sending means.
pub fn flow_of(error: &io::Error) -> Flow {
    if error.kind() == io::ErrorKind::WouldBlock {
        Flow::Blocked
    } else {
        Flow::Broken
    }
}
