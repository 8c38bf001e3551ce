//! Documentation generated from the table: the help and docs/options.md.

use clap::{Arg, ArgAction, Command};

use crate::config::values::setting::Takes;

use super::absent::ABSENT;
use super::accepted::ACCEPTED;
use super::directives::DIRECTIVES;
use super::ignored::IGNORED;
use super::options;
use super::row::{Row, State};

/// Adds the flags of the table to the help. `read::flags` parses these flags, not clap.
pub(crate) fn describe(command: Command) -> Command {
    options::rows()
        .filter(|row| matches!(row.state, State::Served | State::Directive(_)))
        .fold(command, |command, row| command.arg(describe_row(row)))
}

fn describe_row(row: &'static Row) -> Arg {
    let heading = if row.section.is_empty() {
        "Configuration"
    } else {
        row.section
    };
    let mut help = row.doc.to_owned();
    if let [_, aliases @ ..] = row.names
        && !aliases.is_empty()
    {
        help.push_str(&format!(" Also --{}.", aliases.join(", --")));
    }
    if let Some(default) = row.default {
        help.push_str(&format!(" [default: {default}]"));
    }
    let arg = Arg::new(row.name())
        .long(row.name())
        .help(help)
        .help_heading(heading);
    let arg = match row.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    match row.takes {
        Takes::Nothing => arg.action(ArgAction::SetTrue),
        Takes::Maybe => arg.value_name(row.arg).num_args(0..=1).require_equals(true),
        Takes::Value => arg.value_name(row.arg),
    }
}

/// The content of docs/options.md.
pub(crate) fn page() -> String {
    let mut page = String::from(PREFACE);
    let mut section = "";
    for row in options::SERVED {
        if row.section != section {
            section = row.section;
            page.push_str(&format!("\n## {section}\n"));
        }
        describe_option(&mut page, row);
    }
    page.push_str("\n## Configuration files\n\nThese directives act while the configuration is read; see [configuration.md](configuration.md).\n\n");
    page.push_str("| directive | value | effect |\n|---|---|---|\n");
    for row in DIRECTIVES {
        page.push_str(&format!(
            "| {} | {} | {} |\n",
            code(row),
            if row.arg.is_empty() {
                String::new()
            } else {
                format!("`{}`", row.arg.replace('|', "\\|"))
            },
            row.doc
        ));
    }
    page.push_str(ACCEPTED_PREFACE);
    for row in ACCEPTED {
        if let State::Accepted(why) = row.state {
            page.push_str(&format!("| {} | {why} |\n", code(row)));
        }
    }
    page.push_str(IGNORED_PREFACE);
    for row in IGNORED {
        if let State::Ignored(why) = row.state {
            page.push_str(&format!("| {} | {why} |\n", code(row)));
        }
    }
    page.push_str(ABSENT_PREFACE);
    for row in ABSENT {
        if let State::Absent(instead) = row.state {
            page.push_str(&format!("| {} | {instead} |\n", code(row)));
        }
    }
    page
}

/// The content of docs/absent.md: the options that are not supported, grouped by subject, each with its alternative.
pub(crate) fn absent_page() -> String {
    let mut page = String::from(ABSENT_PAGE_PREFACE);
    let subjects = SUBJECTS.iter().map(|(subject, _)| *subject).chain([OTHERS]);
    for subject in subjects.clone() {
        page.push_str(&format!("- [{subject}](#{})\n", anchor(subject)));
    }
    for subject in subjects {
        page.push_str(&format!(
            "\n## {subject}\n\n| option | instead |\n|---|---|\n"
        ));
        let mut rows: Vec<(&str, &str)> = Vec::new();
        for row in ABSENT {
            if let State::Absent(instead) = row.state
                && subject_of(instead) == subject
            {
                rows.extend(row.names.iter().map(|name| (*name, instead)));
            }
        }
        rows.sort_unstable();
        for (name, instead) in rows {
            page.push_str(&format!("| `{name}` | {instead} |\n"));
        }
    }
    page
}

/// The headings of docs/absent.md. Each heading has words; an option stands under the first heading with a word that
/// occurs in the option's alternative.
const SUBJECTS: &[(&str, &[&str])] = &[
    ("TLS and the PROXY protocol", &["TLS", "PROXY protocol"]),
    ("Static files", &["static files"]),
    ("Rules for requests (route)", &["internal routing"]),
    ("Routers, balancing and other protocols", &["nginx"]),
    (
        "Caches, queues, mules, the spooler and signals",
        &["Celery", "mules", "spooler"],
    ),
    ("Statistics and metrics", &["metrics", "statistics"]),
    ("Asynchronous servers", &["threads"]),
    (
        "Namespaces, mounts, cgroups and jails",
        &["systemd", "cgroup-memory-max"],
    ),
    ("Clusters (legions)", &["lord", "on one host"]),
    (
        "Other languages and services",
        &["Python applications only", "WSGI callable"],
    ),
];

/// The heading for options whose alternative has none of the words.
const OTHERS: &str = "Others";

fn subject_of(instead: &str) -> &'static str {
    let mut subjects = SUBJECTS.iter();
    let found = subjects.find(|(_, parts)| parts.iter().any(|part| instead.contains(part)));
    found.map_or(OTHERS, |(subject, _)| subject)
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

const ABSENT_PAGE_PREFACE: &str = "# What is not here

<!-- Written by `ruwsgi absent-page` from the table in src/config/table/absent.rs; do not edit. -->

Options of uWSGI that ruwsgi does not serve, each with what to do instead. An instance with one of them does not start, because
the site relies on what it does; `ruwsgi check FILE` prints the same sentence for each option of a file. Search this page for a
name: if it is not here, look in [options.md](options.md), which has the options that are served, and those that are accepted
without effect.

";

const PREFACE: &str = "# Options

<!-- Written by `ruwsgi options-page` from the table in src/config/table/options.rs; do not edit. -->

Every option is a key of a configuration file, a flag (`--name value`, `--name=value`) and an environment variable:
`socket-timeout` is `UWSGI_SOCKET_TIMEOUT` or `RUWSGI_SOCKET_TIMEOUT`. If an option is given several times, the last
value wins; the values of a list accumulate.
";

const ACCEPTED_PREFACE: &str = "
## Accepted without effect

uWSGI needs these options. ruwsgi accepts them without effect, for the reason given.

| option | reason |
|---|---|
";

const IGNORED_PREFACE: &str = "
## Ignored with a warning

These options of uWSGI have no meaning in ruwsgi, and a site works without them. An instance with one of them starts;
`ruwsgi check` and the log name the reason.

| option | reason |
|---|---|
";

const ABSENT_PREFACE: &str = "
## Not supported

These are options of uWSGI. An instance with one of them does not start; the error names the alternative.

| option | alternative |
|---|---|
";

fn describe_option(page: &mut String, row: &Row) {
    page.push_str(&format!("\n### {}\n\n{}\n\n", row.name(), row.doc));
    if let [_, aliases @ ..] = row.names
        && !aliases.is_empty()
    {
        let aliases: Vec<String> = aliases.iter().map(|name| format!("`{name}`")).collect();
        page.push_str(&format!("- also: {}\n", aliases.join(", ")));
    }
    if let Some(short) = row.short {
        page.push_str(&format!("- flag: `-{short}`\n"));
    }
    page.push_str(&format!(
        "- value: `{}`{}\n",
        row.arg,
        if row.many {
            ", any number of times"
        } else {
            ""
        }
    ));
    match (row.default, row.takes) {
        (Some(default), _) => page.push_str(&format!("- default: `{default}`\n")),
        (None, Takes::Nothing) if row.name() != "die-on-term" => {
            page.push_str("- default: `false`\n")
        }
        _ => {}
    }
}

fn code(row: &Row) -> String {
    row.names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
