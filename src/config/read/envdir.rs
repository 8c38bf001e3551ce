//! Reads environment variables from the files of a directory, as envdir of daemontools does. The name of a file is the
//! name of a variable. The content of the file, without the line feeds at its end, is the value. An empty file removes
//! the variable. Hidden files are skipped.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::config::finding::{Fault, shortened};
use crate::config::values::envdir::FileVariable;
use crate::sys::path_error;

use super::limits::{MAX_ENTRIES, MAX_VALUE};

/// Why the variables of a directory cannot be read.
pub(crate) struct Unreadable {
    /// Whether this process has no permission to read the directory or one of its files.
    pub(crate) is_denied: bool,
    pub(crate) fault: Fault,
}

impl Unreadable {
    fn new(what: &Path, error: &std::io::Error) -> Self {
        let reason = path_error::reason(what, error);
        let what = what.display().to_string();
        let fault = Fault::new(format!("{} cannot be read: {reason}", shortened(&what)));
        Self {
            is_denied: error.kind() == ErrorKind::PermissionDenied,
            fault: match error.kind() {
                ErrorKind::NotFound => fault.hint("create the directory, or correct the path"),
                _ => fault,
            },
        }
    }
}

/// Reads the variables of a directory, sorted by name.
pub(crate) fn variables(directory: &Path) -> Result<Vec<FileVariable>, Unreadable> {
    let entries = fs::read_dir(directory).map_err(|error| Unreadable::new(directory, &error))?;
    let mut variables = Vec::new();
    for entry in entries.take(MAX_ENTRIES) {
        let entry = entry.map_err(|error| Unreadable::new(directory, &error))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = entry.path();
        // only regular files are read, because a device or a pipe may never end
        let is_file = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
        if name.starts_with('.') || name.contains('=') || !is_file {
            continue;
        }
        let value = value(&path).map_err(|error| Unreadable::new(&path, &error))?;
        variables.push((name, Some(value).filter(|value| !value.is_empty())));
    }
    variables.sort();
    Ok(variables)
}

/// Reads a file up to its first NUL byte, at most `MAX_VALUE` bytes, and removes the line feeds at the end.
fn value(path: &Path) -> std::io::Result<String> {
    let mut content = Vec::new();
    fs::File::open(path)?
        .take(MAX_VALUE as u64)
        .read_to_end(&mut content)?;
    let text = content.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
