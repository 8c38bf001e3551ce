//! Environment variables from the files of directories: `envdir` and `early-envdir`.

/// A variable and its value; `None` removes the variable.
pub(crate) type FileVariable = (String, Option<String>);

/// The variables of all directories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Directories {
    /// The variables of `early-envdir`. `env` and `unenv` override these variables.
    pub(crate) early: Vec<FileVariable>,
    /// The variables of `envdir`. These variables override `env`.
    pub(crate) late: Vec<FileVariable>,
    /// Whether a reload could not read a directory, because the instance has dropped its privileges. The instance then
    /// keeps the values that were read at the start.
    pub(crate) is_unreadable: bool,
}
