//! Resource limits of processes: getrlimit(2), `RLIMIT_NOFILE` and `RLIMIT_NPROC`.
//!
//! This server waits by poll(2) and epoll(7), so it can raise its soft limit of descriptors to the hard limit. A
//! program that waits by select(2) fails with descriptors from 1024 on, so the programs that this process starts get
//! the original soft limit.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Maximum limit that [`raise_descriptors`] sets. Some container managers set a hard limit of a billion. Programs that
/// close every possible descriptor would then take very long.
const MOST: u64 = 1 << 20;

/// The soft limit of descriptors before [`raise_descriptors`]; 0 if it was not raised.
static BEFORE: AtomicU64 = AtomicU64::new(0);

/// Raises this process's soft limit of descriptors to its hard limit, or to 1,048,576 if the hard limit is larger.
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

/// Sets the soft limit of descriptors of this process and its later children. A lower hard limit is raised to `limit`.
///
/// # Errors
/// Those of setrlimit(2): raising the hard limit needs `CAP_SYS_RESOURCE`.
pub fn limit_descriptors(limit: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard.max(limit))?;
    Ok(())
}

/// This process's soft limit of descriptors.
pub fn descriptors() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(MOST, |(soft, _)| soft)
}

/// Restores in a child the soft limit of descriptors from before [`raise_descriptors`]. Async-signal-safe: makes system
/// calls only, so that a child can call it between fork and exec.
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
