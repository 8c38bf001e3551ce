//! The variables of an HTTP request, named as in CGI (RFC 3875) and PEP 3333.

use std::io::Write;

use super::connection::Connection;
use super::request::Request;
use crate::protocol::http;

/// Fills an empty request with the variables of an HTTP request head. The `configured` variables come first, because the
/// first value of a repeated variable counts.
pub fn fill(
    request: &mut Request,
    head: &http::Request<'_>,
    connection: &Connection,
    configured: &[(String, String)],
) {
    request.text.clear();
    for (name, value) in configured {
        request.push(name.as_bytes(), value.as_bytes());
    }
    request.push(b"REQUEST_METHOD", head.method);
    request.push(b"REQUEST_URI", head.target);
    request.push(b"PATH_INFO", &head.path);
    request.push(b"QUERY_STRING", head.query);
    request.push(b"SERVER_PROTOCOL", head.version.as_bytes());
    request.push(b"SCRIPT_NAME", b"");
    push_server(request, head.host, connection);
    match connection.peer {
        Some(peer) => {
            let mut text = [0u8; 64];
            let ip = written(&mut text, format_args!("{}", peer.ip()));
            request.push(b"REMOTE_ADDR", ip);
            let port = written(&mut text, format_args!("{}", peer.port()));
            request.push(b"REMOTE_PORT", port);
        }
        None => request.push(b"REMOTE_ADDR", b""),
    }
    push_headers(request, head, configured);
}

/// Adds SERVER_NAME and SERVER_PORT. Over TCP, the name comes from the Host header, or from the local address if there
/// is no Host header. The port comes from the local address. On a Unix socket, both come from the Host header.
fn push_server(request: &mut Request, host: Option<&[u8]>, connection: &Connection) {
    let mut text = [0u8; 8];
    match connection.local {
        Some(local) => {
            let name = host.map(without_port).filter(|name| !name.is_empty());
            let mut ip = [0u8; 64];
            let ip = written(&mut ip, format_args!("{}", local.ip()));
            request.push(b"SERVER_NAME", name.unwrap_or(ip));
            let port = written(&mut text, format_args!("{}", local.port()));
            request.push(b"SERVER_PORT", port);
        }
        None => {
            request.push(b"SERVER_NAME", host.map_or(b"localhost", without_port));
            request.push(b"SERVER_PORT", host.and_then(port_of).unwrap_or(b"80"));
        }
    }
}

fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|&byte| byte == b':') {
        Some(at) if !host.ends_with(b"]") => &host[..at],
        _ => host,
    }
}

fn port_of(host: &[u8]) -> Option<&[u8]> {
    let port = &host[without_port(host).len()..];
    port.strip_prefix(b":").filter(|port| !port.is_empty())
}

/// Adds the headers as variables, except those that are `configured`. The values of a repeated header are joined.
fn push_headers(request: &mut Request, head: &http::Request<'_>, configured: &[(String, String)]) {
    let mut name = Vec::with_capacity(64);
    let first = request.vars.len();
    let mut repeated = false;
    for (header, value) in head.headers.iter() {
        if header.eq_ignore_ascii_case(b"transfer-encoding") {
            continue; // the application receives the body without its chunks
        }
        name.clear();
        http::environ_name(header, &mut name);
        if configured.iter().any(|(key, _)| key.as_bytes() == name) {
            continue;
        }
        repeated = repeated
            || request.vars[first..]
                .iter()
                .any(|(key, _)| key.of(&request.text) == name);
        request.push(&name, value);
    }
    if repeated {
        // the result is not needed: Content-Length occurs only once, and different values of Content-Type are the
        // client's mistake
        request.merge_repeated();
    }
}

/// Formats `text` into `buffer`, which must be large enough, and returns the written part.
fn written<'a>(buffer: &'a mut [u8], text: std::fmt::Arguments<'_>) -> &'a [u8] {
    let size = buffer.len();
    let mut rest = &mut *buffer;
    // writing succeeds: the buffer of each caller holds the longest address or port
    let _ = rest.write_fmt(text);
    let left = rest.len();
    &buffer[..size - left]
}
