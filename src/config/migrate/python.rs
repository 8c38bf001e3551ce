//! Reads the assignments in a Python file: texts, numbers and lists of texts. No code is run.

/// The value of an assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    /// A text, a number, True, False or None.
    Word(String),
    /// A list or a tuple of words.
    List(Vec<String>),
    /// Another expression, as written.
    Other(String),
}

/// The names and values that are assigned at the top level of a file, in order.
pub(super) fn assignments(text: &str) -> Vec<(String, Literal)> {
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let name = name.trim_end();
        let plain = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !value.starts_with('=');
        if !plain {
            continue;
        }
        let mut value = without_comment(value);
        while open_brackets(&value) > 0 {
            let Some(more) = lines.next() else { break };
            value.push(' ');
            value.push_str(&without_comment(more));
        }
        // a chain of names: one = other = value
        let mut names = vec![name];
        let mut value = value.trim();
        while let Some((next, rest)) = value.split_once('=') {
            let next = next.trim_end();
            let is_name = next.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if next.is_empty() || !is_name || rest.starts_with('=') {
                break;
            }
            names.push(next);
            value = rest.trim();
        }
        let value = literal(value);
        found.extend(names.iter().map(|name| ((*name).to_owned(), value.clone())));
    }
    found
}

fn literal(text: &str) -> Literal {
    if let Some(word) = word(text) {
        return Literal::Word(word);
    }
    let inner = [('[', ']'), ('(', ')')]
        .iter()
        .find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close));
    let items = inner.map(|inner| {
        parts(inner)
            .iter()
            .map(|part| word(part.trim()))
            .collect::<Option<Vec<_>>>()
    });
    match items {
        Some(Some(items)) => Literal::List(items),
        _ => Literal::Other(text.to_owned()),
    }
}

/// Parses a quoted text, a number, or one of Python's constants True, False and None. Returns `None` for other
/// expressions.
fn word(text: &str) -> Option<String> {
    let quoted = ["\"", "'"].iter().find_map(|quote| {
        let inner = text.strip_prefix(*quote)?.strip_suffix(*quote)?;
        (!inner.contains(*quote)).then(|| inner.replace("\\\\", "\\"))
    });
    let bare = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || c == '.' || c == '_');
    let constant = matches!(text, "True" | "False" | "None");
    quoted.or_else(|| (bare || constant).then(|| text.replace('_', "")))
}

/// Splits a text at the commas outside of quotes. A trailing comma adds no part.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
        match parts.last_mut() {
            Some(_) if c == ',' && quote.is_none() => parts.push(String::new()),
            Some(part) => part.push(c),
            None => {}
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn without_comment(text: &str) -> String {
    let mut quote = None;
    let mut kept = String::new();
    for c in text.chars() {
        match (c, quote) {
            ('#', None) => break,
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
        kept.push(c);
    }
    kept
}

fn open_brackets(text: &str) -> usize {
    let count = |brackets: &[char]| text.chars().filter(|c| brackets.contains(c)).count();
    count(&['[', '(', '{']).saturating_sub(count(&[']', ')', '}']))
}
