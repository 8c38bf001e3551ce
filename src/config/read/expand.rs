//! Expansion of `$(NAME)`, `@(file)` and `%(placeholder)`, in this order, as in uWSGI's three passes.
//!
//! Unlike uWSGI, ruwsgi always expands placeholders in the value of another placeholder.

use std::collections::HashMap;

use crate::config::finding::{Fault, Finding, Report, shortened};
use crate::config::table::directives;
use crate::config::table::row::Directive;

use super::entry::Entry;
use super::file::contents;
use super::invocation::Invocation;
use super::limits::{MAX_TEXT, MAX_VALUE, value_too_long};

/// Maximum nesting of placeholders.
const MAX_DEPTH: usize = 64;
/// Maximum number of `@(file)` and `@(exec://command)` in one configuration.
const MAX_FILES: usize = 1000;

/// Expands the values of `entries` in place and reports faults. Directives that have already acted are skipped.
pub(crate) fn expand(entries: &mut [Entry], invocation: &Invocation, report: &mut Report) {
    let mut read = 0;
    for entry in entries.iter_mut().filter(|entry| is_expanded(entry)) {
        let value = environment(&entry.value, invocation)
            .and_then(|value| files(&value, invocation, &mut read));
        match value {
            Ok(value) => entry.value = value,
            Err(fault) => report.add(Finding::error(
                Some(entry.place.clone()),
                fault.of(&entry.name, &entry.value),
            )),
        }
    }
    placeholders(entries, report);
}

/// Expands the argument of a directive with the options before the directive. uWSGI does not expand these arguments.
pub(crate) fn known(value: &str, entries: &[Entry], invocation: &Invocation) -> String {
    if !value.contains("%(") && !value.contains("$(") {
        return value.to_owned();
    }
    let mut lookup = Lookup::new(entries);
    let value = environment(value, invocation).unwrap_or_else(|_| value.to_owned());
    lookup.expand(&value, 0).unwrap_or(value)
}

/// The fault for the first `$(NAME)` that remains in an expanded text, because the environment has no such variable.
pub(crate) fn missing_variable(expanded: &str) -> Option<Fault> {
    let (_, after) = expanded.split_once("$(")?;
    let (name, _) = after.split_once(')')?;
    Some(Fault::new(format!(
        "the environment has no variable {}",
        shortened(name)
    )))
}

/// Replaces each `%(_)` by `item`; `None` if the result is longer than `MAX_VALUE`.
pub(crate) fn with_item(value: &str, item: &str) -> Option<String> {
    let places = value.matches("%(_)").count();
    let size = value.len().checked_add(places.checked_mul(item.len())?)?;
    (size <= MAX_VALUE).then(|| value.replace("%(_)", item))
}

fn is_expanded(entry: &Entry) -> bool {
    matches!(
        directives::find(&entry.name),
        None | Some(Directive::Print | Directive::Fallback)
    )
}

/// Replaces each `$(NAME)` by the value of the environment variable. A variable that is not set leaves the text
/// unchanged.
fn environment(text: &str, invocation: &Invocation) -> Result<String, Fault> {
    replace(text, "$(", |name| {
        Ok(invocation.variable(name).map(str::to_owned))
    })
}

/// Replaces `@(file)` by the content of the file and `@(exec://command)` by the output of the command, both without the
/// last line feed. `read` counts the files and commands of the configuration.
fn files(text: &str, invocation: &Invocation, read: &mut usize) -> Result<String, Fault> {
    replace(text, "@(", |name| {
        *read += 1;
        if *read > MAX_FILES {
            return Err(Fault::new("too many values are read from files"));
        }
        let content = String::from_utf8(contents(invocation, name)?)
            .map_err(|_| Fault::new(format!("{} is not UTF-8 text", shortened(name))))?;
        let trimmed = content.strip_suffix('\n').map(str::to_owned);
        Ok(Some(trimmed.unwrap_or(content)))
    })
}

/// Replaces each reference, from `open` to the next `)`, by the result of `value`, which gets the text between the two.
/// The result `None` leaves the reference unchanged.
///
/// # Errors
/// When `value` fails, and when the expanded text is longer than `MAX_VALUE`.
fn replace(
    text: &str,
    open: &str,
    mut value: impl FnMut(&str) -> Result<Option<String>, Fault>,
) -> Result<String, Fault> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(open) {
        expanded.push_str(before);
        let Some((inside, behind)) = after.split_once(')') else {
            expanded.push_str(open);
            expanded.push_str(after);
            return Ok(expanded);
        };
        match value(inside)? {
            Some(value) => expanded.push_str(&value),
            None => {
                expanded.push_str(open);
                expanded.push_str(inside);
                expanded.push(')');
            }
        }
        if expanded.len() > MAX_VALUE {
            return Err(value_too_long());
        }
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Expands the placeholders in the values of `entries`, and reports faults.
fn placeholders(entries: &mut [Entry], report: &mut Report) {
    let mut expanded: Vec<(usize, String)> = Vec::new();
    let mut lookup = Lookup::new(entries);
    let mut total = 0;
    for (index, entry) in entries.iter().enumerate() {
        if !is_expanded(entry) || !entry.value.contains("%(") {
            continue;
        }
        match lookup.expand(&entry.value, 0) {
            Ok(value) => {
                total += value.len();
                expanded.push((index, value));
            }
            Err(fault) => report.add(Finding::error(
                Some(entry.place.clone()),
                fault.of(&entry.name, &entry.value),
            )),
        }
        if total > MAX_TEXT {
            let fault = Fault::new("the expanded values are too large")
                .hint("look for placeholders that multiply each other");
            report.add(Finding::error(Some(entry.place.clone()), fault));
            break;
        }
    }
    for (index, value) in expanded {
        if let Some(entry) = entries.get_mut(index) {
            entry.value = value;
        }
    }
}

/// The first value of each option, and the cache of expanded values.
struct Lookup<'a> {
    first: HashMap<&'a str, &'a str>,
    /// The expanded values by the names of the options; `None` while the expansion of a value is running.
    done: HashMap<&'a str, Option<String>>,
}

impl<'a> Lookup<'a> {
    fn new(entries: &'a [Entry]) -> Lookup<'a> {
        let mut first = HashMap::new();
        for entry in entries {
            first
                .entry(entry.name.as_str())
                .or_insert(entry.value.as_str());
        }
        Lookup {
            first,
            done: HashMap::new(),
        }
    }

    fn expand(&mut self, text: &str, depth: usize) -> Result<String, Fault> {
        replace(text, "%(", |inside| self.evaluate(inside, depth))
    }

    /// The expanded value of the first option with this name; `None` if no option has this name.
    fn value(&mut self, name: &str, depth: usize) -> Result<Option<String>, Fault> {
        let Some((&name, &raw)) = self.first.get_key_value(name) else {
            return Ok(None);
        };
        match self.done.get(name) {
            Some(Some(value)) => return Ok(Some(value.clone())),
            Some(None) => return Err(Fault::new(format!("%({name}) refers to itself"))),
            None if depth > MAX_DEPTH => {
                return Err(Fault::new("placeholders are nested too deeply"));
            }
            None => {}
        }
        self.done.insert(name, None);
        let expanded = self.expand(raw, depth + 1);
        self.done.remove(name);
        let expanded = expanded?;
        self.done.insert(name, Some(expanded.clone()));
        Ok(Some(expanded))
    }

    /// Evaluates the text between `%(` and `)`: a name, or names and numbers with operators, from left to right.
    fn evaluate(&mut self, inside: &str, depth: usize) -> Result<Option<String>, Fault> {
        let mut words = inside.split(' ').filter(|word| !word.is_empty());
        let (Some(first), true) = (words.next(), inside.contains(' ')) else {
            return self.value(inside, depth);
        };
        // in an expression, an unknown name is an empty text
        let mut result = self.operand(first, depth)?;
        let mut operator: Option<&str> = None;
        for word in words {
            match word {
                "++" => result = number(&result).saturating_add(1).to_string(),
                "--" => result = number(&result).saturating_sub(1).to_string(),
                "+" | "-" | "*" | "/" => operator = Some(word),
                word => {
                    let operand = self.operand(word, depth)?;
                    result = calculate(&result, operator.take(), &operand);
                }
            }
            if result.len() > MAX_VALUE {
                return Err(value_too_long());
            }
        }
        Ok(Some(result))
    }

    fn operand(&mut self, word: &str, depth: usize) -> Result<String, Fault> {
        let number = word.bytes().all(|byte| byte.is_ascii_digit());
        let value = self.value(word, depth)?;
        Ok(value.unwrap_or_else(|| {
            if number {
                word.to_owned()
            } else {
                String::new()
            }
        }))
    }
}

fn calculate(left: &str, operator: Option<&str>, right: &str) -> String {
    let (a, b) = (number(left), number(right));
    match operator {
        Some("+") => a.saturating_add(b).to_string(),
        Some("-") => a.saturating_sub(b).to_string(),
        Some("*") => a.saturating_mul(b).to_string(),
        Some("/") => a.checked_div(b).unwrap_or(0).to_string(),
        _ => format!("{left}{right}"),
    }
}

/// The number at the start of a text, or 0.
fn number(text: &str) -> i64 {
    let text = text.trim();
    let end = text
        .char_indices()
        .find(|&(at, c)| !(c.is_ascii_digit() || at == 0 && c == '-'))
        .map_or(text.len(), |(at, _)| at);
    text[..end].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::finding::Place;

    fn expanded(pairs: &[(&str, &str)]) -> (Vec<String>, Report) {
        let mut entries: Vec<Entry> = pairs
            .iter()
            .map(|(name, value)| Entry {
                name: (*name).into(),
                value: (*value).into(),
                place: Place::CommandLine,
                placeholder: false,
            })
            .collect();
        let invocation = Invocation::new(vec![], vec![("HOME".into(), "/root".into())], "/".into());
        let mut report = Report::default();
        expand(&mut entries, &invocation, &mut report);
        (
            entries.into_iter().map(|entry| entry.value).collect(),
            report,
        )
    }

    fn values(pairs: &[(&str, &str)]) -> Vec<String> {
        let (values, report) = expanded(pairs);
        assert_eq!(report, Report::default());
        values
    }

    #[test]
    fn the_first_option_of_a_name_is_what_a_placeholder_means() {
        assert_eq!(values(&[("a", "%(b)/x"), ("b", "1"), ("b", "2")])[0], "1/x");
        assert_eq!(values(&[("a", "%(none) %(open")])[0], "%(none) %(open");
    }

    #[test]
    fn placeholders_are_expanded_to_the_end() {
        assert_eq!(
            values(&[("a", "%(b)"), ("b", "%(c)"), ("c", "1")]),
            ["1", "1", "1"]
        );
        assert_eq!(
            values(&[("a", "%(b)"), ("b", "$(HOME) $(NOPE)")])[0],
            "/root $(NOPE)"
        );
    }

    #[test]
    fn arithmetic_goes_from_left_to_right() {
        let with = |text: &str| values(&[("c", "1"), ("zz", "1"), ("x", text)])[2].clone();
        assert_eq!(with("%(c + 2)"), "3");
        assert_eq!(with("%(c c)"), "11");
        assert_eq!(with("%(c ++)"), "2");
        assert_eq!(with("%(c -- )"), "0");
        assert_eq!(with("%(c * 3 + 4)"), "7");
        assert_eq!(with("%(c / 0) %(c - 5) %(5 + 5)"), "0 -4 10");
        assert_eq!(with("%(c nothing)"), "1");
        assert_eq!(with("%(zz/x)"), "%(zz/x)");
    }

    #[test]
    fn a_placeholder_that_refers_to_itself_is_an_error() {
        let (_, report) = expanded(&[("a", "%(b)"), ("b", "%(a)")]);
        assert!(report.has_errors());
        assert!(report.to_string().contains("refers to itself"));
    }

    #[test]
    fn placeholders_cannot_exhaust_the_memory() {
        let names: Vec<String> = (0..60).map(|n| format!("n{n}")).collect();
        let texts: Vec<String> = (0..60)
            .map(|n| format!("x%(n{})%(n{})", n + 1, n + 1))
            .collect();
        let pairs: Vec<(&str, &str)> = names
            .iter()
            .map(String::as_str)
            .zip(texts.iter().map(String::as_str))
            .collect();
        assert!(expanded(&pairs).1.has_errors());
        let empty: Vec<String> = (0..60)
            .map(|n| format!("%(n{})%(n{})", n + 1, n + 1))
            .collect();
        let mut pairs: Vec<(&str, &str)> = names
            .iter()
            .map(String::as_str)
            .zip(empty.iter().map(String::as_str))
            .collect();
        pairs.push(("n60", ""));
        assert_eq!(values(&pairs)[0], "");
    }
}
