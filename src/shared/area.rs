//! Shared areas: plain memory that the application reads and writes at any position (`sharedarea`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use super::mapping::{Atomics, Mapping};
use super::robust_lock::RobustLock;

/// Size of the header, which is a page, so that the area begins with a page.
const START: usize = 4096;

#[repr(C)]
struct Header {
    /// The lock of the application (`sharedarea_rlock`, `sharedarea_wlock`).
    user: RobustLock,
    /// The lock of single reads and writes.
    access: RobustLock,
}

// SAFETY: two RobustLocks, which are one atomic each.
unsafe impl Atomics for Header {}
// SAFETY: an atomic.
unsafe impl Atomics for AtomicU8 {}

/// A mapped shared area.
pub struct SharedArea {
    mapping: Mapping,
    size: usize,
    /// The memfd, in the process that has created the area.
    fd: Option<OwnedFd>,
}

impl SharedArea {
    /// Creates an area of `size` zeros.
    ///
    /// # Errors
    /// `InvalidInput` if the area is too large; those of memfd_create(2), ftruncate(2), fcntl(2) and mmap(2).
    pub fn create(size: u64) -> io::Result<Self> {
        let (size, len) = sizes(size).ok_or(io::ErrorKind::InvalidInput)?;
        let (mapping, fd) = Mapping::create(c"ruwsgi-sharedarea", len)?;
        Ok(Self {
            mapping,
            size,
            fd: Some(fd),
        })
    }

    /// Maps the area behind a received descriptor.
    ///
    /// # Errors
    /// `InvalidData` if the file has another size; those of fstat(2) and mmap(2).
    pub fn open(fd: BorrowedFd<'_>, size: u64) -> io::Result<Self> {
        let (size, len) = sizes(size).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            mapping: Mapping::open(fd, len)?,
            size,
            fd: None,
        })
    }

    /// The descriptor of the memfd, which the master sends to the zygote; `None` in other processes.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Size of the area, bytes.
    pub fn size(&self) -> u64 {
        self.size as u64
    }

    /// The lock of the application.
    pub fn user_lock(&self) -> Option<&RobustLock> {
        self.mapping.at::<Header>(0).map(|header| &header.user)
    }

    /// The address of the area, for a memoryview. It is valid as long as the value.
    pub fn address(&self) -> Option<*mut u8> {
        let bytes: &[AtomicU8] = self.mapping.slice(START, self.size)?;
        bytes.first().map(AtomicU8::as_ptr)
    }

    fn bytes(&self, position: u64, len: u64) -> Option<&[AtomicU8]> {
        let end = position
            .checked_add(len)
            .filter(|end| *end <= self.size())?;
        let start = START.checked_add(usize::try_from(position).ok()?)?;
        self.mapping
            .slice(start, usize::try_from(end - position).ok()?)
    }

    fn locked<T>(&self, action: impl FnOnce() -> Option<T>) -> Option<T> {
        let header: &Header = self.mapping.at(0)?;
        // a process that died in a write leaves a part of its bytes, which nothing can restore
        let _ = header.access.lock();
        let result = action();
        header.access.unlock();
        result
    }

    /// Reads bytes; `None` if they exceed the area. Without a length, reads up to the end.
    pub fn read(&self, position: u64, len: Option<u64>) -> Option<Vec<u8>> {
        let len = len.map_or_else(|| self.size().checked_sub(position), Some)?;
        let bytes = self.bytes(position, len)?;
        self.locked(|| Some(bytes.iter().map(|byte| byte.load(Relaxed)).collect()))
    }

    /// Writes bytes; `None` if they exceed the area.
    pub fn write(&self, position: u64, data: &[u8]) -> Option<()> {
        let bytes = self.bytes(position, data.len() as u64)?;
        self.locked(|| {
            if let (Ok(word), Some(at)) = (<[u8; 8]>::try_from(data), self.word(position)) {
                at.store(u64::from_ne_bytes(word), Relaxed);
                return Some(());
            }
            for (byte, value) in bytes.iter().zip(data) {
                byte.store(*value, Relaxed);
            }
            Some(())
        })
    }

    /// The 8 bytes at an aligned position as one word, so that a write of them happens completely or not at all.
    fn word(&self, position: u64) -> Option<&AtomicU64> {
        self.mapping
            .at(START.checked_add(usize::try_from(position).ok()?)?)
    }

    /// Reads `N` bytes; `None` if they exceed the area.
    pub fn number<const N: usize>(&self, position: u64) -> Option<[u8; N]> {
        self.read(position, Some(N as u64))?.try_into().ok()
    }

    /// Replaces `N` bytes by a function of them, in one step for other processes; `None` if they exceed the area.
    pub fn change<const N: usize>(
        &self,
        position: u64,
        change: impl FnOnce([u8; N]) -> [u8; N],
    ) -> Option<()> {
        let bytes = self.bytes(position, N as u64)?;
        self.locked(|| {
            let mut old = [0; N];
            old.iter_mut()
                .zip(bytes)
                .for_each(|(to, from)| *to = from.load(Relaxed));
            let new = change(old);
            bytes
                .iter()
                .zip(new)
                .for_each(|(to, from)| to.store(from, Relaxed));
            Some(())
        })
    }
}

fn sizes(size: u64) -> Option<(usize, usize)> {
    let size = usize::try_from(size).ok().filter(|size| *size > 0)?;
    let len = size.checked_add(START)?;
    i64::try_from(len).ok()?;
    Some((size, len))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_of_the_area_is_read_or_written() {
        let area = SharedArea::create(100).unwrap();
        area.write(95, b"12345").unwrap();
        assert_eq!(area.read(95, None).unwrap(), b"12345");
        assert_eq!(area.number(96), Some(*b"2345"));
        assert_eq!(area.number::<8>(93), None);
        for (position, len) in [(96, 5), (100, 1), (u64::MAX, 2), (0, u64::MAX)] {
            assert_eq!(area.read(position, Some(len)), None);
        }
        assert_eq!(area.read(101, None), None);
        assert_eq!(area.write(96, b"12345"), None);
        area.write(8, &7_u64.to_ne_bytes()).unwrap();
        area.change(8, |old: [u8; 8]| {
            (u64::from_ne_bytes(old) + 1).to_ne_bytes()
        })
        .unwrap();
        assert_eq!(area.number(8), Some(8_u64.to_ne_bytes()));
    }
}
