//! Text values: comments after a value, quotes, lists, switches.

use crate::config::finding::{Fault, shortened};

use super::setting::Parsed;

/// Removes a comment after the value. Returns the value, and a remark if the text has a comment.
pub(crate) fn without_comment(text: &str) -> (&str, Option<Fault>) {
    match before_comment(text) {
        Some(value) => (value, Some(comment_remark())),
        None => (text, None),
    }
}

/// The part of the text before a comment; `None` if the text has no comment.
///
/// A comment begins with `#` or `;` after a blank.
pub(crate) fn before_comment(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let start = (1..bytes.len())
        .find(|&at| matches!(bytes[at], b'#' | b';') && matches!(bytes[at - 1], b' ' | b'\t'))?;
    Some(text[..start].trim_end())
}

/// Whether the values of an option are commands, formats or similar texts. In these texts, `#` and `;` after a blank do
/// not begin a comment.
pub(crate) fn has_free_text(option: &str) -> bool {
    const PREFIXES: &[&str] = &[
        "exec-",
        "hook-",
        "legion-",
        "touch-exec",
        "touch-hook",
        "touch-signal",
        "if-",
        "for",
        "route",
        "error-route",
        "response-route",
        "final-route",
        "alarm",
        "log-format",
        "logformat",
        "print",
        "iprint",
        "access-log-format",
        "cron",
        "unique-cron",
        "legion-cron",
        "declare-option",
        "eval",
        "add-header",
        "log-encoder",
        "log-req-encoder",
        "log-filter",
        "log-drain",
        "log-route",
        "log-req-route",
        "before-",
        "after-",
        "vassal-set",
        "timer",
    ];
    PREFIXES.iter().any(|prefix| option.starts_with(prefix))
}

/// The remark about a comment after a value.
pub(crate) fn comment_remark() -> Fault {
    Fault::new("in uWSGI's ini format a comment after a value is part of the value")
        .hint("put the comment on a line of its own")
}

/// The items of a comma-separated list. A list without items gives one empty item, so the parser of the items reports
/// an empty value.
pub(crate) fn comma_separated(text: &str) -> Vec<&str> {
    let items: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect();
    if items.is_empty() { vec![""] } else { items }
}

/// Parses a text that must not be empty. Quotes and comments stay in the text, and get a remark.
pub(crate) fn non_empty(text: &str) -> Parsed<String> {
    if text.is_empty() {
        return Err(Fault::new("the value is empty").hint("write a value, or remove the line"));
    }
    let quoted = text.len() > 1
        && (text.starts_with('"') && text.ends_with('"')
            || text.starts_with('\'') && text.ends_with('\''));
    let remark = if quoted {
        Some(
            Fault::new("the quotes are part of the value")
                .hint("remove the quotes: values are not quoted"),
        )
    } else {
        before_comment(text).map(|_| comment_remark())
    };
    Ok((text.to_owned(), remark))
}

/// Parses a boolean. `true`, `on`, `yes`, `1` and an empty text are true; `false`, `off`, `no` and `0` are false. As in
/// uWSGI, any other text is true. Such a text gets a remark.
pub(crate) fn switch(text: &str) -> Parsed<bool> {
    let (value, remark) = without_comment(text);
    match value.to_ascii_lowercase().as_str() {
        "" | "true" | "on" | "yes" | "1" => Ok((true, remark)),
        "false" | "off" | "no" | "0" if remark.is_some() => {
            let fault = Fault::new("this is read as true, as in uWSGI, because of the comment");
            Ok((
                true,
                Some(fault.hint("put the comment on a line of its own")),
            ))
        }
        "false" | "off" | "no" | "0" => Ok((false, None)),
        _ => {
            let fault =
                Fault::new("the value is neither true nor false; true is used, as in uWSGI");
            Ok((true, Some(fault.hint("write true or false"))))
        }
    }
}

/// Parses a capability of capabilities(7), by number or by name with or without `CAP_`.
pub(crate) fn capability(text: &str) -> Parsed<caps::Capability> {
    let (value, remark) = without_comment(text);
    let name = value.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    let matches = |known: &caps::Capability| {
        let number = known.index().to_string();
        known.to_string().strip_prefix("CAP_") == Some(name) || number == name
    };
    match caps::all().into_iter().find(matches) {
        Some(known) => Ok((known, remark)),
        None => Err(
            Fault::new(format!("unknown capability {}", shortened(value)))
                .hint("write a name such as net_bind_service; capabilities(7) lists them"),
        ),
    }
}

/// An assignment: `NAME=VALUE`.
pub(crate) fn assignment(text: &str) -> Parsed<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((
            (name.trim().to_owned(), value.trim_start().to_owned()),
            None,
        )),
        _ => Err(Fault::new("the value is not NAME=value").hint("write NAME=value")),
    }
}
