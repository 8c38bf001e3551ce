//! Finds the application's Python interpreter before the first zygote starts.
//!
//! The order is: the option `home`, the option `python`, then `python3` and `python` on PATH. A version manager's shim
//! (a script that looks up the interpreter each time it runs) is run once to learn the interpreter.

mod executable;
mod search_path;
mod shim;
#[cfg(test)]
mod tests;
mod virtualenv;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use search_path::{DEFAULT_NAMES, absolute, candidates};

pub(crate) use shim::Shim;

/// A Python interpreter that this process can execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// The absolute path. For a virtualenv, the path of the link in its `bin`.
    pub(crate) path: PathBuf,
}

/// The error for a missing or unusable interpreter. Displays as one sentence with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotFound(String);

/// Finds the interpreter. `home` is a virtualenv or the prefix of a Python installation. `python` is a path, or a name
/// that is looked up in `path_env` (the value of PATH). Relative paths start at the working directory. `known_shim` is
/// an earlier answer of a shim. If it still applies, the shim is not run again. Running a shim may take up to ten
/// seconds.
///
/// # Errors
/// [`NotFound`] when there is no interpreter, or none that this process may execute.
pub(crate) fn find(
    home: Option<&Path>,
    python: Option<&str>,
    path_env: &OsStr,
    known_shim: Option<&Shim>,
) -> Result<Interpreter, NotFound> {
    let found = match (home, python) {
        (Some(home), _) => virtualenv::find(&absolute(home)),
        (None, Some(python)) if python.contains('/') => by_path(&absolute(Path::new(python))),
        (None, Some(python)) => on_path(&[python], path_env, known_shim).map_err(|tried| {
            format!(
                "python = {python} was not found on PATH{tried}: give the interpreter's complete path, or `home`"
            )
        }),
        (None, None) => on_path(&DEFAULT_NAMES, path_env, known_shim).map_err(|tried| {
            format!(
                "no usable python3 was found on PATH{tried}: install Python 3.10 or newer, or set `home` to a \
                 virtualenv or `python` to an interpreter"
            )
        }),
    };
    match found {
        Ok(path) => Ok(Interpreter { path }),
        Err(sentence) => Err(NotFound(sentence)),
    }
}

/// The error sentence for an interpreter that is too old to load the extension module.
pub(crate) fn too_old_sentence(version: &str, exe: &str) -> String {
    format!(
        "{exe} is Python {version}, and ruwsgi needs 3.10 or newer: make the virtualenv again with a newer Python \
         and set `home` to it, or set `python`"
    )
}

fn by_path(path: &Path) -> Result<PathBuf, String> {
    shim::resolve(path).map_err(|why| {
        let path = path.display();
        format!("python = {path} {why}: give the path of a Python 3 interpreter")
    })
}

/// Finds the first usable interpreter among the [`candidates`] for `names` on PATH.
///
/// # Errors
/// A text in parentheses that lists each file tried and why it is unusable; empty if no file was found.
fn on_path(names: &[&str], path_env: &OsStr, known_shim: Option<&Shim>) -> Result<PathBuf, String> {
    let mut tried = Vec::new();
    for candidate in candidates(names, path_env) {
        if let Some(shim) = known_shim.filter(|shim| shim.applies_to(&candidate)) {
            return Ok(shim.interpreter().to_path_buf());
        }
        match shim::resolve(&candidate) {
            Ok(interpreter) => return Ok(interpreter),
            Err(why) => tried.push(format!("{} {why}", candidate.display())),
        }
    }
    match tried.is_empty() {
        true => Err(String::new()),
        false => Err(format!(" ({})", tried.join("; "))),
    }
}
