//! Changes to the headers of every response: `add-header`, `del-header`, `collect-header`, `pull-header`.

use super::application_headers::ApplicationHeaders;

/// A response header whose value becomes a request variable.
#[derive(Debug, Clone)]
struct Collected {
    header: Vec<u8>,
    variable: Vec<u8>,
    /// Whether the header is removed from the response (`pull-header`).
    removes: bool,
}

/// The configured changes to the headers of every response.
#[derive(Debug, Clone, Default)]
pub struct HeaderRules {
    /// Names and values of the headers to add. The configuration has checked them.
    added: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names of the headers to remove.
    removed: Vec<Vec<u8>>,
    collected: Vec<Collected>,
}

impl HeaderRules {
    /// Rules that add the headers `added` and remove the headers with a name in `removed`.
    pub fn new(added: &[(String, String)], removed: &[String]) -> Self {
        let bytes = |text: &String| text.as_bytes().to_vec();
        Self {
            added: added
                .iter()
                .map(|(name, value)| (bytes(name), bytes(value)))
                .collect(),
            removed: removed.iter().map(bytes).collect(),
            collected: Vec::new(),
        }
    }

    /// Rules that add the headers `added`, which are valid, and remove the headers with a name in `removed`.
    pub fn of_bytes(added: Vec<(Vec<u8>, Vec<u8>)>, removed: Vec<Vec<u8>>) -> Self {
        Self {
            added,
            removed,
            collected: Vec::new(),
        }
    }

    /// Adds rules that copy response headers to request variables, given as (header, variable). The headers in `pulled`
    /// are also removed from the response.
    #[must_use]
    pub fn collecting(
        mut self,
        collected: &[(String, String)],
        pulled: &[(String, String)],
    ) -> Self {
        // the rules for `pulled` come first, because a pulled header is not collected again, as in uWSGI
        for (pairs, removes) in [(pulled, true), (collected, false)] {
            self.collected
                .extend(pairs.iter().map(|(header, variable)| Collected {
                    header: header.as_bytes().to_vec(),
                    variable: variable.as_bytes().to_vec(),
                    removes,
                }));
        }
        self
    }

    /// Whether nothing is configured.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.collected.is_empty()
    }

    /// Applies the rules to a head that is about to be sent. Appends the request variables that the rules set to
    /// `variables`.
    pub fn apply(&self, head: &mut ApplicationHeaders, variables: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        if !self.removed.is_empty() || !self.collected.is_empty() {
            head.retain(|name, value| self.keeps(name, value, variables));
        }
        for (name, value) in &self.added {
            // the configuration is checked, so the only header that `add` can refuse is a second Content-Length
            let _ = head.add(name, value);
        }
    }

    /// Whether a header of the application stays in the response. Copies its value to `variables` if a rule collects
    /// it.
    fn keeps(&self, name: &[u8], value: &[u8], variables: &mut Vec<(Vec<u8>, Vec<u8>)>) -> bool {
        for rule in &self.collected {
            if rule.header.eq_ignore_ascii_case(name) {
                variables.push((rule.variable.clone(), value.to_vec()));
                if rule.removes {
                    return false;
                }
            }
        }
        !self
            .removed
            .iter()
            .any(|removed| removed.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ipc::Protocol;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn headers_are_pulled_collected_removed_and_added_in_this_order() {
        let rules = HeaderRules::new(
            &[pair("X-New", "1"), pair("Connection", "close")],
            &["x-old".to_owned(), "content-length".to_owned()],
        )
        .collecting(
            &[pair("X-User", "USER"), pair("X-Secret", "NEVER")],
            &[pair("x-secret", "SECRET")],
        );
        let mut head = ApplicationHeaders::default();
        head.restart(Protocol::Http);
        head.start(b"200 OK").unwrap();
        for (name, value) in [
            ("X-Old", "a"),
            ("X-User", "bob"),
            ("X-Secret", "s"),
            ("Content-Length", "3"),
        ] {
            head.add(name.as_bytes(), value.as_bytes()).unwrap();
        }
        let mut variables = Vec::new();
        rules.apply(&mut head, &mut variables);
        assert_eq!(head.lines, b"X-User: bob\r\nX-New: 1\r\n");
        assert_eq!(
            (head.count, head.content_length, head.closes),
            (2, None, true)
        );
        let expected: [(Vec<u8>, Vec<u8>); 2] =
            [("USER", "bob"), ("SECRET", "s")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(variables, expected);
    }
}
