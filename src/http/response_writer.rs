//! Writes response bytes: to the socket while the client takes them, then to a queue.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::loss::Loss;
use super::progress::Progress;
use super::unlock::Unlock;
use super::write_queue::{Block, Flow, WriteQueue};
use crate::sys::stream::{self, Peer};
use crate::sys::wakeup::Wakeup;

/// The error of a write after the client has gone or the response was cut off. The rest of the response cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the client is gone")]
pub struct PeerGone;

/// A client that has ended its sending direction counts as gone if it takes no bytes for this time. Such a client may
/// still read the response, but the kernel shows the same state for a client that has closed its TCP connection.
const ENDED: Duration = Duration::from_secs(1);

/// Interval between two attempts to store bytes in a file, while other connections occupy the room for files.
const STORAGE_RETRY: Duration = Duration::from_millis(10);

/// The writing end of a connection.
#[derive(Default)]
pub struct ResponseWriter {
    fd: RawFd,
    timeout: Duration,
    /// Bytes that are about to be sent. The type is `Vec`, because the buffer is reused and never given away.
    pub buffer: Vec<u8>,
    /// Bytes that the client has not taken.
    queue: WriteQueue,
    /// Bytes that were sent directly, without waiting in the queue.
    sent: u64,
    /// The reason why the rest is not sent.
    loss: Option<Loss>,
    /// The time when the client was first seen to have ended its sending direction.
    ended: Option<Instant>,
    /// Wakes the I/O thread, which closes other connections when room for files is short.
    io_thread: Option<Arc<Wakeup>>,
}

impl ResponseWriter {
    /// Sets the wakeup of the I/O thread, which closes other connections when room for files is short.
    pub fn set_io_thread(&mut self, io_thread: Arc<Wakeup>) {
        self.io_thread = Some(io_thread);
    }

    /// Prepares for a response on this socket. If the queue is full and the client takes no bytes for `timeout`, the
    /// response is given up.
    #[inline]
    pub fn restart(&mut self, fd: RawFd, timeout: Duration) {
        self.fd = fd;
        self.timeout = timeout;
        self.buffer.clear();
        self.sent = 0;
        self.loss = None;
        self.ended = None;
    }

    /// The socket.
    pub fn descriptor(&self) -> RawFd {
        self.fd
    }

    /// Takes out the queue of the bytes that the client has not taken. The count of sent bytes moves to that queue.
    #[inline]
    pub fn take_queue(&mut self) -> WriteQueue {
        let mut queue = std::mem::take(&mut self.queue);
        queue.count(std::mem::take(&mut self.sent));
        queue
    }

    /// Bytes of the response that the socket has taken.
    #[inline]
    pub fn sent(&self) -> u64 {
        self.sent + self.queue.sent()
    }

    /// The reason why the rest is not sent: the client is gone, or [`ResponseWriter::lose`] was called.
    #[inline]
    pub fn loss(&self) -> Option<Loss> {
        self.loss
    }

    /// Stops sending for the reason `loss`. An earlier reason is kept.
    pub fn lose(&mut self, loss: Loss) {
        self.loss.get_or_insert(loss);
    }

    /// Checks whether the client has left. It is meant for times when no bytes have to be sent, because a send fails in
    /// this case anyway.
    ///
    /// # Errors
    /// The client is gone.
    pub fn check_peer(&mut self) -> Result<(), PeerGone> {
        match stream::peer(self.fd) {
            Peer::Present => {}
            Peer::Ended => {
                let since = *self.ended.get_or_insert_with(Instant::now);
                if since.elapsed() >= ENDED {
                    self.lose(Loss::ClientGone);
                }
            }
            Peer::Gone => self.lose(Loss::ClientGone),
        }
        self.result()
    }

    /// Shuts the socket down for writing, which tells the client that no more bytes follow.
    pub fn shut_down(&self) {
        stream::shut_down_writing(self.fd);
    }

    /// Returns an error if the rest of the response cannot be sent.
    #[inline]
    pub fn result(&self) -> Result<(), PeerGone> {
        if self.loss.is_some() {
            Err(PeerGone)
        } else {
            Ok(())
        }
    }

    /// Sends the buffer, the first `take` bytes of a block without copying them, and `tail`. Queues the bytes that the
    /// client does not take, and waits while the queue is full. The `last` block of a response stays in memory,
    /// whatever its size.
    pub fn send_with<B: Block + ?Sized>(
        &mut self,
        lock: &impl Unlock,
        (block, take): (&B, usize),
        tail: &[u8],
        last: bool,
    ) -> Result<(), PeerGone> {
        let bytes = &block.bytes()[..take];
        let mut sent = 0;
        if self.loss.is_none() && self.queue.is_empty() {
            let (fd, parts) = (self.fd, [&self.buffer[..], bytes, tail].map(IoSlice::new));
            match lock.unlocked(|| stream::send(fd, &parts)) {
                Ok(count) => sent = count,
                Err(error) => self.loss = Loss::of_client(&error),
            }
            self.sent += sent as u64;
        }
        if sent < self.buffer.len() + take + tail.len() && self.loss.is_none() {
            self.queue_rest((block, take), tail, sent, last);
        }
        self.buffer.clear();
        self.wait_for_room(lock)
    }

    /// Queues the bytes that a send has not taken. `sent` counts bytes of the buffer, then of the block's first `take`
    /// bytes, then of `tail`.
    fn queue_rest<B: Block + ?Sized>(
        &mut self,
        (block, take): (&B, usize),
        tail: &[u8],
        sent: usize,
        last: bool,
    ) {
        let head = self.buffer.len();
        if sent < head {
            self.queue.push(&self.buffer[sent..]);
        }
        let from = sent.saturating_sub(head).min(take);
        if from < take {
            self.queue.push_block(block, from, take, last);
        }
        let tail_sent = sent.saturating_sub(head + take);
        if tail_sent < tail.len() {
            self.queue.push(&tail[tail_sent..]);
        }
    }

    /// Queues the bytes `offset..end` of a file behind the buffer. Sends both until the client takes no more.
    pub fn send_file(
        &mut self,
        lock: &impl Unlock,
        file: &Arc<File>,
        offset: u64,
        end: u64,
    ) -> Result<(), PeerGone> {
        if !self.buffer.is_empty() {
            self.queue.push(&self.buffer);
            self.buffer.clear();
        }
        self.queue.push_file(file.clone(), offset, end);
        lock.unlocked(|| self.flush_nonblocking());
        self.result()
    }

    /// Sends the buffer. Queues the bytes that the client does not take, and waits while the queue is full.
    pub fn flush(&mut self, lock: &impl Unlock) -> Result<(), PeerGone> {
        lock.unlocked(|| self.flush_nonblocking());
        self.wait_for_room(lock)
    }

    /// Sends the buffer and the queue until the client takes no more, and queues the rest of the buffer. Does not wait.
    /// The caller holds no interpreter lock.
    #[inline]
    pub fn flush_nonblocking(&mut self) -> Flow {
        if let Some(loss) = self.loss {
            self.buffer.clear();
            return Flow::Broken(loss);
        }
        let mut sent = 0;
        if self.queue.is_empty() {
            while sent < self.buffer.len() {
                match stream::send(self.fd, &[IoSlice::new(&self.buffer[sent..])]) {
                    Ok(count) => sent += count,
                    Err(error) => {
                        self.loss = Loss::of_client(&error);
                        break;
                    }
                }
            }
            self.sent += sent as u64;
        }
        if sent < self.buffer.len() && self.loss.is_none() {
            self.queue.push(&self.buffer[sent..]);
        }
        self.buffer.clear();
        let flow = match self.loss {
            Some(loss) => Flow::Broken(loss),
            None if self.queue.is_empty() => Flow::Done,
            None => self.queue.flush(self.fd),
        };
        if let Flow::Broken(loss) = flow {
            self.lose(loss);
        }
        flow
    }

    /// Waits while the queue is full. Gives up when the client has taken no bytes for `timeout`.
    fn wait_for_room(&mut self, lock: &impl Unlock) -> Result<(), PeerGone> {
        if !self.queue.is_full() {
            return self.result();
        }
        let mut progress = Progress::new(self.fd);
        while self.queue.is_full() && self.loss.is_none() {
            let left = progress.left(self.fd, self.timeout);
            if left.is_zero() {
                self.lose(Loss::Blocked);
                break;
            }
            let mut step = left;
            if self.queue.is_crowded() {
                step = left.min(STORAGE_RETRY);
                if let Some(io_thread) = &self.io_thread {
                    io_thread.wake();
                }
            }
            let (fd, millis) = (self.fd, i32::try_from(step.as_millis()).unwrap_or(i32::MAX));
            // wait_writable also returns false after a signal
            if lock.unlocked(|| stream::wait_writable(fd, millis.saturating_add(1))) {
                let before = self.queue.sent();
                self.flush_nonblocking();
                if self.queue.sent() > before {
                    progress = Progress::new(self.fd);
                }
            }
            if self.queue.is_crowded() {
                self.queue.retry_storage();
            }
        }
        self.result()
    }
}
