//! Descriptors that forked children do not keep.
//!
//! `FD_CLOEXEC` closes a descriptor at execve(2). A child of fork(2) that does not call exec keeps the descriptor. If
//! the descriptor is a connection, the client then waits for the end of its response until the child ends.
//! [`super::fork_guard`] closes the descriptors of this module in the child.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

/// Number of words in [`SET`]. A descriptor beyond the end of the set is inherited as usual.
const WORDS: usize = 1 << 14;
const BITS: usize = u64::BITS as usize;

/// The set of open private descriptors, one bit for each number. The kernel allocates only the pages in which a bit was
/// set.
static SET: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
/// Number of words at the start of [`SET`] that were ever used.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Membership of a descriptor in the set.
///
/// The owner drops the membership before it closes the descriptor. After the close the kernel may give the number to a
/// file of the application.
#[derive(Debug)]
pub(super) struct Membership(RawFd);

impl Membership {
    #[inline]
    pub(super) fn new(fd: RawFd) -> Self {
        if let Some((word, bit)) = place(fd) {
            SET[word].fetch_or(bit, Relaxed);
            if word >= USED.load(Relaxed) {
                USED.fetch_max(word + 1, SeqCst);
            }
        }
        Self(fd)
    }
}

impl Drop for Membership {
    #[inline]
    fn drop(&mut self) {
        if let Some((word, bit)) = place(self.0) {
            SET[word].fetch_and(!bit, Relaxed);
        }
    }
}

/// A descriptor that children forked by the application do not inherit.
#[derive(Debug)]
pub struct PrivateFd {
    // fields are dropped in their order: the membership must be dropped before the descriptor is closed
    _membership: Membership,
    fd: OwnedFd,
}

impl<T: Into<OwnedFd>> From<T> for PrivateFd {
    #[inline]
    fn from(fd: T) -> Self {
        let fd = fd.into();
        Self {
            _membership: Membership::new(fd.as_raw_fd()),
            fd,
        }
    }
}

impl AsFd for PrivateFd {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for PrivateFd {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Whether the number is that of an open private descriptor.
pub(super) fn is_private(fd: RawFd) -> bool {
    place(fd).is_some_and(|(word, bit)| SET[word].load(SeqCst) & bit != 0)
}

#[inline]
fn place(fd: RawFd) -> Option<(usize, u64)> {
    let fd = usize::try_from(fd).ok()?;
    (fd / BITS < WORDS).then(|| (fd / BITS, 1 << (fd % BITS)))
}

/// Empties the set and calls `close` with each descriptor that was in it. Async-signal-safe if `close` is.
pub(super) fn take_all(mut close: impl FnMut(RawFd)) {
    for (index, word) in SET.iter().enumerate().take(USED.load(SeqCst)) {
        let mut bits = word.swap(0, SeqCst);
        while bits != 0 {
            close((index * BITS) as RawFd + bits.trailing_zeros() as RawFd);
            bits &= bits - 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_in_the_set_until_it_is_closed() {
        let fd = PrivateFd::from(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        let number = fd.as_raw_fd();
        assert!(is_private(number));
        drop(fd);
        // no test of this process gets a descriptor with this number
        let far = (WORDS * BITS - 1) as RawFd;
        assert!(!is_private(far) && place(far + 1).is_none() && place(-1).is_none());
    }
}
