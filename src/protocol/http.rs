//! The head of an HTTP/1.1 or 1.0 request, parsed strictly (RFC 9112, RFC 9110) from a buffer that grows.
//!
//! This module does not use `httparse`, for these reasons. `httparse` accepts a bare LF as a line end and several empty
//! lines before the request, and returns trimmed values, so the raw bytes would have to be checked a second time. It
//! does not cover Host, framing and targets, which are most of this module. Each of its calls starts from the first
//! byte, so the time for a head that arrives byte by byte grows with the square of the length. Only the split of lines
//! at their colons would be saved.
//!
//! [`Scan`] looks at each byte once, when it arrives, and checks each line as soon as it is complete. A malformed line
//! is refused at its end and not after a timeout. After the empty line the fields are checked together, and the request
//! is returned as slices of the buffer.

mod fields;
mod headers;
mod request;
mod scan;
mod target;
#[cfg(test)]
mod tests;

pub use super::refusal::Refusal;
pub use headers::{HeaderIter, Headers, environ_name};
pub use request::{Framing, Limits, Parsed, Request, Version};
pub use scan::{Scan, parse};
