//! Responses that the server gives in place of the application, and the log messages that go with them.

use std::io::IoSlice;
use std::os::fd::RawFd;
use std::time::Duration;

use super::budget::FILES;
use super::spool::SpoolError;
use crate::protocol::uwsgi::{self, Foreign};
use crate::protocol::{http, response};
use crate::sys::stream;

/// Sends status 503 to a client whose request will not be read to its end. Errors are ignored, because nothing can be
/// done for a client that does not get the response.
pub fn send_overloaded(fd: RawFd) {
    let page = response::error_page(503, "The server has too many unfinished requests.", true);
    let _ = stream::send(fd, &[IoSlice::new(&page)]);
}

/// A response that the server gives in place of the application. The connection is closed after it.
pub struct Refusal {
    /// The complete response. If it is empty, the connection is closed without a response.
    pub response: Vec<u8>,
    /// The level of the log message.
    pub level: tracing::Level,
    /// The log message; `None` if the client has made no mistake.
    pub log: Option<String>,
    /// The key of a message that a worker logs only once. A message without a key is logged each time.
    pub once: Option<String>,
}

impl Refusal {
    /// A response with this status and one line of text. `log` is logged as a warning.
    pub fn page(status: u16, text: &str, log: String) -> Self {
        Self {
            response: response::error_page(status, text, true),
            level: tracing::Level::WARN,
            log: Some(log),
            once: None,
        }
    }

    /// 400 for a malformed uwsgi packet.
    pub fn bad_packet(text: &str) -> Self {
        Self::page(400, text, format!("refused a request: {text}"))
    }

    /// The response to a uwsgi ping.
    pub fn pong() -> Self {
        Self {
            response: uwsgi::PONG.to_vec(),
            level: tracing::Level::INFO,
            log: None,
            once: None,
        }
    }

    /// The response to an HTTP request that is malformed or asks for something that is not supported.
    pub fn http(refusal: &http::Refusal) -> Self {
        let log = format!(
            "refused an HTTP request with {}: {}",
            refusal.status, refusal.reason
        );
        Self::page(refusal.status, refusal.reason, log)
    }

    /// The response to HTTP on a uwsgi socket. A client that sends TLS gets no response.
    pub fn foreign_protocol(foreign: &Foreign) -> Self {
        match foreign {
            Foreign::Http => Self::page(
                400,
                "This socket speaks the uwsgi protocol, not HTTP: put nginx with uwsgi_pass before it, or use http-socket.",
                "a client sent HTTP to a uwsgi socket: put nginx with uwsgi_pass before it, or use http-socket".into(),
            ),
            Foreign::Tls => Self {
                response: Vec::new(),
                level: tracing::Level::WARN,
                log: Some("a client sent TLS to a uwsgi socket: terminate TLS in the web server before it".into()),
                once: None,
            },
        }
    }

    /// 501 for a uwsgi packet that is meant for another kind of application.
    pub fn modifier(modifier1: u8) -> Self {
        let text = format!(
            "uwsgi modifier1 {modifier1} is not served here: only 0 (WSGI), 30 and 100 are; check uwsgi_modifier1 in the web server"
        );
        Self {
            response: response::error_page(501, &text, true),
            level: tracing::Level::WARN,
            log: Some(format!("refused a request: {text} (logged once)")),
            once: Some(format!("modifier {modifier1}")),
        }
    }

    /// 403 for a request variable by which the client would choose the code or files that are served.
    pub fn forbidden_variable(name: &'static [u8]) -> Self {
        let name = String::from_utf8_lossy(name);
        let text = format!(
            "the request variable {name} is refused: the configuration decides what is served; remove the uwsgi_param from the web server and set the option in the ini file"
        );
        Self {
            response: response::error_page(403, &text, true),
            level: tracing::Level::WARN,
            log: Some(format!("refused a request: {text} (logged once)")),
            once: Some(name.into_owned()),
        }
    }

    /// 431 for more bytes of variables than `buffer-size` allows. `block` is the block of variables.
    pub fn block_too_large(block: &[u8], limit: usize) -> Self {
        let largest = uwsgi::vars(block)
            .map_while(Result::ok)
            .max_by_key(|(_, value)| value.len());
        let largest = largest.map_or_else(String::new, |(key, value)| {
            let name = crate::log::escape(key);
            format!(" (the largest is {name}, {} bytes)", value.len())
        });
        Self::page(
            431,
            "The request's headers are too large for this server.",
            format!(
                "refused a request with 431: its variables take {} bytes{largest}, more than buffer-size = {limit}",
                block.len()
            ),
        )
    }

    /// 408 for a request head that is not complete in time.
    pub fn slow_head(timeout: Duration) -> Self {
        Self::slow(
            "The request's head did not arrive in time.",
            &format!(
                "its head was not complete after {} s (client-header-timeout)",
                timeout.as_secs_f64()
            ),
        )
    }

    /// 408 for a request body that stops arriving after `received` bytes. `length` is the body's length, if it is
    /// known.
    pub fn slow_body(received: u64, length: Option<u64>, timeout: Duration) -> Self {
        let of = length.map_or_else(String::new, |length| format!(" of {length}"));
        Self::slow(
            "The request's body did not arrive in time.",
            &format!(
                "no data for {} s within its body, after {received}{of} bytes (client-body-timeout)",
                timeout.as_secs_f64()
            ),
        )
    }

    fn slow(text: &str, reason: &str) -> Self {
        Self {
            level: tracing::Level::INFO,
            ..Self::page(408, text, format!("refused a request with 408: {reason}"))
        }
    }

    /// 413 for a body of `length` bytes, if `limit-post` allows less.
    pub fn body_too_large(length: u64, limit: u64) -> Self {
        Self::page(
            413,
            "The request's body is too large.",
            format!(
                "refused a request with 413: its body of {length} bytes is larger than limit-post = {limit}"
            ),
        )
    }

    /// 413 for a body in chunks of which `length` bytes have arrived. `limit` is the maximum length of a body of
    /// unknown length.
    pub fn unannounced_body_too_large(length: u64, limit: u64) -> Self {
        Self::page(
            413,
            "The request's body is too large for one without Content-Length.",
            format!(
                "refused a request with 413: its body without Content-Length has {length} bytes or more, more than {limit}, which is 1/16 of limit-spool; limit-post sets the limit for all bodies"
            ),
        )
    }

    /// Refuses a body of at least `length` bytes that cannot be stored: with 413 if it is longer than the longest body
    /// allowed, otherwise with 503.
    pub fn spool_failed(error: &SpoolError, length: u64) -> Self {
        let limit = FILES.limit();
        match error {
            SpoolError::TooLarge => Self::page(
                413,
                "The request's body is too large.",
                format!(
                    "refused a request with 413: its body of {length} bytes or more is larger than half of limit-spool = {limit}"
                ),
            ),
            SpoolError::Full => Self::page(
                503,
                "The server has no room for the request's body now.",
                format!(
                    "refused a request with 503: its body of {length} bytes or more has no room, because other bodies and responses take too much of limit-spool = {limit}"
                ),
            ),
            SpoolError::DiskShort => Self::page(
                503,
                "The server has no room for the request's body now.",
                format!(
                    "refused a request with 503: its body of {length} bytes or more cannot be stored in {}: it may take at most half of the free space, of which a twentieth of the file system, at most 1 GiB, is left to other programs; TMPDIR sets another directory",
                    std::env::temp_dir().display()
                ),
            ),
            SpoolError::Io(error) => Self::page(
                503,
                "The server cannot store the request's body now.",
                format!(
                    "refused a request with 503: its body cannot be stored in {}: {error}; TMPDIR sets another directory",
                    std::env::temp_dir().display()
                ),
            ),
        }
    }
}
