//! Recognises file names that contain a hash of the content. Tools that build assets write such names.

/// Minimum and maximum length of a hash.
const LENGTHS: std::ops::RangeInclusive<usize> = 8..=64;

/// Whether the name has the form `NAME.HASH.EXT` or `NAME-HASH.EXT`. The hash must have at least eight lower-case
/// hexadecimal digits, with at least one letter and one decimal digit. Therefore a date such as `20260131` is no hash.
/// Hashes with other characters are not recognised, because they look like words.
pub fn has_hash(name: &[u8]) -> bool {
    let base = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
    let mut words = base.split(|byte| matches!(byte, b'.' | b'-'));
    // the hash cannot be the first word of the name, nor its extension
    if words.next().is_none_or(<[u8]>::is_empty) {
        return false;
    }
    let Some(last_dot) = base.iter().rposition(|&byte| byte == b'.') else {
        return false;
    };
    let stem = &base[..last_dot];
    let Some(hash) = stem
        .rsplit(|byte| matches!(byte, b'.' | b'-'))
        .find(|word| is_hash(word))
    else {
        return false;
    };
    !stem.starts_with(hash)
}

fn is_hash(word: &[u8]) -> bool {
    LENGTHS.contains(&word.len())
        && word
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && word.iter().any(u8::is_ascii_digit)
        && word.iter().any(u8::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_asset_builders_are_recognised() {
        for name in [
            "css/app.55e7cbb9ba48.css",
            "main.8f3c2d1a.chunk.js",
            "main-8f3c2d1a0b.js",
            "a.0123456789abcdef0123456789abcdef.svg",
        ] {
            assert!(has_hash(name.as_bytes()), "{name}");
        }
        for name in [
            "app.css",
            "report-20260131.pdf",
            "deadbeef.css",
            "a.deadbeef.css",
            "a.1234567.css",
            "app.55E7CBB9BA48.css",
            "55e7cbb9ba48.css",
            ".55e7cbb9ba48.css",
            "app.55e7cbb9ba48",
            "55e7cbb9ba48/app.css",
            "index-BaKd83js.js",
            "",
        ] {
            assert!(!has_hash(name.as_bytes()), "{name}");
        }
    }
}
