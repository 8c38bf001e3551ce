//! A serving thread: enters the engine once, and the interpreter once per request.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use ruwsgi::http::application::Application;
use ruwsgi::http::request::Request;
use ruwsgi::http::shared_response::SharedResponse;
use ruwsgi::http::unlock::Unlock;

use crate::api::{hooks, signals};
use crate::fork;
use crate::memory_limit;
use crate::mounts::Apps;
use crate::worker::Worker;
use crate::wsgi::server::Server;

/// Serves requests on the calling thread, which has the number `core`, until the worker has retired. If the thread
/// cannot serve, the worker exits.
pub fn run(py: Python<'_>, worker: &Worker, apps: &Apps, core: u32, errors: &Py<PyAny>) {
    match Server::new(py, worker, core, errors) {
        Ok(server) => {
            let mut thread = WsgiThread {
                py,
                worker,
                apps,
                server,
                core,
                hook_is_due: false,
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

/// Logs why thread `core` cannot serve, and asks the worker to exit. The master replaces the worker, because it lacks a
/// thread.
fn give_up(worker: &Worker, core: u32, reason: &str) {
    tracing::error!(
        "worker {}: thread {core} cannot serve, so the worker exits: {reason}",
        worker.id
    );
    worker.request_exit();
    worker.engine.leave(core);
}

/// Calls the WSGI application on one serving thread.
struct WsgiThread<'py, 'w> {
    py: Python<'py>,
    worker: &'w Worker,
    apps: &'w Apps,
    server: Server,
    /// The number of the thread.
    core: u32,
    /// Whether `uwsgi.after_req_hook` must be called after the request.
    hook_is_due: bool,
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
        // a panic ends only its request; `_response` is not used, because the responder already has the response
        let served = catch_unwind(AssertUnwindSafe(|| {
            self.server.serve(py, worker, self.apps, request);
        }));
        if served.is_err() {
            self.server.recover(py, worker, request);
        }
        self.hook_is_due = hooks::is_set();
        memory_limit::check(worker);
    }

    #[inline]
    fn is_called_after(&self) -> bool {
        self.hook_is_due
    }

    /// Calls the hook after a request, and runs the handler of one waiting signal of the module `uwsgi`.
    fn called(&mut self) {
        let (py, worker, core) = (self.py, self.worker, self.core);
        if std::mem::take(&mut self.hook_is_due) {
            call_hook(py, worker);
        }
        let run = catch_unwind(AssertUnwindSafe(|| signals::run_waiting(py, worker, core)));
        if run.is_err() {
            give_up(worker, core, "it panicked; this is a bug in ruwsgi");
        }
        memory_limit::check(worker);
    }

    /// Runs pending signal handlers of Python between two requests. Within a request the interpreter runs them, on the
    /// main thread.
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

/// Calls `uwsgi.after_req_hook`, and logs its exception.
#[cold]
fn call_hook(py: Python<'_>, worker: &Worker) {
    let called = hooks::call(py);
    fork::end_child(py, called.as_ref().err());
    if let Err(error) = called {
        let heading = format!(
            "worker {}: uwsgi.after_req_hook raised an exception",
            worker.id
        );
        let traceback = crate::python::traceback(py, &error);
        ruwsgi::log::block(tracing::Level::ERROR, &heading, &traceback);
    }
}
