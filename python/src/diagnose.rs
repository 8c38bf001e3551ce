//! Explains why an application cannot be loaded: one sentence that says what to do, and the traceback.

use std::path::Path;

use pyo3::exceptions::{
    PyBaseException, PyImportError, PyModuleNotFoundError, PySyntaxError, PySystemExit,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use ruwsgi::ipc::LoadFailure;

use crate::module_search::{self, Location};
use crate::origin::Origin;
use crate::python;

/// Names that applications commonly have, the likeliest first.
const USUAL_NAMES: [&str; 6] = ["application", "app", "wsgi_app", "wsgi", "api", "server"];

/// Names that factories of applications commonly have.
const FACTORIES: [&str; 2] = ["create_app", "make_app"];

/// Creates a failure that has no traceback.
pub fn failure(sentence: impl Into<String>) -> LoadFailure {
    LoadFailure {
        sentence: sentence.into(),
        traceback: String::new(),
    }
}

/// Describes the exception `error` of a failed import of a module, or of a failed execution of a file. `what` names the
/// option in the message.
pub fn import_failed(py: Python<'_>, what: &str, origin: Origin<'_>, error: &PyErr) -> LoadFailure {
    let is_missing = error.is_instance_of::<PyModuleNotFoundError>(py);
    let Some(missing) = attribute(error.value(py), "name").filter(|_| is_missing) else {
        return raised(py, what, error);
    };
    let is_within = |module: &str| {
        module
            .strip_prefix(missing.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let sentence = match origin {
        Origin::Module { name, .. } if is_within(name) => no_such_module(py, what, name, &missing),
        Origin::Module { .. } => missing_dependency(py, what, &missing, None),
        Origin::File { path } => missing_dependency(py, what, &missing, Some(Path::new(path))),
    };
    LoadFailure {
        sentence,
        traceback: python::traceback(py, error),
    }
}

/// Describes the exception `error` that has ended the loading of the application.
pub fn raised(py: Python<'_>, what: &str, error: &PyErr) -> LoadFailure {
    let value = error.value(py);
    let sentence = if error.is_instance_of::<PySyntaxError>(py) {
        let file = attribute(value, "filename").unwrap_or_else(|| "<unknown>".into());
        let line = attribute(value, "lineno").unwrap_or_else(|| "?".into());
        let problem = attribute(value, "msg").unwrap_or_else(|| "invalid syntax".into());
        format!("{what} cannot be loaded: syntax error in {file}, line {line}: {problem}")
    } else if error.is_instance_of::<PySystemExit>(py) {
        let code = value
            .getattr("code")
            .and_then(|code| code.repr())
            .map_or_else(|_| String::new(), |repr| repr.to_string());
        format!(
            "{what} cannot be loaded: it called sys.exit({code}){} instead of defining an application: \
             move what only a script does under `if __name__ == \"__main__\":`",
            place(py, error)
        )
    } else if let Some(module) = failed_api_import(py, error, value) {
        format!(
            "{what} cannot be loaded: it needs a part of `{module}` that ruwsgi does not have: {}",
            text(value)
        )
    } else {
        let kind = error
            .get_type(py)
            .name()
            .map_or_else(|_| "an exception".into(), |name| name.to_string());
        let message = text(value);
        let colon = if message.is_empty() { "" } else { ": " };
        format!(
            "{what} cannot be loaded: {kind}{colon}{message}{}",
            place(py, error)
        )
    };
    LoadFailure {
        sentence,
        traceback: python::traceback(py, error),
    }
}

/// Describes that `module` has no callable `name`, and suggests callables that the module has. An `error` other than
/// AttributeError is described as by [`raised`].
pub fn no_callable(
    what: &str,
    module: &Bound<'_, PyAny>,
    name: &str,
    error: &PyErr,
) -> LoadFailure {
    let py = module.py();
    if !error.is_instance_of::<pyo3::exceptions::PyAttributeError>(py) {
        return raised(py, what, error);
    }
    let place = attribute(module, "__file__").unwrap_or_else(|| "the module".into());
    let advice = match candidates(module).as_slice() {
        [] => "define it there, or name another with `callable`".to_owned(),
        [one] => format!("did you mean `callable = {one}`?"),
        several => format!(
            "name one of those it has: callable = {}",
            several.join(", or callable = ")
        ),
    };
    failure(format!("{what}: there is no `{name}` in {place}: {advice}"))
}

/// Returns `object` if it is callable.
///
/// # Errors
/// Returns a failure if `object` is not callable.
pub fn called<'py>(
    what: &str,
    object: Bound<'py, PyAny>,
) -> Result<Bound<'py, PyAny>, LoadFailure> {
    if object.is_callable() {
        return Ok(object);
    }
    let kind = object
        .get_type()
        .name()
        .map_or_else(|_| "object".into(), |name| name.to_string());
    let repr: String = object
        .repr()
        .map_or_else(|_| String::new(), |repr| repr.to_string())
        .chars()
        .take(60)
        .collect();
    let advice = if kind == "module" {
        "name the callable inside it"
    } else {
        "an application is a callable"
    };
    Err(failure(format!(
        "{what} is of type {kind} ({repr}) and cannot be called: {advice}"
    )))
}

/// Returns `object` if it is callable and not an ASGI application.
///
/// # Errors
/// Returns a failure if `object` is not callable, or is an ASGI application.
pub fn checked<'py>(
    what: &str,
    object: Bound<'py, PyAny>,
) -> Result<Bound<'py, PyAny>, LoadFailure> {
    let object = called(what, object)?;
    if is_coroutine_function(&object).unwrap_or(false) {
        return Err(failure(format!(
            "{what} is an asynchronous (ASGI) application, and this serves WSGI: name the WSGI one, \
             for Django that of wsgi.py instead of asgi.py"
        )));
    }
    Ok(object)
}

/// Returns a message that says why the file `path` cannot be read. `None` if it can be opened and is no directory.
pub fn unreadable_file(what: &str, path: &str) -> Option<String> {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let Err(error) = std::fs::File::open(&full) else {
        return full.is_dir().then(|| {
            format!(
                "{what}: {} is a directory: name the Python file in it",
                full.display()
            )
        });
    };
    let full = full.display();
    Some(match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!(
                "{what}: there is no file {full}: correct the path, or set `chdir` to the directory it starts from"
            )
        }
        std::io::ErrorKind::PermissionDenied => {
            format!(
                "{what}: {full} is not readable by {}: change its permissions or those of the directories above it",
                module_search::user()
            )
        }
        _ => format!("{what}: {full} cannot be opened: {error}"),
    })
}

fn no_such_module(py: Python<'_>, what: &str, module: &str, missing: &str) -> String {
    if let Some(stem) = module.strip_suffix(".py") {
        let name = stem.rsplit('/').next().unwrap_or(stem);
        return format!(
            "{what}: a module is named without its .py: write `module = {name}` or `wsgi-file = {module}`"
        );
    }
    if module.contains('/') {
        return format!(
            "{what}: a module has dots instead of slashes: write `module = {}`",
            module.trim_matches('/').replace('/', ".")
        );
    }
    if let Some((parent, name)) = missing.rsplit_once('.')
        && let Some(siblings) = module_search::modules_in_package(py, parent)
    {
        return match siblings.as_slice() {
            [] => format!(
                "{what}: {parent} is a module, not a package, so there is no {missing}: to name a callable of it write `module = {parent}:{name}`"
            ),
            names => format!(
                "{what}: the package {parent} has no module `{name}`: it has {}",
                names.join(", ")
            ),
        };
    }
    let looked = module_search::working_directory();
    match Location::of(py, missing, None) {
        Location::Forbidden(directory) => format!(
            "{what}: no module `{missing}` was found, and {} may not read {}: change the permissions of that \
             directory or of those above it",
            module_search::user(),
            directory.display()
        ),
        Location::Elsewhere(directory) => format!(
            "{what}: there is no module `{missing}` in {looked}, but there is one in {}: set `chdir = {0}` or `pythonpath = {0}`",
            directory.display()
        ),
        Location::Unknown => format!(
            "{what}: there is no module `{missing}` in {looked}, in the pythonpath or among the packages of {}: \
             correct the name, or set `chdir` (or `pythonpath`) to the directory that holds it",
            module_search::executable(py)
        ),
    }
}

fn missing_dependency(py: Python<'_>, what: &str, missing: &str, file: Option<&Path>) -> String {
    let top = missing.split('.').next().unwrap_or(missing);
    let executable = module_search::executable(py);
    let start = format!(
        "{what} cannot be loaded: it imports `{missing}`, which {executable} does not find"
    );
    if let Location::Elsewhere(directory) = Location::of(py, top, file) {
        return format!(
            "{start}, but there is one in {}: set `pythonpath = {0}` (or `chdir = {0}`)",
            directory.display()
        );
    }
    if module_search::is_virtualenv(py) {
        return format!("{start}: install it there with `{executable} -m pip install …`");
    }
    match module_search::virtualenv_nearby() {
        Some(home) => format!(
            "{start}: is it in the virtualenv {0}? Set `home = {0}`",
            home.display()
        ),
        None => format!("{start}: set `home` to the virtualenv that has it, or install it"),
    }
}

/// Returns at most four names of the module that may be applications, the likeliest first. The names of factories end
/// with `()`.
fn candidates(module: &Bound<'_, PyAny>) -> Vec<String> {
    let Some(names) = module
        .getattr("__dict__")
        .ok()
        .and_then(|names| names.cast_into::<PyDict>().ok())
    else {
        return Vec::new();
    };
    let own_name = attribute(module, "__name__");
    let mut found: Vec<(usize, String)> = names
        .iter()
        .filter_map(|(name, value)| {
            let name = name.to_string();
            let rank = rank(&name, &value, own_name.as_deref())?;
            let call = if FACTORIES.contains(&name.as_str()) {
                "()"
            } else {
                ""
            };
            Some((rank, name + call))
        })
        .collect();
    found.sort();
    found.into_iter().take(4).map(|(_, name)| name).collect()
}

/// The rank of a callable instance without a usual name.
const OTHER: usize = USUAL_NAMES.len() + FACTORIES.len();

/// Returns a rank that says how likely `value` is an application; 0 is the likeliest. `None` if `value` is no
/// application.
fn rank(name: &str, value: &Bound<'_, PyAny>, module: Option<&str>) -> Option<usize> {
    if name.starts_with('_') || !value.is_callable() {
        return None;
    }
    if let Some(rank) = USUAL_NAMES
        .iter()
        .chain(&FACTORIES)
        .position(|usual| *usual == name)
    {
        return Some(rank);
    }
    let kind = value.get_type().name().ok()?.to_string();
    let takes_two = || -> PyResult<bool> {
        let code = value.getattr("__code__")?;
        Ok(code.getattr("co_argcount")?.extract::<usize>()? == 2)
    };
    match kind.as_str() {
        "function" => {
            let is_own = attribute(value, "__module__").as_deref() == module;
            (is_own && takes_two().unwrap_or(false)).then_some(OTHER + 1)
        }
        "type" | "module" | "method" => None,
        kind if kind.starts_with("builtin")
            || kind.contains("Meta")
            || value.hasattr("__origin__").unwrap_or(true) =>
        {
            None
        }
        // an instance with `__call__`, such as `Flask(__name__)` under any name
        _ => Some(OTHER),
    }
}

/// Whether a call of the object returns a coroutine. Reads the flags of the code object, as `inspect` does. Importing
/// `inspect` would take a large part of a small application's start time.
fn is_coroutine_function(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    const CO_COROUTINE: u32 = 0x80;
    let is_async = |object: &Bound<'_, PyAny>| -> PyResult<bool> {
        // a method also has `__code__`, the code of its function
        match object.getattr_opt("__code__")? {
            Some(code) => Ok(code.getattr("co_flags")?.extract::<u32>()? & CO_COROUTINE != 0),
            None => Ok(false),
        }
    };
    Ok(is_async(object)? || is_async(&object.getattr("__call__")?)?)
}

/// Returns the module's name if `error` is a failed import from ruwsgi's module `uwsgi` or `uwsgidecorators`.
fn failed_api_import(
    py: Python<'_>,
    error: &PyErr,
    value: &Bound<'_, PyBaseException>,
) -> Option<String> {
    let name = error
        .is_instance_of::<PyImportError>(py)
        .then(|| attribute(value, "name"))??;
    matches!(name.as_str(), "uwsgi" | "uwsgidecorators").then_some(name)
}

/// Returns the place where the exception was raised, as ` (FILE, line N)`. Empty if no Python code ran.
fn place(py: Python<'_>, error: &PyErr) -> String {
    let last = || -> PyResult<String> {
        // before Python 3.12, the exception object itself may lack the traceback that PyErr has
        let mut entry = error.traceback(py).into_pyobject(py)?.into_any();
        loop {
            let next = entry.getattr("tb_next")?;
            if next.is_none() {
                break;
            }
            entry = next;
        }
        let file = entry
            .getattr("tb_frame")?
            .getattr("f_code")?
            .getattr("co_filename")?;
        Ok(format!(" ({file}, line {})", entry.getattr("tb_lineno")?))
    };
    last().unwrap_or_default()
}

/// Returns the first non-empty line of the exception's message.
fn text(value: &Bound<'_, PyBaseException>) -> String {
    let text = value
        .str()
        .map_or_else(|_| String::new(), |text| text.to_string());
    text.lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn attribute(object: &Bound<'_, PyAny>, name: &str) -> Option<String> {
    let value = object.getattr(name).ok().filter(|value| !value.is_none())?;
    Some(value.str().ok()?.to_string())
}
