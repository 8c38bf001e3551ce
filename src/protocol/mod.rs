//! The protocols on the wire: bytes in, values out. No I/O, no clock, no Python, nothing else of ours.
//!
//! Whatever arrives, nothing here panics and nothing here guesses: a request that two readers could understand
//! differently is refused, because the proxy in front may be the other reader.

pub mod body;
pub mod http;
pub mod response;
mod text;
pub mod uwsgi;
