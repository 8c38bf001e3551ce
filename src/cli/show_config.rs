//! `ruwsgi show-config`: the effective configuration.

use std::process::ExitCode;

use crate::config::{self, Invocation};

use super::output::{print_errors, say};

/// Prints the options that are set. With `origin`, also prints the place where each option is set, and the defaults of
/// the other options.
pub(super) fn run(invocation: &Invocation, arguments: &[String], origin: bool) -> ExitCode {
    let argv = std::iter::once("ruwsgi".to_owned())
        .chain(arguments.iter().cloned())
        .collect();
    let config = match config::load(&Invocation::new(
        argv,
        invocation.env.clone(),
        invocation.cwd.clone(),
    )) {
        Ok(config) => config,
        Err(report) => return print_errors(&report.findings),
    };
    print_errors(config.warnings());
    let mut text = String::from(if origin { "" } else { "[uwsgi]\n" });
    for (name, value, place) in config.effective() {
        match place {
            Some(place) if origin => text.push_str(&format!("{place}\t{name} = {value}\n")),
            _ => text.push_str(&format!("{name} = {value}\n")),
        }
    }
    if origin {
        let defaults = config.defaulted();
        text.extend(
            defaults
                .iter()
                .map(|(name, value)| format!("default\t{name} = {value}\n")),
        );
    }
    say(&text)
}
