//! The limit of open descriptors: getrlimit(2), `RLIMIT_NOFILE`.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of this process to its hard limit. Returns the soft limit before.
///
/// # Errors
/// Those of setrlimit(2).
pub fn raise_descriptors() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(soft)
}

/// Sets the soft limit of this process and its children; the hard limit is raised where it is lower.
///
/// # Errors
/// Those of setrlimit(2): raising the hard limit needs `CAP_SYS_RESOURCE`.
pub fn limit_descriptors(limit: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard.max(limit))?;
    Ok(())
}

/// Sets the soft limit, as far as the hard limit allows. System calls only: for a child between fork and exec.
///
/// # Errors
/// Those of setrlimit(2).
pub(super) fn lower_descriptors(limit: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, limit.min(hard), hard)?;
    Ok(())
}
