//! uWSGI's ini, read by uWSGI's own rule: trim, skip `#` and `;`, split at the first `=`, a bare key has no value.

/// A line that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `[section]`; the name is what stands between the first and the last character.
    Section(&'a str),
    /// `key = value`, or a bare `key` with an empty value.
    Pair(&'a str, &'a str),
}

/// Reads one line without its line feed; a comment or an empty line is nothing.
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

/// The file's lines without byte-order mark, numbered from 1.
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
    fn comments_stand_on_their_own_lines_only() {
        assert_eq!(line("  # a = b"), None);
        assert_eq!(line(";"), None);
        assert_eq!(line(" \t\r"), None);
        assert_eq!(line("a = b # c"), Some(Line::Pair("a", "b # c")));
    }

    #[test]
    fn a_section_is_what_stands_between_the_first_and_the_last_character() {
        assert_eq!(line("[uwsgi]"), Some(Line::Section("uwsgi")));
        assert_eq!(line("[uwsgi] ; x"), Some(Line::Section("uwsgi] ; ")));
        assert_eq!(line("[uwsgi ]"), Some(Line::Section("uwsgi ")));
        assert_eq!(line("["), Some(Line::Section("")));
        assert_eq!(line("[é"), Some(Line::Section("")));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        let lines: Vec<_> = numbered(b"\xEF\xBB\xBF[uwsgi]\na").collect();
        assert_eq!(lines, [(1, &b"[uwsgi]"[..]), (2, b"a")]);
    }
}
