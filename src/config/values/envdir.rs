//! Environment variables from the files of directories: `envdir` and `early-envdir`.

/// A variable and its value; `None` removes the variable.
pub(crate) type FileVariable = (String, Option<String>);

/// The variables of all directories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Directories {
    /// Those of `early-envdir`: `env` and `unenv` change them.
    pub(crate) early: Vec<FileVariable>,
    /// Those of `envdir`: they win over `env`.
    pub(crate) late: Vec<FileVariable>,
    /// Whether a reload could not read a directory, because the instance has dropped its privileges: the values of the
    /// start stay.
    pub(crate) is_unreadable: bool,
}
