//! The engine's settings.

use std::sync::Arc;
use std::time::Duration;

use super::header_rules::HeaderRules;
use crate::log::request_log::RequestLogSettings;

/// Settings of a connection engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Number of serving threads.
    pub threads: u32,
    /// Limits on requests.
    pub limits: Limits,
    /// How long a client is waited for.
    pub timeouts: Timeouts,
    /// Changes to the headers of every response.
    pub header_rules: Option<Arc<HeaderRules>>,
    /// Which requests are logged, and how.
    pub request_log: RequestLogSettings,
}

/// Limits on the size of requests.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest block of request variables, and the largest HTTP request head, bytes (`buffer-size`).
    pub buffer_size: usize,
    /// The largest number of header lines of an HTTP request head (`limit-headers`).
    pub headers: usize,
    /// The largest number of waiting connections (`limit-connections`).
    pub connections: usize,
    /// A body of at least this many bytes is spooled to a file (`post-buffering`).
    pub post_buffering: u64,
    /// A longer body is refused, bytes; 0 means no limit (`limit-post`).
    pub limit_post: u64,
}

/// How long a client is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// The longest silence of a client while the application waits for it (`socket-timeout`).
    pub socket: Duration,
    /// The longest wait for a complete request head, on a new connection from its beginning (`client-header-timeout`).
    pub head: Duration,
    /// The longest silence within a request body (`client-body-timeout`).
    pub body: Duration,
    /// The longest time in which a client takes nothing of a response that no thread waits for (`client-send-timeout`).
    pub send: Duration,
    /// The longest wait for the next request of an HTTP connection (`http-keepalive`).
    pub keep_alive: Duration,
}
