//! Makes entity tags, and reads the lists in If-Match and If-None-Match (RFC 9110, 8.8.3 and 13.1).

use super::accept_encoding::Coding;
use super::time::Modified;

/// The strong entity tag of a file. Different contents have different tags, and so have different encodings of one
/// content. If several servers have copies of a file with the same modification time, their tags are the same.
pub fn of(size: u64, modified: Modified, coding: Option<Coding>) -> String {
    let suffix = match coding {
        None => "",
        Some(Coding::Brotli) => "-br",
        Some(Coding::Zstandard) => "-zst",
        Some(Coding::Gzip) => "-gz",
    };
    let Modified { seconds, nanos } = modified;
    format!("\"{seconds:x}.{nanos:x}-{size:x}{suffix}\"")
}

/// How two entity tags are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Weak tags match no tag.
    Strong,
    /// Weak tags match as if they were strong.
    Weak,
}

/// Whether a header matches the strong tag `own` of an existing file. The header is a list of entity tags, or `*`. A
/// list is read up to its first error.
pub fn matches(header: &[u8], own: &str, comparison: Comparison) -> bool {
    let mut rest = header.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        while let [b',' | b' ' | b'\t', tail @ ..] = rest {
            rest = tail;
        }
        let is_weak = rest.starts_with(b"W/");
        let tag = if is_weak { &rest[2..] } else { rest };
        let Some(len) = quoted_len(tag) else {
            return false;
        };
        let usable = !is_weak || comparison == Comparison::Weak;
        if usable && &tag[..len] == own.as_bytes() {
            return true;
        }
        rest = &tag[len..];
    }
}

/// Length of the quoted tag at the beginning of `text`, including its quotes.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let inner = text.strip_prefix(b"\"")?;
    let end = inner.iter().position(|&byte| byte == b'"')?;
    let is_valid = inner[..end].iter().all(|&byte| byte > b' ' && byte != 0x7f);
    is_valid.then_some(end + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_of_tags_are_compared() {
        for (header, weak, strong) in [
            ("\"a\"", true, true),
            ("W/\"a\"", true, false),
            ("\"b\", \"a\"", true, true),
            (",, \"b\",W/\"x\" ,\t\"a\"", true, true),
            ("\"b\"\"a\"", true, true),
            ("*", true, true),
            (" * ", true, true),
            ("a", false, false),
            ("\"b\", a, \"a\"", false, false),
            ("\"a", false, false),
            ("w/\"a\"", false, false),
            ("", false, false),
            ("\"\"", false, false),
        ] {
            let header_matches = |comparison| matches(header.as_bytes(), "\"a\"", comparison);
            assert_eq!(header_matches(Comparison::Weak), weak, "{header}");
            assert_eq!(header_matches(Comparison::Strong), strong, "{header}");
        }
    }

    #[test]
    fn tags_differ_by_size_time_and_encoding() {
        let modified = |seconds, nanos| Modified { seconds, nanos };
        let tags = [
            of(16, modified(1, 0), None),
            of(17, modified(1, 0), None),
            of(16, modified(2, 0), None),
            of(16, modified(1, 1), None),
            of(16, modified(1, 0), Some(Coding::Gzip)),
            of(16, modified(1, 0), Some(Coding::Brotli)),
        ];
        assert_eq!(tags[0], "\"1.0-10\"");
        for (index, tag) in tags.iter().enumerate() {
            assert!(!tags[..index].contains(tag), "{tag}");
        }
    }

    proptest! {
        #[test]
        fn no_list_breaks_the_reader(header in "[\"W/a, *\\\\\u{80}]{0,30}") {
            let weak = matches(header.as_bytes(), "\"a\"", Comparison::Weak);
            let strong = matches(header.as_bytes(), "\"a\"", Comparison::Strong);
            prop_assert!(weak || !strong);
        }
    }
}
