//! `fallback-config`: another configuration, for when the first one cannot be used.
//!
//! There is one fallback and none behind it: uWSGI, which follows each one's own, may go round for ever.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::config::{self, Invocation};
use crate::sys::environment;

/// Set in a process that is the second try already.
const TAKEN: &str = "RUWSGI_FALLBACK";

/// Whether this process may still fall back. To be called once, before there are threads.
pub(super) fn is_left() -> bool {
    environment::take(TAKEN).is_none()
}

/// What falls back from a configuration that is wrong; nothing when it names nothing.
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

/// Makes this process start anew, with another configuration; returns only when that fails.
pub(super) fn exec(invocation: &Invocation, file: &str) -> io::Error {
    Command::new("/proc/self/exe")
        .arg0(invocation.argv.first().map_or("ruwsgi", String::as_str))
        .arg("--")
        .arg(file)
        .env(TAKEN, "1")
        .current_dir(&invocation.cwd)
        .exec()
}
