//! Defines how the end of a response body is marked.

/// How the end of a response body is marked on the wire (RFC 9112, 6).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Framing {
    /// By closing the connection.
    #[default]
    Close,
    /// By Content-Length. The number counts the body bytes that are still missing.
    Length(u64),
    /// By chunks.
    Chunked,
    /// The response has no body (HEAD, 101, 204, 205, 304). The application's body is discarded.
    Bodiless,
}

impl Framing {
    /// Returns how many bytes of a block of `len` bytes are to be sent, and subtracts them from the missing bytes.
    /// Bytes beyond Content-Length are not sent.
    #[inline]
    pub fn admit(&mut self, len: usize) -> usize {
        match self {
            Self::Bodiless => 0,
            Self::Close | Self::Chunked => len,
            Self::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(len);
                *left -= take as u64;
                take
            }
        }
    }
}
