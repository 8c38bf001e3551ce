//! Finds the interpreter of the application. The result is kept, because the search may execute a version manager's
//! shim.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::Config;
use crate::process::interpreter::{self, NotFound, Shim};

/// The search path for commands if PATH is not set.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The interpreter that the last search has found, and the settings of that search.
pub(super) struct InterpreterCache {
    last: Option<(Settings, PathBuf)>,
    /// The interpreter behind the shim on PATH, as the emperor has resolved it.
    shim: Option<Shim>,
}

/// The settings that determine the interpreter.
#[derive(PartialEq)]
struct Settings {
    home: Option<PathBuf>,
    python: Option<String>,
    path: OsString,
}

impl InterpreterCache {
    pub(super) fn new(shim: Option<Shim>) -> Self {
        Self { last: None, shim }
    }

    /// Returns the interpreter for a configuration and the application's environment.
    ///
    /// The search is repeated only if the settings have changed, or if the interpreter found last no longer exists. A
    /// `home` that is a symbolic link is resolved each time, so that a generation keeps the interpreter that it started
    /// with.
    ///
    /// # Errors
    /// When no executable interpreter is found.
    pub(super) fn find(
        &mut self,
        config: &Config,
        environment: &[(OsString, OsString)],
    ) -> Result<PathBuf, NotFound> {
        let path = environment.iter().find(|(name, _)| name == "PATH");
        let settings = Settings {
            home: config.home().map(|home| {
                // an error here is ignored: the search reports a `home` that does not exist
                std::fs::canonicalize(home).unwrap_or_else(|_| PathBuf::from(home))
            }),
            python: config.python().map(str::to_owned),
            path: path.map_or_else(|| DEFAULT_PATH.into(), |(_, value)| value.clone()),
        };
        if let Some((known, found)) = &self.last
            && *known == settings
            && found.exists()
        {
            return Ok(found.clone());
        }
        let found = interpreter::find(
            settings.home.as_deref(),
            settings.python.as_deref(),
            &settings.path,
            // the emperor resolved the shim for the start, so only the first search uses it
            self.shim.take().as_ref(),
        )?
        .path;
        self.last = Some((settings, found.clone()));
        Ok(found)
    }
}
