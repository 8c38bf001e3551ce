//! The result of a request.

/// The result of a request: status, duration and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The response status.
    pub status: u16,
    /// The duration in microseconds.
    pub micros: u64,
    /// Bytes of the response head, including the status line.
    pub head: u64,
    /// Bytes of the response body.
    pub body: u64,
    /// Whether the body was sent by sendfile(2).
    pub sendfile: bool,
    /// Whether the client disconnected before the end of the response.
    pub broken: bool,
}
