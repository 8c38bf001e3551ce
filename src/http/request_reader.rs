//! Reads one request from a connection, without waiting. Any thread may continue what another one has begun.

use std::io;

use bytes::{Bytes, BytesMut};

use super::connection::Connection;
use super::refusal::Refusal;
use super::request::{Request, Span};
use super::settings::Limits;
use super::spool::Spool;
use crate::ipc::Protocol;
use crate::protocol::body::ChunkDecoder;
use crate::protocol::http;

/// The result of a read.
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
pub(super) enum Stage {
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
    pub(super) continue_due: bool,
    pub(super) protocol: Protocol,
    /// Received bytes of an HTTP connection that have not been used.
    pub(super) raw: BytesMut,
    pub(super) scan: http::Scan,
    pub(super) stage: Stage,
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

    /// While the body is incomplete, the bytes of it that have arrived, and its length if that is known.
    pub fn body_progress(&self) -> Option<(u64, Option<u64>)> {
        match &self.stage {
            Stage::Head => None,
            Stage::Body { spool, left } => Some((spool.received(), Some(spool.received() + left))),
            Stage::Chunks { spool, .. } => Some((spool.received(), None)),
        }
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

    /// Bytes of memory that it holds, without those of the body.
    pub fn buffered(&self) -> usize {
        self.request.text.capacity()
            + self.raw.capacity()
            + self.request.vars.capacity() * size_of::<(Span, Span)>()
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

    pub(super) fn complete_if_body_is(&mut self) -> Step {
        match self.stage {
            Stage::Body { left: 0, .. } => self.complete(),
            _ => Step::More,
        }
    }

    pub(super) fn complete(&mut self) -> Step {
        if let Stage::Body { spool, .. } | Stage::Chunks { spool, .. } =
            std::mem::replace(&mut self.stage, Stage::Head)
        {
            self.request.body = spool.into_body();
        }
        Step::Complete
    }
}

/// The stage of a body of `length` bytes that begins with those `received`, and how many of these belong to it.
pub(super) fn begin_body(
    length: u64,
    received: &[u8],
    limits: &Limits,
) -> Result<(Stage, usize), Refusal> {
    if limits.limit_post != 0 && length > limits.limit_post {
        return Err(Refusal::body_too_large(length, limits.limit_post));
    }
    let taken = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(received.len());
    let mut spool = Spool::with_length(length, limits.post_buffering)
        .map_err(|error| Refusal::spool_failed(&error, length))?;
    spool
        .push(&received[..taken])
        .map_err(|error| Refusal::spool_failed(&error, length))?;
    let left = length - taken as u64;
    Ok((Stage::Body { spool, left }, taken))
}
