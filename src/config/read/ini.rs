//! uWSGI's ini format: lines are trimmed and split at the first `=`; `#` and `;` begin a comment line.
//!
//! The crate `rust-ini` is not used: uWSGI's dialect has keys without a value, repeated keys and no comments after a
//! value. Also, the findings need line numbers.

/// A line other than a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `[section]`; the name is the line without its first and its last character, as in uWSGI.
    Section(&'a str),
    /// `key = value`; a `key` alone has an empty value.
    Pair(&'a str, &'a str),
}

/// Parses one line without its line feed; `None` for a comment or an empty line.
pub(crate) fn line(text: &str) -> Option<Line<'_>> {
    let text = trim(text);
    if text.is_empty() || text.starts_with(['#', ';']) {
        return None;
    }
    if let Some(header) = text.strip_prefix('[') {
        let end = header.char_indices().next_back().map_or(0, |(at, _)| at);
        return Some(Line::Section(&header[..end]));
    }
    match text.split_once('=') {
        Some((key, value)) => Some(Line::Pair(trim(key), trim(value))),
        None => Some(Line::Pair(text, "")),
    }
}

/// The lines of a file without its byte-order mark, numbered from 1.
pub(crate) fn numbered(bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    (1u32..).zip(bytes.split(|&byte| byte == b'\n'))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_at_its_first_equals_sign() {
        assert_eq!(line("  env = A=b=c \r"), Some(Line::Pair("env", "A=b=c")));
        assert_eq!(line("master"), Some(Line::Pair("master", "")));
        assert_eq!(line("=x"), Some(Line::Pair("", "x")));
        assert_eq!(line("a: b"), Some(Line::Pair("a: b", "")));
    }

    #[test]
    fn comments_are_lines_of_their_own() {
        assert_eq!(line("  # a = b"), None);
        assert_eq!(line(";"), None);
        assert_eq!(line(" \t\r"), None);
        assert_eq!(line("a = b # c"), Some(Line::Pair("a", "b # c")));
    }

    #[test]
    fn a_section_is_the_text_between_the_first_and_the_last_character() {
        assert_eq!(line("[uwsgi]"), Some(Line::Section("uwsgi")));
        assert_eq!(line("[uwsgi] ; x"), Some(Line::Section("uwsgi] ; ")));
        assert_eq!(line("[uwsgi ]"), Some(Line::Section("uwsgi ")));
        assert_eq!(line("["), Some(Line::Section("")));
        assert_eq!(line("[é"), Some(Line::Section("")));
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_line() {
        let lines: Vec<_> = numbered(b"\xEF\xBB\xBF[uwsgi]\na").collect();
        assert_eq!(lines, [(1, &b"[uwsgi]"[..]), (2, b"a")]);
    }
}
