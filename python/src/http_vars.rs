//! The variables of an HTTP request, as the contract's table of environ keys wants them, and the Date header.

use std::cell::RefCell;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use ruwsgi::protocol::http;
use ruwsgi::sys::clock;

use crate::intake::Connection;
use crate::request::{Request, Span};

/// Writes the head of an HTTP request as a block of variables.
pub fn fill(request: &mut Request, head: &http::Request<'_>, connection: &Connection) {
    request.text.clear();
    request.push(b"REQUEST_METHOD", head.method);
    request.push(b"REQUEST_URI", head.target);
    request.push(b"PATH_INFO", &head.path);
    request.push(b"QUERY_STRING", head.query);
    request.push(b"SERVER_PROTOCOL", head.version.as_bytes());
    request.push(b"SCRIPT_NAME", b"");
    server(request, head.host, connection);
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
    headers(request, head);
}

/// SERVER_NAME and SERVER_PORT: where the connection came to, or what the client calls it.
fn server(request: &mut Request, host: Option<&[u8]>, connection: &Connection) {
    let mut text = [0u8; 8];
    match connection.local {
        Some(local) => {
            let name = host.map(without_port).filter(|name| !name.is_empty());
            let mut ip = [0u8; 64];
            let ip = written(&mut ip, format_args!("{}", local.ip()));
            request.push(b"SERVER_NAME", name.unwrap_or(ip));
            request.push(
                b"SERVER_PORT",
                written(&mut text, format_args!("{}", local.port())),
            );
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

/// The headers, repeated ones joined (RFC 9110, 5.3; cookies by a semicolon, RFC 9113, 8.2.3).
fn headers(request: &mut Request, head: &http::Request<'_>) {
    let mut name = Vec::with_capacity(64);
    let first = request.vars.len();
    for (header, value) in head.headers.iter() {
        if header.eq_ignore_ascii_case(b"transfer-encoding") {
            continue; // the body reaches the application as it was before the chunks
        }
        name.clear();
        http::environ_name(header, &mut name);
        let earlier = request.vars[first..]
            .iter()
            .position(|(key, _)| key.of(&request.text) == name);
        match earlier {
            Some(at) => join(
                request,
                first + at,
                value,
                if name == b"HTTP_COOKIE" { b"; " } else { b", " },
            ),
            None => request.push(&name, value),
        }
    }
}

fn join(request: &mut Request, at: usize, value: &[u8], separator: &[u8]) {
    let old = request.vars[at].1.of(&request.text).to_vec();
    let start = request.text.len();
    for part in [&old[..], separator, value] {
        request.text.extend_from_slice(part);
    }
    request.vars[at].1 = Span::new(start, request.text.len() - start);
}

fn written<'a>(buffer: &'a mut [u8], text: std::fmt::Arguments<'_>) -> &'a [u8] {
    let room = buffer.len();
    let mut rest = &mut *buffer;
    // the longest address fits
    let _ = rest.write_fmt(text);
    let left = rest.len();
    &buffer[..room - left]
}

thread_local! {
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Appends the current date, formatted once in a second.
pub fn append_date(out: &mut Vec<u8>) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(second, text)| {
        if *second != now {
            *second = now;
            *text = clock::http_date(now as i64);
        }
        out.extend_from_slice(text.as_bytes());
    });
}
