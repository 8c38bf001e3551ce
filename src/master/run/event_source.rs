//! The interface of an event source of the master's loop.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::sys::poll::Interest;

use super::master::Master;

/// A source of events, with descriptors and deadlines, that the master's loop waits for. To add a source, implement
/// this trait and add the type to the table `SOURCES` in `event_loop.rs`.
///
/// On each turn the loop calls `tick` of every source, waits for the descriptors and deadlines, and calls `ready` of
/// each source with ready descriptors. Both calls follow the order of the table.
pub(super) trait EventSource {
    /// The descriptors to poll.
    fn descriptors<'a>(&self, _master: &'a Master) -> Vec<Descriptor<'a>> {
        Vec::new()
    }

    /// The time at which [`EventSource::tick`] is due if no descriptor becomes ready earlier.
    fn deadline(&self, _master: &Master, _now: Instant) -> Option<Instant> {
        None
    }

    /// Handles the descriptors of this source that became ready. `tokens` identifies them.
    ///
    /// # Errors
    /// When the master cannot continue. The master then exits.
    fn ready(&self, _master: &mut Master, _tokens: &[Token], _now: Instant) -> io::Result<()> {
        Ok(())
    }

    /// Handles expired deadlines, and continues work that earlier events have made possible.
    fn tick(&self, _master: &mut Master, _now: Instant) {}
}

/// A descriptor to poll.
pub(super) struct Descriptor<'a> {
    pub(super) fd: BorrowedFd<'a>,
    pub(super) interest: Interest,
    /// Identifies the descriptor in the `tokens` of [`EventSource::ready`].
    pub(super) token: Token,
}

/// Identifies a descriptor within its event source. The event source chooses both numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Token(pub(super) u32, pub(super) u32);

impl<'a> Descriptor<'a> {
    /// Creates a descriptor to poll for input.
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
    /// Creates a descriptor without a token. It is for a source that handles all its descriptors when one of them is
    /// ready.
    fn from((fd, interest): (BorrowedFd<'a>, Interest)) -> Self {
        Self {
            fd,
            interest,
            token: Token::default(),
        }
    }
}

impl<'a> From<BorrowedFd<'a>> for Descriptor<'a> {
    /// Creates a descriptor without a token, to poll for input. It is for a source that reads all its descriptors when
    /// one of them is ready.
    fn from(fd: BorrowedFd<'a>) -> Self {
        Self::from((fd, Interest::Read))
    }
}
