//! The kinds of lines.

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Source {
    /// The server: an event, a block, or relayed output.
    Server,
    /// The log thread itself: what a sink cannot take.
    Thread,
    /// A request.
    Request,
}
