//! Shell patterns for `for-glob` and the emperor: glob(7).
//!
//! The crate `glob` is not used: it returns paths that are not relative to `cwd`, and rejects patterns such as `[` and
//! `a**b`. Here, as in the shell, a `[` without a `]` matches itself, and `**` matches the same names as `*`.

use std::fs;
use std::path::{Path, PathBuf};

/// Maximum number of paths that one pattern returns. Further matches are ignored.
const MAX_PATHS: usize = 10_000;

/// The existing paths that match `pattern`, sorted. A relative pattern is resolved in `cwd` and gives relative paths.
pub(crate) fn paths(cwd: &Path, pattern: &str) -> Vec<String> {
    let absolute = pattern.starts_with('/');
    let mut found = vec![String::from(if absolute { "/" } else { "" })];
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    for part in parts {
        let mut next = Vec::new();
        for base in &found {
            step(cwd, base, part, &mut next);
            if next.len() > MAX_PATHS {
                next.truncate(MAX_PATHS);
                break;
            }
        }
        found = next;
    }
    found.retain(|path| !path.is_empty() && path != "/");
    found.sort_unstable();
    found
}

/// Appends to `next` the paths in the directory `base` whose last component matches `part`.
fn step(cwd: &Path, base: &str, part: &str, next: &mut Vec<String>) {
    let join = |name: &str| match base {
        "" => name.to_owned(),
        base if base.ends_with('/') => format!("{base}{name}"),
        base => format!("{base}/{name}"),
    };
    let here: PathBuf = cwd.join(base);
    if !part.contains(['*', '?', '[']) {
        if here.join(part).symlink_metadata().is_ok() {
            next.push(join(part));
        }
        return;
    }
    let pattern: Vec<char> = part.chars().collect();
    for entry in fs::read_dir(here).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let letters: Vec<char> = name.chars().collect();
        if (part.starts_with('.') || !name.starts_with('.')) && matches(&pattern, &letters) {
            next.push(join(&name));
        }
        if next.len() > MAX_PATHS {
            return;
        }
    }
}

/// Whether a name matches a pattern of `*`, `?` and `[...]`. The time is at most proportional to the length of the
/// pattern multiplied by the length of the name.
pub(crate) fn matches(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while read < name.len() {
        if pattern.get(at) == Some(&'*') {
            retry = Some((at, read));
            at += 1;
        } else if let Some(width) = single(&pattern[at..], name[read]) {
            at += width;
            read += 1;
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            at = star + 1;
            read = from + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&c| c == '*')
}

/// The number of characters at the start of `pattern` that match `letter` together; `None` if they do not match it.
fn single(pattern: &[char], letter: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => class(pattern, letter),
        &c => (c == letter).then_some(1),
    }
}

/// The result of [`single`] for a pattern that begins with `[`. A `[` without a `]` matches itself.
fn class(pattern: &[char], letter: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let start = if negated { 2 } else { 1 };
    let Some(end) = pattern
        .iter()
        .skip(start + 1)
        .position(|&c| c == ']')
        .map(|at| at + start + 1)
    else {
        return (letter == '[').then_some(1);
    };
    let mut inside = false;
    let mut at = start;
    while at < end {
        if at + 2 < end && pattern[at + 1] == '-' {
            inside |= (pattern[at]..=pattern[at + 2]).contains(&letter);
            at += 3;
        } else {
            inside |= pattern[at] == letter;
            at += 1;
        }
    }
    (inside != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_the_shell() {
        let matches = |pattern: &str, name: &str| {
            matches(
                &pattern.chars().collect::<Vec<_>>(),
                &name.chars().collect::<Vec<_>>(),
            )
        };
        assert!(matches("*.ini", "a.ini"));
        assert!(matches("a*b*c", "axxbyyc"));
        assert!(!matches("a*b*c", "axxbyy"));
        assert!(matches("v[0-9]?", "v12"));
        assert!(!matches("v[!0-9]", "v1"));
        assert!(matches("[", "["));
        assert!(!matches("", "a"));
        assert!(matches("***", ""));
    }
}
