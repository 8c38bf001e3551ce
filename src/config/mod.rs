//! Words to a checked [`Config`]: the table of options, their sources, and everything that is wrong, said at once.
//!
//! The way of an option: [`source`] gathers environment, flags and files into one ordered list, obeying the
//! directives on the way; [`expand`] replaces what stands for something else; [`check`] reads the values by the
//! [table](options) and reports.

mod check;
mod finding;
pub(crate) mod migrate;
mod read;
mod table;
mod values;

pub(crate) use finding::{Finding, Place, Report, Severity};
pub(crate) use read::ini;
pub(crate) use read::invocation::{Invocation, VassalFile};
pub(crate) use table::options::Config;
pub(crate) use table::{compat, docs};
pub(crate) use values::address::Address;
pub(crate) use values::companion::Companion;
pub(crate) use values::hook::{Action, Awaited, Meaning};
pub(crate) use values::limit::Most;
pub(crate) use values::schedule::{Schedule, Task};
pub(crate) use values::value::{ScalingAlgorithm, Wire};

use check::{traps, validate};
use read::{file, glob, source};
use table::{directives, options, row};

/// Reads the whole configuration anew; called at the start and for every reload.
///
/// # Errors
/// All findings, when at least one of them keeps the instance from starting.
pub(crate) fn load(invocation: &Invocation) -> Result<Config, Report> {
    validate::check(source::gather(invocation))
}

/// The `fallback-config` of a configuration that cannot be used.
pub(crate) fn fallback(invocation: &Invocation) -> Option<String> {
    let entries = source::gather(invocation).entries;
    let named = entries
        .into_iter()
        .rev()
        .find(|entry| is_fallback(&entry.name));
    named.map(|entry| entry.value)
}

fn is_fallback(name: &str) -> bool {
    directives::act(name) == Some(directives::Act::Fallback)
}

/// Everything there is to say about a configuration, beyond what keeps it from being used: [`load`] and its traps.
pub(crate) fn examine(invocation: &Invocation) -> Report {
    match load(invocation) {
        Err(report) => report,
        Ok(config) => {
            let mut report = Report {
                findings: config.warnings.clone(),
            };
            traps::find(&config, invocation)
                .into_iter()
                .for_each(|finding| report.add(finding));
            report
                .findings
                .sort_by(|one, other| one.place.cmp(&other.place));
            report
        }
    }
}

/// Whether a file of this name is read as a configuration, by its extension.
pub(crate) fn reads(name: &str) -> bool {
    file::Format::of_file(name).is_some()
}

/// The paths that match a shell pattern, sorted; a relative pattern counts from `cwd` and yields relative paths.
pub(crate) fn matching(cwd: &std::path::Path, pattern: &str) -> Vec<String> {
    glob::paths(cwd, pattern)
}

impl Config {
    /// What the operator should look at although the instance starts.
    pub(crate) fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// The effective options in their order, after expansion: name, value and place.
    pub(crate) fn entries(&self) -> &[(String, String, Option<Place>)] {
        &self.entries
    }

    /// The options that count, without those that a later one overruled and without directives.
    pub(crate) fn effective(&self) -> Vec<&(String, String, Option<Place>)> {
        let overruled = |at: usize, name: &str| match options::find(name) {
            Some(row) if row.many => false,
            Some(row) => self
                .entries
                .iter()
                .skip(at + 1)
                .any(|(later, ..)| row.names.contains(&later.as_str())),
            None => self
                .entries
                .iter()
                .take(at)
                .any(|(earlier, ..)| earlier == name),
        };
        let entries = self.entries.iter().enumerate();
        entries
            .filter(|(at, (name, ..))| directives::act(name).is_none() && !overruled(*at, name))
            .map(|(_, entry)| entry)
            .collect()
    }

    /// The options that were not given, with their defaults.
    pub(crate) fn defaulted(&self) -> Vec<(&'static str, &'static str)> {
        let given = |row: &row::Row| {
            self.entries
                .iter()
                .any(|(name, ..)| row.names.contains(&name.as_str()))
        };
        options::SERVED
            .iter()
            .filter(|row| !given(row))
            .filter_map(|row| Some((row.name(), row.default?)))
            .collect()
    }

    /// The configuration to start with if the start fails with this one.
    pub(crate) fn fallback(&self) -> Option<&str> {
        let mut entries = self.entries.iter().rev();
        let named = entries.find(|(name, ..)| is_fallback(name));
        named.map(|(_, file, _)| file.as_str())
    }

    /// The configuration file's base name without extension, else the application's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod noise_tests;
#[cfg(test)]
mod tests;
