//! Escapes text for the log, so that the text cannot end a line, imitate another line, or control a terminal.

use std::fmt::{self, Write};

/// Escapes bytes from a client: control bytes, quotes, backslashes and bytes outside ASCII become `\xNN`, so the text
/// cannot end a line or a quoted field.
pub fn escape(bytes: &[u8]) -> Escaped<'_> {
    Escaped(bytes)
}

/// Appends `bytes` to `out`, escaped as by [`escape`].
pub fn escape_into(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        if is_plain(byte) {
            out.push(byte);
        } else {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'x', high, low]);
        }
    }
}

/// Bytes whose `Display` and `Debug` output is escaped; see [`escape`].
#[derive(Clone, Copy)]
pub struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for &byte in self.0 {
            if is_plain(byte) {
                f.write_char(char::from(byte))?;
            } else {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Replaces unsafe characters by `\xNN` for each of their UTF-8 bytes: control characters (except the tab), line
/// separators, and marks that change the direction of text. All other characters stay as they are.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_printable(&mut out, text);
    out
}

/// Appends `text` to `out`, escaped as by [`printable`].
pub(super) fn push_printable(out: &mut String, text: &str) {
    for c in text.chars() {
        if !is_unsafe(c) {
            out.push(c);
            continue;
        }
        let mut utf8 = [0; 4];
        for byte in c.encode_utf8(&mut utf8).bytes() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

fn is_unsafe(c: char) -> bool {
    let separates_or_turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\t') || separates_or_turns
}

/// The beginning of a text, at most `max` bytes.
pub fn clipped(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_from_a_client_cannot_forge_a_line() {
        let sent = b"/a\r\n2026-11-21 [error] master: \"gone\" \\x0a \x1b[2J \xc3\xa9\x7f";
        let escaped =
            r"/a\x0d\x0a2026-11-21 [error] master: \x22gone\x22 \x5cx0a \x1b[2J \xc3\xa9\x7f";
        assert_eq!(escape(sent).to_string(), escaped);
        let mut out = Vec::new();
        escape_into(&mut out, sent);
        assert_eq!(out, escaped.as_bytes());
    }

    #[test]
    fn printable_text_keeps_letters_and_loses_controls() {
        assert_eq!(printable("café \"x\"\tC:\\y"), "café \"x\"\tC:\\y");
        assert_eq!(printable("a\nb\x1b[0m\u{85}"), r"a\x0ab\x1b[0m\xc2\x85");
        assert_eq!(printable("a\u{202e}b"), r"a\xe2\x80\xaeb");
    }
}
