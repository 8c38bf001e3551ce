//! Response bytes that the client has not taken yet.
//!
//! They wait here, in memory and then in a file, so that no serving thread waits for a slow reader; the I/O thread sends
//! them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, RawFd};

use bytes::{Buf, Bytes, BytesMut};
use nix::errno::Errno;

use super::budget::{self, Share};
use super::loss::Loss;
use crate::sys::stream;

/// Bytes in memory above which the following ones go to a file.
const MEMORY: u64 = 1 << 20;
/// Bytes in files above which the application has to wait for the client.
const FILE: u64 = 1 << 30;
/// Largest sendfile(2) call, bytes: a fast reader of a large file does not keep the I/O thread from the others.
const SENDFILE: u64 = 4 << 20;
/// A shorter block is copied, bytes: it costs less than keeping a reference to the application's object.
const COPIED: usize = 4096;

/// Whether bytes that wait can go to a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Storage {
    Works,
    /// Other connections have the room or the descriptors. The I/O thread closes some of them.
    Crowded,
    /// The disk is full, or has failed.
    Fails,
}

enum Chunk {
    /// Bytes that were copied; more can be appended.
    Copied(BytesMut),
    /// Bytes that belong to the application.
    Shared(Bytes),
    /// A file of the application: `offset..end` is to be sent. It takes no room, but a descriptor.
    File {
        file: File,
        offset: u64,
        end: u64,
        _descriptor: Share,
    },
    /// A file of this queue, to which more bytes can be appended.
    Spool { file: File, offset: u64, end: u64 },
}

/// How far sending has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Everything is sent.
    Done,
    /// The client takes no more for now.
    Blocked,
    /// The rest cannot be sent.
    Broken(Loss),
}

impl Flow {
    /// The flow after an error of a system call that sends from memory.
    pub fn after(error: &io::Error) -> Self {
        Loss::of_client(error).map_or(Self::Blocked, Self::Broken)
    }
}

/// A block of a response body. The application may own its memory.
pub trait Block {
    /// The bytes.
    fn bytes(&self) -> &[u8];

    /// The same bytes, for as long as the client needs to take them.
    fn share(&self) -> Bytes {
        Bytes::copy_from_slice(self.bytes())
    }
}

impl Block for [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Block for Bytes {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn share(&self) -> Bytes {
        self.clone()
    }
}

/// A queue of response bytes.
pub struct WriteQueue {
    chunks: VecDeque<Chunk>,
    in_memory: Share,
    in_files: Share,
    /// While it does not work the application waits until everything is sent, or it works again.
    storage: Storage,
    /// Bytes of the response that were sent.
    sent: u64,
}

impl Default for WriteQueue {
    fn default() -> Self {
        Self {
            chunks: VecDeque::new(),
            in_memory: Share::of(&budget::MEMORY),
            in_files: Share::of(&budget::FILES),
            storage: Storage::Works,
            sent: 0,
        }
    }
}

impl WriteQueue {
    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes of the response that were sent: from the queue, and before it existed as far as [`WriteQueue::count`] says.
    #[inline]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Counts bytes of the response that were sent without waiting here.
    #[inline]
    pub fn count(&mut self, sent: u64) {
        self.sent += sent;
    }

    /// Whether so much waits that the application has to wait, too.
    pub fn is_full(&self) -> bool {
        self.storage != Storage::Works || self.in_files.bytes() > FILE
    }

    /// Whether it is full because of other connections: after a while there may be room.
    pub fn is_crowded(&self) -> bool {
        self.storage == Storage::Crowded
    }

    /// Looks whether other connections have given up enough room, and asks for it again if not.
    #[cold]
    pub fn retry_storage(&mut self) {
        if !budget::FILES.admits(self.in_files.bytes(), MEMORY) {
            budget::FILES.refused(self.in_files.bytes());
            return;
        }
        if !matches!(self.chunks.back(), Some(Chunk::Spool { .. })) {
            let Ok(file) = tempfile::tempfile() else {
                budget::FILES.request_room();
                return;
            };
            self.chunks.push_back(Chunk::Spool {
                file,
                offset: 0,
                end: 0,
            });
        }
        self.storage = Storage::Works;
    }

    /// Queues a copy of `bytes`: in memory, or in a file if there is room.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.goes_to_file(bytes.len()) {
            match self.spool(bytes) {
                Ok(()) => return,
                Err(error) => self.wait_instead(&error),
            }
        }
        self.in_memory.add(bytes.len() as u64);
        match self.chunks.back_mut() {
            Some(Chunk::Copied(chunk)) => chunk.extend_from_slice(bytes),
            _ => self.chunks.push_back(Chunk::Copied(bytes.into())),
        }
    }

    /// Queues `block[from..to]`. The `last` block of a response is kept in memory whatever its size, because the
    /// application holds it already.
    pub fn push_block<B: Block + ?Sized>(&mut self, block: &B, from: usize, to: usize, last: bool) {
        let len = to - from;
        let to_file = match last {
            true => budget::MEMORY.is_beyond(2),
            false => self.goes_to_file(len),
        };
        if len < COPIED || to_file {
            return self.push(&block.bytes()[from..to]);
        }
        self.in_memory.add(len as u64);
        self.chunks
            .push_back(Chunk::Shared(block.share().slice(from..to)));
    }

    /// Queues the bytes `offset..end` of a file.
    pub fn push_file(&mut self, file: File, offset: u64, end: u64) {
        let mut descriptor = Share::of(&budget::FILES);
        descriptor.set(1);
        self.chunks.push_back(Chunk::File {
            file,
            offset,
            end,
            _descriptor: descriptor,
        });
    }

    /// Whether bytes of it are in a file.
    pub fn has_file(&self) -> bool {
        self.in_files.bytes() > 0
    }

    /// Appends a copy of `bytes` to a file.
    fn spool(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        if !budget::FILES.admits(self.in_files.bytes(), len) {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "limit-spool is reached",
            ));
        }
        if let Some(Chunk::Spool { file, end, .. }) = self.chunks.back_mut() {
            file.write_all(bytes)?;
            *end += len;
            self.in_files.add(len);
            return Ok(());
        }
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        self.chunks.push_back(Chunk::Spool {
            file,
            offset: 0,
            end: len,
        });
        self.in_files.add(len);
        Ok(())
    }

    /// Whether `len` more bytes go to a file: much of the memory of this response, or of all, is in use, or the bytes
    /// before them are in a file. (A few bytes in memory between two blocks would cost a second file.)
    fn goes_to_file(&self, len: usize) -> bool {
        matches!(self.chunks.back(), Some(Chunk::Spool { .. }))
            || self.in_memory.bytes() + len as u64 > MEMORY
            || budget::MEMORY.is_beyond(2)
    }

    /// Makes the application wait for its client, because bytes cannot be stored in a file.
    #[cold]
    fn wait_instead(&mut self, error: &io::Error) {
        self.storage = match error.raw_os_error().map(Errno::from_raw) {
            None => {
                budget::FILES.refused(self.in_files.bytes());
                Storage::Crowded
            }
            Some(Errno::EMFILE | Errno::ENFILE) => {
                budget::FILES.request_room();
                Storage::Crowded
            }
            Some(_) => Storage::Fails,
        };
        if budget::FILES.is_log_due() {
            tracing::warn!(
                "responses that their clients are slow to take cannot be stored in {}: {error}; the application waits for such clients (limit-spool, TMPDIR)",
                std::env::temp_dir().display()
            );
        }
    }

    /// Sends as much as the client takes.
    pub fn flush(&mut self, fd: RawFd) -> Flow {
        loop {
            let sent = &mut self.sent;
            let flow = match self.chunks.front_mut() {
                None => {
                    self.in_memory.set(0);
                    self.in_files.set(0);
                    self.storage = Storage::Works;
                    return Flow::Done;
                }
                Some(Chunk::Copied(bytes)) => send_bytes(fd, bytes, sent),
                Some(Chunk::Shared(bytes)) => send_bytes(fd, bytes, sent),
                Some(
                    Chunk::File {
                        file, offset, end, ..
                    }
                    | Chunk::Spool { file, offset, end },
                ) => send_file(fd, file, offset, *end, sent),
            };
            match flow {
                Flow::Done => drop(self.chunks.pop_front()),
                other => return other,
            }
        }
    }
}

fn send_bytes(fd: RawFd, bytes: &mut impl Buf, sent: &mut u64) -> Flow {
    while bytes.has_remaining() {
        match stream::send(fd, &[IoSlice::new(bytes.chunk())]) {
            Ok(count) => {
                bytes.advance(count);
                *sent += count as u64;
            }
            Err(error) => return Flow::after(&error),
        }
    }
    Flow::Done
}

fn send_file(fd: RawFd, file: &File, offset: &mut u64, end: u64, sent: &mut u64) -> Flow {
    while *offset < end {
        let count = (end - *offset).min(SENDFILE);
        match stream::sendfile(fd, file.as_raw_fd(), offset, count) {
            // the file has been truncated: the announced length cannot be sent any more
            Ok(0) => return Flow::Broken(Loss::FileEnded),
            Ok(count) => *sent += count as u64,
            Err(error) => return after_sendfile(&error),
        }
    }
    Flow::Done
}

/// The flow after an error of sendfile(2), which may come from the file as well as from the client.
fn after_sendfile(error: &io::Error) -> Flow {
    match error.kind() {
        io::ErrorKind::WouldBlock => Flow::Blocked,
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            Flow::Broken(Loss::ClientGone)
        }
        _ => Flow::Broken(Loss::FileEnded),
    }
}
