//! Regular expressions in option values. The syntax is close to that of PCRE, which uWSGI uses. Look-around and
//! back-references are supported, but the number of backtracking steps is limited.

use std::fmt;

use fancy_regex::{Regex, RegexBuilder};

/// Maximum backtracking steps of a match with look-around or back-references; other expressions do not backtrack.
const MAX_STEPS: usize = 100_000;

/// A compiled regular expression.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles a regular expression.
    ///
    /// # Errors
    /// The reason why the expression is invalid, in words.
    pub fn new(text: &str) -> Result<Self, String> {
        let compiled = RegexBuilder::new(text).backtrack_limit(MAX_STEPS).build();
        compiled.map(Self).map_err(|error| error.to_string())
    }

    /// Whether the expression matches anywhere in `text`. False if the match exceeds the maximum number of steps. As in
    /// PCRE, `$` also matches before a final line feed.
    pub fn matches(&self, text: &str) -> bool {
        let text = text.strip_suffix('\n').unwrap_or(text);
        self.0.is_match(text).unwrap_or(false)
    }
}

impl Pattern {
    /// The groups of the first match; 0 is the whole match, and a group that does not take part is empty. `Ok(None)` if
    /// the expression does not match. As in PCRE, `$` also matches before a final line feed.
    ///
    /// # Errors
    /// The match exceeds the maximum number of steps.
    pub fn groups(&self, text: &str) -> Result<Option<Vec<String>>, TooManySteps> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let captures = self.0.captures(text).map_err(|_| TooManySteps)?;
        let texts = captures.map(|captures| {
            let groups = captures.iter();
            groups
                .map(|group| group.map_or_else(String::new, |it| it.as_str().to_owned()))
                .collect()
        });
        Ok(texts)
    }
}

/// A match exceeds the maximum number of steps, so that its result is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySteps;

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.0.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn look_around_is_understood_and_bounded() {
        let pattern = Pattern::new(r"^(?!.*healthz).*GET").unwrap();
        assert!(pattern.matches("GET /") && !pattern.matches("GET /healthz"));
        let slow = Pattern::new(r"(?=(a+)+$)(a+)+b").unwrap();
        assert!(!slow.matches(&"a".repeat(10_000)));
        assert!(Pattern::new("(").is_err());
    }
}
