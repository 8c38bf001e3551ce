//! What the server answers by itself, and what it says in the log when it does.

use std::io;

use ruwsgi::protocol::uwsgi::{self, Foreign};
use ruwsgi::protocol::{http, response};

use crate::intake::Step;

/// An answer that the server gives by itself.
pub struct Refusal {
    /// The complete answer.
    pub answer: Vec<u8>,
    /// What the log says; nothing if the peer did nothing wrong.
    pub log: Option<String>,
    /// This is logged once in the worker's life: the key.
    pub once: Option<String>,
}

impl Refusal {
    /// A page with this status.
    pub fn page(status: u16, sentence: &str, log: String) -> Self {
        Self {
            answer: response::error_page(status, sentence, true),
            log: Some(log),
            once: None,
        }
    }

    /// A packet that is not well-formed.
    pub fn bad(sentence: &str) -> Self {
        Self::page(400, sentence, format!("refused a request: {sentence}"))
    }
}

/// An HTTP request that is not well-formed, or asks for what is not served.
pub fn http_refused(refusal: &http::Refusal) -> Step {
    let log = format!(
        "refused an HTTP request with {}: {}",
        refusal.status, refusal.reason
    );
    Step::Refused(Refusal::page(refusal.status, refusal.reason, log))
}

/// Another protocol on a uwsgi socket.
pub fn foreign_protocol(foreign: &Foreign) -> Step {
    match foreign {
        Foreign::Http => Step::Refused(Refusal::page(
            400,
            "This socket speaks the uwsgi protocol, not HTTP: put nginx with uwsgi_pass before it, or use http-socket.",
            "HTTP was spoken to a uwsgi socket: put nginx with uwsgi_pass before it, or use http-socket".into(),
        )),
        Foreign::Tls => Step::Refused(Refusal {
            answer: Vec::new(),
            log: Some("TLS was spoken to a uwsgi socket: end TLS in the web server before it".into()),
            once: None,
        }),
    }
}

/// A packet for another kind of application.
pub fn modifier(modifier1: u8) -> Step {
    let sentence = format!(
        "uwsgi modifier1 {modifier1} is not served here: only 0 (WSGI), 30 and 100 are; check uwsgi_modifier1 in the web server"
    );
    Step::Refused(Refusal {
        answer: response::error_page(501, &sentence, true),
        once: Some(format!("modifier {modifier1}")),
        log: Some(format!("refused a request: {sentence} (said once)")),
    })
}

/// A variable by which uWSGI would be told what to serve.
pub fn magic(name: &'static [u8]) -> Step {
    let name = String::from_utf8_lossy(name);
    let sentence = format!(
        "the request variable {name} is refused: what is served is configured, not sent; remove the uwsgi_param from the web server and set the option in the ini file"
    );
    Step::Refused(Refusal {
        answer: response::error_page(403, &sentence, true),
        log: Some(format!("refused a request: {sentence} (said once)")),
        once: Some(name.into_owned()),
    })
}

/// More variables than `buffer-size` allows.
pub fn oversized(block: &[u8], limit: u32) -> Step {
    let largest = uwsgi::vars(block)
        .map_while(Result::ok)
        .max_by_key(|(_, value)| value.len());
    let largest = largest.map_or_else(String::new, |(key, value)| {
        format!(
            " (the largest is {}, {} bytes)",
            ruwsgi::log::escape(key),
            value.len()
        )
    });
    Step::Refused(Refusal::page(
        431,
        "The request's headers are too large for this server.",
        format!(
            "refused a request with 431: its variables take {} bytes{largest}, more than buffer-size = {limit}",
            block.len()
        ),
    ))
}

/// A longer body than `limit-post` allows.
pub fn too_large(length: u64, limit: u64) -> Step {
    Step::Refused(Refusal::page(
        413,
        "The request's body is too large.",
        format!(
            "refused a request with 413: its body of {length} bytes is larger than limit-post = {limit}"
        ),
    ))
}

/// A body for which there is no room.
pub fn unspoolable(error: &io::Error) -> Step {
    Step::Refused(Refusal::page(
        500,
        "The request's body could not be stored.",
        format!(
            "cannot store a request's body in {}: {error}",
            std::env::temp_dir().display()
        ),
    ))
}
