//! A path of a request, relative to a directory.

/// Maximum length of a path in bytes: PATH_MAX of Linux without the final NUL.
const MAX_LEN: usize = 4095;

/// Whether a path has neither `.` nor `..` nor an empty segment between its first and its last slash, so that it has no
/// other spelling.
pub fn is_plain(path: &[u8]) -> bool {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let mut segments = path.rsplit(|&byte| byte == b'/');
    let is_dots = |segment: &[u8]| matches!(segment, b"." | b"..");
    let last = segments.next().unwrap_or_default();
    !is_dots(last) && segments.all(|segment| !segment.is_empty() && !is_dots(segment))
}

/// A path relative to a directory, without empty segments, `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relative {
    bytes: Vec<u8>,
    names_directory: bool,
}

impl Relative {
    /// Resolves the segments of a decoded path as in a URL (RFC 3986, 5.2.4). `None` if the path leads above its start,
    /// contains a NUL byte, or is too long. No file has such a path.
    pub fn of(path: &[u8]) -> Option<Self> {
        if path.len() > MAX_LEN || path.contains(&0) {
            return None;
        }
        let mut bytes: Vec<u8> = Vec::with_capacity(path.len() + 8);
        let mut names_directory = true;
        for segment in path.split(|&byte| byte == b'/') {
            names_directory = true;
            match segment {
                b"" | b"." => {}
                b".." if bytes.is_empty() => return None,
                b".." => {
                    let parent = bytes.iter().rposition(|&byte| byte == b'/');
                    bytes.truncate(parent.unwrap_or(0));
                }
                name => {
                    if !bytes.is_empty() {
                        bytes.push(b'/');
                    }
                    bytes.extend_from_slice(name);
                    names_directory = false;
                }
            }
        }
        Some(Self {
            bytes,
            names_directory: names_directory && !path.is_empty(),
        })
    }

    /// The bytes of the path.
    pub fn as_bytes(&self) -> &[u8] {
        if self.bytes.is_empty() {
            b"."
        } else {
            &self.bytes
        }
    }

    /// Whether the path is empty, so that it means the directory itself.
    pub fn is_root(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the path ends with a slash. Only a directory can have such a path.
    pub fn names_directory(&self) -> bool {
        self.names_directory
    }

    /// The path of the file `name` in the directory that this path means. The configuration defines `name`.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut bytes = self.bytes.clone();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self {
            bytes,
            names_directory: false,
        }
    }
}

/// Returns the rest of `path` after `prefix`. The prefix must end with a slash, before a slash of the path, or at the
/// end of the path; otherwise the result is `None`.
pub fn rest_after<'p>(path: &'p [u8], prefix: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(prefix)?;
    let at_boundary = rest.is_empty() || rest.starts_with(b"/") || prefix.ends_with(b"/");
    (at_boundary || prefix.is_empty()).then_some(rest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolved(path: &str) -> Option<(String, bool)> {
        let relative = Relative::of(path.as_bytes())?;
        let text = String::from_utf8(relative.bytes.clone()).unwrap();
        Some((text, relative.names_directory()))
    }

    #[test]
    fn a_path_with_dots_or_empty_segments_is_not_plain() {
        for path in ["", "/", "/a", "/a/", "/a/b.c/..d"] {
            assert!(is_plain(path.as_bytes()), "{path}");
        }
        for path in ["//", "//a", "/a//b", "/./a", "/a/.", "/a/../b", "/.."] {
            assert!(!is_plain(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn segments_are_resolved() {
        for (path, expected, directory) in [
            ("", "", false),
            ("/", "", true),
            ("/a/b.css", "a/b.css", false),
            ("a//b/./c", "a/b/c", false),
            ("/a/../b", "b", false),
            ("/a/b/..", "a", true),
            ("/a/.", "a", true),
            ("/a/", "a", true),
            ("/...", "...", false),
            ("/..a/b..", "..a/b..", false),
            ("/a\\..\\b", "a\\..\\b", false),
        ] {
            let expected = Some((expected.to_owned(), directory));
            assert_eq!(resolved(path), expected, "{path}");
        }
        assert_eq!(Relative::of(b"").unwrap().as_bytes(), b".");
        assert_eq!(Relative::of(b"/a/").unwrap().join(b"i").as_bytes(), b"a/i");
        assert_eq!(Relative::of(b"/").unwrap().join(b"i").as_bytes(), b"i");
    }

    #[test]
    fn paths_that_climb_or_cannot_exist_are_refused() {
        for path in [
            "..",
            "/..",
            "/a/../..",
            "/a/../../a",
            "//..",
            "/./..",
            "/a\0b",
        ] {
            assert_eq!(resolved(path), None, "{path}");
        }
        assert!(Relative::of(&vec![b'a'; MAX_LEN + 1]).is_none());
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        assert_eq!(rest_after(b"/static/a", b"/static"), Some(&b"/a"[..]));
        assert_eq!(rest_after(b"/static", b"/static"), Some(&b""[..]));
        assert_eq!(rest_after(b"/static/a", b"/static/"), Some(&b"a"[..]));
        assert_eq!(rest_after(b"/static", b"/static/"), None);
        assert_eq!(rest_after(b"/staticp", b"/static"), None);
        assert_eq!(rest_after(b"/x", b"/"), Some(&b"x"[..]));
        assert_eq!(rest_after(b"/x", b""), Some(&b"/x"[..]));
    }

    proptest! {
        #[test]
        fn a_resolved_path_never_climbs(path in proptest::collection::vec(prop_oneof![
            Just(b'/'), Just(b'.'), Just(0), any::<u8>()
        ], 0..60)) {
            if let Some(relative) = Relative::of(&path) {
                prop_assert!(!relative.as_bytes().starts_with(b"/"));
                for segment in relative.as_bytes().split(|&byte| byte == b'/') {
                    prop_assert!(segment != b".." && !segment.is_empty() && !segment.contains(&0));
                    prop_assert!(segment != b"." || relative.is_root());
                }
            }
        }
    }
}
