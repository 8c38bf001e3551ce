//! Regular expressions of options, as uWSGI's PCRE understands them, with a bounded number of steps.

use std::fmt;

use fancy_regex::{Regex, RegexBuilder};

/// Maximum steps of a match with look-around or back-references.
const MAX_STEPS: usize = 100_000;

/// A compiled regular expression.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// The reason in words.
    pub fn new(text: &str) -> Result<Self, String> {
        let compiled = RegexBuilder::new(text).backtrack_limit(MAX_STEPS).build();
        compiled.map(Self).map_err(|error| error.to_string())
    }

    /// Whether a text has a match. A match that exceeds the number of steps is none. As in PCRE, `$` matches before the
    /// last line feed.
    pub fn matches(&self, text: &str) -> bool {
        let text = text.strip_suffix('\n').unwrap_or(text);
        self.0.is_match(text).unwrap_or(false)
    }
}

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
