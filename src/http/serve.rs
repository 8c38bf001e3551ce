//! The loop of a serving thread: waits for a request, calls the application, sends the response.

use std::sync::MutexGuard;
use std::time::Duration;

use super::acceptor::{Acceptor, Next};
use super::application::Application;
use super::connection::Connection;
use super::engine::Engine;
use super::pending::Pending;
use super::response::{Opening, Response};
use super::shared_response::SharedResponse;
use super::write_queue::Flow;
use crate::log::request_log::{Outcome, RequestLog, Served};
use crate::sys::process::Pid;
use crate::sys::stream;

/// Attempts, a millisecond apart, to lock a response that another thread writes, before its connection is reset. The
/// lock is polled, because a `Mutex` has no lock with a timeout.
const ATTEMPTS: u32 = 100;

/// What a serving thread works with.
struct Thread<'e> {
    engine: &'e Engine,
    /// The thread's number, from 0.
    number: u32,
    acceptor: Acceptor<'e>,
    response: &'e SharedResponse,
    log: Option<RequestLog>,
}

impl Engine {
    /// Serves requests on the calling thread, which has this number (from 0), until the engine has retired.
    pub fn serve<A: Application>(&self, number: u32, application: &mut A) {
        let Some(acceptor) = Acceptor::new(self, number) else {
            return;
        };
        let mut thread = Thread {
            engine: self,
            number,
            acceptor,
            response: &self.threads[number as usize].response,
            log: RequestLog::new(&self.settings.request_log, Pid::own()),
        };
        thread.run(application);
        self.leave(number);
    }
}

impl Thread<'_> {
    fn run<A: Application>(&mut self, application: &mut A) {
        let mut answered = None;
        loop {
            let next = application.unlocked(|| {
                if let Some(connection) = answered.take()
                    && let Some(connection) = self.finish(connection)
                {
                    return Next::Switched(connection, self.acceptor.reader.take_pipelined());
                }
                let next = self.acceptor.next_request();
                if let Next::Request(connection) = &next {
                    self.open(connection);
                }
                next
            });
            match next {
                Next::Request(connection) => {
                    application.call(&mut self.acceptor.reader.request, self.response);
                    answered = Some(connection);
                }
                Next::Switched(connection, received) => application.switched(connection, received),
                Next::Interrupted => application.interrupted(),
                Next::Retired => return,
            }
        }
    }

    /// Begins the response. From now on the I/O thread can respond at the request's deadline.
    #[inline]
    fn open(&self, connection: &Connection) {
        let reader = &self.acceptor.reader;
        self.response.lock().open(&Opening {
            fd: connection.raw_fd(),
            protocol: connection.protocol,
            version: reader.request.protocol(),
            method: reader.request.method(),
            keep_alive: reader.keep_alive && !self.engine.is_leaving(),
            timeout: self.engine.settings.timeouts.send,
        });
    }

    /// Sends the rest of the response, logs the request, and passes the connection on to where it belongs. Returns a
    /// connection that has changed to another protocol.
    #[inline]
    fn finish(&mut self, mut connection: Connection) -> Option<Connection> {
        let shared = self.response;
        let mut response = match shared.try_lock() {
            Some(response) => response,
            None => self.take_back(shared, &connection),
        };
        if !response.is_complete() {
            self.log_unfinished(match response.is_committed() {
                true => "its connection is reset",
                false => "the client gets status 500",
            });
            response.give_up();
        }
        let flow = response.flush_nonblocking();
        let micros = self.engine.scoreboard.finish(self.number, &response);
        if self.log.is_some() {
            self.acceptor.reader.request.prepend(&response.collected);
            self.log_request(&connection, &response, micros);
        }
        connection.served += 1;
        let (keep, switches) = (response.keeps_alive(), response.switches_protocols());
        if response.is_cut() {
            stream::reset_on_close(connection.raw_fd());
        }
        let queue = response.close();
        drop(response);
        match flow {
            Flow::Broken => drop(self.engine.unwatch(connection)),
            Flow::Blocked => {
                let next = keep.then(|| Box::new(self.acceptor.take_reader()));
                let connection = self.engine.unwatch(connection);
                self.engine
                    .inbox
                    .push(Pending::writing(connection, queue, next));
            }
            Flow::Done if switches => return Some(self.engine.unwatch(connection)),
            Flow::Done if keep => self.acceptor.keep(connection),
            Flow::Done if self.acceptor.reader.surplus => {
                let connection = self.engine.unwatch(connection);
                self.engine.inbox.push(Pending::lingering(connection));
            }
            Flow::Done => drop(self.engine.unwatch(connection)),
        }
        None
    }

    /// Locks a response to which another thread of the application still writes. If that thread waits for the client, resets
    /// the connection, which ends its write. Polls, because a `Mutex` has no lock with a timeout.
    #[cold]
    fn take_back<'r>(
        &self,
        shared: &'r SharedResponse,
        connection: &Connection,
    ) -> MutexGuard<'r, Response> {
        for _ in 0..ATTEMPTS {
            std::thread::sleep(Duration::from_millis(1));
            if let Some(response) = shared.try_lock() {
                return response;
            }
        }
        self.log_unfinished("another thread still writes to it; its connection is reset");
        stream::reset(connection.raw_fd());
        shared.lock()
    }

    /// Logs that the application has returned without completing its response.
    #[cold]
    fn log_unfinished(&self, consequence: &str) {
        let request = &self.acceptor.reader.request;
        tracing::error!(
            "worker {}: {} {}: the application left its response unfinished; {consequence}",
            self.engine.scoreboard.slot,
            crate::log::escape(request.method()),
            crate::log::escape(request.uri()),
        );
    }

    /// Writes the line of the request log, if the settings select the request. It took `micros` microseconds.
    fn log_request(&mut self, connection: &Connection, response: &Response, micros: u64) {
        let outcome = Outcome {
            status: response.head.code(),
            micros,
            head: response.sent.head,
            body: response.sent.body,
            sendfile: response.sent.sendfile,
            broken: response.is_broken(),
        };
        let Some(log) = self.log.as_mut().filter(|log| log.selects(&outcome)) else {
            return;
        };
        let peer = connection.peer.map(|peer| peer.ip().to_string());
        let scoreboard = &self.engine.scoreboard;
        log.write(
            &self.acceptor.reader.request,
            &Served {
                app: response.app,
                worker: scoreboard.slot,
                worker_requests: scoreboard.requests(),
                total_requests: scoreboard.board.total_requests(),
                remote_addr: peer.unwrap_or_default().as_bytes(),
                outcome,
                headers: response.head.count,
                blocks: response.sent.blocks,
                core: self.number,
                remark: "",
            },
        );
    }
}
