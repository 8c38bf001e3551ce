//! What the log knows of a request.

use super::outcome::Outcome;

/// A request, as the log reads it. An absent variable is empty unless its method returns an `Option`.
pub trait LoggedRequest {
    /// REQUEST_METHOD.
    fn method(&self) -> &[u8];
    /// REQUEST_URI.
    fn uri(&self) -> &[u8];
    /// SERVER_PROTOCOL.
    fn protocol(&self) -> &[u8];
    /// REMOTE_USER.
    fn remote_user(&self) -> &[u8];
    /// REMOTE_ADDR.
    fn remote_addr(&self) -> Option<&[u8]>;
    /// CONTENT_LENGTH.
    fn content_length(&self) -> &[u8];
    /// The value of any variable; the last one if the name occurs more than once.
    fn variable(&self, name: &[u8]) -> Option<&[u8]>;
    /// Number of variables.
    fn variable_count(&self) -> usize;
    /// Bytes of the variables on the wire.
    fn block_len(&self) -> usize;
    /// The two modifiers of the uwsgi packet.
    fn modifiers(&self) -> (u8, u8);
}

/// Facts about a served request that are not part of the request.
pub struct Served<'a> {
    /// The application's number, -1 if none was found.
    pub app: i32,
    /// The worker's number.
    pub worker: u32,
    /// Requests served by this worker.
    pub worker_requests: u64,
    /// Requests served by the instance.
    pub total_requests: u64,
    /// The address of the TCP peer, used where the request has no REMOTE_ADDR.
    pub remote_addr: &'a [u8],
    /// Status, sizes and duration.
    pub outcome: Outcome,
    /// Number of headers sent.
    pub headers: u32,
    /// Number of body blocks that the application returned.
    pub blocks: u32,
    /// The thread's number, from 0.
    pub core: u32,
    /// Appended to a line in the default format; a `log-format` gets no addition.
    pub remark: &'a str,
}
