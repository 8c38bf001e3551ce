//! An event source of the master's loop.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::sys::poll::Interest;

use super::master::Master;

/// Something that the master's loop waits for. To add one, implement this and add it to the table in `event_loop.rs`.
///
/// On each turn the loop calls `tick` of every source, waits for their descriptors and deadlines, and calls `ready` of the
/// sources whose descriptors became ready; both in the order of the table.
pub(super) trait EventSource {
    /// The descriptors to poll.
    fn descriptors<'a>(&self, _master: &'a Master) -> Vec<Descriptor<'a>> {
        Vec::new()
    }

    /// When `tick` is due, if no descriptor becomes ready before.
    fn deadline(&self, _master: &Master, _now: Instant) -> Option<Instant> {
        None
    }

    /// Handles its descriptors that became ready, named by their tokens.
    ///
    /// # Errors
    /// Errors after which the master cannot continue; it exits.
    fn ready(&self, _master: &mut Master, _tokens: &[Token], _now: Instant) -> io::Result<()> {
        Ok(())
    }

    /// Handles expired deadlines, and continues work that has become possible.
    fn tick(&self, _master: &mut Master, _now: Instant) {}
}

/// A descriptor to poll.
pub(super) struct Descriptor<'a> {
    pub(super) fd: BorrowedFd<'a>,
    pub(super) interest: Interest,
    /// The name by which `ready` gets it.
    pub(super) token: Token,
}

/// Names a descriptor to its own source, which chooses the numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Token(pub(super) u32, pub(super) u32);

impl<'a> Descriptor<'a> {
    /// A descriptor to read from.
    pub(super) fn readable(fd: BorrowedFd<'a>, token: Token) -> Self {
        let interest = Interest::Read;
        Self {
            fd,
            interest,
            token,
        }
    }
}

impl<'a> From<(BorrowedFd<'a>, Interest)> for Descriptor<'a> {
    /// A descriptor that needs no name, because its source looks at all its descriptors.
    fn from((fd, interest): (BorrowedFd<'a>, Interest)) -> Self {
        Self {
            fd,
            interest,
            token: Token::default(),
        }
    }
}

impl<'a> From<BorrowedFd<'a>> for Descriptor<'a> {
    /// A descriptor to read from that needs no name, because its source reads all its descriptors.
    fn from(fd: BorrowedFd<'a>) -> Self {
        Self::from((fd, Interest::Read))
    }
}
