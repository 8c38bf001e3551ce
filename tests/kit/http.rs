//! A client of HTTP/1.1 that keeps its connection.

use std::io::Read;

use super::{Answer, Connection};

/// A connection that speaks HTTP.
pub struct Http {
    pub connection: Connection,
}

impl Http {
    /// On an open connection.
    pub fn on(connection: Connection) -> Self {
        Self { connection }
    }

    /// Sends any bytes.
    #[track_caller]
    pub fn put(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.connection.put(text.as_ref());
        self
    }

    /// A GET, answered; the connection stays.
    #[track_caller]
    pub fn get(&mut self, uri: &str) -> Answer {
        self.put(format!("GET {uri} HTTP/1.1\r\nHost: example.com\r\n\r\n"))
            .answer()
    }

    /// The next answer, delimited as its head says; without Content-Length and chunks, until the end.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// The next answer, which has no body if the method was HEAD.
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

    /// The next chunk of a chunked body; `None` for the last, empty one.
    #[track_caller]
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.connection.until("\r\n");
        let size = usize::from_str_radix(line.trim_end(), 16)
            .unwrap_or_else(|e| panic!("{e}: chunk size {line:?}"));
        let chunk = self.exactly(size);
        self.connection.until("\r\n");
        (size > 0).then_some(chunk)
    }

    /// Whether the server has closed the connection, without sending anything more.
    #[track_caller]
    pub fn is_closed(&mut self) -> bool {
        self.connection.rest().0.is_empty()
    }
}
