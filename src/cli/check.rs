//! `ruwsgi check`: all errors of configuration files, as text or JSON.

use std::process::ExitCode;

use serde::Serialize;

use crate::config::{self, Finding, Invocation, Place, Report, Severity};

use super::output::say;

/// Checks files without starting a server; fails if one of them has an error.
pub(super) fn run<'a>(
    invocation: &Invocation,
    files: impl Iterator<Item = &'a str>,
    json: bool,
) -> ExitCode {
    let reports: Vec<(&str, Report)> = files
        .map(|file| (file, examine(invocation, file)))
        .collect();
    let failed = reports.iter().any(|(_, report)| report.has_errors());
    let mut text = String::new();
    for (file, report) in &reports {
        match report.findings.is_empty() {
            true => text.push_str(&format!("{file}: no errors or warnings\n")),
            false => text.push_str(&format!("{report}\n")),
        }
    }
    if json {
        let findings = reports.iter().flat_map(|(_, report)| &report.findings);
        let items: Vec<Item> = findings.map(Item::new).collect();
        text = serde_json::to_string_pretty(&items).unwrap_or_default();
        text.push('\n');
    }
    match (say(&text), failed) {
        (_, true) => ExitCode::FAILURE,
        (said, false) => said,
    }
}

fn examine(invocation: &Invocation, file: &str) -> Report {
    let argv = ["ruwsgi", "--include", file].map(str::to_owned).to_vec();
    config::examine(&Invocation::new(
        argv,
        invocation.env.clone(),
        invocation.cwd.clone(),
    ))
}

/// A finding as JSON.
#[derive(Serialize)]
struct Item<'a> {
    severity: &'static str,
    /// The file of the finding, if it was found in one.
    file: Option<&'a str>,
    line: Option<u32>,
    /// `environment` or `command line`, if it was found there.
    source: Option<&'static str>,
    message: &'a str,
    hint: Option<&'a str>,
}

impl<'a> Item<'a> {
    fn new(finding: &'a Finding) -> Item<'a> {
        let (file, line, source) = match &finding.place {
            Some(Place::File { file, line }) => (Some(&**file), Some(*line), None),
            Some(Place::Environment) => (None, None, Some("environment")),
            Some(Place::CommandLine) => (None, None, Some("command line")),
            None => (None, None, None),
        };
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        Item {
            severity,
            file,
            line,
            source,
            message: &finding.what,
            hint: finding.hint.as_deref(),
        }
    }
}
