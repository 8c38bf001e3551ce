//! Descriptors that forked children do not keep.
//!
//! `FD_CLOEXEC` closes a descriptor at execve(2). A child of fork(2) that does not exec keeps it: a client then waits for
//! the end of its response as long as the child lives. [`super::fork_guard`] closes the descriptors of this module in
//! the child.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

/// Words of the set. A descriptor beyond its end is inherited as usual.
const WORDS: usize = 1 << 14;
const BITS: usize = u64::BITS as usize;

/// The set of open private descriptors. The kernel maps pages of it only where a bit was set.
static SET: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
/// One more than the index of the last word that was ever used.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Membership of a descriptor in the set.
///
/// Its owner drops it before it closes the descriptor, because the application may get the number next.
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
    // the order of the fields is the order of their drops
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

/// Whether a descriptor is an open private one.
pub(super) fn is_private(fd: RawFd) -> bool {
    place(fd).is_some_and(|(word, bit)| SET[word].load(SeqCst) & bit != 0)
}

#[inline]
fn place(fd: RawFd) -> Option<(usize, u64)> {
    let fd = usize::try_from(fd).ok()?;
    (fd / BITS < WORDS).then(|| (fd / BITS, 1 << (fd % BITS)))
}

/// Calls `close` with each open private descriptor, and empties the set. Async-signal-safe if `close` is.
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
        // a number that no test of this process gets
        let far = (WORDS * BITS - 1) as RawFd;
        assert!(!is_private(far) && place(far + 1).is_none() && place(-1).is_none());
    }
}
