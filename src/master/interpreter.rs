//! Which interpreter runs the application, remembered, because asking for it may take a while.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::Config;
use crate::sys::interpreter::{self, NotFound, Shim};

/// Where commands are when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The interpreter found last, and what it was found for.
pub(super) struct Interpreters {
    last: Option<(Wanted, PathBuf)>,
    known: Option<Shim>,
}

#[derive(PartialEq)]
struct Wanted {
    home: Option<PathBuf>,
    python: Option<String>,
    path: OsString,
}

impl Interpreters {
    /// None found yet; `known` is what the emperor has found out about the shim on PATH.
    pub(super) fn new(known: Option<Shim>) -> Self {
        Self { last: None, known }
    }

    /// The interpreter for a configuration and the application's environment.
    ///
    /// It is looked for again only when something else is wanted, or when the one found last is gone. A `home`
    /// that is a symbolic link is resolved each time, so that a generation stays with what it began with.
    ///
    /// # Errors
    /// When there is none that can be executed.
    pub(super) fn find(
        &mut self,
        config: &Config,
        environment: &[(OsString, OsString)],
    ) -> Result<PathBuf, NotFound> {
        let path = environment.iter().find(|(name, _)| name == "PATH");
        let wanted = Wanted {
            home: config.home().map(|home| {
                // what cannot be resolved is explained where it is looked for
                std::fs::canonicalize(home).unwrap_or_else(|_| PathBuf::from(home))
            }),
            python: config.python().map(str::to_owned),
            path: path.map_or_else(|| DEFAULT_PATH.into(), |(_, value)| value.clone()),
        };
        if let Some((known, found)) = &self.last
            && *known == wanted
            && found.exists()
        {
            return Ok(found.clone());
        }
        let found = interpreter::find(
            wanted.home.as_deref(),
            wanted.python.as_deref(),
            &wanted.path,
            // it says how things were at the start
            self.known.take().as_ref(),
        )?
        .path;
        self.last = Some((wanted, found.clone()));
        Ok(found)
    }
}
