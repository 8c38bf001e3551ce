//! The uwsgi protocol: a head of four bytes, a block of variables, then the body.
//!
//! Every uwsgi request is parsed here, so nothing in this module allocates or copies.

use super::text;

/// Bytes of a packet's head: modifier1, the size (16 bits, little endian), modifier2.
pub const HEADER: usize = 4;

/// The response to a ping (modifier1 = 100).
pub const PONG: [u8; HEADER] = [100, 0, 0, 1];

/// The head of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The kind of packet: 0 and 30 are requests, 100 is a ping.
    pub modifier1: u8,
    /// Bytes of the block of variables, 0 to 65535.
    pub size: usize,
    /// The argument of modifier1; unused in a request.
    pub modifier2: u8,
}

impl Head {
    /// Parses the head at the start of `bytes`; `None` for fewer than [`HEADER`] bytes.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Head> {
        let &[modifier1, low, high, modifier2] = bytes.first_chunk::<HEADER>()?;
        Some(Head {
            modifier1,
            size: usize::from(u16::from_le_bytes([low, high])),
            modifier2,
        })
    }
}

/// Another protocol, received on a uwsgi socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// A plain HTTP request.
    Http,
    /// The first message of a TLS handshake.
    Tls,
}

/// The other protocol to which the first bytes of a connection belong. `None` for a uwsgi packet, and for fewer than
/// four bytes.
///
/// Call this function before [`Head::parse`]. A packet that is served never looks like another protocol: its modifier
/// is 0, 30 or 100. The first byte of an HTTP request is 67 to 84, and that of a TLS record is 22.
#[inline]
pub fn looks_like(bytes: &[u8]) -> Option<Foreign> {
    match bytes.first_chunk::<HEADER>()? {
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"DELE" | b"OPTI" | b"PATC" | b"CONN" | b"TRAC" => {
            Some(Foreign::Http)
        }
        [0x16, 0x03, ..] => Some(Foreign::Tls),
        _ => None,
    }
}

/// Why a block of variables is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// An empty key.
    #[error("a variable without a name")]
    EmptyKey,
    /// The size of a key or value exceeds the rest of the block.
    #[error("a variable that reaches past the end of the packet")]
    Truncated,
}

/// Iterates over the variables of a block in the order received; ends after the first error.
#[derive(Debug, Clone)]
pub struct Vars<'a> {
    rest: &'a [u8],
}

/// Iterates over the keys and values of `block` (the [`Head::size`] bytes after the head).
#[inline]
pub fn vars(block: &[u8]) -> Vars<'_> {
    Vars { rest: block }
}

impl<'a> Iterator for Vars<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let pair = sized(self.rest).and_then(|(key, rest)| {
            let (value, rest) = sized(rest)?;
            Some((key, value, rest))
        });
        match pair {
            Some((key, value, rest)) if !key.is_empty() => {
                self.rest = rest;
                Some(Ok((key, value)))
            }
            other => {
                self.rest = &[];
                Some(Err(
                    other.map_or(Malformed::Truncated, |_| Malformed::EmptyKey)
                ))
            }
        }
    }
}

impl std::iter::FusedIterator for Vars<'_> {}

/// Splits off a string that is preceded by its 16-bit size. Returns the string and the rest; `None` if bytes are
/// missing.
#[inline]
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*size)))
}

/// A CONTENT_LENGTH that is not a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("CONTENT_LENGTH is not a number of bytes")]
pub struct BadLength;

/// The body length in bytes, from the value of CONTENT_LENGTH. An empty value, which also stands for a missing
/// variable, gives 0.
///
/// The value has other characters than digits, or is more than 2^63 - 1. The proxy in front may have read another
/// number.
#[inline]
pub fn content_length(value: &[u8]) -> Result<u64, BadLength> {
    if value.is_empty() {
        Ok(0)
    } else {
        text::decimal(value).ok_or(BadLength)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for text in pairs.iter().flat_map(|(key, value)| [key, value]) {
            out.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
            out.extend(text);
        }
        out
    }

    #[test]
    fn a_head_is_four_bytes_with_the_size_in_little_endian() {
        assert_eq!(
            Head::parse(&[0, 0x18, 0, 0]),
            Some(Head {
                modifier1: 0,
                size: 24,
                modifier2: 0
            })
        );
        assert_eq!(
            Head::parse(&[30, 0xff, 0xff, 7, 9]),
            Some(Head {
                modifier1: 30,
                size: 65535,
                modifier2: 7
            })
        );
        assert_eq!(Head::parse(&[0, 0x18, 0]), None);
        assert_eq!(Head::parse(&[]), None);
    }

    #[test]
    fn http_and_tls_are_recognised_by_their_first_four_bytes() {
        for method in [
            "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE",
        ] {
            assert_eq!(
                looks_like(format!("{method} / HTTP/1.1\r\n").as_bytes()),
                Some(Foreign::Http),
                "{method}"
            );
        }
        assert_eq!(
            looks_like(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]),
            Some(Foreign::Tls)
        );
        assert_eq!(looks_like(b"GET"), None);
        assert_eq!(looks_like(b"GETS"), None);
    }

    #[test]
    fn no_packet_that_would_be_served_is_taken_for_http_or_tls() {
        for modifier1 in [0, 30, 100] {
            for size in 0..=u16::MAX {
                let [low, high] = size.to_le_bytes();
                for modifier2 in [0, 1, b' ', b'D', b'E', b'I', b'N', b'T', b'C', 255] {
                    assert_eq!(looks_like(&[modifier1, low, high, modifier2]), None);
                }
            }
        }
    }

    #[test]
    fn variables_come_in_order_with_duplicates_and_empty_values() {
        let pairs: Vec<_> = [("A", "1"), ("EMPTY", ""), ("A", "2")]
            .map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec()))
            .into();
        let bytes = block(&pairs);
        let read: Vec<_> = vars(&bytes)
            .map(|pair| pair.unwrap())
            .map(|(k, v)| (k.to_vec(), v.to_vec()))
            .collect();
        assert_eq!(read, pairs);
    }

    #[test]
    fn an_empty_block_has_no_variables() {
        assert_eq!(vars(&[]).next(), None);
    }

    #[test]
    fn an_empty_key_ends_the_block_with_an_error() {
        let mut read = vars(&[0, 0, 1, 0, b'x', 1, 0, b'A', 0, 0]);
        assert_eq!(read.next(), Some(Err(Malformed::EmptyKey)));
        assert_eq!(read.next(), None);
    }

    #[test]
    fn a_size_past_the_end_ends_the_block_with_an_error() {
        for wrong in [
            &[1][..],
            &[1, 0],
            &[2, 0, b'A'],
            &[1, 0, b'A'],
            &[1, 0, b'A', 1],
            &[1, 0, b'A', 1, 0],
            &[0, 0],
        ] {
            let mut read = vars(wrong);
            assert_eq!(read.next(), Some(Err(Malformed::Truncated)), "{wrong:?}");
            assert_eq!(read.next(), None);
        }
    }

    #[test]
    fn a_content_length_is_digits_or_nothing() {
        assert_eq!(content_length(b""), Ok(0));
        assert_eq!(content_length(b"0"), Ok(0));
        assert_eq!(content_length(b"20971520"), Ok(20_971_520));
        for wrong in [
            "-1",
            "+5",
            " 5",
            "5 ",
            "5, 5",
            "0x5",
            "1e3",
            "18446744073709551621",
            "\u{664}",
        ] {
            assert_eq!(
                content_length(wrong.as_bytes()),
                Err(BadLength),
                "{wrong:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read_as_a_packet(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (Head::parse(&bytes), looks_like(&bytes), content_length(&bytes));
            let read: Vec<_> = vars(&bytes).collect();
            prop_assert!(read.iter().rev().skip(1).all(Result::is_ok));
        }

        #[test]
        fn what_is_written_is_read_again(
            pairs in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 1..40), prop::collection::vec(any::<u8>(), 0..400)), 0..20)
        ) {
            let bytes = block(&pairs);
            let read: Vec<_> = vars(&bytes).map(|pair| pair.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn every_cut_of_a_block_inside_a_variable_is_an_error(
            pairs in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 1..9), prop::collection::vec(any::<u8>(), 0..9)), 1..6)
        ) {
            let bytes = block(&pairs);
            let ends: Vec<usize> = (0..=pairs.len()).map(|count| block(&pairs[..count]).len()).collect();
            for cut in 0..bytes.len() {
                let whole = vars(&bytes[..cut]).all(|pair| pair.is_ok());
                prop_assert_eq!(whole, ends.contains(&cut));
            }
        }
    }
}
