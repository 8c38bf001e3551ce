//! The redirect to the path of a directory, for a request whose path lacks the final slash.

/// The value of Location for the directory at SCRIPT_NAME + PATH_INFO: the path with a final slash, and the query.
///
/// The path is percent-encoded again, and begins with exactly one slash, because a client would take `//host/` for
/// another host.
pub fn location(script_name: &[u8], path_info: &[u8], query: &[u8]) -> Vec<u8> {
    let path = [script_name, path_info].concat();
    let start = path.iter().position(|&byte| byte != b'/');
    let mut out = vec![b'/'];
    for &byte in path.get(start.unwrap_or(path.len())..).unwrap_or_default() {
        push(&mut out, byte);
    }
    if !out.ends_with(b"/") {
        out.push(b'/');
    }
    if !query.is_empty() && query.iter().all(|byte| matches!(byte, b'!'..=b'~')) {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    out
}

/// Appends a byte of a path, encoded unless it is a slash or an unreserved character (RFC 3986, 2.3).
fn push(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=@".contains(&byte) {
        out.push(byte);
    } else {
        let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
        out.extend_from_slice(&[b'%', high, low]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_location_stays_on_the_host() {
        for (path, query, expected) in [
            ("/static/dir", "", "/static/dir/"),
            ("/a b/c\u{e9}", "x=1&y=%20", "/a%20b/c%C3%A9/?x=1&y=%20"),
            ("//evil.example/..", "", "/evil.example/../"),
            ("/\\evil.example", "", "/%5Cevil.example/"),
            ("", "", "/"),
            ("/d", "a\r\nb", "/d/"),
            ("/d\r\n", "", "/d%0D%0A/"),
        ] {
            let location = location(b"", path.as_bytes(), query.as_bytes());
            assert_eq!(String::from_utf8_lossy(&location), expected, "{path}");
        }
        assert_eq!(location(b"/app", b"", b""), b"/app/");
    }
}
