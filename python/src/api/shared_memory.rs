//! The shared memory of the instance, as this process has mapped it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use ruwsgi::ipc::SharedMemorySpec;
use ruwsgi::shared::area::SharedArea;
use ruwsgi::shared::cache::Cache;
use ruwsgi::shared::locks::Locks;
use ruwsgi::shared::queue::Queue;
use ruwsgi::shared::scoreboard::Scoreboard;

/// The mapped memory.
pub(super) struct SharedMemory {
    pub(super) caches: Vec<Cache>,
    pub(super) locks: Locks,
    pub(super) queue: Option<Queue>,
    pub(super) areas: Vec<SharedArea>,
}

static MEMORY: OnceLock<SharedMemory> = OnceLock::new();

/// Maps the memory behind the descriptors, which follow the order of `spec`. The descriptors are closed; the processes
/// that this process forks have the mappings.
///
/// # Errors
/// `InvalidData` if a descriptor is missing or of another kind; those of mmap(2).
pub fn open(
    spec: &SharedMemorySpec,
    board: &Scoreboard,
    mut fds: impl Iterator<Item = OwnedFd>,
) -> io::Result<()> {
    let mut next = || fds.next().ok_or(io::ErrorKind::InvalidData);
    let mut caches = Vec::new();
    for definition in &spec.caches {
        caches.push(Cache::open(next()?.as_fd(), definition.clone())?);
    }
    let locks = match spec.locks {
        Some(count) => Locks::open(next()?.as_fd(), count)?,
        None => board.user_lock()?,
    };
    let queue = match spec.queue {
        Some(definition) => Some(Queue::open(next()?.as_fd(), definition)?),
        None => None,
    };
    let mut areas = Vec::new();
    for size in &spec.areas {
        areas.push(SharedArea::open(next()?.as_fd(), *size)?);
    }
    // `set` cannot fail, because this function is called once
    let _ = MEMORY.set(SharedMemory {
        caches,
        locks,
        queue,
        areas,
    });
    Ok(())
}

/// The mapped memory; `None` before [`open`].
pub(super) fn get() -> Option<&'static SharedMemory> {
    MEMORY.get()
}
