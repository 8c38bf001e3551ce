//! Passes a request to the application: environ, call, iterate, close (PEP 3333).

use pyo3::exceptions::{PySystemExit, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyList, PyTuple};

use ruwsgi::http::request::Request;
use ruwsgi::http::response_writer::PeerGone;
use ruwsgi::http::spool::Body;
use ruwsgi::sys::fork_guard;

use super::callables::Callables;
use super::environ::{Environs, Split};
use super::file_wrapper::FileWrapper;
use super::input::Input;
use super::responder::{BytesBlock, Gil, wrong_block};
use crate::mounts::Apps;
use crate::worker::Worker;
use crate::{fork, python};

/// The objects with which a thread calls the application.
pub struct Server {
    /// The thread's number.
    core: u32,
    callables: Callables,
    environs: Environs,
}

/// Why a response is incomplete.
enum Failure {
    /// The application, or the iterable that it returned, has raised an exception.
    Raised(PyErr),
    /// The client is gone.
    PeerGone,
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<PeerGone> for Failure {
    fn from(_: PeerGone) -> Self {
        Self::PeerGone
    }
}

impl Server {
    /// Creates the server of the calling thread, which has the number `core`.
    ///
    /// # Errors
    /// Returns the Python exception of a failed call into the interpreter, above all `MemoryError`.
    pub fn new(py: Python<'_>, worker: &Worker, core: u32, errors: &Py<PyAny>) -> PyResult<Self> {
        let response = worker.engine.response(core);
        worker.deadlines[core as usize].attach();
        Ok(Self {
            core,
            callables: Callables::new(py, response)?,
            environs: Environs::new(py, &worker.spec, core, errors)?,
        })
    }

    /// Calls the application and sends its response. Afterwards the engine sends the bytes that are left in the
    /// response's buffer.
    pub fn serve(&mut self, py: Python<'_>, worker: &Worker, apps: &Apps, request: &mut Request) {
        let body = std::mem::take(&mut request.body);
        let deadline = &worker.deadlines[self.core as usize];
        if worker.spec.has_deadline() {
            deadline.enter(worker.engine.busy_since(self.core));
        }
        let response = worker.engine.response(self.core);
        let result = match self.callables.begin_request(py, response) {
            Ok(()) => self.call_application(py, worker, request, (body, apps)),
            Err(error) => Err(error.into()),
        };
        if fork_guard::is_forked() {
            end_child(py, &result);
        }
        deadline.leave(py);
        if self.conclude(py, worker, request, result) {
            worker.engine.count_exception(self.core);
        }
        self.callables.end_request(py);
    }

    /// Ends a request in which this module or PyO3 has panicked. The client gets a 500, or sees that the response is
    /// incomplete.
    #[cold]
    pub fn recover(&mut self, py: Python<'_>, worker: &Worker, request: &Request) {
        // SAFETY: the thread is attached to the interpreter. The next call would raise an exception that was not
        // fetched.
        unsafe { ffi::PyErr_Clear() };
        worker.deadlines[self.core as usize].leave(py);
        worker.engine.count_exception(self.core);
        tracing::error!(
            "worker {} (pid {}): panic in {} {}; the request is given up (is memory short? if not, this is a bug in ruwsgi)",
            worker.id,
            std::process::id(),
            ruwsgi::log::escape(request.method()),
            ruwsgi::log::escape(request.uri()),
        );
        // if the response cannot be locked, the engine ends it
        if let Ok(mut response) = self.callables.responder.get().response_after_call(py)
            && !response.is_complete()
        {
            response.give_up();
        }
        self.callables.responder.get().end();
    }

    /// Calls the application and sends the body that it returns. `Ok(Some(_))` is an exception of `close` after a
    /// complete response.
    fn call_application(
        &mut self,
        py: Python<'_>,
        worker: &Worker,
        request: &Request,
        (body, apps): (Body, &Apps),
    ) -> Result<Option<PyErr>, Failure> {
        let script_name = request.script_name();
        let path = path_info(request, script_name);
        let Some(choice) = apps.choose(request, script_name, path) else {
            let mut response = self.callables.responder.get().response(py)?;
            if apps.is_empty() {
                tracing::error!("no python application found, check your startup logs for errors");
                response.fail(500, "Internal Server Error");
            } else {
                response.fail(404, "Not Found");
            }
            return Ok(None);
        };
        if let Ok(mut response) = self.callables.responder.get().response(py) {
            response.app = 0;
        }
        let prefixed;
        let split = match choice.script_name {
            Some(len) => Some(Split {
                script_name: if choice.keeps_prefix {
                    let prefix = script_name.strip_suffix(b"/").unwrap_or(script_name);
                    prefixed = [prefix, &path[..len]].concat();
                    &prefixed
                } else {
                    &path[..len]
                },
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
        let _lent = worker.environs[self.core as usize].lend(&environ);
        let result = call(py, choice.app, &environ, &self.callables.start_response)?;
        fork::end_child(py, None);
        let sent = self.send(py, &result);
        // PEP 3333 requires a call of close() in any case; a failure of close() must not hide an earlier failure
        let closed = close(&result);
        sent?;
        Ok(closed.err())
    }

    /// Sends the body that the application has returned. May wait for the client; the interpreter is released
    /// meanwhile.
    fn send(&self, py: Python<'_>, result: &Bound<'_, PyAny>) -> Result<(), Failure> {
        if let Ok(list) = result.cast_exact::<PyList>() {
            return self.send_sequence(py, list.len(), |index| list.get_item(index));
        }
        if let Ok(tuple) = result.cast_exact::<PyTuple>() {
            return self.send_sequence(py, tuple.len(), |index| tuple.get_item(index));
        }
        if let Ok(bytes) = result.cast::<PyBytes>() {
            return self.send_sequence(py, 1, |_| Ok(bytes.clone().into_any()));
        }
        if let Ok(wrapper) = result.cast_exact::<FileWrapper>() {
            self.check_started(py)?;
            if let Some(range) = wrapper.get().range(py) {
                let mut response = self.callables.responder.get().response(py)?;
                let len = response
                    .missing()
                    .map_or(range.len, |missing| missing.min(range.len));
                response.write_file(&Gil(py), range.file, range.offset, len)?;
                return Ok(());
            }
        }
        self.send_iterable(py, result)
    }

    /// Sends a list or tuple. All its blocks exist, so the response's length is known, and the last block ends the
    /// response.
    fn send_sequence<'py>(
        &self,
        py: Python<'py>,
        len: usize,
        get: impl Fn(usize) -> PyResult<Bound<'py, PyAny>>,
    ) -> Result<(), Failure> {
        self.check_started(py)?;
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
        let mut response = self.callables.responder.get().response(py)?;
        if !response.is_committed() {
            response.set_length(
                blocks
                    .iter()
                    .map(|block| block.as_bytes().len() as u64)
                    .sum(),
            );
        }
        let last = blocks.len().saturating_sub(1);
        for (index, block) in blocks.iter().enumerate() {
            response.write(&Gil(py), &BytesBlock(block), index == last)?;
        }
        Ok(())
    }

    fn send_iterable(&self, py: Python<'_>, result: &Bound<'_, PyAny>) -> Result<(), Failure> {
        let blocks = PyIterator::from_object(result)?;
        for block in blocks {
            let block = block?;
            fork::end_child(py, None);
            if block.is_none() {
                continue;
            }
            let block = block.cast::<PyBytes>().map_err(|_| wrong_block(&block))?;
            if !block.as_bytes().is_empty() {
                self.check_started(py)?;
            }
            let mut response = self.callables.responder.get().response(py)?;
            response.write(&Gil(py), &BytesBlock(block), false)?;
        }
        fork::end_child(py, None);
        self.check_started(py)
    }

    fn check_started(&self, py: Python<'_>) -> Result<(), Failure> {
        if self
            .callables
            .responder
            .get()
            .response(py)?
            .head
            .is_started()
        {
            Ok(())
        } else {
            Err(
                PyTypeError::new_err("the application did not call start_response before its body")
                    .into(),
            )
        }
    }

    /// Completes the response. After a failure, replaces the response by an error response, or cuts it off. Returns
    /// whether the application has failed.
    fn conclude(
        &self,
        py: Python<'_>,
        worker: &Worker,
        request: &Request,
        result: Result<Option<PyErr>, Failure>,
    ) -> bool {
        let Ok(mut response) = self.callables.responder.get().response_after_call(py) else {
            // a thread of the application still writes and has locked the response, so the engine ends the response
            if let Err(Failure::Raised(error)) = &result {
                report(py, worker, request, error);
            }
            return true;
        };
        let failed = match result {
            Ok(closed) => {
                response.finish();
                if let Some(error) = &closed {
                    report(py, worker, request, error);
                }
                closed.is_some()
            }
            Err(Failure::PeerGone) => false,
            Err(Failure::Raised(_)) if response.is_broken() => false,
            Err(Failure::Raised(error)) => {
                if error.is_instance_of::<PySystemExit>(py) {
                    worker.request_exit();
                }
                if response.is_committed() {
                    response.abort();
                } else if crate::deadline::is_harakiri(py, &error) {
                    response.fail(504, "Gateway Timeout");
                } else {
                    response.fail(500, "Internal Server Error");
                }
                report(py, worker, request, &error);
                true
            }
        };
        if let Some(what) = response.length_mismatch(failed) {
            tracing::warn!(
                "{} {}: {what}",
                ruwsgi::log::escape(request.method()),
                ruwsgi::log::escape(request.uri()),
            );
        }
        failed
    }
}

/// Ends the calling process, which the application has forked while it served a request.
#[cold]
fn end_child(py: Python<'_>, result: &Result<Option<PyErr>, Failure>) {
    let error = match result {
        Ok(error) => error.as_ref(),
        Err(Failure::Raised(error)) => Some(error),
        Err(Failure::PeerGone) => None,
    };
    fork::end_child(py, error);
}

/// Returns PATH_INFO. With modifier 30, SCRIPT_NAME is removed from the beginning of PATH_INFO.
fn path_info<'a>(request: &'a Request, script_name: &[u8]) -> &'a [u8] {
    let path = request.path_info();
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
    // SAFETY: all pointers are live objects, and a null ends the argument list; the result is a new reference, or null
    // with an exception set.
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

/// Calls `close` of the body that the application has returned, if the body has this method.
fn close(result: &Bound<'_, PyAny>) -> PyResult<()> {
    if result.is_exact_instance_of::<PyList>() || result.is_exact_instance_of::<PyTuple>() {
        return Ok(());
    }
    match result.getattr_opt(pyo3::intern!(result.py(), "close"))? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}

/// Logs the traceback of an exception with its request. Asks the worker to exit if `reload-on-exception` or one of its
/// variants applies.
fn report(py: Python<'_>, worker: &Worker, request: &Request, error: &PyErr) {
    let heading = format!(
        "worker {} (pid {}): exception in {} {}",
        worker.id,
        std::process::id(),
        ruwsgi::log::escape(request.method()),
        ruwsgi::log::escape(request.uri()),
    );
    ruwsgi::log::block(
        tracing::Level::ERROR,
        &heading,
        &python::traceback(py, error),
    );
    if ends_worker(py, worker, error) {
        tracing::warn!("worker {}: replaced (reload-on-exception)", worker.id);
        worker.request_exit();
    }
}

/// Whether `reload-on-exception` or one of its variants requires that the worker is replaced after this exception.
fn ends_worker(py: Python<'_>, worker: &Worker, error: &PyErr) -> bool {
    let options = &worker.spec.worker;
    let is_listed = |list: &[String], text: &dyn Fn() -> PyResult<String>| {
        !list.is_empty() && text().is_ok_and(|text| list.contains(&text))
    };
    let (class, value) = (error.get_type(py), error.value(py));
    options.reload_on_exception
        || is_listed(&options.reload_on_exception_type, &|| {
            Ok(class.name()?.to_string())
        })
        || is_listed(&options.reload_on_exception_value, &|| {
            Ok(value.str()?.to_string())
        })
        || is_listed(&options.reload_on_exception_repr, &|| {
            Ok(value.repr()?.to_string())
        })
}
