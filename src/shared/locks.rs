//! The locks of the application (`locks`, `uwsgi.lock`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::mapping::{Atomics, Mapping};
use super::robust_lock::RobustLock;

/// Distance of two locks, bytes: no two locks share a cache line.
const STRIDE: usize = 64;

// SAFETY: a RobustLock is one atomic.
unsafe impl Atomics for RobustLock {}

/// Mapped locks.
pub struct Locks {
    mapping: Mapping,
    /// The place of the first lock.
    offset: usize,
    count: u32,
    /// The memfd, in the process that has created the locks.
    fd: Option<OwnedFd>,
}

impl Locks {
    /// Creates free locks.
    ///
    /// # Errors
    /// Those of memfd_create(2), ftruncate(2), fcntl(2) and mmap(2).
    pub fn create(count: u32) -> io::Result<Self> {
        let (mapping, fd) = Mapping::create(c"ruwsgi-locks", count as usize * STRIDE)?;
        Ok(Self {
            mapping,
            offset: 0,
            count,
            fd: Some(fd),
        })
    }

    /// Maps the locks behind a received descriptor.
    ///
    /// # Errors
    /// `InvalidData` if the file has another size; those of fstat(2) and mmap(2).
    pub fn open(fd: BorrowedFd<'_>, count: u32) -> io::Result<Self> {
        let mapping = Mapping::open(fd, count as usize * STRIDE)?;
        Ok(Self {
            mapping,
            offset: 0,
            count,
            fd: None,
        })
    }

    /// Maps one lock inside of a file of `len` bytes.
    pub(super) fn one_in(fd: BorrowedFd<'_>, len: usize, offset: usize) -> io::Result<Self> {
        let mapping = Mapping::open(fd, len)?;
        Ok(Self {
            mapping,
            offset,
            count: 1,
            fd: None,
        })
    }

    /// The descriptor of the memfd, which the master sends to the zygote; `None` in other processes.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Number of locks.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The lock with this number, from 0; `None` if the number is out of range.
    pub fn get(&self, number: u32) -> Option<&RobustLock> {
        if number >= self.count {
            return None;
        }
        self.mapping.at(self.offset + number as usize * STRIDE)
    }
}
