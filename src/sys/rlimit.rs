//! Limits of processes: getrlimit(2), `RLIMIT_NOFILE` and `RLIMIT_NPROC`.
//!
//! A server that waits by poll(2) and epoll(7) raises its soft limit to the hard one. A program that waits by select(2)
//! fails with descriptors from 1024 on, so processes that this one starts get the limit of before.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The largest limit that [`raise_descriptors`] sets. Some container managers set a hard limit of a billion, and programs
/// exist that close every possible descriptor.
const MOST: u64 = 1 << 20;

/// The soft limit before [`raise_descriptors`]; 0 if it was not raised.
static BEFORE: AtomicU64 = AtomicU64::new(0);

/// Raises the soft limit of this process to its hard limit, or to 1,048,576 if that is smaller.
///
/// # Errors
/// Those of setrlimit(2).
pub fn raise_descriptors() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(MOST);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
        BEFORE.store(soft, Relaxed);
    }
    Ok(())
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

/// The soft limit of this process.
pub fn descriptors() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(MOST, |(soft, _)| soft)
}

/// Sets the soft limit of before [`raise_descriptors`] again, in a child. System calls only: for a child between fork and
/// exec.
///
/// # Errors
/// Those of setrlimit(2).
pub(super) fn restore_descriptors() -> io::Result<()> {
    let before = BEFORE.load(Relaxed);
    if before != 0 {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, before.min(hard), hard)?;
    }
    Ok(())
}

/// Sets the maximum number of processes and threads of this process's user.
///
/// # Errors
/// Those of setrlimit(2): raising the hard limit needs `CAP_SYS_RESOURCE`.
pub fn limit_processes(limit: u64) -> io::Result<()> {
    setrlimit(Resource::RLIMIT_NPROC, limit, limit)?;
    Ok(())
}
