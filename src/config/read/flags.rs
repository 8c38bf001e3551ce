//! The command line as an ordered list of options.
//!
//! The option table parses the flags, with the rules of getopt_long(3). clap is not used, because it keeps the order of
//! values only within one argument. The order of different flags matters here: the options of an ini file take the
//! position of the `--ini` flag.

use crate::config::finding::Fault;
use crate::config::table::options;
use crate::config::table::row::Row;
use crate::config::table::suggest;
use crate::config::values::setting::Takes;

/// A parsed argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    /// The name of an option, and its value.
    Flag(&'static str, String),
    /// A configuration file.
    File(String),
    /// An argument that cannot be parsed.
    Invalid(Fault),
}

/// Parses the command line without the program's name.
pub(crate) fn read(arguments: &[String]) -> Vec<Typed> {
    let mut typed = Vec::new();
    let mut rest = arguments.iter().map(String::as_str).peekable();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            typed.extend(rest.map(|file| Typed::File(file.to_owned())));
            break;
        }
        if let Some(long) = argument.strip_prefix("--") {
            typed.push(long_flag(long, &mut rest));
        } else if argument.len() > 1 && argument.starts_with('-') {
            short_flags(&argument[1..], &mut rest, &mut typed);
        } else if !argument.starts_with('[') {
            typed.push(Typed::File(argument.to_owned()));
        }
    }
    // as with getopt, files come after all flags
    typed.sort_by_key(|typed| matches!(typed, Typed::File(_)));
    typed
}

fn long_flag<'a>(
    text: &str,
    rest: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
) -> Typed {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    let (name, row) = match long_row(name) {
        Ok(found) => found,
        Err(fault) => {
            // the argument after an unknown flag is its value, not a file
            if value.is_none() && rest.peek().is_some_and(|next| !next.starts_with('-')) {
                rest.next();
            }
            return Typed::Invalid(fault);
        }
    };
    match (value, row.takes) {
        (Some(value), _) => Typed::Flag(name, value),
        (None, Takes::Nothing | Takes::Maybe) => Typed::Flag(name, "true".to_owned()),
        (None, Takes::Value) => match rest.next() {
            Some(value) => Typed::Flag(name, value.to_owned()),
            None => Typed::Invalid(no_value(&format!("--{name}"), row)),
        },
    }
}

fn no_value(flag: &str, row: &Row) -> Fault {
    Fault::new(format!("{flag} has no value")).hint(format!("write {flag} {}", row.arg))
}

/// Finds the name and the row of a long flag. A prefix is enough if all names with this prefix belong to one row.
fn long_row(name: &str) -> Result<(&'static str, &'static Row), Fault> {
    if let Some(row) = options::find(name) {
        let spelled = row.names.iter().find(|known| **known == name);
        return Ok((spelled.copied().unwrap_or(row.name()), row));
    }
    let candidates = if name.len() > 1 {
        options::with_prefix(name)
    } else {
        Vec::new()
    };
    let rows: Vec<&'static Row> = candidates
        .iter()
        .filter_map(|name| options::find(name))
        .collect();
    match (candidates.first(), rows.first()) {
        (Some(first), Some(row)) if rows.iter().all(|other| std::ptr::eq(*other, *row)) => {
            Ok((first, row))
        }
        (Some(_), _) => {
            let named: Vec<String> = candidates
                .iter()
                .take(4)
                .map(|name| format!("--{name}"))
                .collect();
            Err(Fault::new(format!("--{name} is ambiguous"))
                .hint(format!("write one of {}", named.join(", "))))
        }
        _ => Err(suggest::unknown_flag(name)),
    }
}

fn short_flags<'a>(
    cluster: &str,
    rest: &mut impl Iterator<Item = &'a str>,
    typed: &mut Vec<Typed>,
) {
    let mut chars = cluster.chars();
    while let Some(short) = chars.next() {
        let Some(row) = options::find_short(short) else {
            typed.push(Typed::Invalid(
                Fault::new(format!("unknown flag -{short}")).hint("see ruwsgi --help"),
            ));
            return;
        };
        let tail = chars.as_str();
        match row.takes {
            Takes::Nothing => typed.push(Typed::Flag(row.name(), "true".to_owned())),
            Takes::Maybe => {
                let value = if tail.is_empty() {
                    "true"
                } else {
                    tail.strip_prefix('=').unwrap_or(tail)
                };
                typed.push(Typed::Flag(row.name(), value.to_owned()));
                return;
            }
            Takes::Value => {
                let value = if tail.is_empty() {
                    rest.next()
                } else {
                    Some(tail)
                };
                typed.push(match value {
                    Some(value) => Typed::Flag(row.name(), value.to_owned()),
                    None => Typed::Invalid(no_value(&format!("-{short}"), row)),
                });
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Vec<Typed> {
        read(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    fn flag(name: &'static str, value: &str) -> Typed {
        Typed::Flag(name, value.to_owned())
    }

    #[test]
    fn flags_are_read_in_the_order_in_which_they_were_typed() {
        assert_eq!(
            typed("--http :8000 --master -p4 --wsgi-file=test.py -H venv -ML"),
            [
                flag("http", ":8000"),
                flag("master", "true"),
                flag("processes", "4"),
                flag("wsgi-file", "test.py"),
                flag("home", "venv"),
                flag("master", "true"),
                flag("disable-logging", "true"),
            ]
        );
    }

    #[test]
    fn files_come_after_all_flags() {
        assert_eq!(
            typed("site.ini --master"),
            [flag("master", "true"), Typed::File("site.ini".into())]
        );
        assert_eq!(typed("-- --x.ini"), [Typed::File("--x.ini".into())]);
        assert_eq!(typed("[uwsgi"), []);
    }

    #[test]
    fn a_unique_prefix_of_a_flag_is_enough() {
        assert_eq!(typed("--chmod-so=664"), [flag("chmod-socket", "664")]);
        assert!(
            matches!(&typed("--so")[..], [Typed::Invalid(fault)] if fault.what.contains("ambiguous"))
        );
    }

    #[test]
    fn an_option_with_an_optional_value_does_not_take_the_next_word() {
        assert_eq!(
            typed("--chmod-socket a.ini"),
            [flag("chmod-socket", "true"), Typed::File("a.ini".into())]
        );
        assert_eq!(typed("-C664"), [flag("chmod-socket", "664")]);
    }

    #[test]
    fn an_unknown_flag_gets_a_suggestion_and_consumes_its_value() {
        let typed = typed("--chmod_socket 664 --harakari 3 --need-ap");
        assert!(
            matches!(&typed[0], Typed::Invalid(fault) if fault.hint.as_deref() == Some("write --chmod-socket"))
        );
        assert!(
            matches!(&typed[1], Typed::Invalid(fault) if fault.hint.as_deref().is_some_and(|hint| hint.contains("--harakiri")))
        );
        assert_eq!(typed[2], flag("need-app", "true"));
    }

    #[test]
    fn a_flag_at_the_end_without_its_value_is_invalid() {
        assert!(
            matches!(&typed("--http")[..], [Typed::Invalid(fault)] if fault.what == "--http has no value")
        );
        assert!(
            matches!(&typed("-s")[..], [Typed::Invalid(fault)] if fault.what == "-s has no value")
        );
    }
}
