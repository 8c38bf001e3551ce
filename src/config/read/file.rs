//! Files that a configuration names.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::finding::{Fault, shortened};
use crate::config::read::command;
use crate::config::read::invocation::Invocation;

/// The largest configuration file, in bytes.
pub(crate) const LARGEST_FILE: u64 = 4 << 20;

/// How a configuration file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Ini,
    Yaml,
    Json,
    Toml,
    Xml,
}

impl Format {
    /// The format a file's extension stands for.
    pub(crate) fn of_file(path: &str) -> Option<Format> {
        match path.rsplit_once('.')?.1 {
            "ini" => Some(Format::Ini),
            "yaml" | "yml" => Some(Format::Yaml),
            "json" | "js" => Some(Format::Json),
            "toml" => Some(Format::Toml),
            "xml" => Some(Format::Xml),
            _ => None,
        }
    }

    /// The format a directive stands for; those that take any file go by its extension.
    pub(crate) fn of_directive(name: &str, path: &str) -> Format {
        match name {
            "yaml" | "yml" => Format::Yaml,
            "json" | "js" => Format::Json,
            "toml" => Format::Toml,
            "xml" | "xmlconfig" => Format::Xml,
            "ini" => Format::Ini,
            _ => Format::of_file(path).unwrap_or(Format::Ini),
        }
    }

    /// The directive that reads such a file.
    pub(crate) fn directive(self) -> &'static str {
        match self {
            Format::Ini => "ini",
            Format::Yaml => "yaml",
            Format::Json => "json",
            Format::Toml => "toml",
            Format::Xml => "xml",
        }
    }
}

/// `file:section` in its parts; a path may hold a colon before its last slash.
pub(crate) fn split_section(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((file, section)) if !section.contains('/') => (file, section),
        _ => (name, ""),
    }
}

/// What stands in a file, or what `exec://command` prints.
///
/// # Errors
/// Says why it cannot be had, also of the other places that uWSGI reads from.
pub(crate) fn contents(invocation: &Invocation, name: &str) -> Result<Vec<u8>, Fault> {
    if let Some(command) = name.strip_prefix("exec://") {
        return command::output(command, &invocation.cwd);
    }
    let fault = |why: String| Fault::new(format!("{} cannot be read: {why}", shortened(name)));
    if let Some((scheme, rest)) = name.split_once("://") {
        let hint = match scheme {
            "http" | "https" => format!("write exec://curl -fsS {}", shortened(name)),
            "file" => format!("write {}", shortened(rest)),
            _ => "write the text to a file, and name that".to_owned(),
        };
        return Err(fault("only files and exec:// are read".to_owned()).hint(hint));
    }
    let path = path_of(invocation, name);
    let mut file = None;
    let vassal_file = invocation.vassal_file.as_ref();
    let vassal_file = vassal_file.filter(|file| file.name == name);
    let metadata = match vassal_file.and_then(|file| file.owner) {
        // the owner is checked on the opened file: its path may be replaced meanwhile
        Some(owner) => {
            let opened = open(&path).map_err(|error| fault(plain(&error)))?;
            let metadata = opened.metadata().map_err(|error| fault(plain(&error)))?;
            let uid = metadata.uid();
            if uid != owner {
                return Err(fault(format!(
                    "it belongs to uid {uid} now, and to uid {owner} when the vassal was started"
                )));
            }
            file = Some(opened);
            metadata
        }
        None => fs::metadata(&path).map_err(|error| fault(plain(&error)))?,
    };
    // devices and pipes might never end
    if !metadata.is_file() {
        let what = if metadata.is_dir() {
            "it is a directory"
        } else {
            "it is not a regular file"
        };
        return Err(fault(what.to_owned()));
    }
    if metadata.len() > LARGEST_FILE {
        return Err(fault(format!("it has more than {LARGEST_FILE} bytes")));
    }
    if vassal_file.is_some_and(|file| file.executable) && command::is_executable(&path) {
        return command::output_of_file(&path, &invocation.cwd);
    }
    let read = match file {
        Some(mut file) => {
            let mut text = Vec::new();
            file.read_to_end(&mut text).map(|_| text)
        }
        None => fs::read(path),
    };
    read.map_err(|error| fault(plain(&error)))
}

/// Opens what may be a pipe without waiting for who writes to it.
fn open(path: &Path) -> std::io::Result<fs::File> {
    let mut options = fs::File::options();
    options.read(true).custom_flags(nix::libc::O_NONBLOCK);
    options.open(path)
}

/// An error of the system in plain words.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether something is at this path, which counts from the directory ruwsgi was started in.
pub(crate) fn path_of(invocation: &Invocation, name: &str) -> PathBuf {
    Path::new(&invocation.cwd).join(name)
}
