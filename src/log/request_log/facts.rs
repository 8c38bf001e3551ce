//! The data about a request that the request log reads.

use super::outcome::Outcome;

/// The variables of a request, as the request log reads them. If a variable is absent, its method returns `None` or an
/// empty value.
pub trait LoggedRequest {
    /// The variable REQUEST_METHOD.
    fn method(&self) -> &[u8];
    /// The variable REQUEST_URI.
    fn uri(&self) -> &[u8];
    /// The variable SERVER_PROTOCOL.
    fn protocol(&self) -> &[u8];
    /// The variable REMOTE_USER.
    fn remote_user(&self) -> &[u8];
    /// The variable REMOTE_ADDR.
    fn remote_addr(&self) -> Option<&[u8]>;
    /// The variable CONTENT_LENGTH.
    fn content_length(&self) -> &[u8];
    /// Returns the value of the variable `name`; the last value if the name occurs more than once.
    fn variable(&self, name: &[u8]) -> Option<&[u8]>;
    /// Number of variables of the request.
    fn variable_count(&self) -> usize;
    /// Size of the variables on the wire, bytes.
    fn block_len(&self) -> usize;
    /// `modifier1` and `modifier2` of the uwsgi packet.
    fn modifiers(&self) -> (u8, u8);
}

/// Facts about a served request that are not part of the request.
pub struct Served<'a> {
    /// The number of the application that served the request; -1 if no application was found.
    pub app: i32,
    /// The worker's number.
    pub worker: u32,
    /// Requests served by this worker.
    pub worker_requests: u64,
    /// Requests served by the instance.
    pub total_requests: u64,
    /// The address of the TCP peer. It is used if the request has no REMOTE_ADDR.
    pub remote_addr: &'a [u8],
    /// The status, the sizes and the duration.
    pub outcome: Outcome,
    /// Number of response headers.
    pub headers: u32,
    /// Number of body blocks that the application returned.
    pub blocks: u32,
    /// The thread's number, from 0.
    pub core: u32,
    /// Text appended to a line in the default format, such as the reason why the request was ended. A line in a
    /// configured format does not contain it.
    pub remark: &'a str,
}
