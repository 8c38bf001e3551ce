//! The application's status and headers, validated. The headers that the server adds are in `response_headers.rs`.

use crate::ipc::Protocol;
use crate::protocol::{response, uwsgi};

/// Maximum length of the status and of all header lines, bytes. No client or proxy accepts so many.
const MAX_LENGTH: usize = 1 << 20;

/// The validated status and headers of a response. The object is reused for the next response.
#[derive(Default)]
pub struct ApplicationHeaders {
    /// The status line without the protocol version, such as `200 OK`.
    pub status: Vec<u8>,
    /// The header lines, each ending with CRLF.
    pub lines: Vec<u8>,
    /// Number of header lines.
    pub count: u32,
    /// The value of Content-Length; `None` if there is no such header.
    pub content_length: Option<u64>,
    /// Whether there is a Date header.
    pub has_date: bool,
    /// Whether the application asks for the connection to be closed (`Connection: close`).
    pub closes: bool,
    protocol: Protocol,
}

impl ApplicationHeaders {
    /// Removes status and headers, and sets the protocol. Over HTTP the server owns the headers of the connection
    /// (Connection, Transfer-Encoding).
    #[inline]
    pub fn restart(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.clear();
    }

    /// Removes status and headers.
    #[inline]
    pub fn clear(&mut self) {
        self.status.clear();
        self.lines.clear();
        self.count = 0;
        self.content_length = None;
        self.has_date = false;
        self.closes = false;
    }

    /// Whether a status has been set.
    pub fn is_started(&self) -> bool {
        !self.status.is_empty()
    }

    /// The status code; 0 if none is set.
    pub fn code(&self) -> u16 {
        match self.status[..] {
            [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => [a, b, c]
                .iter()
                .fold(0, |code, digit| code * 10 + u16::from(digit - b'0')),
            _ => 0,
        }
    }

    /// Sets the status, such as `200 OK`, and removes all headers. A bare code, such as `404`, gets its standard
    /// phrase.
    ///
    /// # Errors
    /// What is wrong with the status. In a message the text follows the name of the status.
    #[inline]
    pub fn start(&mut self, status: &[u8]) -> Result<(), &'static str> {
        self.clear();
        if status.len() > MAX_LENGTH {
            return Err("is longer than 1 MiB");
        }
        self.status.extend_from_slice(status);
        if let [digits @ .., b' '] = status {
            self.status.truncate(digits.len());
        }
        if self.status.len() == 3 {
            let phrase = response::reason(self.code());
            self.status.push(b' ');
            self.status.extend_from_slice(phrase.as_bytes());
        }
        // an informational response (1xx) is refused, because the client would wait for another response after it
        if !response::status_is_valid(&self.status) || self.status.starts_with(b"1") {
            self.status.clear();
            return Err("must be three digits, a space and a phrase without control characters");
        }
        Ok(())
    }

    /// Adds a header after checking it. Over HTTP the engine obeys `Connection: close`, and sends no Connection header
    /// of the application.
    ///
    /// # Errors
    /// What is wrong with the header. In a message the text follows the name of the header.
    #[inline]
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if !response::header_name_is_valid(name) {
            return Err("has a name that is not a token");
        }
        if !response::header_value_is_valid(value) {
            return Err("has a value with a control character (a line break would forge a header)");
        }
        if self.lines.len() + name.len() + value.len() > MAX_LENGTH {
            return Err("makes the headers of the response longer than 1 MiB");
        }
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                return self.add_length(name, value);
            }
            17 if self.protocol == Protocol::Http
                && name.eq_ignore_ascii_case(b"transfer-encoding") =>
            {
                return Err("is the server's: the body is framed here");
            }
            10 if self.protocol == Protocol::Http && name.eq_ignore_ascii_case(b"connection") => {
                // Connection is a hop-by-hop header, so the server obeys the header and does not send it
                if value.eq_ignore_ascii_case(b"close") {
                    self.closes = true;
                }
                return Ok(());
            }
            4 if name.eq_ignore_ascii_case(b"date") => self.has_date = true,
            _ => {}
        }
        self.append(name, value);
        Ok(())
    }

    fn add_length(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let value = value.trim_ascii();
        let length = uwsgi::content_length(value).map_err(|_| "is not a number of bytes")?;
        if value.is_empty() || self.content_length.is_some_and(|earlier| earlier != length) {
            return Err("must be one number");
        }
        // RFC 9110: a 204 response has no Content-Length (8.6), and the server sets that of a 205 response (15.3.6)
        if !matches!(self.code(), 204 | 205) && self.content_length.replace(length).is_none() {
            self.append(name, value);
        }
        Ok(())
    }

    /// Adds Content-Length to a head that has no Content-Length. A response to HEAD has this header too.
    pub fn set_length(&mut self, length: u64) {
        self.content_length = Some(length);
        self.append(b"Content-Length", length.to_string().as_bytes());
    }

    /// Removes the headers for which `keep`, called with name and value, returns false.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let lines = std::mem::take(&mut self.lines);
        self.count = 0;
        // values contain no line break: `add` has checked them
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r\n").unwrap_or(line);
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) = line.split_at(colon.unwrap_or(line.len()));
            let value = value.strip_prefix(b": ").unwrap_or_default();
            if keep(name, value) {
                self.append(name, value);
            } else if name.eq_ignore_ascii_case(b"content-length") {
                self.content_length = None;
            } else if name.eq_ignore_ascii_case(b"date") {
                self.has_date = false;
            }
        }
    }

    /// Adds a header without checking it. The caller knows that the header is valid.
    #[inline]
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        self.lines.extend_from_slice(name);
        self.lines.extend_from_slice(b": ");
        self.lines.extend_from_slice(value);
        self.lines.extend_from_slice(b"\r\n");
        self.count += 1;
    }
}
