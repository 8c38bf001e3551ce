//! The request log: one line per request, in uWSGI's default format or in that of `log-format`.

mod format;
mod line;
mod settings;

pub use format::{Field, Piece, parse_format};
pub use line::{LoggedRequest, RequestLog, Served};
pub use settings::{Outcome, RequestLogSettings, Selection};
