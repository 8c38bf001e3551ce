//! Variables that a request contains more than once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::request::{Request, Span};

impl Request {
    /// A copy of the request without its body, after [`Request::merge_repeated`], and the result of that function.
    pub fn merged(&self) -> (Self, Vec<String>) {
        let mut copy = self.without_body();
        let conflicts = copy.merge_repeated();
        (copy, conflicts)
    }

    /// Leaves each variable in the request only once, at its first position. The values of a repeated header (`HTTP_*`)
    /// are joined with a comma (RFC 9110, 5.3), and the values of cookies with a semicolon (RFC 9113, 8.2.3). Any other
    /// repeated variable keeps its first value. Returns the names of the variables of this kind that had different
    /// values.
    ///
    /// The text grows by at most its own length: each value is copied once.
    pub fn merge_repeated(&mut self) -> Vec<String> {
        let mut vars = Vec::with_capacity(self.vars.len());
        let mut index_of: HashMap<&[u8], usize> = HashMap::with_capacity(self.vars.len());
        // the second and later values of repeated headers, by the index of the header in `vars`
        let mut further: HashMap<usize, Vec<Span>> = HashMap::new();
        let mut conflicts = Vec::new();
        for &(key, value) in &self.vars {
            let name = key.of(&self.text);
            match index_of.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(vars.len());
                    vars.push((key, value));
                }
                Entry::Occupied(entry) if name.starts_with(b"HTTP_") => {
                    further.entry(*entry.get()).or_default().push(value);
                }
                Entry::Occupied(entry) => {
                    let (_, first) = vars[*entry.get()];
                    if first.of(&self.text) != value.of(&self.text) {
                        conflicts.push(crate::log::escape(name).to_string());
                    }
                }
            }
        }
        for (index, values) in further {
            let separator: &[u8] = match vars[index].0.of(&self.text) {
                b"HTTP_COOKIE" => b"; ",
                _ => b", ",
            };
            vars[index].1 = self.join(vars[index].1, &values, separator);
        }
        self.vars = vars;
        conflicts
    }

    /// Appends the values to the text, joined by `separator`. Returns the span of the result.
    fn join(&mut self, first: Span, further: &[Span], separator: &[u8]) -> Span {
        let start = self.text.len();
        self.text.extend_from_within(first.range());
        for value in further {
            self.text.extend_from_slice(separator);
            self.text.extend_from_within(value.range());
        }
        Span::new(start, self.text.len() - start)
    }
}
