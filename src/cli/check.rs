//! `ruwsgi check`: all findings about configuration files, as text or JSON.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::config::{self, Finding, Invocation, Place, Report, Severity};
use crate::emperor::listing::{self, ListedVassal};

use super::output::{print_error, say};

/// The configurations to check, and the form of the report.
pub(super) struct Request {
    /// Paths of configuration files to check.
    pub(super) files: Vec<String>,
    /// Values of `emperor`: directories and patterns. Their vassals are checked.
    pub(super) emperors: Vec<String>,
    /// Whether warnings count as failures.
    pub(super) strict: bool,
    pub(super) json: bool,
}

/// Checks configurations without starting a server, and prints the findings. Returns failure if a configuration would
/// not start or would not serve.
pub(super) fn run(invocation: &Invocation, request: &Request) -> ExitCode {
    let mut reports: Vec<(String, Report)> = Vec::new();
    for file in &request.files {
        let arguments = vec!["--include".to_owned(), file.clone()];
        let report = examine(invocation, arguments, &invocation.cwd);
        reports.push((file.clone(), report));
    }
    for source in &request.emperors {
        match listing::vassals(source, &invocation.cwd) {
            Err(sentence) => return print_error(&sentence),
            Ok(vassals) if vassals.is_empty() => {
                return print_error(&format!("{source} has no files of vassals"));
            }
            Ok(vassals) => {
                reports.extend(vassals.into_iter().map(|it| examine_vassal(invocation, it)));
            }
        }
    }
    let failed = reports
        .iter()
        .any(|(_, report)| report.has_errors() || (request.strict && report.has_warnings()));
    let text = match request.json {
        true => json(&reports),
        false => reports.iter().map(text).collect(),
    };
    match (say(&text), failed) {
        (_, true) => ExitCode::FAILURE,
        (said, false) => said,
    }
}

fn text((file, report): &(String, Report)) -> String {
    match report.findings.is_empty() {
        true => format!("{file}: no errors or warnings\n"),
        false => format!("{report}\n"),
    }
}

fn json(reports: &[(String, Report)]) -> String {
    let findings = reports.iter().flat_map(|(_, report)| &report.findings);
    let items: Vec<Item> = findings.map(Item::new).collect();
    let text = serde_json::to_string_pretty(&items).unwrap_or_default();
    text + "\n"
}

/// The findings about the configuration of a vassal, with the name of its file.
fn examine_vassal(invocation: &Invocation, vassal: ListedVassal) -> (String, Report) {
    let report = match vassal.skipped {
        None => examine(invocation, vassal.arguments, &vassal.directory),
        Some(reason) => {
            let place = Place::File {
                file: vassal.name.as_str().into(),
                line: 1,
            };
            let mut report = Report::default();
            report.add(Finding::skipped(place, &reason));
            report
        }
    };
    (vassal.name, report)
}

fn examine(invocation: &Invocation, arguments: Vec<String>, cwd: &Path) -> Report {
    let argv = std::iter::once("ruwsgi".to_owned()).chain(arguments);
    config::examine(&Invocation::new(
        argv.collect(),
        invocation.env.clone(),
        cwd.to_owned(),
    ))
}

/// The JSON form of a finding.
#[derive(Serialize)]
struct Item<'a> {
    severity: &'static str,
    /// The file that contains the finding; `None` for a finding in the environment or on the command line.
    file: Option<&'a str>,
    line: Option<u32>,
    /// `environment` or `command line` for a finding in one of these; `None` for a finding in a file.
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
