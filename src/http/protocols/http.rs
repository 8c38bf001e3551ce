//! Reads the requests of HTTP connections: a head, then a body of known length or in chunks.

use std::io;

use bytes::Buf;

use crate::http::budget::FILES;
use crate::http::connection::Connection;
use crate::http::http_environ;
use crate::http::refusal::Refusal;
use crate::http::request_reader::{RequestReader, Stage, Step, begin_body};
use crate::http::settings::Limits;
use crate::http::spool::Spool;
use crate::protocol::body::ChunkDecoder;
use crate::protocol::http;
use crate::sys::stream;

/// Without `limit-post` a body of unknown length gets at most 1/16 of `limit-spool`. The limit is low because nothing
/// announces the end of such a body. uWSGI passes no such body to `wsgi.input`.
const UNANNOUNCED: u64 = 16;

impl RequestReader {
    pub(super) fn http_head(&mut self, connection: &Connection, limits: &Limits) -> Step {
        let head_limits = http::Limits {
            head: limits.buffer_size,
            headers: limits.headers,
        };
        let head = match http::parse(&self.raw, &head_limits, &mut self.scan) {
            Ok(http::Parsed::Complete(head)) => head,
            Ok(http::Parsed::Partial) => return Step::More,
            Err(refusal) => return Step::Refused(Refusal::http(&refusal)),
        };
        http_environ::fill(&mut self.request, &head, connection, &limits.http_variables);
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

    /// Sends `100 Continue` if the client waits for it before it sends the body (RFC 9110, 10.1.1). If the body has
    /// begun to arrive, nothing is sent.
    fn send_continue(&mut self, connection: &Connection) {
        if std::mem::take(&mut self.continue_due) && self.raw.is_empty() {
            let line = [io::IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")];
            // if the client does not get the line, it sends its body after a timeout
            let _ = stream::send(connection.raw_fd(), &line);
        }
    }

    pub(super) fn chunks(&mut self, limits: &Limits) -> Step {
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
            let unannounced = FILES.limit() / UNANNOUNCED;
            if limit != 0 && after > limit {
                refusal = Some(Refusal::body_too_large(after, limit));
            } else if limit == 0 && after > unannounced {
                refusal = Some(Refusal::unannounced_body_too_large(after, unannounced));
            } else if let Err(error) = spool.push(bytes) {
                refusal = Some(Refusal::spool_failed(&error, after));
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
