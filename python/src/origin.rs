//! Where the code of an application comes from.

use std::path::Path;

/// Where the code of an application comes from.
#[derive(Clone, Copy, PartialEq)]
pub enum Origin<'a> {
    /// A module, as `name` or `name:callable`.
    Module {
        /// The dotted name.
        name: &'a str,
        /// The part after the colon.
        callable: Option<&'a str>,
    },
    /// A Python file.
    File {
        /// The path, as configured.
        path: &'a str,
    },
}

impl<'a> Origin<'a> {
    /// Parses the value of `module`: `name` or `name:callable`.
    pub fn module(text: &'a str) -> Self {
        match text.split_once(':') {
            Some((name, callable)) => Self::Module {
                name: name.trim(),
                callable: Some(callable.trim()),
            },
            None => Self::Module {
                name: text.trim(),
                callable: None,
            },
        }
    }

    /// Parses the value of an option that takes a module or a file. A value that ends with `.py` is a file. A value
    /// such as `project.wsgi` is a file if that file exists, else a module.
    pub fn file_or_module(text: &'a str) -> Self {
        let is_module = || !text.contains('/') && !Path::new(text).exists();
        if text.ends_with(".py") || (text.ends_with(".wsgi") && !is_module()) {
            Self::File { path: text }
        } else {
            Self::module(text)
        }
    }
}
