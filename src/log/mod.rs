//! The log of a process: one line per event, written to descriptor 2 in one write.
//!
//! ```text
//! 2026-11-21 06:18:00.123 [warn] master[812]: message key=value
//! <4>master: message key=value            (if descriptor 2 is a stream of the systemd journal without its socket)
//! ```
//!
//! The time is local, as in nginx's log. The journal adds the time and the process id. Through its socket, the journal
//! gets entries with fields (`journal`). On the stream, it reads the priority from the number in angle brackets. Text
//! in an event is escaped, so it cannot break or forge a line. `RUWSGI_LOG` (`error`, `warn`, `info`, `debug` or
//! `trace`) sets the level; the default is `info`.
//!
//! Events pass through tracing-subscriber's registry to the layer that formats them (`layer`). [`request_log`] does not
//! use tracing, because it writes a line for each request. All lines end in `sinks`, which writes them to descriptor 2
//! or sends them to the log thread of the master (`thread`). The log thread distributes lines to loggers.

mod encoder;
mod environment;
mod escape;
mod head;
mod interval;
mod journal;
mod json;
mod layer;
mod panic;
mod pattern;
mod record;
pub mod request_log;
mod settings;
mod sinks;
pub(crate) mod thread;

use tracing_subscriber::layer::SubscriberExt;

pub use encoder::{Encoder, NamedEncoder, Template};
pub use environment::VASSAL_NAME;
use environment::environment;
pub use escape::{Escaped, clipped, escape, escape_into, printable};
pub use head::rename;
pub use interval::Interval;
pub use json::use_json;
use layer::LineLayer;
pub use pattern::{Pattern, TooManySteps};
pub use record::{ALARM, alarm, block, relay};
pub use settings::{
    AlarmRule, Engine, FileEngine, Flow, LogThreadSettings, Logger, Route, SyslogEngine,
};
use sinks::Source;
pub use sinks::channel::{descriptor as channel, open as open_channel};

/// Starts the log of this process under the process name `name`, and installs a panic hook that logs panics. A second
/// call only changes the process name.
pub fn start(name: impl Into<String>) {
    rename(name);
    let layers = tracing_subscriber::registry()
        .with(environment().max_level)
        .with(LineLayer::new(|line: &[u8]| {
            sinks::write(Source::Server, line)
        }));
    if tracing::subscriber::set_global_default(layers).is_ok() {
        std::panic::set_hook(Box::new(panic::log));
    }
}

/// Formats a count with its noun: `1 request`, `7 requests`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
