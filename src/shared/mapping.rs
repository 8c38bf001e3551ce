//! A shared mapping of a memfd of fixed size. The kernel provides a page when it is first written.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Memory that several processes share, as atomic words that are zero at first. Each access is checked against its
/// size.
pub(super) struct Mapping {
    memory: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is only read and written through atomics, and lives as long as the value.
unsafe impl Send for Mapping {}
// SAFETY: the mapping is only read and written through atomics, and lives as long as the value.
unsafe impl Sync for Mapping {}

/// Types that consist of atomics of at most 8 bytes only, so that every content of the shared memory is a valid value.
///
/// # Safety
/// The type has no other fields, no padding that is read, and an alignment of at most 128 bytes.
pub(super) unsafe trait Atomics {}

// SAFETY: an atomic.
unsafe impl Atomics for AtomicU32 {}
// SAFETY: an atomic.
unsafe impl Atomics for AtomicU64 {}

impl Mapping {
    /// Creates a memfd of `len` bytes, and maps it. The size is sealed.
    ///
    /// # Errors
    /// Those of memfd_create(2), ftruncate(2), fcntl(2) and mmap(2).
    pub(super) fn create(name: &CStr, len: usize) -> io::Result<(Self, OwnedFd)> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let fd = memfd_create(name, flags)?;
        let size = i64::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        nix::unistd::ftruncate(&fd, size)?;
        // without the seals a process could shorten the file, and SIGBUS would kill all others
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
        Ok((Self::map(fd.as_fd(), len)?, fd))
    }

    /// Maps the memfd behind a received descriptor, which must have `len` bytes.
    ///
    /// # Errors
    /// `InvalidData` if the file has another size; those of fstat(2) and mmap(2).
    pub(super) fn open(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let length = nix::sys::stat::fstat(fd)?.st_size;
        if usize::try_from(length).ok() != Some(len) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Self::map(fd, len)
    }

    fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        // SAFETY: a new shared mapping of a sealed file of this size; null lets the kernel choose the place.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                fd.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { memory, len })
    }

    /// The address of the first byte, for owners that compute their own positions within the size.
    #[inline]
    pub(super) fn address(&self) -> NonNull<u8> {
        self.memory
    }

    /// The value of type `T` at `offset`; `None` if the value does not fit into the mapping, or the offset is not
    /// aligned.
    #[inline]
    pub(super) fn at<T: Atomics>(&self, offset: usize) -> Option<&T> {
        self.slice(offset, 1)?.first()
    }

    /// The `count` values of type `T` from `offset` on; `None` if they do not fit into the mapping, or the offset is
    /// not aligned.
    #[inline]
    pub(super) fn slice<T: Atomics>(&self, offset: usize, count: usize) -> Option<&[T]> {
        let end = count.checked_mul(size_of::<T>())?.checked_add(offset)?;
        if end > self.len || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: within the mapping, which is page aligned and lives as long as `self`; every content is a valid value
        // of `T` (`Atomics`), and no reference to it is exclusive.
        Some(unsafe {
            std::slice::from_raw_parts(self.memory.as_ptr().add(offset).cast::<T>(), count)
        })
    }

    /// Returns the whole pages of a range to the system. Their content is zero afterwards.
    pub(super) fn discard(&self, offset: usize, len: usize) {
        const PAGE: usize = 4096;
        let from = offset.next_multiple_of(PAGE);
        let to = offset.saturating_add(len).min(self.len) / PAGE * PAGE;
        if from >= to {
            return;
        }
        // SAFETY: the range is within the mapping; other processes see zeros, which are valid for atomics. On failure
        // the content stays, which is valid too.
        unsafe {
            libc::madvise(
                self.memory.as_ptr().add(from).cast(),
                to - from,
                libc::MADV_REMOVE,
            );
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.len) };
    }
}
