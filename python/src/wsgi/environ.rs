//! The environ dictionary (PEP 3333): a copy of a template plus the request's variables.
//!
//! A web server sends nearly the same variables in the same order with each request. Therefore each thread caches the
//! variables of its last request with their Python strings. If the next request has a variable with the same bytes, its
//! strings are used again.

use std::collections::{HashMap, HashSet};

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use ruwsgi::http::request::{Request, Span};
use ruwsgi::ipc::AppSpec;

use super::file_wrapper::FileWrapper;
use crate::api::uwsgi_module::UWSGI_VERSION;

/// Maximum number of variable names that are cached and interned per thread. Names come from clients, so an unlimited
/// cache could fill the memory.
const MAX_NAMES: usize = 512;
/// Maximum length of a name that is cached and interned, bytes. An interned string may live as long as the process.
const MAX_NAME_LEN: usize = 64;
/// Maximum number of variables per thread whose repetition is logged.
const WARNINGS: usize = 50;
/// Maximum length of the variables of a request that are cached, bytes in total.
const BLOCK: usize = 8192;

/// The variables of the last request: their bytes, and their Python strings.
#[derive(Default)]
struct Last {
    text: Vec<u8>,
    vars: Vec<(Span, Span)>,
    objects: Vec<(Py<PyString>, Py<PyString>)>,
}

/// Creates the environ dictionaries of one serving thread.
pub struct Environs {
    template: Py<PyDict>,
    names: HashMap<Vec<u8>, Py<PyString>>,
    last: Last,
    /// Names of repeated variables that have been logged.
    warned: HashSet<String>,
    keys: Keys,
    https: Py<PyString>,
}

struct Keys {
    input: Py<PyString>,
    scheme: Py<PyString>,
    script_name: Py<PyString>,
    path_info: Py<PyString>,
}

/// SCRIPT_NAME and PATH_INFO of the environ, if they differ from the values that the web server has sent.
#[derive(Clone, Copy)]
pub struct Split<'a> {
    /// SCRIPT_NAME of the environ.
    pub script_name: &'a [u8],
    /// PATH_INFO of the environ.
    pub path_info: &'a [u8],
}

impl Environs {
    /// Creates the environs of thread `core`. `errors` is the stream `wsgi.errors`.
    ///
    /// # Errors
    /// Returns the Python exception of a failed call into the interpreter, above all `MemoryError`.
    pub fn new(py: Python<'_>, spec: &AppSpec, core: u32, errors: &Py<PyAny>) -> PyResult<Self> {
        let dict = PyDict::new(py);
        let options = &spec.worker;
        dict.set_item("wsgi.version", (1, 0))?;
        dict.set_item("wsgi.url_scheme", "http")?;
        dict.set_item("wsgi.errors", errors)?;
        dict.set_item("wsgi.multithread", options.threads > 1)?;
        dict.set_item("wsgi.multiprocess", options.processes > 1)?;
        dict.set_item("wsgi.run_once", false)?;
        dict.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
        dict.set_item("wsgi.input_terminated", true)?;
        dict.set_item("uwsgi.version", PyBytes::new(py, UWSGI_VERSION.as_bytes()))?;
        dict.set_item(
            "uwsgi.node",
            PyBytes::new(py, ruwsgi::sys::thread::hostname().as_bytes()),
        )?;
        dict.set_item("SCRIPT_NAME", "")?;
        if options.threads > 1 {
            dict.set_item("uwsgi.core", core)?;
        }
        let key = |name: &str| PyString::intern(py, name).unbind();
        Ok(Self {
            template: dict.unbind(),
            names: HashMap::new(),
            last: Last::default(),
            warned: HashSet::new(),
            keys: Keys {
                input: key("wsgi.input"),
                scheme: key("wsgi.url_scheme"),
                script_name: key("SCRIPT_NAME"),
                path_info: key("PATH_INFO"),
            },
            https: key("https"),
        })
    }

    /// Returns the environ of a request. `input` is its `wsgi.input`. Repeated variables are merged.
    ///
    /// # Errors
    /// Returns the Python exception of a failed call into the interpreter, above all `MemoryError`.
    pub fn make<'py>(
        &mut self,
        py: Python<'py>,
        request: &Request,
        input: &Bound<'py, PyAny>,
        split: Option<Split<'_>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let mut dict = self.filled(py, request)?;
        if self.has_repeated(&dict, request) {
            dict = self.merged(py, request)?;
        }
        set(&dict, &self.keys.input, input)?;
        if request.is_https() {
            set(&dict, &self.keys.scheme, self.https.bind(py))?;
        }
        if let Some(split) = split {
            let (script_name, path_info) =
                (latin1(py, split.script_name)?, latin1(py, split.path_info)?);
            set(&dict, &self.keys.script_name, &script_name)?;
            set(&dict, &self.keys.path_info, &path_info)?;
        }
        Ok(dict)
    }

    /// Whether a variable occurs more than once in the request. `dict` then has fewer entries than the template and the
    /// request together.
    fn has_repeated(&self, dict: &Bound<'_, PyDict>, request: &Request) -> bool {
        let template = self.template.bind(dict.py()).len();
        dict.len() + usize::from(request.has_script_name()) < template + request.vars.len()
    }

    /// Returns a copy of the template with the request's variables.
    fn filled<'py>(&mut self, py: Python<'py>, request: &Request) -> PyResult<Bound<'py, PyDict>> {
        let dict = self.template.bind(py).copy()?;
        if let Err(error) = self.set_vars(&dict, request) {
            // the failed call may have cached bytes without their strings, so the cache is emptied
            self.last = Last::default();
            return Err(error);
        }
        Ok(dict)
    }

    /// Does the same as `filled`, but merges repeated variables. Logs once if a repeated variable has different values.
    fn merged<'py>(&mut self, py: Python<'py>, request: &Request) -> PyResult<Bound<'py, PyDict>> {
        let (request, conflicts) = request.merged();
        for name in conflicts {
            if self.warned.len() < WARNINGS && self.warned.insert(name.clone()) {
                tracing::warn!(
                    "the web server sends {name} more than once with different values: the first one is used; remove the others from its configuration (logged once)"
                );
            }
        }
        self.filled(py, &request)
    }

    fn set_vars(&mut self, dict: &Bound<'_, PyDict>, request: &Request) -> PyResult<()> {
        let (text, vars) = (&request.text, &request.vars);
        let same = common_prefix(text, &self.last.text);
        let whole = same == text.len() && self.last.vars == *vars;
        for (at, var) in vars.iter().enumerate() {
            // whether the name and the value equal the cached strings at this index: they are in the common prefix, or
            // their bytes are equal
            let known = match self.last.vars.get(at) {
                Some(last) if var == last && var.0.end().max(var.1.end()) <= same => (true, true),
                Some((name, value)) => {
                    let old = &self.last.text;
                    (
                        name.of(old) == var.0.of(text),
                        value.of(old) == var.1.of(text),
                    )
                }
                None => (false, false),
            };
            self.set_var(dict, at, text, *var, known)?;
        }
        if !whole {
            self.remember(text, vars);
        }
        Ok(())
    }

    /// Sets the variable at index `at` and caches its strings. `known` tells whether the cached name and the cached
    /// value at this index are equal to the variable's.
    fn set_var(
        &mut self,
        dict: &Bound<'_, PyDict>,
        at: usize,
        text: &[u8],
        (name, value): (Span, Span),
        known: (bool, bool),
    ) -> PyResult<()> {
        let py = dict.py();
        if let (Some((name_object, value_object)), true) = (self.last.objects.get_mut(at), known.0)
        {
            if !known.1 {
                *value_object = latin1(py, value.of(text))?.unbind();
            }
            return set(dict, name_object, value_object.bind(py));
        }
        let objects = (
            self.name(py, name.of(text))?,
            latin1(py, value.of(text))?.unbind(),
        );
        set(dict, &objects.0, objects.1.bind(py))?;
        match self.last.objects.get_mut(at) {
            Some(old) => *old = objects,
            None => self.last.objects.push(objects),
        }
        Ok(())
    }

    fn remember(&mut self, text: &[u8], vars: &[(Span, Span)]) {
        let last = &mut self.last;
        last.text.clear();
        last.vars.clear();
        last.objects.truncate(vars.len());
        if text.len() <= BLOCK {
            last.text.extend_from_slice(text);
            last.vars.extend_from_slice(vars);
        } else {
            last.objects.clear();
        }
    }

    fn name(&mut self, py: Python<'_>, name: &[u8]) -> PyResult<Py<PyString>> {
        if let Some(object) = self.names.get(name) {
            return Ok(object.clone_ref(py));
        }
        let object = latin1(py, name)?;
        if name.len() > MAX_NAME_LEN || self.names.len() >= MAX_NAMES {
            return Ok(object.unbind());
        }
        let object = match object.to_str() {
            // an interned string is the same object as an equal literal of the application
            Ok(text) => PyString::intern(py, text).unbind(),
            Err(_) => object.unbind(),
        };
        self.names.insert(name.to_vec(), object.clone_ref(py));
        Ok(object)
    }
}

/// Returns the length of the common prefix of two slices, rounded down to a multiple of eight unless the slices are
/// equal.
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    if one == other {
        return one.len();
    }
    let words = one.chunks_exact(8).zip(other.chunks_exact(8));
    words.take_while(|(one, other)| one == other).count() * 8
}

fn set(dict: &Bound<'_, PyDict>, key: &Py<PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: the three pointers are live objects; the dictionary takes its own references.
    match unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) } {
        0 => Ok(()),
        _ => Err(PyErr::fetch(dict.py())),
    }
}

fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let len = isize::try_from(bytes.len()).map_err(|_| PyMemoryError::new_err(()))?;
    // SAFETY: `len` bytes are readable; the result is a new reference to a str, or null with an exception set.
    unsafe {
        let object = ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), len, std::ptr::null());
        Ok(Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked())
    }
}
