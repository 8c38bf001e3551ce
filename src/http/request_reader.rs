//! Reads one request from a connection, without waiting. Any thread may continue what another one has begun.

use std::io;
use std::os::fd::RawFd;

use bytes::{Buf, Bytes, BytesMut};

use super::connection::Connection;
use super::http_environ;
use super::refusal::Refusal;
use super::request::{BlockError, Request};
use super::settings::Limits;
use super::spool::Spool;
use crate::ipc::Protocol;
use crate::protocol::body::ChunkDecoder;
use crate::protocol::http;
use crate::protocol::uwsgi::{self, Head};
use crate::sys::stream;

/// Bytes of one recv(2) of a uwsgi packet: its largest head and block of variables.
const UWSGI_RECV: usize = uwsgi::HEADER + u16::MAX as usize;
/// Bytes of one recv(2) of HTTP heads and chunks.
const HTTP_RECV: usize = 64 << 10;
/// Bytes of one recv(2) of a body with a length.
const BODY_RECV: usize = 256 << 10;

/// What reading has led to.
pub enum Step {
    /// The request is incomplete; nothing more has arrived.
    More,
    /// The request is complete.
    Complete,
    /// The server responds itself, and the connection ends.
    Refused(Refusal),
    /// The client is gone; with a reason for the log if the client closed it within a request.
    Gone(Option<&'static str>),
}

/// The part of the request that is being read.
enum Stage {
    Head,
    /// A body of known length, of which `left` bytes are missing.
    Body {
        spool: Spool,
        left: u64,
    },
    Chunks {
        spool: Spool,
        decoder: ChunkDecoder,
    },
}

/// A request that is being read.
pub struct RequestReader {
    /// The request, as far as it has been read.
    pub request: Request,
    /// Whether the client keeps the HTTP connection open for another request.
    pub keep_alive: bool,
    /// Whether the client has sent more bytes than the request of a uwsgi connection.
    pub surplus: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    continue_due: bool,
    protocol: Protocol,
    /// Received bytes of an HTTP connection that have not been used.
    raw: BytesMut,
    scan: http::Scan,
    stage: Stage,
}

impl RequestReader {
    /// A reader that expects the head of a request.
    pub fn new(protocol: Protocol) -> Self {
        Self {
            request: Request::default(),
            keep_alive: false,
            surplus: false,
            continue_due: false,
            protocol,
            raw: BytesMut::new(),
            scan: http::Scan::default(),
            stage: Stage::Head,
        }
    }

    /// Prepares for the first request of a new connection; keeps the memory.
    #[inline]
    pub fn restart(&mut self, protocol: Protocol) {
        self.raw.clear();
        self.restart_pipelined(protocol);
    }

    /// Prepares for the next request of the same connection, whose bytes may have arrived already.
    #[inline]
    pub fn restart_pipelined(&mut self, protocol: Protocol) {
        self.request.clear();
        self.keep_alive = false;
        self.surplus = false;
        self.continue_due = false;
        self.protocol = protocol;
        self.scan = http::Scan::default();
        self.stage = Stage::Head;
    }

    /// Whether nothing of a request has arrived.
    pub fn is_empty(&self) -> bool {
        self.request.text.is_empty() && self.raw.is_empty()
    }

    /// Whether the head is complete and the body is not.
    pub fn in_body(&self) -> bool {
        !matches!(self.stage, Stage::Head)
    }

    /// Whether the body is spooled to a file, and so will take a while.
    pub fn is_large(&self) -> bool {
        match &self.stage {
            Stage::Head => false,
            Stage::Body { spool, .. } | Stage::Chunks { spool, .. } => !spool.in_memory(),
        }
    }

    /// Whether bytes of the next request have arrived.
    #[inline]
    pub fn has_pipelined(&self) -> bool {
        !self.raw.is_empty()
    }

    /// Takes the bytes out that have arrived after the request.
    pub fn take_pipelined(&mut self) -> Bytes {
        self.raw.split().freeze()
    }

    /// Frees unused memory before a long wait.
    pub fn shrink(&mut self) {
        self.request.text.shrink_to_fit();
        self.raw = BytesMut::from(&self.raw[..]);
    }

    /// Reads what has arrived, up to `budget` bytes. `scratch` is the thread's buffer for bodies that go to a file.
    pub fn read(
        &mut self,
        connection: &Connection,
        limits: &Limits,
        scratch: &mut Vec<u8>,
        budget: usize,
    ) -> Step {
        let fd = connection.raw_fd();
        let mut left = budget;
        loop {
            let got = match self.receive(fd, scratch) {
                Ok(0) => {
                    return Step::Gone(
                        (!self.is_empty()).then_some("the client closed it within a request"),
                    );
                }
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::More,
                Err(_) => {
                    return Step::Gone(
                        (!self.is_empty()).then_some("an error on its socket within a request"),
                    );
                }
            };
            match self.parse(connection, limits, scratch) {
                Step::More => {}
                other => return other,
            }
            left = left.saturating_sub(got);
            if left == 0 {
                return Step::More;
            }
        }
    }

    /// Parses bytes that have arrived already, without reading more: those of a pipelined request.
    pub fn resume(&mut self, connection: &Connection, limits: &Limits) -> Step {
        if self.raw.is_empty() {
            Step::More
        } else {
            self.parse(connection, limits, &[])
        }
    }

    /// One recv(2), into the buffer of the current stage.
    #[inline]
    fn receive(&mut self, fd: RawFd, scratch: &mut Vec<u8>) -> io::Result<usize> {
        match (&mut self.stage, self.protocol) {
            (Stage::Head, Protocol::Uwsgi) => {
                stream::recv_into(fd, &mut self.request.text, UWSGI_RECV)
            }
            (Stage::Head, Protocol::Http) | (Stage::Chunks { .. }, _) => {
                stream::recv_into_bytes(fd, &mut self.raw, HTTP_RECV)
            }
            (Stage::Body { left, .. }, _) => {
                scratch.clear();
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                stream::recv_into(fd, scratch, most.min(BODY_RECV))
            }
        }
    }

    /// Parses the bytes that were received last; those of a body are in `scratch`.
    #[inline]
    fn parse(&mut self, connection: &Connection, limits: &Limits, scratch: &[u8]) -> Step {
        match (&mut self.stage, self.protocol) {
            (Stage::Head, Protocol::Uwsgi) => self.uwsgi_packet(limits),
            (Stage::Head, Protocol::Http) => self.http_head(connection, limits),
            (Stage::Body { spool, left }, _) => {
                if let Err(error) = spool.push(scratch) {
                    return Step::Refused(Refusal::spool_failed(&error));
                }
                *left = left.saturating_sub(scratch.len() as u64);
                self.complete_if_body_is()
            }
            (Stage::Chunks { .. }, _) => self.chunks(limits),
        }
    }

    fn complete_if_body_is(&mut self) -> Step {
        match self.stage {
            Stage::Body { left: 0, .. } => self.complete(),
            _ => Step::More,
        }
    }

    fn complete(&mut self) -> Step {
        if let Stage::Body { spool, .. } | Stage::Chunks { spool, .. } =
            std::mem::replace(&mut self.stage, Stage::Head)
        {
            self.request.body = spool.into_body();
        }
        Step::Complete
    }

    // ── uwsgi ──

    #[inline]
    fn uwsgi_packet(&mut self, limits: &Limits) -> Step {
        let text = &self.request.text;
        let Some(head) = Head::parse(text) else {
            return Step::More;
        };
        if let Some(foreign) = uwsgi::looks_like(text) {
            return Step::Refused(Refusal::foreign_protocol(&foreign));
        }
        if head.modifier1 == 100 {
            return Step::Refused(Refusal::pong());
        }
        if head.modifier1 != 0 && head.modifier1 != 30 {
            return Step::Refused(Refusal::modifier(head.modifier1));
        }
        let end = uwsgi::HEADER + head.size;
        if text.len() < end {
            return Step::More;
        }
        if head.size > limits.buffer_size {
            let block = &text[uwsgi::HEADER..end];
            return Step::Refused(Refusal::block_too_large(block, limits.buffer_size));
        }
        if head.size == 0 {
            return Step::Refused(Refusal::bad_packet("the uwsgi packet has no variables"));
        }
        self.request.modifier1 = head.modifier1;
        self.request.modifier2 = head.modifier2;
        match self.request.read_block(uwsgi::HEADER, head.size) {
            Ok(()) => self.uwsgi_body(end, limits),
            Err(BlockError::Malformed(why)) => Step::Refused(Refusal::bad_packet(&format!(
                "the uwsgi packet is malformed: {why}"
            ))),
            Err(BlockError::TwoLengths) => Step::Refused(Refusal::bad_packet(
                "the uwsgi packet has two different values of CONTENT_LENGTH",
            )),
            Err(BlockError::Forbidden(name)) => Step::Refused(Refusal::forbidden_variable(name)),
        }
    }

    /// Begins the body, which starts at `start` in the received bytes.
    #[inline]
    fn uwsgi_body(&mut self, start: usize, limits: &Limits) -> Step {
        let length = match self.request.content_length() {
            None => 0,
            Some(value) => match uwsgi::content_length(value) {
                Ok(length) => length,
                Err(_) => {
                    return Step::Refused(Refusal::bad_packet("CONTENT_LENGTH is not a number"));
                }
            },
        };
        let rest = &self.request.text[start..];
        if length == 0 {
            self.surplus = !rest.is_empty();
            return Step::Complete;
        }
        match begin_body(length, rest, limits) {
            Ok((stage, taken)) => {
                self.surplus = rest.len() > taken;
                self.stage = stage;
                self.complete_if_body_is()
            }
            Err(refusal) => Step::Refused(refusal),
        }
    }

    // ── HTTP ──

    fn http_head(&mut self, connection: &Connection, limits: &Limits) -> Step {
        let head_limits = http::Limits {
            head: limits.buffer_size,
            headers: limits.headers,
        };
        let head = match http::parse(&self.raw, &head_limits, &mut self.scan) {
            Ok(http::Parsed::Complete(head)) => head,
            Ok(http::Parsed::Partial) => return Step::More,
            Err(refusal) => return Step::Refused(Refusal::http(&refusal)),
        };
        http_environ::fill(&mut self.request, &head, connection);
        self.keep_alive = head.keep_alive;
        self.continue_due = head.expect_continue;
        let (head_len, framing) = (head.head_len, head.framing);
        self.raw.advance(head_len);
        match framing {
            http::Framing::None | http::Framing::Length(0) => Step::Complete,
            http::Framing::Length(length) => self.http_body(length, connection, limits),
            http::Framing::Chunked => {
                self.stage = Stage::Chunks {
                    spool: Spool::new(limits.post_buffering),
                    decoder: ChunkDecoder::new(),
                };
                self.send_continue(connection);
                self.chunks(limits)
            }
        }
    }

    fn http_body(&mut self, length: u64, connection: &Connection, limits: &Limits) -> Step {
        let body = begin_body(length, &self.raw, limits);
        if let Ok((_, taken)) = &body {
            self.send_continue(connection);
            self.raw.advance(*taken);
        }
        match body {
            Ok((stage, _)) => {
                self.stage = stage;
                self.complete_if_body_is()
            }
            Err(refusal) => Step::Refused(refusal),
        }
    }

    /// Asks the client for the body if it waits for that (RFC 9110, 10.1.1).
    fn send_continue(&mut self, connection: &Connection) {
        if std::mem::take(&mut self.continue_due) && self.raw.is_empty() {
            let line = [io::IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")];
            // on failure the client sends its body after a timeout
            let _ = stream::send(connection.raw_fd(), &line);
        }
    }

    fn chunks(&mut self, limits: &Limits) -> Step {
        let Stage::Chunks { spool, decoder } = &mut self.stage else {
            return Step::More;
        };
        let mut refusal = None;
        let limit = limits.limit_post;
        let result = decoder.decode(&self.raw, &mut |bytes: &[u8]| {
            if refusal.is_some() {
                return;
            }
            let after = spool.received() + bytes.len() as u64;
            if limit != 0 && after > limit {
                refusal = Some(Refusal::body_too_large(after, limit));
            } else if let Err(error) = spool.push(bytes) {
                refusal = Some(Refusal::spool_failed(&error));
            }
        });
        if let Some(refusal) = refusal {
            return Step::Refused(refusal);
        }
        match result {
            Ok(progress) => {
                let length = spool.received().to_string();
                self.raw.advance(progress.consumed);
                if !progress.done {
                    return Step::More;
                }
                self.request.push(b"CONTENT_LENGTH", length.as_bytes());
                self.complete()
            }
            Err(refusal) => Step::Refused(Refusal::http(&refusal)),
        }
    }
}

/// The stage of a body of `length` bytes that begins with those `received`, and how many of these belong to it.
fn begin_body(length: u64, received: &[u8], limits: &Limits) -> Result<(Stage, usize), Refusal> {
    if limits.limit_post != 0 && length > limits.limit_post {
        return Err(Refusal::body_too_large(length, limits.limit_post));
    }
    let taken = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(received.len());
    let mut spool = Spool::with_length(length, limits.post_buffering)
        .map_err(|error| Refusal::spool_failed(&error))?;
    spool
        .push(&received[..taken])
        .map_err(|error| Refusal::spool_failed(&error))?;
    let left = length - taken as u64;
    Ok((Stage::Body { spool, left }, taken))
}
