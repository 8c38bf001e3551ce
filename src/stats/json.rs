//! Writes JSON for the readers of uWSGI's statistics. The text is ASCII, because some readers decode the bytes piece by
//! piece. Each worker has one line, because some readers limit the number of lines.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Serializes a value. If `lines` is true, each field of the object and each item of its lists begins on a new line.
pub(super) fn to_vec(value: &impl Serialize, lines: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Ascii { lines, depth: 0 });
    // a write to memory does not fail, and the values are plain structs
    let _ = value.serialize(&mut serializer);
    bytes.push(b'\n');
    bytes
}

/// Converts a number to a signed integer of 64 bits. A number above the maximum becomes the maximum.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

struct Ascii {
    lines: bool,
    depth: usize,
}

impl Ascii {
    fn begin<W: Write + ?Sized>(
        &self,
        writer: &mut W,
        first: bool,
        depth: usize,
    ) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        match self.lines && self.depth == depth {
            true => writer.write_all(b"\n"),
            false => Ok(()),
        }
    }
}

impl Formatter for Ascii {
    fn begin_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }

    fn begin_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"[")
    }

    fn end_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_object_key<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.begin(writer, first, 1)
    }

    fn begin_array_value<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.begin(writer, first, 2)
    }

    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.is_ascii() {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            if character.is_ascii() {
                writer.write_all(&[character as u8])?;
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_output_is_ascii_with_a_line_per_item() {
        let value =
            serde_json::json!({"a": "J\u{f6}rg \u{1f40d} \u{1}\"", "b": [{"c": [1, 2]}, {}]});
        let text = String::from_utf8(to_vec(&value, true)).unwrap();
        let expected =
            "{\n\"a\":\"J\\u00f6rg \\ud83d\\udc0d \\u0001\\\"\",\n\"b\":[\n{\"c\":[1,2]},\n{}]}\n";
        assert_eq!(text, expected);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
        let minified = to_vec(&value, false);
        assert_eq!(minified.iter().filter(|byte| **byte == b'\n').count(), 1);
    }

    #[test]
    fn numbers_fit_into_signed_integers() {
        assert_eq!((int(7), int(u64::MAX)), (7, i64::MAX));
    }
}
