//! The modules `uwsgidecorators`, `ruwsgi` and `ruwsgi.django`. They import modules that cost memory. Therefore they are
//! created only when the application imports them.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// The modules: name, file name in tracebacks, and source.
const MODULES: [(&str, &str, &str); 3] = [
    (
        "uwsgidecorators",
        "<ruwsgi>/uwsgidecorators.py",
        include_str!("uwsgidecorators.py"),
    ),
    (PACKAGE, "<ruwsgi>/ruwsgi/__init__.py", ""),
    (
        "ruwsgi.django",
        "<ruwsgi>/ruwsgi/django.py",
        include_str!("ruwsgi_django.py"),
    ),
];

/// The module that contains other modules.
const PACKAGE: &str = "ruwsgi";

/// The file name and the source of a module.
fn find(name: &str) -> Option<(&'static str, &'static str)> {
    let module = MODULES.iter().find(|(known, ..)| *known == name);
    module.map(|(_, origin, code)| (*origin, *code))
}

/// A finder and loader of the modules (PEP 451).
#[pyclass(frozen, module = "_ruwsgi")]
struct Decorators;

#[pymethods]
impl Decorators {
    #[pyo3(signature = (name, path=None, target=None))]
    fn find_spec<'py>(
        slf: &Bound<'py, Self>,
        name: &str,
        path: Option<&Bound<'py, PyAny>>,
        target: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let _ = (path, target);
        let Some((file, _)) = find(name) else {
            return Ok(None);
        };
        let py = slf.py();
        let facts = PyDict::new(py);
        facts.set_item("origin", file)?;
        facts.set_item("is_package", name == PACKAGE)?;
        let spec = py.import("_frozen_importlib")?.getattr("ModuleSpec")?;
        spec.call((name, slf), Some(&facts)).map(Some)
    }

    /// Returns `None`, so that importlib creates the module.
    fn create_module(&self, spec: &Bound<'_, PyAny>) {
        let _ = spec;
    }

    fn exec_module(&self, module: &Bound<'_, PyAny>) -> PyResult<()> {
        let name: String = module.getattr("__name__")?.extract()?;
        let Some((origin, code)) = find(&name) else {
            return Ok(());
        };
        let builtins = module.py().import("builtins")?;
        let code = builtins.call_method1("compile", (code, origin, "exec"))?;
        builtins.call_method1("exec", (code, module.getattr("__dict__")?))?;
        Ok(())
    }
}

/// Makes `import` find these modules before others of the same names, because uWSGI's `uwsgidecorators` does not work
/// with ruwsgi.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter, above all `MemoryError`.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let finders = py.import("sys")?.getattr("meta_path")?;
    finders.cast_into::<PyList>()?.insert(0, Decorators)
}
