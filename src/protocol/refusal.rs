//! Why a request is refused.

/// A refused request: the server responds once and closes the connection without reading further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The status of the response.
    pub status: u16,
    /// The reason, for the response and the log. It contains no bytes of the request.
    pub reason: &'static str,
}

impl Refusal {
    /// A refusal with status 400 and this reason.
    pub(super) const fn bad(reason: &'static str) -> Refusal {
        Refusal {
            status: 400,
            reason,
        }
    }
}
