//! A request as an application sees it, independent of the protocol on the wire: variables and a body.

use super::spool::Body;
use crate::log::request_log::LoggedRequest;
use crate::protocol::uwsgi;

/// A range of bytes in [`Request::text`].
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// The span of `len` bytes from `start`.
    #[inline]
    pub fn new(start: usize, len: usize) -> Self {
        // a block of variables has at most 64 KiB, so both numbers fit into the fields
        Self {
            start: start as u32,
            len: len as u32,
        }
    }

    /// The bytes of the span in `text`.
    #[inline]
    pub fn of(self, text: &[u8]) -> &[u8] {
        let start = self.start as usize;
        text.get(start..start + self.len as usize)
            .unwrap_or_default()
    }

    /// The positions of the span in the text; empty for the default span.
    #[inline]
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end()
    }

    /// Position after the last byte of the span.
    #[inline]
    pub fn end(self) -> usize {
        self.start as usize + self.len as usize
    }
}

/// Positions of the values that the server itself reads. If a variable is repeated, its first value counts, as in the
/// application's dictionary.
#[derive(Clone, Copy, Default, Debug)]
struct Known {
    method: Option<Span>,
    uri: Option<Span>,
    protocol: Option<Span>,
    remote_addr: Option<Span>,
    remote_user: Option<Span>,
    path_info: Option<Span>,
    script_name: Option<Span>,
    https: Option<Span>,
    scheme: Option<Span>,
    content_length: Option<Span>,
}

impl Known {
    /// The field of the variable `key`; `None` if the server does not read the variable.
    #[inline]
    fn field(&mut self, key: &[u8]) -> Option<&mut Option<Span>> {
        Some(match key {
            b"REQUEST_METHOD" => &mut self.method,
            b"REQUEST_URI" => &mut self.uri,
            b"SERVER_PROTOCOL" => &mut self.protocol,
            b"REMOTE_ADDR" => &mut self.remote_addr,
            b"REMOTE_USER" => &mut self.remote_user,
            b"PATH_INFO" => &mut self.path_info,
            b"SCRIPT_NAME" => &mut self.script_name,
            b"HTTPS" => &mut self.https,
            b"CONTENT_LENGTH" => &mut self.content_length,
            b"UWSGI_SCHEME" => &mut self.scheme,
            _ => return None,
        })
    }
}

/// Variables with which uWSGI lets a client choose code, files or process state. A request with such a variable is
/// refused.
const FORBIDDEN: [&[u8]; 13] = [
    b"UWSGI_APPID",
    b"UWSGI_CACHE_GET",
    b"UWSGI_CALLABLE",
    b"UWSGI_CHDIR",
    b"UWSGI_FILE",
    b"UWSGI_HOME",
    b"UWSGI_MODULE",
    b"UWSGI_POSTFILE",
    b"UWSGI_PYHOME",
    b"UWSGI_SCRIPT",
    b"UWSGI_SETENV",
    b"UWSGI_TOUCH_RELOAD",
    b"UWSGI_PARAFILE",
];

/// The variables of [`FORBIDDEN`] that a request may have with `vhost`. Most of them are compared with the applications
/// of the configuration. The variables for the working directory and the virtual environment have no effect.
const WITH_VHOST: [&[u8]; 7] = [
    b"UWSGI_CALLABLE",
    b"UWSGI_CHDIR",
    b"UWSGI_FILE",
    b"UWSGI_HOME",
    b"UWSGI_MODULE",
    b"UWSGI_PYHOME",
    b"UWSGI_SCRIPT",
];

/// A complete request.
#[derive(Default)]
pub struct Request {
    /// The bytes that the spans refer to. For the uwsgi protocol this is the packet as received.
    ///
    /// The type is `Vec` and not `BytesMut`, because the buffer stays with its thread and is never split.
    pub text: Vec<u8>,
    /// Names and values of the variables, in the order of arrival.
    pub vars: Vec<(Span, Span)>,
    known: Known,
    /// uwsgi's modifier1, the kind of packet; 0 for an HTTP request.
    pub modifier1: u8,
    /// uwsgi's modifier2, the argument of modifier1; 0 for an HTTP request.
    pub modifier2: u8,
    /// Size of the block of variables in bytes, for the log.
    pub block_len: usize,
    /// The complete body.
    pub body: Body,
}

/// Why a block of variables is refused.
pub enum BlockError {
    /// The block is malformed.
    Malformed(uwsgi::Malformed),
    /// The block contains this forbidden variable.
    Forbidden(&'static [u8]),
    /// The block contains CONTENT_LENGTH twice, with different values: the end of the body is unknown.
    TwoLengths,
}

impl Request {
    /// Empties the request and keeps its memory.
    #[inline]
    pub fn clear(&mut self) {
        self.text.clear();
        self.vars.clear();
        self.known = Known::default();
        self.modifier1 = 0;
        self.modifier2 = 0;
        self.block_len = 0;
        self.body = Body::Empty;
    }

    /// Frees the body and unused memory before a long wait.
    pub fn shrink(&mut self) {
        self.body = Body::Empty;
        self.text.shrink_to_fit();
        self.vars.shrink_to_fit();
    }

    /// A copy with an empty body.
    pub fn without_body(&self) -> Self {
        Self {
            text: self.text.clone(),
            vars: self.vars.clone(),
            body: Body::Empty,
            ..*self
        }
    }

    /// REQUEST_METHOD; empty if absent.
    #[inline]
    pub fn method(&self) -> &[u8] {
        self.value(self.known.method)
    }

    /// REQUEST_URI; empty if absent.
    #[inline]
    pub fn uri(&self) -> &[u8] {
        self.value(self.known.uri)
    }

    /// SERVER_PROTOCOL; empty if absent.
    #[inline]
    pub fn protocol(&self) -> &[u8] {
        self.value(self.known.protocol)
    }

    /// PATH_INFO; empty if absent.
    #[inline]
    pub fn path_info(&self) -> &[u8] {
        self.value(self.known.path_info)
    }

    /// SCRIPT_NAME; empty if absent.
    #[inline]
    pub fn script_name(&self) -> &[u8] {
        self.value(self.known.script_name)
    }

    /// Whether the request has a SCRIPT_NAME, which may be empty.
    #[inline]
    pub fn has_script_name(&self) -> bool {
        self.known.script_name.is_some()
    }

    /// CONTENT_LENGTH, if present.
    #[inline]
    pub fn content_length(&self) -> Option<&[u8]> {
        self.known.content_length.map(|span| span.of(&self.text))
    }

    /// Whether the request came over TLS. UWSGI_SCHEME decides; if it is absent, HTTPS does (`on` or `1`).
    #[inline]
    pub fn is_https(&self) -> bool {
        if let Some(scheme) = self.known.scheme {
            return scheme.of(&self.text) == b"https";
        }
        let https = self.value(self.known.https);
        https == b"1"
            || https
                .get(..2)
                .is_some_and(|on| on.eq_ignore_ascii_case(b"on"))
    }

    #[inline]
    fn value(&self, span: Option<Span>) -> &[u8] {
        span.map_or(&[], |span| span.of(&self.text))
    }

    /// The value of the variable `name`. If the variable is repeated, this is the first value.
    pub fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.vars.iter().find(|(key, _)| key.of(&self.text) == name);
        found.map(|(_, value)| value.of(&self.text))
    }

    /// Adds the variables of a uwsgi block, which has `len` bytes and begins at `start` in the text. If
    /// `names_application` is true, the block may have the variables with which a web server names an application.
    ///
    /// # Errors
    /// The block is malformed, contains a forbidden variable, or has two different values of CONTENT_LENGTH.
    #[inline]
    pub fn read_block(
        &mut self,
        start: usize,
        len: usize,
        names_application: bool,
    ) -> Result<(), BlockError> {
        let block = self.text.get(start..start + len).unwrap_or_default();
        let base = block.as_ptr() as usize;
        self.block_len = len;
        for item in uwsgi::vars(block) {
            let (key, value) = item.map_err(BlockError::Malformed)?;
            let key_span = Span::new(start + (key.as_ptr() as usize - base), key.len());
            let value_span = if value.is_empty() {
                Span::default()
            } else {
                Span::new(start + (value.as_ptr() as usize - base), value.len())
            };
            match key.strip_prefix(b"HTTP_") {
                Some(header) if is_dropped(header) => continue,
                Some(_) => {}
                None => match note(&mut self.known, &self.text, key, value_span) {
                    Err(BlockError::Forbidden(name))
                        if names_application && WITH_VHOST.contains(&name) => {}
                    noted => noted?,
                },
            }
            self.vars.push((key_span, value_span));
        }
        Ok(())
    }

    /// Writes method, URI and client address into `out`, for the scoreboard, and truncates them if necessary. Returns
    /// the number of bytes.
    pub fn describe(&self, out: &mut [u8]) -> usize {
        let mut at = 0;
        let known = &self.known;
        let parts = [known.method, known.uri, known.remote_addr];
        for (index, span) in parts.into_iter().enumerate() {
            let gap: &[u8] = if index > 0 { b" " } else { b"" };
            for part in [gap, self.value(span)] {
                let len = part.len().min(out.len() - at);
                out[at..at + len].copy_from_slice(&part[..len]);
                at += len;
            }
        }
        at
    }

    /// Inserts variables before those of the client, so that the log finds them first.
    #[inline]
    pub fn prepend(&mut self, variables: &[(Vec<u8>, Vec<u8>)]) {
        for (key, value) in variables {
            let key_span = Span::new(self.text.len(), key.len());
            self.text.extend_from_slice(key);
            let value_span = Span::new(self.text.len(), value.len());
            self.text.extend_from_slice(value);
            self.vars.insert(0, (key_span, value_span));
            if key == b"REMOTE_USER" {
                self.known.remote_user = Some(value_span);
            }
        }
    }

    /// Sets a variable of the server's own choice, in place of all variables of this name.
    pub fn set(&mut self, key: &[u8], value: &[u8]) {
        let text = &self.text;
        self.vars.retain(|(name, _)| name.of(text) != key);
        // the new value is the first one of its name
        if let Some(known) = self.known.field(key) {
            *known = None;
        }
        self.push(key, value);
    }

    /// Appends a variable that was not received in a uwsgi block.
    #[inline]
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        let key_span = Span::new(self.text.len(), key.len());
        self.text.extend_from_slice(key);
        let value_span = Span::new(self.text.len(), value.len());
        self.text.extend_from_slice(value);
        self.block_len += key.len() + value.len() + 4;
        // `note` refuses no variable here, because the names are the server's own or begin with HTTP_
        let _ = note(&mut self.known, &self.text, key, value_span);
        self.vars.push((key_span, value_span));
    }
}

/// Whether the variable `HTTP_` + `header`, as the web server sends it, must never reach the application.
#[inline]
fn is_dropped(header: &[u8]) -> bool {
    // CGI programs and HTTP libraries read HTTP_PROXY as their own proxy setting (CVE-2016-5385). nginx sends
    // HTTP_CONTENT_TYPE and HTTP_CONTENT_LENGTH beside the variables without the prefix, and PEP 3333 forbids them.
    matches!(header, b"PROXY" | b"CONTENT_TYPE" | b"CONTENT_LENGTH")
}

/// Records the span of the variable in `known`, if the server reads this variable and it is the first of its name.
/// `value` is a span of `text`. Refuses a forbidden variable, and a second value of CONTENT_LENGTH.
#[inline]
fn note(known: &mut Known, text: &[u8], key: &[u8], value: Span) -> Result<(), BlockError> {
    let Some(field) = known.field(key) else {
        return match key.starts_with(b"UWSGI_") {
            true => refuse_forbidden(key),
            false => Ok(()),
        };
    };
    let first = *field.get_or_insert(value);
    if first != value && key == b"CONTENT_LENGTH" && first.of(text) != value.of(text) {
        return Err(BlockError::TwoLengths);
    }
    Ok(())
}

fn refuse_forbidden(key: &[u8]) -> Result<(), BlockError> {
    match FORBIDDEN.iter().find(|name| **name == key) {
        Some(name) => Err(BlockError::Forbidden(name)),
        None => Ok(()),
    }
}

impl LoggedRequest for Request {
    fn method(&self) -> &[u8] {
        self.method()
    }

    fn uri(&self) -> &[u8] {
        self.uri()
    }

    fn protocol(&self) -> &[u8] {
        self.protocol()
    }

    fn remote_user(&self) -> &[u8] {
        self.value(self.known.remote_user)
    }

    fn remote_addr(&self) -> Option<&[u8]> {
        self.known.remote_addr.map(|span| span.of(&self.text))
    }

    fn content_length(&self) -> &[u8] {
        self.content_length().unwrap_or_default()
    }

    fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        self.variable(name)
    }

    fn variable_count(&self) -> usize {
        self.vars.len()
    }

    fn block_len(&self) -> usize {
        self.block_len
    }

    fn modifiers(&self) -> (u8, u8) {
        (self.modifier1, self.modifier2)
    }
}
