//! The settings of the log thread: the configuration makes them, the master starts the thread with them.

use std::path::PathBuf;

use crate::sys::log_file::{Backup, Ownership};

use super::encoder::NamedEncoder;
use super::pattern::Pattern;

/// An engine with its arguments: where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// `stdio`: where the log went before the thread was started.
    Stdio,
    /// `fd:N`: an inherited descriptor.
    Descriptor(i32),
    /// `file`.
    File(FileEngine),
    /// `socket`: datagrams, to `HOST:PORT` or a path.
    Socket {
        /// The address.
        address: String,
        /// Put before each line.
        prefix: String,
    },
    /// `syslog`: the daemon of this machine, at `/dev/log`.
    Syslog(SyslogEngine),
    /// `rsyslog`: a syslog daemon at an address.
    Rsyslog {
        /// `HOST:PORT`, or a path.
        address: String,
        /// The identity and the priority.
        syslog: SyslogEngine,
    },
    /// `pipe`: the standard input of a command.
    Pipe(String),
    /// `systemd`: the socket of the journal.
    Journal,
}

/// A log file that the thread owns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileEngine {
    /// Its path.
    pub path: PathBuf,
    /// The size at which it is rotated, bytes.
    pub max_size: Option<u64>,
    /// Where the full file goes; `None`: the default of the instance.
    pub backup: Option<Backup>,
}

/// The head of syslog messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogEngine {
    /// The program's name in each message.
    pub identity: String,
    /// Facility times 8 plus severity.
    pub priority: u8,
}

/// A logger: an engine, and the name by which routes and encoders refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logger {
    /// The name, if it has one.
    pub name: Option<String>,
    /// The engine.
    pub engine: Engine,
}

/// A route: the lines with a match go to the loggers of a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The name of the loggers.
    pub logger: String,
    /// The expression.
    pub pattern: Pattern,
}

/// The lines of one kind: server and application, or requests.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Flow {
    /// `logger`, `req-logger`.
    pub loggers: Vec<Logger>,
    /// `log-route`, `log-req-route`.
    pub routes: Vec<Route>,
    /// `log-encoder`, `log-req-encoder`, in the order of the configuration.
    pub encoders: Vec<NamedEncoder>,
}

/// The settings of the log thread.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogThreadSettings {
    /// Server and application.
    pub lines: Flow,
    /// Requests; without loggers they pass with the other lines.
    pub requests: Flow,
    /// `log-filter`: a line without a match is dropped.
    pub filters: Vec<Pattern>,
    /// `log-drain`: a line with a match is dropped.
    pub drains: Vec<Pattern>,
    /// The file of `logto` or `daemonize`, to which lines go that no logger takes; `None`: to the descriptor that the
    /// process started with.
    pub default_file: Option<FileEngine>,
    /// `log-master-stream`: writes of the application may arrive together.
    pub stream: bool,
    /// `logfile-chown`, `logfile-chmod`.
    pub ownership: Ownership,
    /// `rsyslog-packet-size`: maximum bytes of a message.
    pub packet_size: usize,
    /// `rsyslog-split-messages`: a longer message is split, not cut.
    pub split_messages: bool,
}
