//! Requests the paths of the option `warmup` from the application, in the zygote, before the zygote forks workers. All
//! workers then share the modules and caches that these requests have loaded.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyList};
use ruwsgi::http::request::Request;
use ruwsgi::http::spool::Body;
use ruwsgi::ipc::AppSpec;

use crate::fork;
use crate::mounts::Apps;
use crate::wsgi::environ::{Environs, Split};
use crate::wsgi::input::Input;

/// Requests each path of `warmup` once. A failure is only logged, because the path may need something that exists only
/// in workers.
pub fn run(py: Python<'_>, spec: &AppSpec, apps: &Apps, errors: &Py<PyAny>) {
    for path in &spec.warmup {
        let response = request_path(py, spec, apps, errors, path);
        fork::end_child(py, response.as_ref().err());
        match response {
            Ok(status) if status.starts_with('5') => {
                tracing::warn!("warmup = {path}: the response was {status}")
            }
            Ok(status) => tracing::debug!("warmup = {path}: {status}"),
            Err(error) => ruwsgi::log::block(
                tracing::Level::WARN,
                &format!("warmup = {path}: the application raised an exception"),
                &crate::python::traceback(py, &error),
            ),
        }
    }
}

fn request_path(
    py: Python<'_>,
    spec: &AppSpec,
    apps: &Apps,
    errors: &Py<PyAny>,
    target: &str,
) -> PyResult<String> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = request(target, path, query);
    let Some(choice) = apps.resolve(b"", path.as_bytes()) else {
        return Ok("404 Not Found".into());
    };
    let split = choice.script_name.map(|len| Split {
        script_name: &path.as_bytes()[..len],
        path_info: &path.as_bytes()[len..],
    });
    let input = Bound::new(py, Input::new(Body::Empty))?;
    let environ = Environs::new(py, spec, 0, errors)?.make(py, &request, &input, split)?;
    let locals = PyDict::new(py);
    let started = PyList::empty(py);
    locals.set_item("started", &started)?;
    // the callables `start_response` and `write` (PEP 3333), whose response is discarded
    let start_response = py.eval(
        c"lambda status, headers, exc_info=None, *, _started=started: (_started.append(status), lambda data: None)[1]",
        Some(&locals),
        None,
    )?;
    let result = choice.app.bind(py).call1((environ, start_response))?;
    let drained = drain(&result);
    if let Some(close) = result.getattr_opt("close")? {
        close.call0()?;
    }
    drained?;
    started.get_item(started.len().saturating_sub(1))?.extract()
}

fn drain(result: &Bound<'_, PyAny>) -> PyResult<()> {
    if result.is_instance_of::<PyBytes>() {
        return Ok(());
    }
    PyIterator::from_object(result)?.try_for_each(|block| block.map(drop))
}

fn request(target: &str, path: &str, query: &str) -> Request {
    let mut request = Request::default();
    for (key, value) in [
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", target),
        ("PATH_INFO", path),
        ("QUERY_STRING", query),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", "80"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("HTTP_HOST", "localhost"),
        ("HTTP_USER_AGENT", "ruwsgi warmup"),
    ] {
        request.push(key.as_bytes(), value.as_bytes());
    }
    request
}
