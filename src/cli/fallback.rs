//! `fallback-config`: a second configuration, which is used if the first one fails.
//!
//! The `fallback-config` of a fallback is ignored. uWSGI follows it, and can loop for ever.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::config::{self, Invocation};
use crate::sys::environment;

/// The environment variable that marks a process with the fallback configuration.
const FALLBACK_VARIABLE: &str = "RUWSGI_FALLBACK";

/// Whether this process can fall back. A process with the fallback configuration cannot. Removes the variable from the
/// environment, so this function must be called once only, before other threads exist.
pub(super) fn can_fall_back() -> bool {
    environment::take(FALLBACK_VARIABLE).is_none()
}

/// The invocation with the `fallback-config` of an invalid configuration; `None` if the configuration has no fallback.
pub(super) fn of(invocation: &Invocation) -> Option<Invocation> {
    let file = config::fallback(invocation)?;
    let argv = invocation.argv.first().cloned().into_iter();
    let mut fallback = Invocation::new(
        argv.chain([file]).collect(),
        invocation.env.clone(),
        invocation.cwd.clone(),
    );
    fallback.vassal_file = invocation.vassal_file.clone();
    Some(fallback)
}

/// Replaces this process by ruwsgi with the configuration `file`; returns only on failure.
pub(super) fn exec(invocation: &Invocation, file: &str) -> io::Error {
    Command::new("/proc/self/exe")
        .arg0(invocation.argv.first().map_or("ruwsgi", String::as_str))
        .arg("--")
        .arg(file)
        .env(FALLBACK_VARIABLE, "1")
        .current_dir(&invocation.cwd)
        .exec()
}
