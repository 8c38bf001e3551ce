//! Why a request is refused.

/// A request that is not served: the server answers once and closes the connection without reading further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The status of the response.
    pub status: u16,
    /// The reason, for the response and the log. It contains nothing of the request.
    pub reason: &'static str,
}

impl Refusal {
    /// Status 400 with this reason.
    pub(super) const fn bad(reason: &'static str) -> Refusal {
        Refusal {
            status: 400,
            reason,
        }
    }
}
