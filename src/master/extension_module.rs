//! The file of the extension module. It is opened before the master drops its privileges.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// The environment variable that contains the module's path.
const VARIABLE: &str = "RUWSGI_MODULE";
/// The names of the module's file: the name when installed, and the name of cargo's output.
const NAMES: [&str; 2] = ["_ruwsgi.abi3.so", "lib_ruwsgi.so"];

/// The open file of the extension module `_ruwsgi`.
#[derive(Debug)]
pub(super) struct ExtensionModule {
    path: PathBuf,
    file: File,
}

/// The extension module cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum ModuleError {
    /// None of these paths exists.
    #[error(
        "the extension module {} was not found in {}: install it there, or set {VARIABLE} to its path",
        NAMES[0],
        .0.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    Missing(Vec<PathBuf>),
    /// The file exists, but cannot be opened.
    #[error("the extension module {} cannot be opened: {error}", path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        error: io::Error,
    },
}

impl ExtensionModule {
    /// Finds and opens the module: at `$RUWSGI_MODULE`, next to the binary, or in `../lib/ruwsgi`.
    pub(super) fn find() -> Result<Self, ModuleError> {
        let configured = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
        let candidates = match configured {
            Some(path) => vec![PathBuf::from(path)],
            None => candidates_of(&std::env::current_exe().unwrap_or_default()),
        };
        for path in &candidates {
            match Self::open(path) {
                Err(ModuleError::Unreadable { error, .. })
                    if error.kind() == io::ErrorKind::NotFound => {}
                result => return result,
            }
        }
        Err(ModuleError::Missing(candidates))
    }

    fn open(path: &Path) -> Result<Self, ModuleError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        match File::open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(ModuleError::Unreadable { path, error }),
        }
    }

    /// Opens the module's path again, because an upgrade may have replaced the file. `None` if the path cannot be
    /// opened.
    pub(super) fn reopened(&self) -> Option<Self> {
        Self::open(&self.path).ok()
    }

    /// The descriptor of the open file.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The paths at which the master searches the extension module, in this order. `binary` is the path of the program.
fn candidates_of(binary: &Path) -> Vec<PathBuf> {
    let Some(directory) = binary.parent() else {
        return Vec::new();
    };
    let beside = NAMES.iter().map(|name| directory.join(name));
    let installed = directory
        .parent()
        .map(|prefix| prefix.join("lib/ruwsgi").join(NAMES[0]));
    beside.chain(installed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_searched_beside_the_binary_and_in_its_prefix() {
        let places = candidates_of(Path::new("/usr/local/bin/ruwsgi"));
        let expected = [
            "/usr/local/bin/_ruwsgi.abi3.so",
            "/usr/local/bin/lib_ruwsgi.so",
            "/usr/local/lib/ruwsgi/_ruwsgi.abi3.so",
        ];
        assert_eq!(places, expected.map(PathBuf::from));
    }
}
