//! The character classes and numbers of RFC 9110.

/// The maximum length of a body in bytes: file offsets are signed 64-bit numbers.
const MAX_LENGTH: u64 = i64::MAX as u64;

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        table[byte] = c.is_ascii_alphanumeric()
            || matches!(
                c,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

/// Whether `byte` is a token character (RFC 9110 5.6.2), as in methods and header names.
#[inline]
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Whether `bytes` is a token: one or more token characters.
#[inline]
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Whether `byte` is a control character other than the horizontal tab.
#[inline]
pub(super) fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

/// The number of bytes before the first control character, or the length of `bytes` if there is none. The tab is not
/// counted as a control character.
#[inline]
pub(super) fn before_control(bytes: &[u8]) -> usize {
    let mut clean = 0;
    // each block of sixteen bytes is tested without a branch, so the compiler vectorizes the test
    for block in bytes.chunks_exact(16) {
        if block
            .iter()
            .fold(false, |found, &byte| found | is_control(byte))
        {
            break;
        }
        clean += block.len();
    }
    let rest = bytes.get(clean..).unwrap_or_default();
    clean
        + rest
            .iter()
            .position(|&byte| is_control(byte))
            .unwrap_or(rest.len())
}

/// `bytes` without leading and trailing spaces and tabs.
#[inline]
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The value of a decimal number. `None` for an empty text, for a text with other characters than digits, and for a
/// number above 2^63 - 1.
#[inline]
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
    }
    (number <= MAX_LENGTH).then_some(number)
}

/// The value of one hexadecimal digit; `None` for any other byte.
#[inline]
pub(super) fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_character_is_found_wherever_it_stands() {
        for length in 0..80 {
            let mut bytes = vec![b'x'; length];
            assert_eq!(before_control(&bytes), length);
            for at in 0..length {
                bytes[at] = 0x7f;
                assert_eq!(before_control(&bytes), at);
                bytes[at] = b'x';
            }
        }
    }

    #[test]
    fn the_tab_and_bytes_above_ascii_are_no_control_characters() {
        assert_eq!(before_control(b"a\tb\xff\x80 ~"), 7);
        assert_eq!((0..=255).filter(|&byte| is_control(byte)).count(), 32);
    }

    #[test]
    fn a_number_is_digits_alone_and_fits_a_files_offset() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"0005"), Some(5));
        assert_eq!(decimal(b"9223372036854775807"), Some(i64::MAX as u64));
        for wrong in [
            "",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1_0",
            "0x1",
            "1.0",
            "9223372036854775808",
            "18446744073709551621",
        ] {
            assert_eq!(decimal(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn only_spaces_and_tabs_around_a_value_are_trimmed() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b"\t "), b"");
        assert_eq!(trim(b"\x0ba"), b"\x0ba");
    }
}
