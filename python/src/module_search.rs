//! Searches for a module that Python does not find. `diagnose` puts the result into its messages.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::PyList;

/// Maximum number of entries that are read from a directory.
const ENTRIES: usize = 500;

/// The location of a module that Python does not find.
pub enum Location {
    /// The module may be in this directory of `sys.path`, which the process may not read.
    Forbidden(PathBuf),
    /// The module is in this directory, which is not in `sys.path`.
    Elsewhere(PathBuf),
    /// The module was not found.
    Unknown,
}

impl Location {
    /// Returns the first unreadable directory of `sys.path`, if there is one. Otherwise searches for the top-level
    /// module outside of `sys.path`: in the three directories above `file`, in the parent of the working directory, and
    /// in the subdirectories of the working directory. `file` is the file that imports the module.
    pub fn of(py: Python<'_>, module: &str, file: Option<&Path>) -> Self {
        let searched = searched_directories(py);
        if let Some(directory) = searched.iter().find(|directory| is_forbidden(directory)) {
            return Self::Forbidden(directory.clone());
        }
        let Ok(here) = std::env::current_dir() else {
            return Self::Unknown;
        };
        let file = file.map(|file| here.join(file)).unwrap_or_default();
        let around = file
            .ancestors()
            .skip(1)
            .take(3)
            .chain(here.parent())
            .map(Path::to_path_buf);
        around
            .chain(subdirectories(&here))
            .find(|directory| !searched.contains(directory) && holds(directory, module))
            .map_or(Self::Unknown, Self::Elsewhere)
    }
}

/// Returns the names of at most six modules in the imported package `package`. Empty if `package` is a module without
/// submodules; `None` if `package` is not imported or has no modules.
pub fn modules_in_package(py: Python<'_>, package: &str) -> Option<Vec<String>> {
    let package = py
        .import("sys")
        .ok()?
        .getattr("modules")
        .ok()?
        .get_item(package)
        .ok()?;
    let Ok(path) = package.getattr("__path__") else {
        return Some(Vec::new());
    };
    let mut names: Vec<String> = path
        .try_iter()
        .ok()?
        .filter_map(|directory| directory.ok()?.extract::<PathBuf>().ok())
        .flat_map(|directory| entries(&directory))
        .filter_map(|file| {
            let name = file.file_name()?.to_str()?.strip_suffix(".py")?;
            (name != "__init__" && name != "__main__").then(|| name.to_owned())
        })
        .collect();
    names.sort();
    names.truncate(6);
    (!names.is_empty()).then_some(names)
}

/// Returns the path of a virtual environment in the working directory or in its parent.
pub fn virtualenv_nearby() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let above = here.parent().map(Path::to_path_buf);
    [Some(here), above]
        .into_iter()
        .flatten()
        .flat_map(|directory| entries(&directory))
        .find(|directory| directory.join("pyvenv.cfg").is_file())
}

/// Whether the interpreter belongs to a virtual environment.
pub fn is_virtualenv(py: Python<'_>) -> bool {
    let differs = || -> PyResult<bool> {
        let sys = py.import("sys")?;
        sys.getattr("prefix")?.ne(sys.getattr("base_prefix")?)
    };
    differs().unwrap_or(false)
}

/// Returns the interpreter's path, for a message.
pub fn executable(py: Python<'_>) -> String {
    let path = || py.import("sys")?.getattr("executable")?.extract::<String>();
    path()
        .ok()
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| "this Python".to_owned())
}

/// Returns the effective user of this process, as `user www-data`.
pub fn user() -> String {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let uid = unsafe { libc::geteuid() };
    format!("user {}", ruwsgi::sys::user::name_of(uid))
}

/// Returns the working directory, for a message.
pub fn working_directory() -> String {
    std::env::current_dir().map_or_else(
        |_| "the working directory".to_owned(),
        |path| path.display().to_string(),
    )
}

/// Returns the directories of `sys.path` as absolute paths. The empty entry stands for the working directory.
fn searched_directories(py: Python<'_>) -> Vec<PathBuf> {
    let path = py
        .import("sys")
        .and_then(|sys| Ok(sys.getattr("path")?.cast_into::<PyList>()?));
    let here = std::env::current_dir().unwrap_or_default();
    path.into_iter()
        .flatten()
        .filter_map(|entry| entry.extract::<PathBuf>().ok())
        .map(|entry| {
            if entry.as_os_str().is_empty() {
                here.clone()
            } else {
                here.join(entry)
            }
        })
        .collect()
}

/// Whether the process may not list the directory.
fn is_forbidden(directory: &Path) -> bool {
    std::fs::read_dir(directory)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

fn holds(directory: &Path, module: &str) -> bool {
    directory.join(module).join("__init__.py").is_file()
        || directory.join(format!("{module}.py")).is_file()
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = entries(directory)
        .into_iter()
        .filter(|entry| entry.is_dir())
        .collect();
    found.sort();
    found
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .take(ENTRIES)
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}
