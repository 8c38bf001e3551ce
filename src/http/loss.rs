//! Why a response does not reach its client completely.

use std::io;
use std::time::Duration;

use super::settings::Timeouts;

/// Why the rest of a response is not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// The client has closed the connection.
    ClientGone,
    /// The application waited for the client, which took no bytes for `socket-timeout`.
    Blocked,
    /// The client took no bytes of the write queue for `client-send-timeout`.
    Stalled,
    /// A file ended before its announced length, or a read of the file failed.
    FileEnded,
    /// The worker had too many waiting connections, or their bytes took too much memory or room in files.
    Crowded,
    /// The server has responded in place of the application, which had not sent its head.
    Replaced,
}

impl Loss {
    /// The loss that follows from an error of a system call that sends from memory. `None` if only the socket's buffer
    /// is full.
    pub fn of_client(error: &io::Error) -> Option<Self> {
        (error.kind() != io::ErrorKind::WouldBlock).then_some(Self::ClientGone)
    }

    /// Whether the client got less than it should. False if the server has responded in place of the application,
    /// because that response is complete.
    pub fn is_write_error(self) -> bool {
        self != Self::Replaced
    }

    /// The reason as text for the log, with the option that sets the timeout. `None` if no log line is due. A client
    /// that leaves is no event for the log, and for other reasons another line reports the loss.
    pub fn reason(self, timeouts: &Timeouts) -> Option<String> {
        let silent = |timeout: Duration, option: &str| {
            let seconds = timeout.as_secs_f64();
            format!("the client took nothing for {seconds} s ({option})")
        };
        Some(match self {
            Self::ClientGone | Self::Replaced | Self::Crowded => return None,
            Self::Blocked => silent(timeouts.socket, "socket-timeout"),
            Self::Stalled => silent(timeouts.send, "client-send-timeout"),
            Self::FileEnded => "its file ended early, or could not be read".into(),
        })
    }

    /// The end of the request's line in the default log format; empty if there is nothing to remark.
    pub fn remark(self) -> &'static str {
        match self {
            Self::ClientGone => " cut: the client disconnected",
            Self::Blocked => " cut: the client took nothing (socket-timeout)",
            Self::Stalled => " cut: the client took nothing (client-send-timeout)",
            Self::FileEnded => " cut: its file ended early",
            Self::Crowded => " cut: too many waiting connections (limit-connections, limit-spool)",
            Self::Replaced => "",
        }
    }
}
