//! The module `uwsgidecorators`. It imports `threading` and `functools`, which cost memory. Therefore the module is
//! created only when the application imports it.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// The module's name.
const NAME: &str = "uwsgidecorators";

/// The module's file name in tracebacks.
const ORIGIN: &str = "<ruwsgi>/uwsgidecorators.py";

/// The module's source.
const CODE: &str = include_str!("uwsgidecorators.py");

/// A finder and loader of the module (PEP 451).
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
        if name != NAME {
            return Ok(None);
        }
        let py = slf.py();
        let origin = PyDict::new(py);
        origin.set_item("origin", ORIGIN)?;
        let spec = py.import("_frozen_importlib")?.getattr("ModuleSpec")?;
        spec.call((NAME, slf), Some(&origin)).map(Some)
    }

    /// Returns `None`, so that importlib creates the module.
    fn create_module(&self, spec: &Bound<'_, PyAny>) {
        let _ = spec;
    }

    fn exec_module(&self, module: &Bound<'_, PyAny>) -> PyResult<()> {
        let builtins = module.py().import("builtins")?;
        let code = builtins.call_method1("compile", (CODE, ORIGIN, "exec"))?;
        builtins.call_method1("exec", (code, module.getattr("__dict__")?))?;
        Ok(())
    }
}

/// Makes `import uwsgidecorators` find this module before any other module of that name, because uWSGI's module does
/// not work with ruwsgi.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter, above all `MemoryError`.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let finders = py.import("sys")?.getattr("meta_path")?;
    finders.cast_into::<PyList>()?.insert(0, Decorators)
}
