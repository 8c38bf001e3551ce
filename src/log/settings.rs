//! The settings of the log thread. The configuration produces them; the master starts the thread with them.

use std::path::PathBuf;

use crate::sys::log_file::{Backup, Ownership};

use super::encoder::NamedEncoder;
use super::pattern::Pattern;

/// A destination of lines: the engine of a `logger` option with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// `stdio`: the default destination. It is the file of `logto` or `daemonize`, or the descriptor 2 that the process
    /// had before the log thread started.
    Stdio,
    /// `fd:N`: an inherited descriptor.
    Descriptor(i32),
    /// `file`: a file that the log thread writes and rotates.
    File(FileEngine),
    /// `socket`: datagrams to a UDP address or a Unix socket.
    Socket {
        /// `HOST:PORT`, or the path of a Unix socket.
        address: String,
        /// The text inserted before each event.
        prefix: String,
    },
    /// `syslog`: the syslog daemon of this machine, at `/dev/log`.
    Syslog(SyslogEngine),
    /// `rsyslog`: a syslog daemon at a UDP address or a Unix socket.
    Rsyslog {
        /// `HOST`, `HOST:PORT`, or the path of a Unix socket. The default port is 514.
        address: String,
        /// The head of the messages.
        syslog: SyslogEngine,
    },
    /// `pipe`: the standard input of a command.
    Pipe(String),
    /// `systemd`: the socket of the systemd journal.
    Journal,
}

/// A log file that only the log thread writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileEngine {
    /// The path of the file.
    pub path: PathBuf,
    /// The size above which the file is rotated, bytes; `None` means no rotation by size.
    pub max_size: Option<u64>,
    /// The path that the full file is moved to; `None` means the file's path followed by `.SECONDS`, the time of the
    /// rotation.
    pub backup: Option<Backup>,
}

/// The head of syslog messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogEngine {
    /// The program's name in each message.
    pub identity: String,
    /// The PRI value of each message: facility times 8, plus severity.
    pub priority: u8,
}

/// A logger: an engine, and the name that routes and encoders use for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logger {
    /// The name by which routes select the logger. `None` if the logger receives the lines that match no route.
    pub name: Option<String>,
    /// The destination of the logger's lines.
    pub engine: Engine,
}

/// A route: lines that match `pattern` go to all loggers named `logger`.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The name of the loggers that receive the lines.
    pub logger: String,
    /// The regular expression that selects the lines.
    pub pattern: Pattern,
}

/// A rule of `log-alarm` or `not-log-alarm`.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmRule {
    /// The names of the alarms that a matching line raises. Empty for `not-log-alarm`: a matching line then raises no
    /// alarm of later rules.
    pub alarms: Vec<String>,
    /// The regular expression that selects the lines.
    pub pattern: Pattern,
}

/// The loggers, routes and encoders for one kind of lines: request lines, or all other lines.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Flow {
    /// The loggers (`logger`, or `req-logger` for requests).
    pub loggers: Vec<Logger>,
    /// The routes (`log-route`, or `log-req-route` for requests).
    pub routes: Vec<Route>,
    /// The encoders (`log-encoder`, or `log-req-encoder` for requests), in the order of the configuration.
    pub encoders: Vec<NamedEncoder>,
}

/// The settings of the log thread.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogThreadSettings {
    /// Lines of the server and the application.
    pub lines: Flow,
    /// Request lines. Without request loggers and routes they are handled like the lines of the server.
    pub requests: Flow,
    /// `log-filter`: a line that matches none of the patterns is dropped. An empty list drops nothing.
    pub filters: Vec<Pattern>,
    /// `log-drain`: a line that matches one of the patterns is dropped.
    pub drains: Vec<Pattern>,
    /// `log-alarm` and `not-log-alarm`, in the order of the configuration.
    pub alarms: Vec<AlarmRule>,
    /// The file of `logto` or `daemonize`, which receives the lines that no logger takes. `None` if such lines go to
    /// the descriptor 2 that the process had before the log thread started.
    pub default_file: Option<FileEngine>,
    /// `log-master-stream`: whether the application's output is read from a stream socket, so that several writes may
    /// arrive as one event.
    pub stream: bool,
    /// Owner and mode of log files (`logfile-chown`, `logfile-chmod`).
    pub ownership: Ownership,
    /// `rsyslog-packet-size`: maximum size of a syslog message, bytes.
    pub packet_size: usize,
    /// `rsyslog-split-messages`: whether a longer message is split into several messages. Otherwise its end is cut off.
    pub split_messages: bool,
}
