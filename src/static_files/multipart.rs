//! The body of a response with several parts of a file: multipart/byteranges (RFC 9110, 14.6).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;

/// A piece of a response body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes in memory.
    Text(Vec<u8>),
    /// A part of the file.
    File(Range<u64>),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File(part) => part.end - part.start,
        }
    }
}

/// A response body of several parts of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multipart {
    /// The value of Content-Type.
    pub content_type: String,
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
}

impl Multipart {
    /// Creates the body for `parts` of a file of `size` bytes.
    pub fn new(parts: &[Range<u64>], size: u64, media_type: Option<&str>) -> Self {
        let boundary = boundary();
        let mut pieces = Vec::with_capacity(parts.len() * 2 + 1);
        for part in parts {
            let mut head = format!("\r\n--{boundary}\r\n");
            if let Some(media_type) = media_type {
                head += &format!("Content-Type: {media_type}\r\n");
            }
            head += &format!("Content-Range: {}\r\n\r\n", content_range(part, size));
            pieces.push(Piece::Text(head.into_bytes()));
            pieces.push(Piece::File(part.clone()));
        }
        pieces.push(Piece::Text(format!("\r\n--{boundary}--\r\n").into_bytes()));
        Self {
            content_type: format!("multipart/byteranges; boundary={boundary}"),
            pieces,
        }
    }

    /// The length of the body, bytes.
    pub fn length(&self) -> u64 {
        self.pieces.iter().map(Piece::len).sum()
    }
}

/// The value of Content-Range for a part of a file of `size` bytes.
pub fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
}

/// A random boundary line. The author of a file cannot predict it, so no file contains it.
fn boundary() -> String {
    // each RandomState has different keys
    let number = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", number(), number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_framed() {
        let multipart = Multipart::new(&[0..2, 5..10], 10, Some("text/css"));
        let boundary = multipart.content_type.rsplit('=').next().unwrap_or("");
        let text = multipart.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Piece::File(part) => format!("<{part:?}>"),
        });
        let expected = format!(
            "\r\n--{boundary}\r\nContent-Type: text/css\r\nContent-Range: bytes 0-1/10\r\n\r\n<0..2>\
             \r\n--{boundary}\r\nContent-Type: text/css\r\nContent-Range: bytes 5-9/10\r\n\r\n<5..10>\
             \r\n--{boundary}--\r\n"
        );
        assert_eq!(text.collect::<String>(), expected);
        let parts = "<0..2><5..10>".len() as u64;
        assert_eq!(multipart.length(), expected.len() as u64 - parts + 7);
        let again = Multipart::new(&[0..2, 5..10], 10, Some("text/css"));
        assert_ne!(multipart.content_type, again.content_type);
    }
}
