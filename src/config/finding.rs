//! The findings of a configuration; all findings are reported together, each with its place.

use std::fmt;
use std::sync::Arc;

/// The place where an option is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// An environment variable.
    Environment,
    /// The command line.
    CommandLine,
    /// A line of a file.
    File {
        /// The name of the file as given.
        file: Arc<str>,
        /// The line number, from 1.
        line: u32,
    },
}

impl Place {
    /// The name of the file; `None` for other places.
    pub(crate) fn file(&self) -> Option<&str> {
        match self {
            Place::File { file, .. } => Some(file),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Environment => f.write_str("environment"),
            Place::CommandLine => f.write_str("command line"),
            Place::File { file, line } => write!(f, "{}:{line}", Escaped(file)),
        }
    }
}

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// An option that can be removed: ruwsgi accepts the option without effect, and always behaves as the option
    /// demands.
    Note,
    /// The instance starts.
    Warning,
    /// The instance does not start, or does not serve.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// A finding about the configuration: an error, a warning or a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The place of the option at fault; `None` if the option is missing or the fault has no single place.
    pub(crate) place: Option<Place>,
    /// The severity. Only an error keeps the instance from starting or serving.
    pub(crate) severity: Severity,
    /// The description of the fault.
    pub(crate) what: String,
    /// The advice on how to correct the fault.
    pub(crate) hint: Option<String>,
}

impl Finding {
    /// An error: the instance does not start, or does not serve.
    pub(crate) fn error(place: Option<Place>, fault: Fault) -> Finding {
        Finding {
            place,
            severity: Severity::Error,
            what: fault.what,
            hint: fault.hint,
        }
    }

    /// An error about a file that the emperor skips.
    pub(crate) fn skipped(place: Place, reason: &str) -> Finding {
        let fault = Fault::new(format!("the emperor skips this file: {reason}"));
        Finding::error(Some(place), fault)
    }

    /// A note: an option can be removed without a change in behaviour.
    pub(crate) fn note(place: Option<Place>, fault: Fault) -> Finding {
        Finding {
            severity: Severity::Note,
            ..Finding::warning(place, fault)
        }
    }

    /// A warning: the instance starts.
    pub(crate) fn warning(place: Option<Place>, fault: Fault) -> Finding {
        Finding {
            place,
            severity: Severity::Warning,
            what: fault.what,
            hint: fault.hint,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}: {}", self.severity, Escaped(&self.what))?;
        match &self.hint {
            Some(hint) => write!(f, "; {}", Escaped(hint)),
            None => Ok(()),
        }
    }
}

/// Displays a text with escaped control characters, so that a file cannot forge lines on a terminal or in a log.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            c => write!(f, "{c}"),
        })
    }
}

/// A fault of a value. A [`Finding`] adds the place and the severity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The description of the fault.
    pub(crate) what: String,
    /// The advice on how to correct the fault.
    pub(crate) hint: Option<String>,
}

impl Fault {
    /// A fault without advice.
    pub(crate) fn new(what: impl Into<String>) -> Fault {
        Fault {
            what: what.into(),
            hint: None,
        }
    }

    /// Sets the advice.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the advice if the fault has no advice yet.
    pub(crate) fn or_hint(mut self, hint: &str) -> Fault {
        self.hint.get_or_insert_with(|| hint.to_owned());
        self
    }

    /// Puts the name of the option and its value before the description.
    pub(crate) fn of(mut self, name: &str, value: &str) -> Fault {
        self.what = match value {
            "" => format!("{name}: {}", self.what),
            value => format!("{name} = {}: {}", shortened(value), self.what),
        };
        self
    }
}

/// Shortens a value to 120 characters for a message. `...` marks a shortened value.
pub(crate) fn shortened(value: &str) -> String {
    const LIMIT: usize = 120;
    match value.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_owned(),
    }
}

/// Maximum number of findings in a report.
const MAX_FINDINGS: usize = 1000;

/// The findings of a configuration: errors, warnings and notes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Report {
    /// The findings in the order in which they are printed.
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    /// Whether a finding is a warning.
    pub(crate) fn has_warnings(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity == Severity::Warning)
    }

    /// Whether a finding is an error.
    pub(crate) fn has_errors(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    }

    /// Adds a finding unless the report already has an equal finding. A full report accepts an error only if it has no
    /// error yet, so that a faulty configuration never passes as valid.
    pub(crate) fn add(&mut self, finding: Finding) {
        if self.is_full() && (finding.severity != Severity::Error || self.has_errors()) {
            return;
        }
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Whether the report has the maximum number of findings.
    pub(crate) fn is_full(&self) -> bool {
        self.findings.len() >= MAX_FINDINGS
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}
