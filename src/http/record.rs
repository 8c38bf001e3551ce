//! The log line of a request, and the facts for this line that outlive the serving thread.

use std::net::SocketAddr;

use super::connection::Connection;
use super::loss::Loss;
use super::request::Request;
use super::response::{Response, Sizes};
use super::scoreboard_rows::ScoreboardRows;
use crate::log::request_log::{Outcome, RequestLog, Served};
use crate::sys::clock::monotonic_micros;
use crate::sys::stream;

/// The facts, in addition to the request, that the log line of a request shows.
#[derive(Clone, Copy)]
pub struct Facts {
    app: i32,
    status: u16,
    sizes: Sizes,
    headers: u32,
    /// The number of the serving thread.
    core: u32,
    /// Number of requests that the worker had begun when this request was answered.
    worker_requests: u64,
    peer: Option<SocketAddr>,
    /// Whether the request gets no line, because of a route with the action `donotlog`.
    is_unlogged: bool,
}

impl Facts {
    /// The facts of a response that the thread with the number `core` has given.
    pub fn new(
        response: &Response,
        scoreboard: &ScoreboardRows,
        core: u32,
        peer: Option<SocketAddr>,
    ) -> Self {
        Self {
            app: response.app,
            status: response.head.code(),
            sizes: response.sent,
            headers: response.head.count,
            core,
            worker_requests: scoreboard.requests(),
            peer,
            is_unlogged: false,
        }
    }

    /// Whether the request gets no line.
    pub fn set_unlogged(&mut self, is_unlogged: bool) {
        self.is_unlogged = is_unlogged;
    }

    /// Corrects the sizes of an incomplete response, of which only `delivered` bytes have arrived.
    pub fn limit_to(&mut self, delivered: u64) {
        self.sizes.limit_to(delivered);
    }

    /// Logs a request that took `micros` microseconds, if the settings select the request. `loss` is the reason why the
    /// client has not received the whole response. `thread` is the number of the calling thread if the request is its
    /// current one.
    pub fn log(
        &self,
        (log, thread): (&mut RequestLog, Option<u32>),
        scoreboard: &ScoreboardRows,
        request: &Request,
        (micros, loss): (u64, Option<Loss>),
    ) {
        let outcome = Outcome {
            status: self.status,
            micros,
            head: self.sizes.head,
            body: self.sizes.body,
            sendfile: self.sizes.sendfile,
            broken: loss.is_some_and(Loss::is_write_error),
        };
        if self.is_unlogged || !log.selects(&outcome) {
            return;
        }
        let peer = self.peer.map(|peer| peer.ip().to_string());
        let served = Served {
            app: self.app,
            worker: scoreboard.worker_id,
            worker_requests: self.worker_requests,
            total_requests: scoreboard.board.total_requests(),
            remote_addr: peer.as_deref().unwrap_or_default().as_bytes(),
            outcome,
            headers: self.headers,
            blocks: self.sizes.blocks,
            core: self.core,
            remark: loss.map_or("", Loss::remark),
        };
        if !log.send_to_journal(request, &served) {
            scoreboard.log(thread, log.line(request, &served));
        }
    }
}

/// A served request whose response is not sent completely. Its log line is written when the response has ended.
pub struct Record {
    /// The request, without its body.
    pub request: Request,
    /// The facts, in addition to the request, that the log line shows.
    pub facts: Facts,
    /// When the request began, microseconds of the monotonic clock.
    begun_us: u64,
}

impl Record {
    /// Keeps the request, which began `micros` microseconds ago, without its body.
    pub fn new(mut request: Request, facts: Facts, micros: u64) -> Self {
        request.shrink();
        Self {
            request,
            facts,
            begun_us: monotonic_micros().saturating_sub(micros),
        }
    }

    /// Microseconds since the request began.
    pub fn micros(&self) -> u64 {
        monotonic_micros().saturating_sub(self.begun_us)
    }
}

/// Returns how many of the `sent` bytes of a response have arrived at the client's system. The kernel knows this number
/// for TCP. For a Unix socket the result is `sent`.
pub fn delivered(connection: &Connection, sent: u64) -> u64 {
    let fd = connection.raw_fd();
    if stream::is_unix(fd) {
        return sent;
    }
    sent.saturating_sub(stream::unsent(fd) as u64)
}
