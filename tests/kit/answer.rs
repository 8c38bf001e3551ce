//! Responses: parsing and assertions.

use serde_json::Value;

/// A parsed response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The protocol, such as `HTTP/1.1`.
    pub version: String,
    /// 0 without a status line.
    pub status: u16,
    pub reason: String,
    /// In the order received.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The unparsed bytes.
    pub raw: Vec<u8>,
    /// True if the connection ended with an end of file, false if it ended with a reset.
    pub orderly: bool,
}

impl Answer {
    /// Parses the bytes received until the end of a connection.
    pub fn parse(raw: Vec<u8>, orderly: bool) -> Self {
        let end = raw.windows(4).position(|w| w == b"\r\n\r\n");
        let head = String::from_utf8_lossy(&raw[..end.unwrap_or(0)]).into_owned();
        let body = raw[end.map_or(0, |end| end + 4)..].to_vec();
        let mut lines = head.split("\r\n");
        let mut words = lines
            .next()
            .unwrap_or_default()
            .splitn(3, ' ')
            .map(str::to_owned);
        Self {
            version: words.next().unwrap_or_default(),
            status: words.next().and_then(|code| code.parse().ok()).unwrap_or(0),
            reason: words.next().unwrap_or_default(),
            headers: lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.trim_start().to_owned()))
                .collect(),
            body,
            raw,
            orderly,
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// The first header with this name; names are compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Fails unless the response has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "the response was {:?}",
            String::from_utf8_lossy(&self.raw)
        );
        self
    }

    /// Fails unless the status is 200 and the body is this text.
    #[track_caller]
    pub fn expect_text(self, text: &str) -> Self {
        let answer = self.expect(200);
        assert_eq!(answer.text(), text);
        answer
    }
}
