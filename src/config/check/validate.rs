//! Builds the checked configuration from the gathered options, or a report of all faults.

use std::collections::HashSet;

use crate::config::finding::{Fault, Finding, Report, shortened};
use crate::config::read::entry::Entry;
use crate::config::read::source::RawOptions;
use crate::config::table::compat;
use crate::config::table::options::{self, Config};
use crate::config::table::plugins;
use crate::config::table::row::State;
use crate::config::table::suggest;
use crate::config::values::text;

use super::conflicts;

/// Checks the gathered options, and builds the configuration.
///
/// # Errors
/// A report of all findings, if at least one finding is an error.
pub(crate) fn check(gathered: RawOptions) -> Result<Config, Report> {
    let RawOptions {
        entries,
        referenced,
        customs,
        outermost,
        report,
        early,
    } = gathered;
    let (strict, config) = base(&entries);
    let mut check = Check {
        config,
        report,
        referenced,
        customs,
        strict,
    };
    // shared sockets are set first, because `socket = =0` may refer to a shared socket that is given later
    let is_shared = |entry: &&Entry| SHARED_SOCKETS.contains(&entry.name.as_str());
    let (first, then): (Vec<_>, Vec<_>) = entries.iter().partition(is_shared);
    for entry in first.into_iter().chain(then) {
        check.entry(entry);
    }
    let Check {
        mut config,
        mut report,
        ..
    } = check;
    for finding in conflicts::find(&config, &entries) {
        report.add(finding);
    }
    report
        .findings
        .sort_by(|one, other| one.place.cmp(&other.place));
    if report.has_errors() {
        return Err(report);
    }
    config.directories.early = early;
    config.warnings = report.findings;
    config.entries = entries
        .into_iter()
        .map(|entry| (entry.name, entry.value, Some(entry.place)))
        .collect();
    config.name = outermost
        .map(|file| file.stem().to_owned())
        .filter(|stem| !stem.is_empty() && stem != "-")
        .unwrap_or_else(|| app_name(&config));
    Ok(config)
}

/// Returns whether unknown names are errors (`strict`), and the configuration with its defaults (`compat`). `strict`
/// and `compat` are read first, because they apply to all options in any order.
fn base(entries: &[Entry]) -> (bool, Config) {
    let mut config = Config::defaults();
    for entry in entries
        .iter()
        .filter(|entry| matches!(entry.name.as_str(), "strict" | "compat"))
    {
        // an invalid value is reported later, with the other options
        let _ = config.set(&entry.name, &entry.value);
    }
    let strict = config.strict();
    if config.compat().is_some() {
        compat::restore(&mut config);
    }
    (strict, config)
}

/// The name of an instance without a configuration file: the module, the name of the WSGI file, or `ruwsgi`.
fn app_name(config: &Config) -> String {
    let module = config
        .module()
        .and_then(|module| module.split([':', '.']).next());
    let file = config
        .wsgi_file()
        .and_then(|file| file.rsplit('/').next())
        .map(|base| base.rsplit_once('.').map_or(base, |(stem, _)| stem));
    module
        .or(file)
        .filter(|name| !name.is_empty())
        .unwrap_or("ruwsgi")
        .to_owned()
}

/// The options whose values are listening sockets.
const SOCKETS: [&str; 3] = ["socket", "http-socket", "http"];
/// The names of the option for shared sockets. The options in `SOCKETS` refer to a shared socket by its position.
const SHARED_SOCKETS: [&str; 2] = ["shared-socket", "undeferred-shared-socket"];

fn no_shared_socket(count: usize) -> Fault {
    let fault = Fault::new(match count {
        0 => "there is no shared socket".to_owned(),
        count => format!(
            "there is no shared socket of this number; the last one is ={}",
            count - 1
        ),
    });
    fault.hint("write the address itself, or add shared-socket with the address")
}

struct Check {
    config: Config,
    report: Report,
    referenced: HashSet<String>,
    customs: HashSet<String>,
    strict: bool,
}

impl Check {
    fn entry(&mut self, entry: &Entry) {
        if entry.placeholder || self.customs.contains(&entry.name) {
            return self.comment(entry);
        }
        let Some(row) = options::find(&entry.name) else {
            return self.unknown(entry);
        };
        match row.state {
            State::Served => self.served(entry, row.name()),
            State::Accepted(_) => self.accepted(entry),
            State::Ignored(why) => {
                let fault = Fault::new(format!("{} has no effect: {why}", entry.name));
                self.warn(entry, fault);
            }
            State::Absent(instead) => {
                let fault = Fault::new(format!("{} is not supported", entry.name));
                self.error(
                    entry,
                    if instead.is_empty() {
                        fault
                    } else {
                        fault.hint(instead)
                    },
                );
            }
            State::Directive(_) => {}
        }
    }

    fn served(&mut self, entry: &Entry, name: &str) {
        // the value of these options is a format, in which `%(name)` is a field of the request line unless a
        // placeholder has this name
        if !["log-format", "access-log-format"].contains(&name) {
            self.unresolved(entry);
        }
        match self.set(name, &entry.value) {
            Ok(None) => self.comment(entry),
            Ok(Some(remark)) => self.warn(entry, remark.of(&entry.name, &entry.value)),
            Err(fault) => self.error(entry, fault.of(&entry.name, &entry.value)),
        }
    }

    /// Warns if a comment follows the value. Options with free text, such as commands, have no comments.
    fn comment(&mut self, entry: &Entry) {
        if !text::has_free_text(&entry.name) && text::before_comment(&entry.value).is_some() {
            self.warn(entry, text::comment_remark().of(&entry.name, &entry.value));
        }
    }

    /// Sets an option. In the value of a socket option, `=N` is replaced by the address of shared socket N, counted
    /// from 0.
    fn set(&mut self, name: &str, value: &str) -> Result<Option<Fault>, Fault> {
        if !SOCKETS.contains(&name) || !value.contains('=') {
            return self.config.set(name, value);
        }
        let shared = self.config.shared_socket();
        let resolved: Result<Vec<String>, Fault> = value
            .split(',')
            .map(|part| match part.trim().strip_prefix('=') {
                None => Ok(part.to_owned()),
                Some(number) => number
                    .parse::<usize>()
                    .ok()
                    .and_then(|number| shared.get(number))
                    .map(ToString::to_string)
                    .ok_or_else(|| no_shared_socket(shared.len())),
            })
            .collect();
        self.config.set(name, &resolved?.join(","))
    }

    /// Warns of a placeholder or an environment variable that has no value.
    fn unresolved(&mut self, entry: &Entry) {
        let open = ["%(", "$("].iter().find_map(|open| {
            let (_, after) = entry.value.split_once(open)?;
            let (inside, _) = after.split_once(')')?;
            Some((*open, inside))
        });
        let Some((open, inside)) = open else { return };
        let fault = match open {
            "$(" => Fault::new(format!(
                "the environment has no variable {}",
                shortened(inside)
            )),
            _ => Fault::new(format!("{} is not defined", shortened(inside))),
        };
        self.warn(entry, fault.of(&entry.name, &entry.value));
    }

    /// Reports plugins that are not built in as errors. Other accepted options are not reported.
    fn accepted(&mut self, entry: &Entry) {
        if !matches!(
            entry.name.as_str(),
            "plugin" | "plugins" | "need-plugin" | "need-plugins"
        ) {
            return;
        }
        for plugin in entry
            .value
            .split(',')
            .map(str::trim)
            .filter(|plugin| !plugin.is_empty())
        {
            let name = plugin
                .split_once(':')
                .filter(|(modifier, _)| modifier.bytes().all(|b| b.is_ascii_digit()))
                .map_or(plugin, |(_, name)| name);
            if !plugins::is_built_in(name) {
                let fault = Fault::new(format!("the plugin {} is not supported", shortened(name)));
                self.error(
                    entry,
                    fault.hint(
                        "ruwsgi serves Python applications; remove the plugin if the site does not need it",
                    ),
                );
            }
        }
    }

    fn unknown(&mut self, entry: &Entry) {
        let referenced = self.referenced.contains(&entry.name);
        if self.strict {
            let fault = match referenced {
                true => Fault::new(format!(
                    "{} is not an option, and strict is on",
                    shortened(&entry.name)
                ))
                .hint(format!(
                    "write set-placeholder = {}=...",
                    shortened(&entry.name)
                )),
                false => suggest::unknown_key(&entry.name, &entry.value),
            };
            return self.error(entry, fault);
        }
        if referenced {
            self.comment(entry);
        } else if !self.report.is_full() {
            self.warn(entry, suggest::unknown_key(&entry.name, &entry.value));
        }
    }

    fn error(&mut self, entry: &Entry, fault: Fault) {
        self.report
            .add(Finding::error(Some(entry.place.clone()), fault));
    }

    fn warn(&mut self, entry: &Entry, fault: Fault) {
        self.report
            .add(Finding::warning(Some(entry.place.clone()), fault));
    }
}
