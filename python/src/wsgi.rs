//! One request through the application: environ, call, iterate, close (PEP 3333).

use std::sync::atomic::Ordering::Relaxed;

use pyo3::exceptions::{PySystemExit, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyList, PyTuple};

use crate::environ::{Environs, Split};
use crate::exchange::{Opening, Sent};
use crate::file_wrapper::FileWrapper;
use crate::input::{Body, Input};
use crate::intake::{Connection, Intake};
use crate::load::Apps;
use crate::python;
use crate::request::Request;
use crate::responder::{Responder, wrong_block};
use crate::worker::Worker;

/// The objects a thread serves its requests with.
pub struct Server {
    responder: Py<Responder>,
    start_response: Py<PyAny>,
    environs: Environs,
}

/// What the log wants to know of a request that was served.
#[derive(Clone, Copy)]
pub struct Outcome {
    /// The application's number, -1 for none.
    pub app: i32,
    /// The application called `sys.exit`: the worker is to retire.
    pub exit: bool,
}

/// How serving ended, where not well.
enum Failure {
    /// The application (or what it returned) raised this.
    Raised(PyErr),
    /// The peer is gone; nobody is at fault.
    PeerGone,
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<Sent> for Result<(), Failure> {
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::Yes => Ok(()),
            Sent::PeerGone => Err(Failure::PeerGone),
        }
    }
}

impl Server {
    /// For the thread with this number.
    ///
    /// # Errors
    /// Those of the interpreter, above all out of memory.
    pub fn new(py: Python<'_>, worker: &Worker, core: u32, errors: &Py<PyAny>) -> PyResult<Self> {
        let responder = Py::new(py, Responder::new())?;
        worker.seats[core as usize]
            .sentence
            .accompany(py, &responder);
        Ok(Self {
            start_response: responder.getattr(py, "start_response")?,
            responder,
            environs: Environs::new(py, &worker.spec, core, errors)?,
        })
    }

    /// The thread's answer, between requests.
    pub fn responder(&self) -> &Py<Responder> {
        &self.responder
    }

    /// Opens the answer to the request that was let in. Needs no interpreter, so that a request which waits for one
    /// can be answered when its deadline passes.
    pub fn open(&self, worker: &Worker, intake: &Intake, connection: &Connection) {
        let request = &intake.request;
        let opening = Opening {
            fd: std::os::fd::AsRawFd::as_raw_fd(&connection.fd),
            protocol: connection.protocol,
            version: request.mark(request.marks.protocol),
            method: request.mark(request.marks.method),
            keep_alive: intake.keep_alive && !worker.is_leaving(),
            timeout_ms: i32::try_from(worker.spec.serving.socket_timeout_ms).unwrap_or(i32::MAX),
        };
        self.responder.get().exchange_detached().open(&opening);
    }

    /// Calls the application. When this returns, what is left of the answer is in the exchange: to be settled.
    pub fn serve(
        &mut self,
        py: Python<'_>,
        worker: &Worker,
        core: u32,
        intake: &mut Intake,
        apps: &Apps,
    ) -> Outcome {
        let body = std::mem::replace(&mut intake.request.body, Body::Empty);
        let request = &intake.request;
        let mut outcome = Outcome {
            app: -1,
            exit: false,
        };
        let sentence = &worker.seats[core as usize].sentence;
        sentence.enter(worker, core);
        let result = self.answer(py, request, body, apps, &mut outcome);
        sentence.leave(py);
        let failed = self.conclude(py, worker, request, result, &mut outcome);
        if let Some(row) = worker.board.thread(worker.row, core)
            && failed
        {
            row.exceptions.fetch_add(1, Relaxed);
        }
        outcome
    }

    /// Calls the application and sends what it gives; `Some`: all was given, but `close` raised this.
    fn answer(
        &mut self,
        py: Python<'_>,
        request: &Request,
        body: Body,
        apps: &Apps,
        outcome: &mut Outcome,
    ) -> Result<Option<PyErr>, Failure> {
        let script_name = request.mark(request.marks.script_name);
        let path = path_info(request, script_name);
        let Some(choice) = apps.resolve(script_name, path) else {
            let mut exchange = self.responder.get().exchange()?;
            if apps.is_empty() {
                tracing::error!("no python application found, check your startup logs for errors");
                exchange.fail(500, "Internal Server Error");
            } else {
                exchange.fail(404, "Not Found");
            }
            return Ok(None);
        };
        outcome.app = 0;
        let split = match choice.script_name {
            Some(len) => Some(Split {
                script_name: &path[..len],
                path_info: &path[len..],
            }),
            None if request.modifier1 == 30 => Some(Split {
                script_name,
                path_info: path,
            }),
            None => None,
        };
        let input = Bound::new(py, Input::new(body))?;
        let environ = self.environs.make(py, request, &input, split)?;
        let result = call(py, choice.app, &environ, &self.start_response)?;
        let sent = self.give(py, &result);
        // close() is owed whatever happened, and its own failure must not hide the first one
        let closed = close(&result);
        sent?;
        Ok(closed.err())
    }

    /// Sends what the application returned.
    fn give(&self, py: Python<'_>, result: &Bound<'_, PyAny>) -> Result<(), Failure> {
        if let Ok(list) = result.cast_exact::<PyList>() {
            return self.give_sequence(py, list.len(), |index| list.get_item(index));
        }
        if let Ok(tuple) = result.cast_exact::<PyTuple>() {
            return self.give_sequence(py, tuple.len(), |index| tuple.get_item(index));
        }
        if let Ok(bytes) = result.cast::<PyBytes>() {
            return self.give_sequence(py, 1, |_| Ok(bytes.clone().into_any()));
        }
        if let Ok(wrapper) = result.cast_exact::<FileWrapper>() {
            self.must_have_started()?;
            if let Some(stretch) = wrapper.get().stretch(py) {
                let mut exchange = self.responder.get().exchange()?;
                let len = exchange
                    .owed()
                    .map_or(stretch.len, |owed| owed.min(stretch.len));
                return exchange.file(py, stretch.file, stretch.offset, len).into();
            }
        }
        self.give_iterable(py, result)
    }

    /// A list or tuple: all of it is there, so its length can be declared, and the last block ends it.
    fn give_sequence<'py>(
        &self,
        py: Python<'py>,
        len: usize,
        get: impl Fn(usize) -> PyResult<Bound<'py, PyAny>>,
    ) -> Result<(), Failure> {
        self.must_have_started()?;
        let mut blocks = Vec::with_capacity(len);
        for index in 0..len {
            let item = get(index)?;
            if !item.is_none() {
                blocks.push(
                    item.cast_into::<PyBytes>()
                        .map_err(|error| wrong_block(&error.into_inner()))?,
                );
            }
        }
        let mut exchange = self.responder.get().exchange()?;
        if !exchange.is_committed() {
            exchange.declare(
                blocks
                    .iter()
                    .map(|block| block.as_bytes().len() as u64)
                    .sum(),
            );
        }
        let last = blocks.len().saturating_sub(1);
        for (index, block) in blocks.iter().enumerate() {
            Result::from(exchange.block(py, block, index == last))?;
        }
        Ok(())
    }

    fn give_iterable(&self, py: Python<'_>, result: &Bound<'_, PyAny>) -> Result<(), Failure> {
        let blocks = PyIterator::from_object(result)?;
        for block in blocks {
            let block = block?;
            if block.is_none() {
                continue;
            }
            let block = block.cast::<PyBytes>().map_err(|_| wrong_block(&block))?;
            if !block.as_bytes().is_empty() {
                self.must_have_started()?;
            }
            Result::from(self.responder.get().exchange()?.block(py, block, false))?;
        }
        self.must_have_started()
    }

    fn must_have_started(&self) -> Result<(), Failure> {
        if self.responder.get().exchange()?.head.started {
            Ok(())
        } else {
            Err(
                PyTypeError::new_err("the application did not call start_response before its body")
                    .into(),
            )
        }
    }

    /// Ends the answer as it has to be; says whether the application failed.
    fn conclude(
        &self,
        py: Python<'_>,
        worker: &Worker,
        request: &Request,
        result: Result<Option<PyErr>, Failure>,
        outcome: &mut Outcome,
    ) -> bool {
        let Ok(mut exchange) = self.responder.get().exchange_patiently(py) else {
            return true;
        };
        let failed = match result {
            Ok(closed) => {
                exchange.finish();
                if let Some(error) = &closed {
                    report(py, worker, request, error);
                }
                closed.is_some()
            }
            Err(Failure::PeerGone) => false,
            Err(Failure::Raised(_)) if exchange.broken => false,
            Err(Failure::Raised(error)) => {
                outcome.exit = error.is_instance_of::<PySystemExit>(py);
                if exchange.is_committed() {
                    exchange.abort();
                } else if crate::deadline::is_harakiri(py, &error) {
                    exchange.fail(504, "Gateway Timeout");
                } else {
                    exchange.fail(500, "Internal Server Error");
                }
                report(py, worker, request, &error);
                true
            }
        };
        if let Some(what) = exchange.mismatch(failed) {
            tracing::warn!(
                "{} {}: {what}",
                ruwsgi::log::escape(request.mark(request.marks.method)),
                ruwsgi::log::escape(request.mark(request.marks.uri)),
            );
        }
        failed
    }
}

/// PATH_INFO; with modifier 30, without the SCRIPT_NAME it begins with.
fn path_info<'a>(request: &'a Request, script_name: &[u8]) -> &'a [u8] {
    let path = request.mark(request.marks.path_info);
    if request.modifier1 != 30 {
        return path;
    }
    match path.strip_prefix(script_name.strip_suffix(b"/").unwrap_or(script_name)) {
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
        _ => path,
    }
}

fn call<'py>(
    py: Python<'py>,
    app: &Py<PyAny>,
    environ: &Bound<'py, PyDict>,
    start_response: &Py<PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: live objects and a null that ends the list; the result is a new reference, or null with an exception set.
    unsafe {
        let result = ffi::PyObject_CallFunctionObjArgs(
            app.as_ptr(),
            environ.as_ptr(),
            start_response.as_ptr(),
            std::ptr::null_mut::<ffi::PyObject>(),
        );
        Bound::from_owned_ptr_or_err(py, result)
    }
}

/// Calls the result's `close`, if it has one.
fn close(result: &Bound<'_, PyAny>) -> PyResult<()> {
    if result.is_exact_instance_of::<PyList>() || result.is_exact_instance_of::<PyTuple>() {
        return Ok(());
    }
    match result.getattr_opt(pyo3::intern!(result.py(), "close"))? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}

/// Logs a traceback, once, with the request it belongs to.
fn report(py: Python<'_>, worker: &Worker, request: &Request, error: &PyErr) {
    let heading = format!(
        "worker {} (pid {}): exception in {} {}",
        worker.slot,
        std::process::id(),
        ruwsgi::log::escape(request.mark(request.marks.method)),
        ruwsgi::log::escape(request.mark(request.marks.uri)),
    );
    ruwsgi::log::block(
        tracing::Level::ERROR,
        &heading,
        &python::traceback(py, error),
    );
}
