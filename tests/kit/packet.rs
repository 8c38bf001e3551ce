//! Requests of the uwsgi protocol.

/// A request: variables, body and modifier.
#[derive(Debug, Clone)]
pub struct Request {
    pub modifier: u8,
    pub vars: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// A GET request for this path and query, with the variables of nginx.
pub fn get(uri: &str) -> Request {
    Request::new("GET", uri)
}

/// A POST request with this body.
pub fn post(uri: &str, body: impl Into<Vec<u8>>) -> Request {
    let body = body.into();
    let request = Request::new("POST", uri).var("CONTENT_LENGTH", body.len().to_string());
    Request { body, ..request }
}

impl Request {
    /// A request with the variables of nginx's uwsgi_params.
    pub fn new(method: &str, uri: &str) -> Self {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let vars = [
            ("QUERY_STRING", query),
            ("REQUEST_METHOD", method),
            ("CONTENT_TYPE", ""),
            ("CONTENT_LENGTH", ""),
            ("REQUEST_URI", uri),
            ("PATH_INFO", &percent_decoded(path)),
            ("DOCUMENT_ROOT", "/usr/share/nginx/html"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REQUEST_SCHEME", "http"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("REMOTE_PORT", "40404"),
            ("SERVER_PORT", "80"),
            ("SERVER_NAME", "example.com"),
            ("HTTP_HOST", "example.com"),
            ("HTTP_USER_AGENT", "kit/1"),
            ("HTTP_ACCEPT", "*/*"),
            ("HTTP_ACCEPT_ENCODING", "gzip, deflate, br"),
            ("HTTP_ACCEPT_LANGUAGE", "en-GB,en;q=0.5"),
            ("HTTP_COOKIE", "sessionid=0123456789abcdef"),
            ("HTTP_CONNECTION", "close"),
            ("HTTP_X_FORWARDED_FOR", "192.0.2.7"),
        ];
        let bytes = |text: &str| text.as_bytes().to_vec();
        Self {
            modifier: 0,
            vars: vars
                .iter()
                .map(|(key, value)| (bytes(key), bytes(value)))
                .collect(),
            body: Vec::new(),
        }
    }

    /// A request without variables.
    pub fn bare() -> Self {
        Self {
            modifier: 0,
            vars: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Sets a variable; replaces an earlier one with the same name.
    pub fn var(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        match self.vars.iter_mut().find(|(k, _)| k == key.as_bytes()) {
            Some((_, old)) => *old = value,
            None => self.vars.push((key.into(), value)),
        }
        self
    }

    /// Adds a variable, even if one has the same name.
    pub fn and(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.vars.push((key.into(), value.as_ref().to_vec()));
        self
    }

    /// Removes a variable.
    pub fn without(mut self, key: &str) -> Self {
        self.vars.retain(|(k, _)| k != key.as_bytes());
        self
    }

    /// Sets the body; CONTENT_LENGTH stays as it is.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the modifier.
    pub fn modifier(mut self, modifier: u8) -> Self {
        self.modifier = modifier;
        self
    }

    /// Adds one variable that makes the block of variables exactly `size` bytes long.
    pub fn filled_to(self, size: usize) -> Self {
        let missing = size - self.block().len() - 4 - "HTTP_X_FILL".len();
        self.and("HTTP_X_FILL", vec![b'x'; missing])
    }

    /// The encoded block of variables.
    pub fn block(&self) -> Vec<u8> {
        let mut block = Vec::new();
        for text in self.vars.iter().flat_map(|(key, value)| [key, value]) {
            block.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
            block.extend(text);
        }
        block
    }

    /// The packet without the body.
    pub fn head(&self) -> Vec<u8> {
        packet(self.modifier, &self.block())
    }

    /// The packet and the body.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend(&self.body);
        bytes
    }
}

/// A packet with any block.
pub fn packet(modifier: u8, block: &[u8]) -> Vec<u8> {
    let [low, high] = u16::try_from(block.len()).unwrap().to_le_bytes();
    let mut packet = vec![modifier, low, high, 0];
    packet.extend(block);
    packet
}

fn percent_decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let hex = (byte == b'%')
            .then(|| std::str::from_utf8(tail.get(..2)?).ok())
            .flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}
