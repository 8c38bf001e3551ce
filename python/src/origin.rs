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
    /// The origin that `module` names.
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

    /// The origin of an option that takes both. `project.wsgi` is a file if there is one, else a module.
    pub fn file_or_module(text: &'a str) -> Self {
        let is_module = || !text.contains('/') && !Path::new(text).exists();
        if text.ends_with(".py") || (text.ends_with(".wsgi") && !is_module()) {
            Self::File { path: text }
        } else {
            Self::module(text)
        }
    }
}
