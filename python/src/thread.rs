//! A serving thread: enters the engine once, and the interpreter once per request.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use ruwsgi::http::application::Application;
use ruwsgi::http::request::Request;
use ruwsgi::http::shared_response::SharedResponse;
use ruwsgi::http::unlock::Unlock;

use crate::fork;
use crate::memory_limit;
use crate::mounts::Apps;
use crate::worker::Worker;
use crate::wsgi::server::Server;

/// Serves with the thread of this number until the worker has retired.
pub fn run(py: Python<'_>, worker: &Worker, apps: &Apps, core: u32, errors: &Py<PyAny>) {
    match Server::new(py, worker, core, errors) {
        Ok(server) => {
            let mut thread = WsgiThread {
                py,
                worker,
                apps,
                server,
            };
            let served = catch_unwind(AssertUnwindSafe(|| {
                worker.engine.serve(core, &mut thread);
            }));
            if served.is_err() {
                give_up(worker, core, "it panicked; this is a bug in ruwsgi");
            }
        }
        Err(error) => give_up(worker, core, &error.to_string()),
    }
}

/// Without one of its threads a worker exits, and is replaced.
fn give_up(worker: &Worker, core: u32, reason: &str) {
    tracing::error!(
        "worker {}: thread {core} cannot serve, so the worker exits: {reason}",
        worker.id
    );
    worker.request_exit();
    worker.engine.leave(core);
}

/// The WSGI application, as one thread calls it.
struct WsgiThread<'py, 'w> {
    py: Python<'py>,
    worker: &'w Worker,
    apps: &'w Apps,
    server: Server,
}

impl Unlock for WsgiThread<'_, '_> {
    #[inline]
    fn unlocked<T: Send>(&self, wait: impl FnOnce() -> T + Send) -> T {
        self.py.detach(wait)
    }
}

impl Application for WsgiThread<'_, '_> {
    fn call(&mut self, request: &mut Request, _response: &SharedResponse) {
        let (py, worker) = (self.py, self.worker);
        // no panic crosses the boundary of a request; the responder has the response already
        let served = catch_unwind(AssertUnwindSafe(|| {
            self.server.serve(py, worker, self.apps, request);
        }));
        if served.is_err() {
            self.server.recover(py, worker, request);
        }
        memory_limit::check(worker);
    }

    /// Python runs its signal handlers on the main thread, between two requests as within one.
    fn interrupted(&mut self) {
        let handled = self.py.check_signals();
        fork::end_child(self.py, handled.as_ref().err());
        if let Err(error) = handled {
            tracing::warn!(
                "worker {}: a signal handler raised an exception between two requests: {error}",
                self.worker.id
            );
        }
    }
}
