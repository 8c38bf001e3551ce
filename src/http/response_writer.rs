//! Writes response bytes: to the socket as long as the client takes them, then to a queue.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::unlock::Unlock;
use super::write_queue::{Block, Flow, WriteQueue};
use crate::sys::stream::{self, Peer};

/// The client is gone, or the response is cut off: no more of it can be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the client is gone")]
pub struct PeerGone;

/// Time after which a client that sends no more, and gets nothing, counts as gone. A client may end its sending direction
/// with its request, and read the response; but one that has closed its TCP connection looks the same.
const ENDED: Duration = Duration::from_secs(1);

/// The writing end of a connection.
#[derive(Default)]
pub struct ResponseWriter {
    fd: RawFd,
    timeout: Duration,
    /// Bytes that are about to be sent. A `Vec`: it is filled and sent over and over, and never given away.
    pub buffer: Vec<u8>,
    /// Bytes that the client has not taken.
    queue: WriteQueue,
    broken: bool,
    /// When the client was first seen to send no more.
    ended: Option<Instant>,
}

impl ResponseWriter {
    /// Prepares for a response on this socket. `timeout` is how long a client that takes nothing is waited for, once its
    /// queue is full.
    #[inline]
    pub fn restart(&mut self, fd: RawFd, timeout: Duration) {
        self.fd = fd;
        self.timeout = timeout;
        self.buffer.clear();
        self.broken = false;
        self.ended = None;
    }

    /// Takes out the bytes that the client has not taken.
    #[inline]
    pub fn take_queue(&mut self) -> WriteQueue {
        std::mem::take(&mut self.queue)
    }

    /// Whether the client is gone, or [`ResponseWriter::discard`] was called.
    #[inline]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// From now on nothing is sent.
    pub fn discard(&mut self) {
        self.broken = true;
    }

    /// Looks whether the client has left, where there is nothing to send that would tell.
    ///
    /// # Errors
    /// The client is gone.
    pub fn check_peer(&mut self) -> Result<(), PeerGone> {
        match stream::peer(self.fd) {
            Peer::Present => {}
            Peer::Ended => {
                let since = *self.ended.get_or_insert_with(Instant::now);
                self.broken |= since.elapsed() >= ENDED;
            }
            Peer::Gone => self.broken = true,
        }
        self.result()
    }

    /// Tells the client that no more will come.
    pub fn shut_down(&self) {
        stream::shut_down_writing(self.fd);
    }

    /// `Ok` as long as the client is there.
    #[inline]
    pub fn result(&self) -> Result<(), PeerGone> {
        if self.broken { Err(PeerGone) } else { Ok(()) }
    }

    /// Sends the buffer, `take` bytes of a block without copying them, and `tail`. The `last` block of a response stays
    /// in memory, whatever its size.
    pub fn send_with<B: Block + ?Sized>(
        &mut self,
        lock: &impl Unlock,
        (block, take): (&B, usize),
        tail: &[u8],
        last: bool,
    ) -> Result<(), PeerGone> {
        let bytes = &block.bytes()[..take];
        let mut sent = 0;
        if !self.broken && self.queue.is_empty() {
            let (fd, parts) = (self.fd, [&self.buffer[..], bytes, tail].map(IoSlice::new));
            match lock.unlocked(|| stream::send(fd, &parts)) {
                Ok(count) => sent = count,
                Err(error) => self.broken |= Flow::after(&error) == Flow::Broken,
            }
        }
        if sent < self.buffer.len() + take + tail.len() && !self.broken {
            let queued = self.queue_rest((block, take), tail, sent, last);
            self.broken |= queued.is_err();
        }
        self.buffer.clear();
        self.wait_for_room(lock)
    }

    /// Queues what follows the first `sent` bytes of the buffer, of `take` bytes of a block, and of `tail`.
    fn queue_rest<B: Block + ?Sized>(
        &mut self,
        (block, take): (&B, usize),
        tail: &[u8],
        sent: usize,
        last: bool,
    ) -> io::Result<()> {
        let head = self.buffer.len();
        if sent < head {
            self.queue.push(&self.buffer[sent..])?;
        }
        let from = sent.saturating_sub(head).min(take);
        if from < take {
            self.queue.push_block(block, from, take, last)?;
        }
        let tail_sent = sent.saturating_sub(head + take);
        if tail_sent < tail.len() {
            self.queue.push(&tail[tail_sent..])?;
        }
        Ok(())
    }

    /// Queues the bytes `offset..end` of a file behind the buffer, and sends both.
    pub fn send_file(
        &mut self,
        lock: &impl Unlock,
        file: File,
        offset: u64,
        end: u64,
    ) -> Result<(), PeerGone> {
        if !self.buffer.is_empty() {
            self.broken |= self.queue.push(&self.buffer).is_err();
            self.buffer.clear();
        }
        self.queue.push_file(file, offset, end);
        lock.unlocked(|| self.flush_nonblocking());
        self.result()
    }

    /// Sends the buffer.
    pub fn flush(&mut self, lock: &impl Unlock) -> Result<(), PeerGone> {
        lock.unlocked(|| self.flush_nonblocking());
        self.wait_for_room(lock)
    }

    /// Sends the buffer and the queue as far as the client takes them, and queues the rest. The caller holds no
    /// interpreter lock.
    #[inline]
    pub fn flush_nonblocking(&mut self) -> Flow {
        if self.broken {
            self.buffer.clear();
            return Flow::Broken;
        }
        let mut sent = 0;
        if self.queue.is_empty() {
            while sent < self.buffer.len() {
                match stream::send(self.fd, &[IoSlice::new(&self.buffer[sent..])]) {
                    Ok(count) => sent += count,
                    Err(error) if Flow::after(&error) == Flow::Blocked => break,
                    Err(_) => {
                        self.broken = true;
                        break;
                    }
                }
            }
        }
        if sent < self.buffer.len() && !self.broken {
            self.broken |= self.queue.push(&self.buffer[sent..]).is_err();
        }
        self.buffer.clear();
        if self.broken {
            return Flow::Broken;
        }
        if self.queue.is_empty() {
            return Flow::Done;
        }
        let flow = self.queue.flush(self.fd);
        self.broken |= flow == Flow::Broken;
        flow
    }

    /// Waits while the queue is full.
    fn wait_for_room(&mut self, lock: &impl Unlock) -> Result<(), PeerGone> {
        let timeout_ms = i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX);
        while self.queue.is_full() && !self.broken {
            let fd = self.fd;
            if !lock.unlocked(|| stream::wait_writable(fd, timeout_ms)) {
                self.broken = true;
                break;
            }
            self.flush_nonblocking();
        }
        self.result()
    }
}
