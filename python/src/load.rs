//! Loads the application: sets `sys.path` and `sys.argv`, imports the modules of `import`, loads the main application
//! (`module`, `wsgi-file`, `eval`, `paste` or `pecan`), then the mounts.

use std::path::Path;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use ruwsgi::ipc::{AppSpec, LoadFailure, WorkerProgram};
use ruwsgi::sys::path_error;

use crate::deploy;
use crate::diagnose::{self, failure};
use crate::fork;
pub use crate::mounts::Apps;
use crate::origin::Origin;

/// Name of the callable if `callable` is not set.
const USUAL_CALLABLE: &str = "application";

/// Loads all configured applications and imports in the calling process, then changes its working directory to
/// `chdir2`.
///
/// With `need-app = false` an application that fails to load is skipped, and [`Apps::warnings`] gets its failure.
///
/// # Errors
/// Returns the first failure: one sentence, and Python's traceback.
pub fn load(py: Python<'_>, spec: &AppSpec) -> Result<Apps, LoadFailure> {
    prepare(py, spec).map_err(|error| diagnose::raised(py, "the interpreter", &error))?;
    import_aliases(py, spec)?;
    for import in &spec.imports {
        fetch(
            py,
            &format!("import = {import}"),
            Origin::file_or_module(import),
        )?;
    }
    let mut loading = Loading {
        py,
        spec,
        apps: Apps::new(spec),
    };
    loading.main_app()?;
    for (point, what) in &spec.mounts {
        let loaded = loading.mounted_app(point, what);
        loading.unless_needed(loaded)?;
    }
    if let Some(directory) = &spec.chdir2 {
        std::env::set_current_dir(directory).map_err(|error| {
            let reason = path_error::reason(Path::new(directory), &error);
            failure(format!("chdir2 = {directory} cannot be entered: {reason}"))
        })?;
    }
    let overridden = matches!(spec.program, Some(WorkerProgram::File(_)));
    if spec.need_app && !overridden && loading.apps.is_empty() {
        return Err(failure(
            "no application is configured: name one with `module = package.module` or `wsgi-file = file.py` \
             (or set `need-app = false` to start without)",
        ));
    }
    Ok(loading.apps)
}

/// Imports the modules of `shared-import`, in the zygote.
///
/// # Errors
/// Returns the first failure: one sentence, and Python's traceback.
pub fn import_shared(py: Python<'_>, spec: &AppSpec) -> Result<(), LoadFailure> {
    if spec.shared_imports.is_empty() {
        return Ok(());
    }
    prepare(py, spec).map_err(|error| diagnose::raised(py, "the interpreter", &error))?;
    for import in &spec.shared_imports {
        fetch(
            py,
            &format!("shared-import = {import}"),
            Origin::file_or_module(import),
        )?;
    }
    Ok(())
}

/// Logs the failures that did not prevent the start.
pub fn log_warnings(apps: &Apps) {
    for warning in apps.warnings() {
        ruwsgi::log::block(tracing::Level::WARN, &warning.sentence, &warning.traceback);
    }
}

struct Loading<'py, 'a> {
    py: Python<'py>,
    spec: &'a AppSpec,
    apps: Apps,
}

impl<'py> Loading<'py, '_> {
    fn main_app(&mut self) -> Result<(), LoadFailure> {
        let (what, origin) = match (&self.spec.module, &self.spec.wsgi_file) {
            (Some(module), file) => {
                if let Some(file) = file {
                    self.apps.warn(failure(format!(
                        "wsgi-file = {file} is not used, because module = {module} is set too: remove one of them"
                    )));
                }
                (format!("module = {module}"), Origin::module(module))
            }
            (None, Some(file)) => (format!("wsgi-file = {file}"), Origin::File { path: file }),
            (None, None) => {
                let loaded = self.deployed_app();
                return self.unless_needed(loaded);
            }
        };
        let loaded = self.app_and_table(&what, origin);
        self.unless_needed(loaded)
    }

    /// Loads and mounts the application of `eval`, `paste` or `pecan`. Does nothing if none of these options is set.
    fn deployed_app(&mut self) -> Result<(), LoadFailure> {
        let spec = self.spec;
        let (what, app) = if let Some(code) = &spec.eval {
            let module = deploy::evaluate(self.py, code)?;
            let name = spec.callable.as_deref().unwrap_or(USUAL_CALLABLE);
            ("eval".to_owned(), named("eval", &module, name)?)
        } else if let Some(uri) = &spec.paste {
            let what = format!("paste = {uri}");
            let app = deploy::paste(self.py, &what, uri, spec.paste_logger)?;
            (what, app)
        } else if let Some(file) = &spec.pecan {
            (format!("pecan = {file}"), deploy::pecan(self.py, file)?)
        } else {
            return Ok(());
        };
        self.mount(&what, "", app);
        Ok(())
    }

    /// Turns a failure into a warning if `need-app` is false.
    fn unless_needed(&mut self, loaded: Result<(), LoadFailure>) -> Result<(), LoadFailure> {
        match loaded {
            Err(failure) if !self.spec.need_app => {
                self.apps.warn(failure);
                Ok(())
            }
            loaded => loaded,
        }
    }

    fn app_and_table(&mut self, what: &str, origin: Origin<'_>) -> Result<(), LoadFailure> {
        let module = fetch(self.py, what, origin)?;
        if let Some(table) = self.table(&module, origin) {
            return self.mount_table(what, &module, &table);
        }
        let app = self.callable(what, &module, origin)?;
        let spec = self.spec;
        if let Some(name) = spec.module.as_ref().or(spec.wsgi_file.as_ref()) {
            self.apps.name(self.py, name, app.as_unbound());
        }
        self.mount(what, "", app);
        Ok(())
    }

    fn mounted_app(&mut self, point: &str, what: &str) -> Result<(), LoadFailure> {
        let option = format!("mount = {point}={what}");
        if !point.is_empty() && !point.starts_with('/') && !point.contains('|') {
            return Err(failure(format!(
                "{option}: a mount point begins with a slash: write mount = /{point}={what}"
            )));
        }
        if what.ends_with(".ini") {
            let app = deploy::paste(self.py, &option, what, self.spec.paste_logger)?;
            self.apps.name(self.py, what, app.as_unbound());
            self.mount(&option, point, app);
            return Ok(());
        }
        let origin = Origin::file_or_module(what);
        let module = fetch(self.py, &option, origin)?;
        let app = self.callable(&option, &module, origin)?;
        self.apps.name(self.py, what, app.as_unbound());
        self.mount(&option, point, app);
        Ok(())
    }

    fn mount(&mut self, what: &str, point: &str, app: Bound<'py, PyAny>) {
        if !self.apps.mount(point, app.unbind()) {
            let point = if point.trim_matches('/').is_empty() {
                "/"
            } else {
                point
            };
            self.apps.warn(failure(format!(
                "{what} is not used, because another application is already at {point}"
            )));
        }
    }

    /// Returns the dictionary `applications`, which maps mount points to callables or to their names. The dictionary is
    /// in the application's module. If the module has none or an empty one, `uwsgi` may have it. `None` if the
    /// configuration names a callable or a file.
    fn table(&self, module: &Bound<'py, PyAny>, origin: Origin<'_>) -> Option<Bound<'py, PyDict>> {
        if !matches!(origin, Origin::Module { callable: None, .. }) || self.spec.callable.is_some()
        {
            return None;
        }
        let uwsgi = self.py.import("uwsgi").ok().map(Bound::into_any);
        [Some(module.clone()), uwsgi]
            .into_iter()
            .flatten()
            .filter_map(|owner| {
                owner
                    .getattr("applications")
                    .ok()?
                    .cast_into::<PyDict>()
                    .ok()
            })
            .find(|table| !table.is_empty())
    }

    fn mount_table(
        &mut self,
        what: &str,
        module: &Bound<'py, PyAny>,
        table: &Bound<'py, PyDict>,
    ) -> Result<(), LoadFailure> {
        for (point, value) in table {
            let point = point.to_string();
            let what = format!("{what}, applications['{point}']");
            if !point.is_empty() && !point.starts_with('/') {
                return Err(failure(format!(
                    "{what}: a mount point begins with a slash"
                )));
            }
            let app = match value.cast::<PyString>() {
                Err(_) => diagnose::checked(&what, value)?,
                Ok(name) => {
                    let name = name.to_string();
                    if name.contains(':') {
                        let origin = Origin::module(&name);
                        let module = fetch(self.py, &what, origin)?;
                        self.callable(&what, &module, origin)?
                    } else {
                        named(&what, module, &name)?
                    }
                }
            };
            self.mount(&what, &point, app);
        }
        Ok(())
    }

    fn callable(
        &self,
        what: &str,
        module: &Bound<'py, PyAny>,
        origin: Origin<'_>,
    ) -> Result<Bound<'py, PyAny>, LoadFailure> {
        let own = match origin {
            Origin::Module { callable, .. } => callable,
            Origin::File { .. } => None,
        };
        named(
            what,
            module,
            own.or(self.spec.callable.as_deref())
                .unwrap_or(USUAL_CALLABLE),
        )
    }
}

/// Looks up `name` in a module: `callable`, `dotted.callable` or `factory()`. Calls a factory and returns its result.
fn named<'py>(
    what: &str,
    module: &Bound<'py, PyAny>,
    name: &str,
) -> Result<Bound<'py, PyAny>, LoadFailure> {
    let (path, is_factory) = match name.strip_suffix("()") {
        Some(path) => (path, true),
        None => (name, false),
    };
    if path.is_empty() || path.contains(['(', ')', '[', ' ']) {
        return Err(failure(format!(
            "{what}: `{name}` names no callable: write `name`, `object.attribute` or `factory()`, \
             and give a factory its arguments in Python"
        )));
    }
    let mut found = module.clone();
    for part in path.split('.') {
        found = found
            .getattr(part)
            .map_err(|error| diagnose::no_callable(what, module, path, &error))?;
    }
    if is_factory {
        let factory = diagnose::called(&format!("{what}: the factory {path}"), found)?;
        let made = factory.call0();
        fork::end_child(module.py(), made.as_ref().err());
        found = made.map_err(|error| diagnose::raised(module.py(), what, &error))?;
        return diagnose::checked(&format!("{what}: what {path}() returned"), found);
    }
    diagnose::checked(&format!("{what}: {path}"), found)
}

/// Imports the module of `origin`, or executes the file of `origin` as a module.
fn fetch<'py>(
    py: Python<'py>,
    what: &str,
    origin: Origin<'_>,
) -> Result<Bound<'py, PyAny>, LoadFailure> {
    match origin {
        Origin::Module { name: "", .. } => Err(failure(format!(
            "{what} names no module: write `module.name:callable`"
        ))),
        Origin::Module { name, .. } => {
            let imported = py.import(name);
            fork::end_child(py, imported.as_ref().err());
            match imported {
                Ok(module) => Ok(module.into_any()),
                Err(error) => Err(diagnose::import_failed(py, what, origin, &error)),
            }
        }
        Origin::File { path } => {
            if let Some(sentence) = diagnose::unreadable_file(what, path) {
                return Err(failure(sentence));
            }
            let executed = execute(py, path);
            fork::end_child(py, executed.as_ref().err());
            executed.map_err(|error| diagnose::import_failed(py, what, origin, &error))
        }
    }
}

/// Imports the modules and files of `pymodule-alias`.
///
/// # Errors
/// Returns the first failure: one sentence, and Python's traceback.
pub fn import_aliases(py: Python<'_>, spec: &AppSpec) -> Result<(), LoadFailure> {
    let mut aliases = spec.worker.pymodule_alias.iter();
    aliases.try_for_each(|(name, what)| alias(py, name, what))
}

/// Makes a module or a file known as the module `name` (`pymodule-alias`). `what` is a file if it contains a slash.
fn alias(py: Python<'_>, name: &str, what: &str) -> Result<(), LoadFailure> {
    let option = format!("pymodule-alias = {name}={what}");
    let origin = match what.contains('/') {
        true => Origin::File { path: what },
        false => Origin::Module {
            name: what,
            callable: None,
        },
    };
    let module = fetch(py, &option, origin)?;
    let modules = py.import("sys").and_then(|sys| sys.getattr("modules"));
    modules
        .and_then(|modules| modules.set_item(name, module))
        .map_err(|error| diagnose::raised(py, &option, &error))
}

/// Executes a file as a module and adds the module to `sys.modules`. The source is always compiled. Python would use a
/// compiled copy if the size and the modification second of the source have not changed, and a second edit within one
/// second may change neither.
fn execute<'py>(py: Python<'py>, path: &str) -> PyResult<Bound<'py, PyAny>> {
    let name = module_name_of(path);
    let path = py
        .import("os")?
        .getattr("path")?
        .call_method1("abspath", (path,))?;
    // the public `importlib.util` would also import `contextlib` and `collections`
    let machinery = py.import("_frozen_importlib_external")?;
    let loader = machinery
        .getattr("SourceFileLoader")?
        .call1((&name, &path))?;
    let keywords = PyDict::new(py);
    keywords.set_item("loader", &loader)?;
    let spec = machinery.call_method("spec_from_file_location", (&name, &path), Some(&keywords))?;
    // the source is compiled here, so that the frames of the loader do not appear in the traceback
    let source = loader.call_method1("get_data", (&path,))?;
    let compile = py.import("builtins")?.getattr("compile")?;
    let code = compile.call1((source, &path, "exec", 0, true))?;
    let module = py
        .import("_frozen_importlib")?
        .call_method1("module_from_spec", (spec,))?;
    let modules = py.import("sys")?.getattr("modules")?;
    modules.set_item(&name, &module)?;
    let executed = py
        .import("builtins")?
        .call_method1("exec", (code, module.getattr("__dict__")?));
    if let Err(error) = executed {
        modules.del_item(&name)?;
        return Err(error);
    }
    Ok(module)
}

/// Returns the module's name: `uwsgi_file_` and the path without `.py`, with `_` for `/` and `.`, as in uWSGI.
fn module_name_of(path: &str) -> String {
    let path = path.strip_suffix(".py").unwrap_or(path);
    format!("uwsgi_file_{}", path.replace(['/', '.'], "_"))
}

/// Sets `sys.path` and `sys.argv`.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn prepare(py: Python<'_>, spec: &AppSpec) -> PyResult<()> {
    let sys = py.import("sys")?;
    let path = sys.getattr("path")?.cast_into::<PyList>()?;
    let here = match &spec.chdir2 {
        // the empty entry means the working directory, which `chdir2` changes
        Some(_) => py
            .import("os")?
            .call_method0("getcwd")?
            .extract::<String>()?,
        None => String::new(),
    };
    // `python -c` has already inserted the empty entry into `sys.path`
    let is_there = path
        .get_item(0)
        .and_then(|first| first.eq(&here))
        .unwrap_or(false);
    if !is_there {
        path.insert(0, here)?;
    }
    // `glob` is imported only if needed: it imports `re`, which costs memory
    if !spec.pythonpath.is_empty() {
        add_pythonpath(py, &path, &spec.pythonpath)?;
    }
    let argv = PyList::new(
        py,
        std::iter::once("uwsgi").chain(spec.pyargv.iter().map(String::as_str)),
    )?;
    sys.setattr("argv", argv)
}

/// Inserts each entry at the front of `sys.path`. An entry is a glob pattern; a pattern without a match is inserted
/// unchanged.
fn add_pythonpath(py: Python<'_>, path: &Bound<'_, PyList>, entries: &[String]) -> PyResult<()> {
    let glob = py.import("glob")?;
    let os_path = py.import("os.path")?;
    for pattern in entries {
        let matches = glob
            .call_method1("glob", (pattern,))?
            .cast_into::<PyList>()?;
        matches.sort()?;
        if matches.is_empty() {
            path.insert(0, pattern)?;
        }
        for directory in matches {
            path.insert(0, os_path.call_method1("abspath", (directory,))?)?;
        }
    }
    Ok(())
}
