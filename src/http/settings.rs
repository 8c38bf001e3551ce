//! The engine's settings.

use std::sync::Arc;
use std::time::Duration;

use super::header_rules::HeaderRules;
use crate::log::request_log::RequestLogSettings;
use crate::routing::Router;
use crate::static_files;

/// Settings of a connection engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Number of serving threads.
    pub threads: u32,
    /// The limits on requests.
    pub limits: Limits,
    /// Timeouts of clients.
    pub timeouts: Timeouts,
    /// Changes to the headers of every response.
    pub header_rules: Option<Arc<HeaderRules>>,
    /// The settings of static files; `None` if no static files are configured.
    pub static_files: Option<Arc<static_files::settings::Settings>>,
    /// The mount points that `manage-script-name` moves from PATH_INFO to SCRIPT_NAME. The rules below see the result.
    pub mount_points: Vec<Vec<u8>>,
    /// The rules that run before a request is answered; `None` if there are none.
    pub routes: Option<Arc<Router>>,
    /// The rules that run after a request is answered; `None` if there are none.
    pub final_routes: Option<Arc<Router>>,
    /// Selects the requests that are logged, and sets the format of their lines.
    pub request_log: RequestLogSettings,
}

/// Limits on requests, and variables that the server adds or accepts.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Maximum size of the block of request variables, and of an HTTP request head, in bytes (`buffer-size`).
    pub buffer_size: usize,
    /// Maximum number of header lines of an HTTP request head (`limit-headers`).
    pub headers: usize,
    /// Maximum number of waiting connections (`limit-connections`).
    pub connections: usize,
    /// A body of at least this many bytes is spooled to a file (`post-buffering`).
    pub post_buffering: u64,
    /// Maximum bytes of a request body; a longer body is refused. 0 means no limit (`limit-post`).
    pub limit_post: u64,
    /// Variables of every HTTP request (`http-var`).
    pub http_variables: Arc<[(String, String)]>,
    /// Whether a uwsgi request may name an application of the configuration (`vhost`).
    pub names_application: bool,
}

/// Timeouts of clients.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Maximum time in which a client takes no bytes while the application waits for it (`socket-timeout`).
    pub socket: Duration,
    /// Maximum time until a request head is complete. On a new connection the time begins with the connection
    /// (`client-header-timeout`).
    pub head: Duration,
    /// Maximum time between two reads of a request body (`client-body-timeout`).
    pub body: Duration,
    /// Maximum time in which a client takes no bytes of a response that the I/O thread sends (`client-send-timeout`).
    pub send: Duration,
    /// Maximum time until the next request of an HTTP connection (`http-keepalive`).
    pub keep_alive: Duration,
}
