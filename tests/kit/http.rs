//! An HTTP/1.1 client with a persistent connection.

use std::io::Read;

use super::{Answer, Connection};

/// An HTTP connection.
pub struct Http {
    pub connection: Connection,
}

impl Http {
    /// Uses an open connection.
    pub fn on(connection: Connection) -> Self {
        Self { connection }
    }

    /// Sends raw bytes.
    #[track_caller]
    pub fn put(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.connection.put(text.as_ref());
        self
    }

    /// Sends a GET request and reads its response; the connection stays open.
    #[track_caller]
    pub fn get(&mut self, uri: &str) -> Answer {
        self.put(format!("GET {uri} HTTP/1.1\r\nHost: example.com\r\n\r\n"))
            .answer()
    }

    /// Reads a response delimited by Content-Length or chunks. Without them the body extends to the end of the
    /// connection.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// Reads a response to this method: a response to HEAD has no body.
    #[track_caller]
    pub fn answer_to(&mut self, method: &str) -> Answer {
        let head = self.connection.until("\r\n\r\n");
        let mut answer = Answer::parse(head.into_bytes(), true);
        let bodiless =
            method == "HEAD" || answer.status / 100 == 1 || matches!(answer.status, 204 | 304);
        if bodiless {
            return answer;
        }
        if answer
            .header("Transfer-Encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
        {
            answer.body = self.chunks();
        } else if let Some(length) = answer.header("Content-Length") {
            answer.body = self.exactly(length.parse().unwrap());
        } else {
            (answer.body, answer.orderly) = self.connection.rest();
        }
        answer
    }

    #[track_caller]
    fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.connection.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[track_caller]
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk() {
            body.extend(chunk);
        }
        body
    }

    /// Reads a chunk of a chunked body; `None` for the last, empty one.
    #[track_caller]
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.connection.until("\r\n");
        let size = usize::from_str_radix(line.trim_end(), 16)
            .unwrap_or_else(|e| panic!("{e}: chunk size {line:?}"));
        let chunk = self.exactly(size);
        self.connection.until("\r\n");
        (size > 0).then_some(chunk)
    }

    /// Waits for the end of the connection. Whether the server sent nothing before it.
    #[track_caller]
    pub fn is_closed(&mut self) -> bool {
        self.connection.rest().0.is_empty()
    }
}
