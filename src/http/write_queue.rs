//! Response bytes that the client has not taken yet.
//!
//! The bytes wait in memory and then in a file. The I/O thread sends them, so no serving thread waits for a slow
//! reader.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::{Buf, Bytes, BytesMut};
use nix::errno::Errno;

use super::budget::{self, Share};
use super::disk::DISK;
use super::loss::Loss;
use crate::sys::stream;

/// Maximum bytes of a response in memory. The bytes after them go to a file.
const MEMORY: u64 = 1 << 20;
/// Maximum bytes of a response in files. Beyond this limit the application has to wait for the client.
const FILE: u64 = 1 << 30;
/// Maximum bytes of one sendfile(2). With this limit, a client that reads a large file fast does not delay the other
/// clients of the I/O thread.
const SENDFILE: u64 = 4 << 20;
/// Whether this process reads files and sends the bytes, instead of using sendfile(2).
static READ_FILES: AtomicBool = AtomicBool::new(false);

/// Makes this process read files and send the bytes, instead of using sendfile(2) (`disable-sendfile`).
pub fn disable_sendfile() {
    READ_FILES.store(true, Relaxed);
}

/// A block of fewer bytes is copied, because a copy costs less than a reference to the application's object.
const COPIED: usize = 4096;

/// Whether waiting bytes can be stored in a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Storage {
    Works,
    /// Other connections use the room or the descriptors. The I/O thread closes some of these connections.
    Crowded,
    /// The disk is full, or has failed.
    Fails,
}

/// Why bytes cannot be stored in a file.
#[derive(Debug, thiserror::Error)]
enum Shortage {
    #[error("limit-spool is reached")]
    Limit,
    #[error("the response would take more than half of the free space")]
    Disk,
    #[error(transparent)]
    Io(#[from] io::Error),
}

enum Chunk {
    /// Bytes that were copied; more can be appended.
    Copied(BytesMut),
    /// Bytes of an object of the application, which are not copied.
    Shared(Bytes),
    /// A file of the application, or a static file. The bytes `offset..end` are to be sent. The file uses a descriptor,
    /// but no room for temporary files.
    File {
        file: Arc<File>,
        offset: u64,
        end: u64,
        _descriptor: Share,
    },
    /// A temporary file of this queue, to which more bytes can be appended.
    Spool { file: File, offset: u64, end: u64 },
}

/// The result of sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Everything is sent.
    Done,
    /// The client takes no more for now.
    Blocked,
    /// The rest cannot be sent, for this reason.
    Broken(Loss),
}

impl Flow {
    /// The result that follows from an error of a system call that sends from memory.
    pub fn after(error: &io::Error) -> Self {
        Loss::of_client(error).map_or(Self::Blocked, Self::Broken)
    }
}

/// A block of a response body. The application may own its memory.
pub trait Block {
    /// The bytes of the block.
    fn bytes(&self) -> &[u8];

    /// Returns the same bytes in a form that stays valid until the client has taken them. By default, the bytes are
    /// copied.
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
    /// Whether files can be used. Unless the value is `Works`, the application waits until everything is sent, or until
    /// files can be used again.
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
    /// Whether no bytes wait.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes of the response that were sent: the bytes of the queue, and the bytes that were counted by
    /// [`WriteQueue::count`].
    #[inline]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Counts bytes of the response that were sent without waiting in this queue.
    #[inline]
    pub fn count(&mut self, sent: u64) {
        self.sent += sent;
    }

    /// Whether the application has to wait for the client: too many bytes are in files, or files cannot be used.
    pub fn is_full(&self) -> bool {
        self.storage != Storage::Works || self.in_files.bytes() > FILE
    }

    /// Whether the queue is full because other connections occupy the room for files. The room may become free later.
    pub fn is_crowded(&self) -> bool {
        self.storage == Storage::Crowded
    }

    /// Uses files again if other connections have given up enough room. Otherwise asks the I/O thread once more to free
    /// room.
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

    /// Queues a copy of `bytes`. If memory is short, the copy goes to a file; if that fails, it stays in memory.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.goes_to_file(bytes.len()) {
            match self.spool(bytes) {
                Ok(()) => return,
                Err(shortage) => self.wait_instead(&shortage),
            }
        }
        self.in_memory.add(bytes.len() as u64);
        match self.chunks.back_mut() {
            Some(Chunk::Copied(chunk)) => chunk.extend_from_slice(bytes),
            _ => self.chunks.push_back(Chunk::Copied(bytes.into())),
        }
    }

    /// Queues `block[from..to]`. The `last` block of a response stays in memory whatever its size, because the
    /// application holds it in memory already. It goes to a file only if more than half of the memory budget is used.
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

    /// Queues the bytes `offset..end` of a file, and counts the file's descriptor.
    pub fn push_file(&mut self, file: Arc<File>, offset: u64, end: u64) {
        let mut descriptor = Share::of(&budget::FILES);
        descriptor.set(1);
        self.chunks.push_back(Chunk::File {
            file,
            offset,
            end,
            _descriptor: descriptor,
        });
    }

    /// Whether bytes of the queue are in a temporary file.
    pub fn has_file(&self) -> bool {
        self.in_files.bytes() > 0
    }

    /// Appends a copy of `bytes` to the temporary file at the end of the queue, or to a new temporary file.
    fn spool(&mut self, bytes: &[u8]) -> Result<(), Shortage> {
        let (own, len) = (self.in_files.bytes(), bytes.len() as u64);
        if !budget::FILES.admits(own, len) {
            return Err(Shortage::Limit);
        }
        if let Some(Chunk::Spool { file, end, .. }) = self.chunks.back_mut() {
            append(file, own, bytes)?;
            *end += len;
            self.in_files.add(len);
            return Ok(());
        }
        let mut file = tempfile::tempfile()?;
        append(&mut file, own, bytes)?;
        self.chunks.push_back(Chunk::Spool {
            file,
            offset: 0,
            end: len,
        });
        self.in_files.add(len);
        Ok(())
    }

    /// Whether the next `len` bytes go to a file. They do if this response or all responses use much memory, or if the
    /// bytes before them are in a file. In the latter case, bytes in memory would split the file in two.
    fn goes_to_file(&self, len: usize) -> bool {
        matches!(self.chunks.back(), Some(Chunk::Spool { .. }))
            || self.in_memory.bytes() + len as u64 > MEMORY
            || budget::MEMORY.is_beyond(2)
    }

    /// Makes the application wait for its client, because bytes cannot be stored in a file. Asks the I/O thread for
    /// room if other connections use the room.
    #[cold]
    fn wait_instead(&mut self, shortage: &Shortage) {
        self.storage = match shortage {
            Shortage::Limit => {
                budget::FILES.refused(self.in_files.bytes());
                Storage::Crowded
            }
            Shortage::Io(error) if is_out_of_descriptors(error) => {
                budget::FILES.request_room();
                Storage::Crowded
            }
            Shortage::Disk | Shortage::Io(_) => Storage::Fails,
        };
        if budget::FILES.is_log_due() {
            tracing::warn!(
                "responses that their clients are slow to take cannot be stored in {}: {shortage}; the application waits for such clients (limit-spool, TMPDIR)",
                std::env::temp_dir().display()
            );
        }
    }

    /// Sends the queue until the client takes no more, without waiting.
    pub fn flush(&mut self, fd: RawFd) -> Flow {
        loop {
            let sent = &mut self.sent;
            let more = self.chunks.len() > 1;
            let flow = match self.chunks.front_mut() {
                None => {
                    self.in_memory.set(0);
                    self.in_files.set(0);
                    self.storage = Storage::Works;
                    return Flow::Done;
                }
                Some(Chunk::Copied(bytes)) => send_bytes(fd, bytes, sent, more),
                Some(Chunk::Shared(bytes)) => send_bytes(fd, bytes, sent, more),
                Some(Chunk::File {
                    file, offset, end, ..
                }) => send_file(fd, file, offset, *end, sent),
                Some(Chunk::Spool { file, offset, end }) => send_file(fd, file, offset, *end, sent),
            };
            match flow {
                Flow::Done => drop(self.chunks.pop_front()),
                other => return other,
            }
        }
    }
}

/// Appends `bytes` to a temporary file of a response that has `own` bytes in files.
fn append(file: &mut File, own: u64, bytes: &[u8]) -> Result<(), Shortage> {
    let len = bytes.len() as u64;
    if !DISK.admits(file, own, len) {
        return Err(Shortage::Disk);
    }
    file.write_all(bytes)?;
    DISK.count(len);
    Ok(())
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EMFILE | Errno::ENFILE)
    )
}

/// Sends bytes. If `more` is true, other bytes follow at once, and the kernel delays a small segment.
fn send_bytes(fd: RawFd, bytes: &mut impl Buf, sent: &mut u64, more: bool) -> Flow {
    while bytes.has_remaining() {
        let result = match more {
            true => stream::send_more(fd, bytes.chunk()),
            false => stream::send(fd, &[IoSlice::new(bytes.chunk())]),
        };
        match result {
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
        let result = if READ_FILES.load(Relaxed) {
            Err(Errno::EINVAL.into())
        } else {
            stream::sendfile(fd, file.as_raw_fd(), offset, count)
        };
        let result = match result {
            // the file system does not support sendfile(2)
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                stream::send_by_reading(fd, file, offset, count)
            }
            other => other,
        };
        match result {
            // the file has been truncated, so the announced length cannot be sent
            Ok(0) => return Flow::Broken(Loss::FileEnded),
            Ok(count) => *sent += count as u64,
            Err(error) => return after_sendfile(&error),
        }
    }
    Flow::Done
}

/// The result that follows from an error of sendfile(2). The file or the client may have caused the error.
fn after_sendfile(error: &io::Error) -> Flow {
    match error.kind() {
        io::ErrorKind::WouldBlock => Flow::Blocked,
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            Flow::Broken(Loss::ClientGone)
        }
        _ => Flow::Broken(Loss::FileEnded),
    }
}
