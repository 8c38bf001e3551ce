//! The shared memory of the instance, as this process has mapped it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use ruwsgi::ipc::SharedMemorySpec;
use ruwsgi::shared::cache::Cache;

/// The mapped memory.
pub(super) struct SharedMemory {
    pub(super) caches: Vec<Cache>,
}

static MEMORY: OnceLock<SharedMemory> = OnceLock::new();

/// Maps the memory behind the descriptors, which follow the order of `spec`. The descriptors are closed; the processes
/// that this process forks have the mappings.
///
/// # Errors
/// `InvalidData` if a descriptor is missing or of another kind; those of mmap(2).
pub fn open(spec: &SharedMemorySpec, mut fds: impl Iterator<Item = OwnedFd>) -> io::Result<()> {
    let mut caches = Vec::new();
    for definition in &spec.caches {
        let fd = fds.next().ok_or(io::ErrorKind::InvalidData)?;
        caches.push(Cache::open(fd.as_fd(), definition.clone())?);
    }
    // `set` cannot fail, because this function is called once
    let _ = MEMORY.set(SharedMemory { caches });
    Ok(())
}

/// The mapped memory; `None` before [`open`].
pub(super) fn get() -> Option<&'static SharedMemory> {
    MEMORY.get()
}
