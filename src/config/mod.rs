//! Reads the command line, the environment and the configuration files into a checked [`Config`], or reports all
//! faults.
//!
//! An option passes the folders in this order: [`read`] gathers the options of all sources into one ordered list and
//! expands placeholders; [`table`] has a row for each option; [`values`] parses the texts; [`check`] builds the
//! [`Config`] and reports all faults at once. [`migrate`] converts configurations of uWSGI, gunicorn and supervisor.

mod check;
mod finding;
pub(crate) mod migrate;
mod read;
mod table;
mod values;

use std::path::Path;

use finding::Fault;
pub(crate) use finding::{Finding, Place, Report, Severity};
pub(crate) use read::ini;
pub(crate) use read::invocation::{Invocation, VassalFile};
pub(crate) use table::options::Config;
pub use table::options::WorkerOptions;
pub(crate) use table::suggest::nearest;
pub(crate) use table::{compat, docs};
pub(crate) use values::address::Address;
pub(crate) use values::alarm::{Alarm, AlarmEngine};
pub(crate) use values::choice::{ScalingAlgorithm, Wire};
pub(crate) use values::companion::Companion;
pub(crate) use values::hook::{Action, SignalFunction, WaitTarget};
pub(crate) use values::limit::Limit;
pub(crate) use values::logging::FileOwner;
pub(crate) use values::pusher::{PushProtocol, Pusher};
pub(crate) use values::schedule::{Schedule, Task};

use check::{traps, validate};
use read::{envdir, file, glob, source};
use table::directives;
use table::row::Directive;

/// Reads the whole configuration; called at the start and at every reload.
///
/// # Errors
/// A report of all findings, if at least one finding is an error.
pub(crate) fn load(invocation: &Invocation) -> Result<Config, Report> {
    let mut config = validate::check(source::gather(invocation))?;
    read_directories(&mut config, invocation)?;
    Ok(config)
}

/// Reads the variables of the `envdir` directories into `config`. If a reload has no permission to read a directory,
/// marks the directories as unreadable; the instance then keeps the variables that were read at the start.
fn read_directories(config: &mut Config, invocation: &Invocation) -> Result<(), Report> {
    let mut variables = Vec::new();
    for directory in config.envdir() {
        match envdir::variables(&invocation.cwd.join(directory)) {
            Ok(found) => variables.extend(found),
            Err(unreadable) if unreadable.is_denied && invocation.reloading => {
                config.directories.is_unreadable = true;
                return Ok(());
            }
            Err(unreadable) => {
                let fault = unreadable.fault.of("envdir", directory);
                let findings = vec![Finding::error(None, fault)];
                return Err(Report { findings });
            }
        }
    }
    config.directories.late = variables;
    Ok(())
}

/// The value of the last `fallback-config`. The configuration may have errors: the options are gathered, not checked.
pub(crate) fn fallback(invocation: &Invocation) -> Option<String> {
    let entries = source::gather(invocation).entries;
    let named = entries
        .into_iter()
        .rev()
        .find(|entry| directives::find(&entry.name) == Some(Directive::Fallback));
    named.map(|entry| entry.value)
}

/// All findings of `ruwsgi check`. If [`load`] fails, the report has the findings of [`load`]. Otherwise the report has
/// the warnings of [`load`], the faults that keep the site from serving, and likely mistakes.
pub(crate) fn examine(invocation: &Invocation) -> Report {
    examined(invocation, false)
}

/// As [`examine`], for a vassal that gets a socket from its emperor.
pub(crate) fn examine_with_socket(invocation: &Invocation) -> Report {
    examined(invocation, true)
}

fn examined(invocation: &Invocation, has_socket: bool) -> Report {
    match load(invocation) {
        Err(report) => report,
        Ok(config) => {
            let mut report = Report {
                findings: config.warnings.clone(),
            };
            for (name, why, place) in config.without_effect() {
                let fault = Fault::new(format!("{name} has no effect: {why}"));
                report.add(Finding::note(place.clone(), fault));
            }
            traps::find(&config, invocation, has_socket)
                .into_iter()
                .for_each(|finding| report.add(finding));
            report
                .findings
                .sort_by(|one, other| one.place.cmp(&other.place));
            report
        }
    }
}

/// Whether a file name has the extension of a configuration file.
pub(crate) fn reads(name: &str) -> bool {
    file::Format::of_file(name).is_some()
}

/// The paths that match a shell pattern, sorted. A relative pattern is resolved in `cwd` and gives relative paths.
pub(crate) fn matching(cwd: &Path, pattern: &str) -> Vec<String> {
    glob::paths(cwd, pattern)
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod noise_tests;
#[cfg(test)]
mod tests;
