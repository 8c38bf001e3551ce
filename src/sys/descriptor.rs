//! Functions for descriptors that are known only by their numbers: they borrow a descriptor for one call, check it, or
//! take over an inherited descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

/// Borrows the descriptor with this number for one call. Async-signal-safe.
///
/// nix functions take `AsFd`, but some callers have only the number: a signal handler, a child between fork and exec,
/// or the user of a connection that another object owns. The caller must keep the descriptor open during the call. If
/// the number is not open, the system call fails with `EBADF`.
///
/// # Errors
/// `EBADF` for a negative number.
pub(super) fn borrow(fd: &RawFd) -> io::Result<BorrowedFd<'_>> {
    if *fd < 0 {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: the number is not -1. Only system calls use the number, and the kernel checks it; no memory depends on
    // it.
    Ok(unsafe { BorrowedFd::borrow_raw(*fd) })
}

/// Sets or clears `O_NONBLOCK` on the open file. The change applies to every descriptor and process that shares it.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    let fd = fd.as_fd();
    let before = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    let mut after = before;
    after.set(OFlag::O_NONBLOCK, on);
    if after != before {
        fcntl(fd, FcntlArg::F_SETFL(after))?;
    }
    Ok(())
}

/// Takes over a descriptor that this process inherited, and sets close-on-exec on it.
///
/// The caller must ensure that no other code takes over this number.
///
/// # Errors
/// Those of fcntl(2): `EBADF` when the number is not open. `InvalidInput` for the standard descriptors 0 to 2, which
/// the standard library uses.
pub(super) fn take_over(fd: RawFd) -> io::Result<OwnedFd> {
    if (0..=2).contains(&fd) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    fcntl(borrow(&fd)?, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: fcntl has succeeded, so the number is open. By the contract above no other code owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Converts a number that a system call has just returned to an owned descriptor.
///
/// # Safety
/// `fd` must be open, and nothing else may own it.
pub(super) unsafe fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller guarantees the conditions of the section `Safety` above.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn an_inherited_descriptor_is_taken_over_close_on_exec() {
        let (reader, _writer) = io::pipe().unwrap();
        let number = OwnedFd::from(reader).into_raw_fd();
        fcntl(borrow(&number).unwrap(), FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let taken = take_over(number).unwrap();
        assert_eq!(
            fcntl(&taken, FcntlArg::F_GETFD).unwrap(),
            FdFlag::FD_CLOEXEC.bits()
        );
    }

    #[test]
    fn standard_and_closed_descriptors_are_refused() {
        for number in [-1, 0, 2, 999_999] {
            assert!(take_over(number).is_err(), "{number}");
        }
        assert!(borrow(&-1).is_err());
    }
}
