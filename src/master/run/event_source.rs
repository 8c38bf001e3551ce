//! An event source of the master's loop.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::master::Master;

/// Something that the master's loop waits for. To add one, implement this and add it to the table in `event_loop.rs`.
///
/// On each turn the loop calls `tick` of every source, waits for their descriptors and deadlines, and calls `ready` of the
/// sources whose descriptors became ready; both in the order of the table.
pub(super) trait EventSource {
    /// The descriptors to poll for input. A source that also waits for writability gives its own epoll descriptor, which is
    /// readable when one of its descriptors is ready; the control server does so.
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

    /// Does what is due or has become possible.
    fn tick(&self, _master: &mut Master, _now: Instant) {}
}

/// A descriptor to poll.
pub(super) struct Descriptor<'a> {
    pub(super) fd: BorrowedFd<'a>,
    /// The name by which `ready` gets it.
    pub(super) token: Token,
}

/// Names a descriptor to its own source, which chooses the numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Token(pub(super) u32, pub(super) u32);

impl<'a> From<BorrowedFd<'a>> for Descriptor<'a> {
    /// A descriptor that needs no name, because its source reads all its descriptors.
    fn from(fd: BorrowedFd<'a>) -> Self {
        let token = Token::default();
        Self { fd, token }
    }
}
