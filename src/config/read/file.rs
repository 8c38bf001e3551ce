//! Configuration files: their formats, names and contents.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::finding::{Fault, shortened};

use super::command;
use super::invocation::Invocation;
use super::limits::MAX_FILE;

/// The format of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Ini,
    Yaml,
    Json,
    Toml,
    Xml,
}

impl Format {
    /// The format for the extension of `path`; `None` if the extension is unknown.
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

    /// The format of a file that the directive `name` reads. `include`, `config` and `inherit` use the extension of
    /// `path`; an unknown extension is read as ini.
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

    /// The name of the directive that reads this format, such as `ini`.
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

/// Splits `file:section`; a colon before the last slash belongs to the path.
pub(crate) fn split_section(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((file, section)) if !section.contains('/') => (file, section),
        _ => (name, ""),
    }
}

/// The content of a file, or the output of `exec://command`. For a vassal's own file, the owner is checked, and an
/// executable file is run if `emperor-magic-exec` is set.
///
/// # Errors
/// When the file cannot be read or the command fails. Other schemes, which uWSGI supports, are refused with a hint.
pub(crate) fn contents(invocation: &Invocation, name: &str) -> Result<Vec<u8>, Fault> {
    if let Some(command) = name.strip_prefix("exec://") {
        return command::output(command, &invocation.cwd);
    }
    if let Some((scheme, rest)) = name.split_once("://") {
        let hint = match scheme {
            "http" | "https" => format!("write exec://curl -fsS {}", shortened(name)),
            "file" => format!("write {}", shortened(rest)),
            _ => "write the text to a file, and name the file".to_owned(),
        };
        return Err(unreadable(name, "only files and exec:// are supported").hint(hint));
    }
    let path = resolve(invocation, name);
    let vassal_file = invocation.vassal_file.as_ref();
    let vassal_file = vassal_file.filter(|file| file.name == name);
    let opened = match vassal_file.and_then(|file| file.owner) {
        Some(owner) => Some(open_owned(&path, owner).map_err(|why| unreadable(name, &why))?),
        None => None,
    };
    let metadata = match &opened {
        Some(file) => file.metadata(),
        None => fs::metadata(&path),
    };
    let metadata = metadata.map_err(|error| unreadable(name, &describe(&error)))?;
    check_file(&metadata).map_err(|why| unreadable(name, &why))?;
    if vassal_file.is_some_and(|file| file.executable) && command::is_executable(&path) {
        return command::output_of_file(&path, &invocation.cwd);
    }
    let content = match opened {
        Some(mut file) => {
            let mut content = Vec::new();
            file.read_to_end(&mut content).map(|_| content)
        }
        None => fs::read(path),
    };
    content.map_err(|error| unreadable(name, &describe(&error)))
}

/// Opens a vassal's file and checks the owner of the open file. A check by path would not be safe, because the file at
/// the path can be replaced between the check and the open.
///
/// With `O_NONBLOCK`, the open of a named pipe does not wait for a writer.
fn open_owned(path: &Path, owner: u32) -> Result<fs::File, String> {
    let mut options = fs::File::options();
    options.read(true).custom_flags(nix::libc::O_NONBLOCK);
    let file = options.open(path).map_err(|error| describe(&error))?;
    let uid = file.metadata().map_err(|error| describe(&error))?.uid();
    if uid != owner {
        return Err(format!(
            "it belongs to uid {uid} now, and to uid {owner} when the vassal was started"
        ));
    }
    Ok(file)
}

/// Refuses files larger than `MAX_FILE`. Also refuses files that are not regular, because a device or a pipe may never
/// end.
fn check_file(metadata: &fs::Metadata) -> Result<(), String> {
    if metadata.is_dir() {
        return Err("it is a directory".to_owned());
    }
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if metadata.len() > MAX_FILE {
        return Err(format!("it has more than {MAX_FILE} bytes"));
    }
    Ok(())
}

fn unreadable(name: &str, why: &str) -> Fault {
    Fault::new(format!("{} cannot be read: {why}", shortened(name)))
}

/// The description of a system error.
fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Resolves a file name in the directory in which ruwsgi was started.
pub(crate) fn resolve(invocation: &Invocation, name: &str) -> PathBuf {
    invocation.cwd.join(name)
}
