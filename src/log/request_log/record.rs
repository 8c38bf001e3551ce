//! Request records of the JSON log.

use tracing::Level;

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
    let level = match outcome.status {
        500.. => Level::ERROR,
        _ => Level::INFO,
    };
    let mut object = Object::record(level, Scope::Request);
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

/// Returns the reason why the request ended early; empty if it did not.
fn error(remark: &str, broken: bool) -> &[u8] {
    match remark.trim() {
        "" if broken => b"client disconnected",
        remark => remark.as_bytes(),
    }
}
