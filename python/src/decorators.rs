//! The module `uwsgidecorators`, made only when the application imports it: it brings `threading` and `functools`
//! along, which a small application would have in every process for nothing.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// Its name.
const NAME: &str = "uwsgidecorators";

/// Where a traceback says that it is.
const ORIGIN: &str = "<ruwsgi>/uwsgidecorators.py";

/// The module, in Python.
const CODE: &str = include_str!("uwsgidecorators.py");

/// Finds and loads the one module, as importlib's protocol has it (PEP 451).
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

    /// A module of the usual kind.
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

/// Lets `import uwsgidecorators` find it, whatever else is installed under that name: uWSGI's own would not do here.
///
/// # Errors
/// What Python raises, which is only lack of memory.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let finders = py.import("sys")?.getattr("meta_path")?;
    finders.cast_into::<PyList>()?.insert(0, Decorators)
}
