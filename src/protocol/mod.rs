//! Wire protocols: bytes in, values out. No I/O, no clock, no Python, no other module of this crate.
//!
//! No input causes a panic in these modules. A request that two readers could understand differently is refused,
//! because the proxy in front may be the other reader.

pub mod body;
pub mod http;
mod refusal;
pub mod response;
mod text;
pub mod uwsgi;
