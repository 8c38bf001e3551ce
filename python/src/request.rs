//! One request as the application's side sees it, whatever the wire spoke: variables and a body.

use ruwsgi::log::request_log::LoggedRequest;
use ruwsgi::protocol::uwsgi;

use crate::input::Body;

/// A stretch of [`Request::text`].
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// The bytes it stands for.
    pub fn of(self, text: &[u8]) -> &[u8] {
        let start = self.start as usize;
        text.get(start..start + self.len as usize)
            .unwrap_or_default()
    }

    /// Where it ends.
    pub fn end(self) -> usize {
        self.start as usize + self.len as usize
    }

    /// The stretch from `start`, `len` bytes.
    pub fn new(start: usize, len: usize) -> Self {
        // a block of variables is 64 KiB at most
        Self {
            start: start as u32,
            len: len as u32,
        }
    }
}

/// The variables that the server itself looks at. Absent ones are `None`; of duplicates the last counts,
/// as in the application's dictionary.
#[derive(Clone, Copy, Default, Debug)]
pub struct Marks {
    /// REQUEST_METHOD
    pub method: Option<Span>,
    /// REQUEST_URI
    pub uri: Option<Span>,
    /// SERVER_PROTOCOL
    pub protocol: Option<Span>,
    /// REMOTE_ADDR
    pub remote_addr: Option<Span>,
    /// REMOTE_USER
    pub remote_user: Option<Span>,
    /// PATH_INFO
    pub path_info: Option<Span>,
    /// SCRIPT_NAME
    pub script_name: Option<Span>,
    /// HTTPS
    pub https: Option<Span>,
    /// UWSGI_SCHEME
    pub scheme: Option<Span>,
    /// CONTENT_LENGTH
    pub content_length: Option<Span>,
}

/// Variables by which uWSGI lets a peer choose code, files or process state. A request with one is refused:
/// nothing from the wire may do that here.
const MAGIC: [&[u8]; 13] = [
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

/// A complete request.
#[derive(Default)]
pub struct Request {
    /// The block of variables (uwsgi: the packet itself), into which the spans point.
    pub text: Vec<u8>,
    /// The variables in their order: name and value.
    pub vars: Vec<(Span, Span)>,
    /// Those the server looks at.
    pub marks: Marks,
    /// uwsgi's first modifier.
    pub modifier1: u8,
    /// uwsgi's second modifier.
    pub modifier2: u8,
    /// Bytes of the block, for the log.
    pub block_len: usize,
    /// The body, complete.
    pub body: Body,
}

/// Why a block of variables is refused.
pub enum Refused {
    /// It is not well-formed.
    Malformed(uwsgi::Malformed),
    /// It holds a variable of [`MAGIC`]; its place in the list.
    Magic(&'static [u8]),
}

impl Request {
    /// Forgets the last request, keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.vars.clear();
        self.marks = Marks::default();
        self.modifier1 = 0;
        self.modifier2 = 0;
        self.block_len = 0;
        self.body = Body::Empty;
    }

    /// The bytes of a mark; empty when it is absent.
    pub fn mark(&self, mark: Option<Span>) -> &[u8] {
        mark.map_or(&[], |span| span.of(&self.text))
    }

    /// The value of a variable; of duplicates the last counts.
    pub fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.vars.iter().rev();
        let mut found = found.filter(|(key, _)| key.of(&self.text) == name);
        found.next().map(|(_, value)| value.of(&self.text))
    }

    /// Notes the variables of the uwsgi block that stands at `start` in the text.
    ///
    /// # Errors
    /// A block that is not well-formed or holds a magic variable.
    pub fn read_block(&mut self, start: usize, len: usize) -> Result<(), Refused> {
        let block = self.text.get(start..start + len).unwrap_or_default();
        let base = block.as_ptr() as usize;
        self.block_len = len;
        for item in uwsgi::vars(block) {
            let (key, value) = item.map_err(Refused::Malformed)?;
            let key_span = Span::new(start + (key.as_ptr() as usize - base), key.len());
            let value_span = if value.is_empty() {
                Span::default()
            } else {
                Span::new(start + (value.as_ptr() as usize - base), value.len())
            };
            if key == b"HTTP_PROXY" {
                continue; // a client's header must not pass for the proxy setting of CGI programs
            }
            mark(&mut self.marks, key, value_span)?;
            self.vars.push((key_span, value_span));
        }
        Ok(())
    }

    /// Writes what an operator wants to know of it while it runs: method, URI, client. Returns the length.
    pub fn describe(&self, out: &mut [u8]) -> usize {
        let mut at = 0;
        for (index, mark) in [self.marks.method, self.marks.uri, self.marks.remote_addr]
            .into_iter()
            .enumerate()
        {
            let gap: &[u8] = if index > 0 { b" " } else { b"" };
            for part in [gap, self.mark(mark)] {
                let len = part.len().min(out.len() - at);
                out[at..at + len].copy_from_slice(&part[..len]);
                at += len;
            }
        }
        at
    }

    /// Appends a variable that did not come as part of a block.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        let key_span = Span::new(self.text.len(), key.len());
        self.text.extend_from_slice(key);
        let value_span = Span::new(self.text.len(), value.len());
        self.text.extend_from_slice(value);
        self.block_len += key.len() + value.len() + 4;
        // the names pushed are the server's own or begin with HTTP_, so none of them is magic
        let _ = mark(&mut self.marks, key, value_span);
        self.vars.push((key_span, value_span));
    }
}

fn mark(marks: &mut Marks, key: &[u8], value: Span) -> Result<(), Refused> {
    let place = match key {
        b"REQUEST_METHOD" => &mut marks.method,
        b"REQUEST_URI" => &mut marks.uri,
        b"SERVER_PROTOCOL" => &mut marks.protocol,
        b"REMOTE_ADDR" => &mut marks.remote_addr,
        b"REMOTE_USER" => &mut marks.remote_user,
        b"PATH_INFO" => &mut marks.path_info,
        b"SCRIPT_NAME" => &mut marks.script_name,
        b"HTTPS" => &mut marks.https,
        b"CONTENT_LENGTH" => &mut marks.content_length,
        b"UWSGI_SCHEME" => &mut marks.scheme,
        _ if key.starts_with(b"UWSGI_") => {
            return match MAGIC.iter().find(|magic| **magic == key) {
                Some(magic) => Err(Refused::Magic(magic)),
                None => Ok(()),
            };
        }
        _ => return Ok(()),
    };
    *place = Some(value);
    Ok(())
}

impl LoggedRequest for Request {
    fn method(&self) -> &[u8] {
        self.mark(self.marks.method)
    }

    fn uri(&self) -> &[u8] {
        self.mark(self.marks.uri)
    }

    fn protocol(&self) -> &[u8] {
        self.mark(self.marks.protocol)
    }

    fn remote_user(&self) -> &[u8] {
        self.mark(self.marks.remote_user)
    }

    fn remote_addr(&self) -> Option<&[u8]> {
        self.marks.remote_addr.map(|span| span.of(&self.text))
    }

    fn content_length(&self) -> &[u8] {
        self.mark(self.marks.content_length)
    }

    fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        Request::variable(self, name)
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
