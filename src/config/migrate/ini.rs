//! Converts uWSGI's ini files. Options without effect and options that are not supported become comments. For
//! misspelled names, a comment suggests the right name.

use std::collections::HashSet;

use crate::config::finding::Fault;
use crate::config::read::ini::{Line, line};
use crate::config::table::options::{self, Config};
use crate::config::table::row::{Row, State};
use crate::config::table::suggest::{self, Suggestion};
use crate::config::values::text::{before_comment, has_free_text};

/// Options without effect that stay in the converted file, because libraries look for them in `uwsgi.opt`, or because
/// uWSGI needs them.
const READ_BY_LIBRARIES: &[&str] = &[
    "master",
    "enable-threads",
    "single-interpreter",
    "py-call-osafterfork",
    "py-call-uwsgi-fork-hooks",
    "skip-atexit",
    "skip-atexit-teardown",
];

/// Converts a file line by line, with a comment above each changed line.
pub(super) fn clean(text: &str) -> String {
    let text = text.trim_start_matches('\u{feff}');
    let referenced = references(text);
    let mut cleaned = String::new();
    for original in text.lines() {
        let original = original.trim_end();
        match line(original) {
            Some(Line::Pair(key, value)) => {
                cleaned.push_str(&pair(original, key, value, &referenced))
            }
            _ => cleaned.push_str(&format!("{original}\n")),
        }
    }
    cleaned
}

/// The names that placeholders and conditions refer to.
fn references(text: &str) -> HashSet<&str> {
    let placeholders = text
        .split("%(")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let words = placeholders.flat_map(|inside| inside.split(' ').chain([inside]));
    let conditions = text.lines().filter_map(line).filter_map(|line| match line {
        Line::Pair("if-opt" | "if-not-opt", value) => value.split('=').next().map(str::trim),
        _ => None,
    });
    words.chain(conditions).collect()
}

fn pair(original: &str, key: &str, value: &str, referenced: &HashSet<&str>) -> String {
    if let Some(bare) = before_comment(value).filter(|_| !has_free_text(key)) {
        let comment = value[bare.len()..].trim();
        let line = pair(&format!("{key} = {bare}"), key, bare, referenced);
        return format!("# comment moved to its own line: {comment}\n{line}");
    }
    match options::find(key) {
        Some(_) if READ_BY_LIBRARIES.contains(&key) => format!("{original}\n"),
        Some(row) => match row.state {
            State::Accepted(why) | State::Ignored(why) if referenced.contains(key) => {
                format!("# {key} has no effect: {why}\n{original}\n")
            }
            State::Accepted(why) | State::Ignored(why) => {
                format!("# removed, because {why}: {original}\n")
            }
            State::Absent(instead) => format!("# not supported, {instead}: {original}\n"),
            State::Directive(_) => format!("{original}\n"),
            State::Served => served(original, row, key, value, referenced),
        },
        None if referenced.contains(key) => format!("{original}\n"),
        None => unknown(original, key, value),
    }
}

fn served(original: &str, row: &Row, key: &str, value: &str, referenced: &HashSet<&str>) -> String {
    if value.contains("%(") || value.contains("$(") || value.contains("@(") || value.contains('%') {
        return format!("{original}\n");
    }
    let is_default = !row.many
        && Some(normalize(value)) == row.default.map(str::to_owned)
        && !referenced.contains(key);
    if is_default {
        return format!("# removed, because it is the default: {original}\n");
    }
    if row.name() == "die-on-term" && normalize(value) == "true" {
        return format!("# removed, because SIGTERM stops the instance by default: {original}\n");
    }
    match Config::defaults().set(row.name(), value) {
        Ok(None) => format!("{original}\n"),
        Ok(Some(remark)) => format!("# {}\n{original}\n", sentence(&remark)),
        Err(fault) => format!("# error: {}:\n{original}\n", sentence(&fault)),
    }
}

/// The text of a fault and its advice.
fn sentence(fault: &Fault) -> String {
    match &fault.hint {
        Some(hint) => format!("{}; {hint}", fault.what),
        None => fault.what.clone(),
    }
}

/// Converts the value of a switch to the notation of the option table. Other values stay unchanged.
fn normalize(value: &str) -> String {
    match value.to_ascii_lowercase().as_str() {
        "" | "true" | "yes" | "on" | "1" => "true".to_owned(),
        _ => value.to_owned(),
    }
}

fn unknown(original: &str, key: &str, value: &str) -> String {
    match suggest::suggest(key) {
        Some(Suggestion::Spelling(known)) => {
            format!(
                "# {key} is unknown, so uWSGI ignores it; for {known}, remove the # of the next line\n# {known} = {value}\n"
            )
        }
        _ => {
            let fault = suggest::unknown_key(key, value);
            let hint = fault
                .hint
                .map(|hint| format!("; {hint}"))
                .unwrap_or_default();
            format!("# {}{hint}\n# {original}\n", fault.what)
        }
    }
}
