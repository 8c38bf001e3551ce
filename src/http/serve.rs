//! The loop of a serving thread: waits for a request, calls the application, sends the response.

use std::sync::MutexGuard;
use std::time::Duration;

use super::acceptor::{Acceptor, Next};
use super::application::Application;
use super::connection::Connection;
use super::engine::Engine;
use super::loss::Loss;
use super::pending::{Outgoing, Pending, Then};
use super::record::{Facts, Record, delivered};
use super::response::{Opening, Response};
use super::routing;
use super::scoreboard_rows::Answerer;
use super::shared_response::SharedResponse;
use super::static_response;
use super::write_queue::Flow;
use crate::ipc::Protocol;
use crate::log::request_log::RequestLog;
use crate::static_files::files::StaticFiles;
use crate::static_files::relative::is_plain;
use crate::sys::process::Pid;
use crate::sys::stream;

/// Number of attempts, one millisecond apart, to lock a response to which another thread writes. After the last attempt
/// the connection is reset. The lock is polled, because a `Mutex` has no lock with a timeout.
const ATTEMPTS: u32 = 100;

/// Number of consecutive requests answered without the application after which the application gets a chance to run
/// its signal handlers.
const ANSWERS_BETWEEN_SIGNALS: u32 = 100;

/// The state of a serving thread.
struct Thread<'e> {
    engine: &'e Engine,
    /// The thread's number, from 0.
    number: u32,
    acceptor: Acceptor<'e>,
    response: &'e SharedResponse,
    log: Option<RequestLog>,
    static_files: Option<&'e StaticFiles>,
    /// Whether a route has decided that the current request gets no line in the request log.
    is_unlogged: bool,
}

impl Engine {
    /// Serves requests on the calling thread, which has this number (from 0). Returns when the engine has retired.
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
            static_files: self.static_files(),
            is_unlogged: false,
        };
        thread.run(application);
        self.leave(number);
    }
}

impl Thread<'_> {
    fn run<A: Application>(&mut self, application: &mut A) {
        let mut answered = None;
        loop {
            let is_called_after = application.is_called_after();
            let next = application
                .unlocked(|| self.next_for_application(answered.take(), is_called_after));
            match next {
                Next::Request(connection) => {
                    application.call(&mut self.acceptor.reader.request, self.response);
                    answered = Some(connection);
                }
                Next::Interrupted => application.interrupted(),
                Next::Called => application.called(),
                Next::Retired => return,
            }
        }
    }

    /// Ends the last request of the application, and waits for the next request that the application must answer.
    /// Meanwhile, answers requests by routes and with static files. If `is_called_after` is true, returns
    /// [`Next::Called`] after the end of a request.
    #[inline]
    fn next_for_application(
        &mut self,
        answered: Option<Connection>,
        is_called_after: bool,
    ) -> Next {
        if let Some(connection) = answered {
            self.finish(connection, Answerer::Application);
            if is_called_after {
                return Next::Called;
            }
        }
        for _ in 0..ANSWERS_BETWEEN_SIGNALS {
            let next = self.acceptor.next_request();
            let Next::Request(connection) = next else {
                return next;
            };
            self.open(&connection);
            match self.answer_without_application() {
                Some(answerer) => self.finish(connection, answerer),
                None => return Next::Request(connection),
            }
        }
        Next::Interrupted
    }

    /// Answers a request by a route or with a static file. `None` if the application has to answer it.
    #[inline]
    fn answer_without_application(&mut self) -> Option<Answerer> {
        if let Some(router) = &self.engine.settings.routes {
            let request = &mut self.acceptor.reader.request;
            let routed = routing::before(self.engine, router, request, self.response);
            self.is_unlogged = routed.is_unlogged;
            if routed.is_answered {
                return Some(Answerer::Route);
            }
        }
        let files = self.static_files?;
        // the rules have judged the path as it is written, and another spelling could lead to a file that they protect
        let has_rules = self.engine.settings.routes.is_some();
        if has_rules && !is_plain(self.acceptor.reader.request.path_info()) {
            return None;
        }
        self.answer_with_file(files).then_some(Answerer::StaticFile)
    }

    /// The facts for the log line of the current request. Runs the rules of `final-route`.
    #[inline]
    fn facts(&self, response: &Response, connection: &Connection) -> Facts {
        let engine = self.engine;
        let mut facts = Facts::new(response, &engine.scoreboard, self.number, connection.peer);
        let mut is_unlogged = self.is_unlogged;
        if let Some(router) = &engine.settings.final_routes {
            let request = &self.acceptor.reader.request;
            is_unlogged |= routing::after(engine, router, request, response.head.code());
        }
        facts.set_unlogged(is_unlogged);
        facts
    }

    fn answer_with_file(&self, files: &StaticFiles) -> bool {
        let request = &self.acceptor.reader.request;
        static_response::answer(files, request, self.response)
    }

    /// Begins the response. From now on the I/O thread may respond in place of the application, at the request's
    /// deadline.
    #[inline]
    fn open(&self, connection: &Connection) {
        let reader = &self.acceptor.reader;
        self.response.lock().open(&Opening {
            fd: connection.raw_fd(),
            protocol: connection.protocol,
            version: reader.request.protocol(),
            method: reader.request.method(),
            keep_alive: reader.keep_alive && !self.engine.is_leaving(),
            timeout: self.engine.settings.timeouts.socket,
        });
    }

    /// Sends the rest of the response, logs the request, and keeps or closes the connection, or hands it to the I/O
    /// thread.
    #[inline]
    fn finish(&mut self, mut connection: Connection, answerer: Answerer) {
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
        let micros = self
            .engine
            .scoreboard
            .finish(self.number, &response, answerer);
        connection.served += 1;
        if self.log.is_some() {
            self.acceptor.reader.request.prepend(&response.collected);
        }
        if flow != Flow::Done {
            self.engine.scoreboard.idle(self.number);
            let pending = self.unfinished(connection, &mut response, flow, micros);
            response.close();
            drop(response);
            if let Some(pending) = pending {
                self.engine.inbox.push(pending);
            }
            return;
        }
        if self.log.is_some() || self.engine.settings.final_routes.is_some() {
            let facts = self.facts(&response, &connection);
            if let Some(log) = &mut self.log {
                let request = &self.acceptor.reader.request;
                let scoreboard = &self.engine.scoreboard;
                facts.log(
                    (log, Some(self.number)),
                    scoreboard,
                    request,
                    (micros, None),
                );
            }
        }
        self.engine.scoreboard.idle(self.number);
        let (keep, cut) = (response.keeps_alive(), response.is_cut());
        response.close();
        drop(response);
        if keep {
            self.acceptor.keep(connection);
            return;
        }
        let connection = self.engine.unwatch(connection);
        if cut {
            stream::reset_on_close(connection.raw_fd());
        } else if self.may_send_more(&connection) {
            self.engine.inbox.push(Pending::lingering(connection));
        }
    }

    /// Whether the client has sent, or may send, more than the request. If the connection were then closed at once, the
    /// client could lose the response. On a uwsgi connection only bytes that have arrived count, because the web server
    /// sends only one request.
    #[inline]
    fn may_send_more(&self, connection: &Connection) -> bool {
        let reader = &self.acceptor.reader;
        match connection.protocol {
            Protocol::Uwsgi => reader.surplus,
            Protocol::Http => reader.has_pipelined() || stream::has_unread(connection.raw_fd()),
        }
    }

    /// Handles a response that the client has not taken completely. The rest goes to the I/O thread, or the connection
    /// ends. Returns the connection for the I/O thread; `None` if the connection is closed.
    #[cold]
    fn unfinished(
        &mut self,
        connection: Connection,
        response: &mut Response,
        flow: Flow,
        micros: u64,
    ) -> Option<Pending> {
        let engine = self.engine;
        let mut facts = self.facts(response, &connection);
        let ends_by_close = response.ends_by_close();
        let request = std::mem::take(&mut self.acceptor.reader.request);
        let then = if response.is_cut() {
            Then::Cut
        } else if response.keeps_alive() {
            Then::Keep(Box::new(self.acceptor.take_reader()))
        } else {
            Then::Close
        };
        let connection = engine.unwatch(connection);
        let Flow::Broken(loss) = flow else {
            let queue = response.close();
            return Some(Pending::Writing(Box::new(Outgoing {
                connection,
                sent_before: queue.sent(),
                queue,
                then,
                ends_by_close,
                record: Record::new(request, facts, micros),
            })));
        };
        if loss != Loss::Replaced {
            let delivered = delivered(&connection, response.bytes_sent());
            facts.limit_to(delivered);
            engine.log_cut(&request, loss, delivered);
        }
        if let Some(log) = &mut self.log {
            facts.log(
                (log, None),
                &engine.scoreboard,
                &request,
                (micros, Some(loss)),
            );
        }
        match loss {
            Loss::ClientGone => None,
            Loss::Replaced => Some(Pending::lingering(connection)),
            _ => Pending::cut(connection, ends_by_close),
        }
    }

    /// Locks a response to which another thread of the application still writes. If that thread waits too long for the
    /// client, resets the connection, which ends the wait. The lock is polled, because a `Mutex` has no lock with a
    /// timeout.
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

    /// Logs that the application has returned without completing its response, with the consequence for the client.
    #[cold]
    fn log_unfinished(&self, consequence: &str) {
        let request = &self.acceptor.reader.request;
        tracing::error!(
            "worker {}: {} {}: the application left its response unfinished; {consequence}",
            self.engine.scoreboard.worker_id,
            crate::log::escape(request.method()),
            crate::log::escape(request.uri()),
        );
    }
}
