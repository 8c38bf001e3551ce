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
        let emperor = match Emperor::of(invocation, source) {
            Ok(emperor) => emperor,
            Err(report) => {
                reports.push((source.clone(), report));
                continue;
            }
        };
        match emperor.vassals(&invocation.cwd) {
            Err(sentence) => return print_error(&sentence),
            Ok(vassals) if vassals.is_empty() => {
                return print_error(&format!("{source} has no files of vassals"));
            }
            Ok(vassals) => {
                let examined = vassals
                    .into_iter()
                    .map(|it| examine_vassal(invocation, it, &emperor.policy));
                reports.extend(examined);
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
    let notes = match report.findings.is_empty() {
        true => String::new(),
        false => format!("{report}\n"),
    };
    match report.has_errors() || report.has_warnings() {
        true => notes,
        false => format!("{notes}{file}: no errors or warnings\n"),
    }
}

fn json(reports: &[(String, Report)]) -> String {
    let findings = reports.iter().flat_map(|(_, report)| &report.findings);
    let items: Vec<Item> = findings.map(Item::new).collect();
    let text = serde_json::to_string_pretty(&items).unwrap_or_default();
    text + "\n"
}

/// The findings about the configuration of a vassal, with the name of its file.
fn examine_vassal(
    invocation: &Invocation,
    vassal: ListedVassal,
    policy: &SocketPolicy,
) -> (String, Report) {
    let report = match vassal.skipped {
        None => {
            let (directory, name) = (vassal.directory, &vassal.name);
            let given = policy.gives_socket(&directory.join(name));
            let invocation = invocation_of(invocation, vassal.arguments, &directory);
            match given {
                true => config::examine_with_socket(&invocation),
                false => config::examine(&invocation),
            }
        }
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
    config::examine(&invocation_of(invocation, arguments, cwd))
}

fn invocation_of(invocation: &Invocation, arguments: Vec<String>, cwd: &Path) -> Invocation {
    let argv = std::iter::once("ruwsgi".to_owned()).chain(arguments);
    Invocation::new(argv.collect(), invocation.env.clone(), cwd.to_owned())
}

/// The sources of an emperor, and how it gives sockets to its vassals.
struct Emperor {
    sources: Vec<String>,
    policy: SocketPolicy,
}

/// The vassals that get a socket from their emperor, because the emperor starts them on demand.
enum SocketPolicy {
    /// The vassals that have an address file beside their configuration file. The text is the extension of the address
    /// files, such as `.socket`.
    ByFile(String),
    /// All vassals. Also used if a program decides (`emperor-on-demand-directory`, `emperor-on-demand-exec`).
    All,
}

impl Emperor {
    /// Reads the value of `--emperor`: the configuration file of an emperor, or a value of its option `emperor`.
    ///
    /// # Errors
    /// The findings about the configuration file.
    fn of(invocation: &Invocation, source: &str) -> Result<Emperor, Report> {
        const EXTENSION: &str = ".socket";
        if !config::reads(source) || !invocation.cwd.join(source).is_file() {
            return Ok(Emperor {
                sources: vec![source.to_owned()],
                policy: SocketPolicy::ByFile(EXTENSION.to_owned()),
            });
        }
        let arguments = vec!["--include".to_owned(), source.to_owned()];
        let config = config::load(&invocation_of(invocation, arguments, &invocation.cwd))?;
        let gives_all = config.emperor_on_demand_directory().is_some()
            || config.emperor_on_demand_exec().is_some();
        let extension = config.emperor_on_demand_extension().unwrap_or(EXTENSION);
        Ok(Emperor {
            sources: config.emperor().to_vec(),
            policy: match gives_all {
                true => SocketPolicy::All,
                false => SocketPolicy::ByFile(extension.to_owned()),
            },
        })
    }

    /// # Errors
    /// A sentence, if a source cannot be read or the emperor has no source.
    fn vassals(&self, cwd: &Path) -> Result<Vec<ListedVassal>, String> {
        if self.sources.is_empty() {
            return Err(
                "the configuration has no option emperor, so it starts no vassals".to_owned(),
            );
        }
        let mut all = Vec::new();
        for source in &self.sources {
            all.extend(listing::vassals(source, cwd)?);
        }
        Ok(all)
    }
}

impl SocketPolicy {
    /// Whether the emperor gives a socket to the vassal with this file.
    fn gives_socket(&self, file: &Path) -> bool {
        match self {
            SocketPolicy::All => true,
            SocketPolicy::ByFile(extension) => {
                let mut beside = file.as_os_str().to_owned();
                beside.push(extension);
                Path::new(&beside).is_file()
            }
        }
    }
}

/// The JSON form of a finding.
#[derive(Serialize)]
struct Item<'a> {
    severity: &'static str,
    /// The file that contains the finding; `None` for a finding in the environment or on the command line.
    file: Option<&'a str>,
    line: Option<u32>,
    /// `environment` or `command line`, if the finding is there; `None` for a finding in a file.
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
            Severity::Note => "note",
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
