//! The request log: one line per request. `log-format` or `access-log-format` sets the format. Without these options,
//! the format is uWSGI's default.

mod access;
mod access_field;
mod facts;
mod format;
mod line;
mod outcome;
mod record;
mod settings;
mod values;

pub use access::parse_access_format;
pub use access_field::AccessField;
pub use facts::{LoggedRequest, Served};
pub use format::{Field, Piece, header_variable, log_variable, parse_format};
pub use line::RequestLog;
pub use outcome::Outcome;
pub use settings::{RequestLogSettings, Selection};

use crate::log::sinks::{self, Source};

/// Writes complete request lines, each with its line feed, to the log thread or to descriptor 2, in one write. May wait
/// if the reader of the log is slow.
pub fn write(lines: &[u8]) {
    sinks::write(Source::Request, lines);
}
