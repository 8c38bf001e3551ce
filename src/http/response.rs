//! A response: its head, its body and their framing on the wire.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::application_headers::ApplicationHeaders;
use super::framing::Framing;
use super::header_rules::HeaderRules;
use super::loss::Loss;
use super::response_headers::{self, Persistence, Version};
use super::response_writer::{PeerGone, ResponseWriter};
use super::unlock::Unlock;
use super::write_queue::{Block, Flow, WriteQueue};
use crate::ipc::Protocol;
use crate::log::counted;
use crate::protocol::body::{CHUNK_END, LAST_CHUNK, chunk_head};
use crate::sys::wakeup::Wakeup;

mod direct;
mod file_body;

/// A last block of at most this size is copied behind the head, so that the application's object can be freed before
/// the block is sent.
const COPIED_LAST: usize = 16 << 10;
/// Any other block of at most this size is copied, because one send(2) is cheaper than a sendmsg(2) of two parts.
const COPIED: usize = 1 << 10;

/// The stage of a response.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum State {
    /// No request is being answered.
    #[default]
    Closed,
    /// The response has begun. Status and headers can still be changed.
    Open,
    /// The head is sent, or is about to be sent.
    Committed,
    /// The body has ended, and the response is complete.
    Complete,
    /// The body is incomplete, and nothing follows. The connection is reset, so that the client notices.
    Cut,
}

/// Sizes of a response, for the scoreboard and the log.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sizes {
    /// Bytes of the head.
    pub head: u64,
    /// Bytes of the body that are sent or queued. After [`Sizes::limit_to`]: the bytes of the body that have arrived.
    pub body: u64,
    /// Number of blocks of the body that the application has given.
    pub blocks: u32,
    /// Whether the body is a file.
    pub sendfile: bool,
}

impl Sizes {
    /// Corrects the sizes of an incomplete response, of which only `delivered` bytes have arrived.
    pub fn limit_to(&mut self, delivered: u64) {
        self.head = self.head.min(delivered);
        self.body = self.body.min(delivered - self.head);
    }
}

/// The facts about a request and its connection on which the response depends.
pub struct Opening<'a> {
    /// The connection's socket.
    pub fd: RawFd,
    /// The protocol of the connection.
    pub protocol: Protocol,
    /// SERVER_PROTOCOL.
    pub version: &'a [u8],
    /// REQUEST_METHOD.
    pub method: &'a [u8],
    /// Whether the client and the server keep the HTTP connection open.
    pub keep_alive: bool,
    /// Timeout for a client that takes no bytes while its write queue is full.
    pub timeout: Duration,
}

/// The response of a serving thread to its current request. The object is reused for the next request, so that its
/// buffers stay allocated.
#[derive(Default)]
pub struct Response {
    state: State,
    protocol: Protocol,
    version: Version,
    persistence: Persistence,
    framing: Framing,
    writer: ResponseWriter,
    /// Number of bytes beyond Content-Length that the application has given.
    surplus: u64,
    /// The application's status and headers.
    pub head: ApplicationHeaders,
    /// The sizes of this response, for the scoreboard and the log.
    pub sent: Sizes,
    /// Number of the application that responds, for the log; -1 if there is none.
    pub app: i32,
    /// Changes to the headers of every response.
    rules: Option<Arc<HeaderRules>>,
    /// Changes to the headers of this response by a route: headers to add, and names of headers to remove.
    route_changes: Option<Box<HeaderRules>>,
    /// Request variables that the header rules have set.
    pub collected: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Response {
    /// Sets the changes to the headers of every response.
    pub fn set_rules(&mut self, rules: Option<Arc<HeaderRules>>) {
        self.rules = rules;
    }

    /// Sets the wakeup of the I/O thread, which closes other connections when room for files is short.
    pub fn set_io_thread(&mut self, io_thread: Arc<Wakeup>) {
        self.writer.set_io_thread(io_thread);
    }

    /// Begins the response to a request, and forgets the previous response.
    #[inline]
    pub fn open(&mut self, opening: &Opening<'_>) {
        self.state = State::Open;
        self.writer.restart(opening.fd, opening.timeout);
        self.protocol = opening.protocol;
        self.version = Version::of_request(opening.version);
        self.persistence = match opening.keep_alive {
            true => Persistence::KeepAlive,
            false => Persistence::Close,
        };
        self.framing = match opening.method {
            b"HEAD" => Framing::Bodiless,
            _ => Framing::Close,
        };
        self.surplus = 0;
        self.sent = Sizes::default();
        self.app = -1;
        self.collected.clear();
        self.route_changes = None;
        self.head.restart(self.protocol);
    }

    /// Ends the response. Returns the queue of the bytes that the client has not taken.
    #[inline]
    pub fn close(&mut self) -> WriteQueue {
        self.state = State::Closed;
        self.writer.take_queue()
    }

    /// Whether the application may add to the response. Additions to a broken response are discarded.
    #[inline]
    pub fn is_open(&self) -> bool {
        match self.state {
            State::Open | State::Committed => true,
            State::Complete | State::Cut => self.is_broken(),
            State::Closed => false,
        }
    }

    /// Whether the head is sent or is about to be sent, so that it cannot be changed.
    #[inline]
    pub fn is_committed(&self) -> bool {
        matches!(self.state, State::Committed | State::Complete | State::Cut)
    }

    /// Whether the client needs nothing more: the response has ended, or its rest cannot be sent.
    #[inline]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete | State::Cut) || self.is_broken()
    }

    /// Whether the rest of the response cannot be sent: the client is gone, or the response is cut off.
    #[inline]
    pub fn is_broken(&self) -> bool {
        self.loss().is_some()
    }

    /// The reason why the rest of the response is not sent; `None` if nothing prevents it.
    #[inline]
    pub fn loss(&self) -> Option<Loss> {
        self.writer.loss()
    }

    /// Bytes of the response that the socket has taken.
    #[inline]
    pub fn bytes_sent(&self) -> u64 {
        self.writer.sent()
    }

    /// Whether the client takes the end of the connection for the end of the body.
    #[inline]
    pub fn ends_by_close(&self) -> bool {
        self.framing == Framing::Close
    }

    /// Whether the connection must be reset, because the body is incomplete.
    #[inline]
    pub fn is_cut(&self) -> bool {
        self.state == State::Cut
    }

    /// Whether the connection can take another request after this response.
    #[inline]
    pub fn keeps_alive(&self) -> bool {
        let keep_alive = self.persistence == Persistence::KeepAlive;
        keep_alive && !self.is_cut() && !self.is_broken()
    }

    /// Number of body bytes that are missing according to Content-Length; `None` without Content-Length.
    pub fn missing(&self) -> Option<u64> {
        match (self.is_committed(), self.framing) {
            (false, _) => self.head.content_length,
            (true, Framing::Length(left)) => Some(left),
            (true, _) => None,
        }
    }

    /// Returns a log message if the body differs from its Content-Length. If `failed` is true, the log already reports
    /// that the application has failed, so a body that is too short gives no message.
    pub fn length_mismatch(&self, failed: bool) -> Option<String> {
        if self.surplus > 0 {
            return Some(format!(
                "the application gave {} more than its Content-Length, which the client does not get",
                counted(self.surplus, "byte")
            ));
        }
        match self.framing {
            Framing::Length(missing) if missing > 0 && !failed && !self.is_broken() => {
                Some(format!(
                    "the application gave {} less than its Content-Length; the connection is cut",
                    counted(missing, "byte")
                ))
            }
            _ => None,
        }
    }

    /// Changes the headers of this response, besides the changes that apply to every response. Does nothing if both
    /// lists are empty.
    pub fn change_headers(&mut self, added: Vec<(Vec<u8>, Vec<u8>)>, removed: Vec<Vec<u8>>) {
        if !added.is_empty() || !removed.is_empty() {
            self.route_changes = Some(Box::new(HeaderRules::of_bytes(added, removed)));
        }
    }

    /// Sets Content-Length to `length`, for a body whose length is known in advance. Has no effect if the application
    /// has set Content-Length, or if the response has no body.
    #[inline]
    pub fn set_length(&mut self, length: u64) {
        if self.head.content_length.is_none() && !self.is_bodiless() {
            let digits = length.to_string();
            self.head.content_length = Some(length);
            self.head.append(b"Content-Length", digits.as_bytes());
        }
    }

    fn is_bodiless(&self) -> bool {
        self.framing == Framing::Bodiless || matches!(self.head.code(), 101 | 204 | 205 | 304)
    }

    /// Whether a body of unknown length is sent in chunks.
    fn chunks(&self) -> bool {
        self.protocol == Protocol::Http && self.version == Version::Http11
    }

    /// Applies the header rules, chooses the framing, and writes the head into the buffer.
    #[inline]
    fn commit(&mut self) {
        self.state = State::Committed;
        if let Some(rules) = &self.rules {
            rules.apply(&mut self.head, &mut self.collected);
        }
        if let Some(changes) = &self.route_changes {
            changes.apply(&mut self.head, &mut self.collected);
        }
        if self.head.code() == 205 {
            // without Content-Length a client would expect chunks, or wait for the end of the connection (RFC 9110,
            // 15.3.6)
            self.head.append(b"Content-Length", b"0");
        }
        self.framing = match self.head.content_length {
            _ if self.is_bodiless() => Framing::Bodiless,
            Some(length) => Framing::Length(length),
            None if self.chunks() => Framing::Chunked,
            None => Framing::Close,
        };
        let out = &mut self.writer.buffer;
        let begin = out.len();
        out.extend_from_slice(self.version.status_line_start());
        out.extend_from_slice(&self.head.status);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.head.lines);
        if self.protocol == Protocol::Http {
            if self.head.closes || self.framing == Framing::Close {
                self.persistence = Persistence::Close;
            }
            let (version, persistence) = (self.version, self.persistence);
            response_headers::append(out, &self.head, self.framing, version, persistence);
        }
        out.extend_from_slice(b"\r\n");
        self.sent.head = (self.writer.buffer.len() - begin) as u64;
    }

    /// Adds a block to the body and sends it. Waits for the client while the queue is full. With `last` the body ends
    /// with this block, and a small block stays in the buffer until [`Response::flush_nonblocking`].
    ///
    /// # Errors
    /// The client is gone.
    #[inline]
    pub fn write<B: Block + ?Sized>(
        &mut self,
        lock: &impl Unlock,
        block: &B,
        last: bool,
    ) -> Result<(), PeerGone> {
        self.sent.blocks += 1;
        let bytes = block.bytes();
        if bytes.is_empty() {
            // PEP 3333: an empty block must not send the head
            return if last {
                self.writer.result()
            } else {
                self.writer.check_peer()
            };
        }
        if !self.is_committed() {
            self.commit();
        }
        let take = self.admit(bytes.len());
        let out = &mut self.writer.buffer;
        let mut tail: &[u8] = b"";
        if self.framing == Framing::Chunked {
            chunk_head(take, out);
            tail = CHUNK_END;
        }
        if take > COPIED_LAST || (!last && take > COPIED) {
            return self.writer.send_with(lock, (block, take), tail, last);
        }
        out.extend_from_slice(&bytes[..take]);
        out.extend_from_slice(tail);
        if last {
            self.writer.result()
        } else {
            self.writer.flush(lock)
        }
    }

    /// Counts a block of `len` bytes. Returns how many of its bytes Content-Length allows to send.
    #[inline]
    fn admit(&mut self, len: usize) -> usize {
        let take = self.framing.admit(len);
        if self.framing != Framing::Bodiless {
            self.surplus += (len - take) as u64;
        }
        self.sent.body += take as u64;
        take
    }

    /// Completes a response of the server with a status and headers, and this body.
    pub fn finish_with(&mut self, body: &[u8]) {
        self.set_length(body.len() as u64);
        self.commit();
        let take = self.admit(body.len());
        self.writer.buffer.extend_from_slice(&body[..take]);
        self.finish();
    }

    /// Sends the buffer and the queue until the client takes no more, without waiting. The caller holds no interpreter
    /// lock.
    #[inline]
    pub fn flush_nonblocking(&mut self) -> Flow {
        self.writer.flush_nonblocking()
    }

    /// Completes the response: the application has given its whole body. If the body is shorter than its
    /// Content-Length, the connection will be reset.
    #[inline]
    pub fn finish(&mut self) {
        if !self.is_committed() {
            self.set_length(0);
            self.commit();
        }
        if self.framing == Framing::Chunked {
            self.writer.buffer.extend_from_slice(LAST_CHUNK);
        }
        self.state = match self.framing {
            Framing::Length(left) if left > 0 => State::Cut,
            _ => State::Complete,
        };
    }

    /// Ends a response that the application has left incomplete. Otherwise the client would take the next response on
    /// the connection for the rest of this response. If the head is not committed, the client gets status 500.
    pub fn give_up(&mut self) {
        if self.is_committed() {
            self.abort();
        } else {
            self.fail(500, "Internal Server Error");
        }
    }

    /// Replaces a response that is not committed. The new response has this status and one line of text.
    pub fn fail(&mut self, status: u16, text: &str) {
        self.persistence = Persistence::Close;
        // the status and the header are valid
        let _ = self.head.start(status.to_string().as_bytes());
        let _ = self.head.add(b"Content-Type", b"text/plain; charset=utf-8");
        if self.protocol == Protocol::Uwsgi {
            self.head.append(b"Connection", b"close");
        }
        self.set_length(text.len() as u64);
        self.commit();
        let take = self.admit(text.len());
        self.writer
            .buffer
            .extend_from_slice(&text.as_bytes()[..take]);
        self.state = State::Complete;
    }

    /// Ends a response that is committed and incomplete. The connection will be reset, so that the client notices.
    pub fn abort(&mut self) {
        self.persistence = Persistence::Close;
        self.state = State::Cut;
    }

    /// Responds in place of the application, from another thread. Blocks that the application still gives are
    /// discarded. Has no effect on a response that is committed or broken.
    pub fn cut_off(&mut self, status: u16, text: &str) {
        if self.state != State::Open || self.is_broken() {
            return;
        }
        self.fail(status, text);
        let flow = self.flush_nonblocking();
        self.writer.lose(Loss::Replaced);
        if flow == Flow::Done {
            self.writer.shut_down();
        }
    }
}
