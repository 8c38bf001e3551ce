//! Two ways in which the application itself ends or extends a response: it sends a file, or ends the response early.

use std::fs::File;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::{Response, State};
use crate::http::framing::Framing;
use crate::http::loss::Loss;
use crate::http::response_headers::Persistence;
use crate::http::response_writer::PeerGone;
use crate::http::unlock::Unlock;
use crate::http::write_queue::Flow;
use crate::protocol::body::{CHUNK_END, LAST_CHUNK, chunk_head};
use crate::sys::stream;

/// If the application ends a response early, maximum time to wait for a client that takes no bytes, milliseconds.
const PATIENCE_MS: i32 = 10_000;

impl Response {
    /// Whether a request is being answered.
    pub fn is_in_request(&self) -> bool {
        self.state != State::Closed
    }

    /// The connection's socket.
    pub fn descriptor(&self) -> RawFd {
        self.writer.descriptor()
    }

    /// Adds `len` bytes of a file from `offset` to the body, and sends them.
    ///
    /// # Errors
    /// The client is gone.
    pub fn append_file(
        &mut self,
        lock: &impl Unlock,
        file: File,
        offset: u64,
        len: u64,
    ) -> Result<(), PeerGone> {
        self.sent.blocks += 1;
        if !self.is_committed() {
            self.commit();
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let take = self.framing.admit(len);
        if take == 0 {
            return self.writer.flush(lock);
        }
        let is_chunk = self.framing == Framing::Chunked;
        if is_chunk {
            chunk_head(take, &mut self.writer.buffer);
        }
        self.sent.body += take as u64;
        self.sent.sendfile = true;
        let end = offset + take as u64;
        self.writer.send_file(lock, &Arc::new(file), offset, end)?;
        if is_chunk {
            self.writer.buffer.extend_from_slice(CHUNK_END);
        }
        self.writer.flush(lock)
    }

    /// Ends the response while the application continues. Sends the bytes that are left, and tells the client that no
    /// more follow. Later blocks of the application are discarded.
    pub fn disconnect(&mut self, lock: &impl Unlock) {
        if !self.is_open() || self.is_broken() {
            return;
        }
        if !self.is_committed() {
            self.commit();
        }
        if self.framing == Framing::Chunked {
            self.writer.buffer.extend_from_slice(LAST_CHUNK);
        }
        self.persistence = Persistence::Close;
        self.state = State::Complete;
        let descriptor = self.descriptor();
        lock.unlocked(|| {
            while self.flush_nonblocking() == Flow::Blocked
                && stream::wait_writable(descriptor, PATIENCE_MS)
            {}
        });
        self.writer.lose(Loss::Replaced);
        self.writer.shut_down();
    }
}
