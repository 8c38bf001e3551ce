//! The sources of log lines.

/// The source of a line. The log thread chooses the loggers of the line by its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Source {
    /// The server: a tracing event, a block, or relayed output of another program.
    Server,
    /// An alarm of the master, or its command. Such a line raises no alarm.
    Alarm,
    /// The log thread itself: a report about a sink.
    Thread,
    /// The request log.
    Request,
}
