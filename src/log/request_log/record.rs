//! Request records of the JSON log and of the systemd journal.

use tracing::Level;

use crate::log::journal::{self, Entry};
use crate::log::json::{Object, Scope};

use super::access_field::path_and_query;
use super::facts::{LoggedRequest, Served};

/// Returns the JSON record of a request. `body` is the request's line in the configured format, `client` the client's
/// address, `pid` the worker's process id.
pub(super) fn record(
    body: &[u8],
    request: &impl LoggedRequest,
    served: &Served<'_>,
    (client, pid): (&[u8], i32),
) -> Vec<u8> {
    let outcome = &served.outcome;
    let mut object = Object::record(level(outcome.status), Scope::Request);
    object.text("body", body);
    object.number("process.pid", pid);
    object.number("ruwsgi.worker", served.worker);
    object.number("ruwsgi.core", served.core);
    object.text("http.request.method", request.method());
    let (path, query) = path_and_query(request.uri());
    object.text("url.path", path);
    object.some_text("url.query", query);
    if let Some(version) = request.protocol().strip_prefix(b"HTTP/") {
        object.text("network.protocol.name", b"http");
        object.text("network.protocol.version", version);
    }
    object.number("http.response.status_code", outcome.status);
    object.number("http.response.body.size", outcome.body);
    object.number("http.response.size", outcome.head + outcome.body);
    let length = std::str::from_utf8(request.content_length()).unwrap_or_default();
    if let Ok(length) = length.parse::<u64>() {
        object.number("http.request.body.size", length);
    }
    let seconds = outcome.micros as f64 / 1e6;
    object.number("http.server.request.duration", format_args!("{seconds:.6}"));
    object.some_text("client.address", client);
    let variable = |name: &[u8]| request.variable(name).unwrap_or_default();
    object.some_text("server.address", variable(b"HTTP_HOST"));
    object.some_text("user_agent.original", variable(b"HTTP_USER_AGENT"));
    object.some_text("http.request.header.referer", variable(b"HTTP_REFERER"));
    object.some_text("user.name", request.remote_user());
    object.some_text("error.type", error(served.remark, outcome.broken));
    object.line()
}

/// Returns the journal entry of a request. `line` is the request's line in the configured format, `client` the client's
/// address.
pub(super) fn entry(
    line: &[u8],
    request: &impl LoggedRequest,
    served: &Served<'_>,
    client: &[u8],
) -> Entry {
    let outcome = &served.outcome;
    let mut entry = Entry::new(journal::priority(level(outcome.status)), "ruwsgi", line);
    entry.number("RUWSGI_WORKER", served.worker);
    entry.number("RUWSGI_CORE", served.core);
    entry.text("RUWSGI_METHOD", request.method());
    entry.text("RUWSGI_URI", request.uri());
    entry.number("RUWSGI_STATUS", outcome.status);
    entry.number("RUWSGI_BYTES", outcome.head + outcome.body);
    entry.number("RUWSGI_MICROSECONDS", outcome.micros);
    entry.some_text("RUWSGI_CLIENT", client);
    let host = request.variable(b"HTTP_HOST").unwrap_or_default();
    entry.some_text("RUWSGI_HOST", host);
    entry.some_text("RUWSGI_USER", request.remote_user());
    entry.some_text("RUWSGI_ERROR", error(served.remark, outcome.broken));
    entry
}

/// The level of a request with this status.
fn level(status: u16) -> Level {
    match status {
        500.. => Level::ERROR,
        _ => Level::INFO,
    }
}

/// Returns the reason why the request ended early; empty if it ended normally.
fn error(remark: &str, broken: bool) -> &[u8] {
    match remark.trim() {
        "" if broken => b"client disconnected",
        remark => remark.as_bytes(),
    }
}
