//! What is wrong with a configuration: findings, each with its place, all reported together.

use std::fmt;
use std::sync::Arc;

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// An environment variable.
    Environment,
    /// The command line.
    CommandLine,
    /// A line of a file; lines count from 1.
    File {
        /// The file's name as it was given.
        file: Arc<str>,
        /// The line's number.
        line: u32,
    },
}

impl Place {
    /// The file's name, when the place is in a file.
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
            Place::File { file, line } => write!(f, "{}:{line}", Visible(file)),
        }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The instance starts; the operator should look.
    Warning,
    /// The instance does not start.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One thing to tell the operator about the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Where it was written, when it was written at all.
    pub(crate) place: Option<Place>,
    /// Whether the instance may start.
    pub(crate) severity: Severity,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Finding {
    /// A mistake that keeps the instance from starting.
    pub(crate) fn error(place: Option<Place>, fault: Fault) -> Finding {
        Finding {
            place,
            severity: Severity::Error,
            what: fault.what,
            hint: fault.hint,
        }
    }

    /// Something the operator should look at.
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
        write!(f, "{}: {}", self.severity, Visible(&self.what))?;
        match &self.hint {
            Some(hint) => write!(f, "; {}", Visible(hint)),
            None => Ok(()),
        }
    }
}

/// A text for a terminal or a log: control characters are escaped, so that a file cannot forge lines.
struct Visible<'a>(&'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            c => write!(f, "{c}"),
        })
    }
}

/// What is wrong with a value and what to do, before its place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What is wrong.
    pub(crate) what: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Fault {
    /// A fault that explains itself.
    pub(crate) fn new(what: impl Into<String>) -> Fault {
        Fault {
            what: what.into(),
            hint: None,
        }
    }

    /// The same with what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the option and its value in front.
    pub(crate) fn of(mut self, name: &str, value: &str) -> Fault {
        self.what = match value {
            "" => format!("{name}: {}", self.what),
            value => format!("{name} = {}: {}", shortened(value), self.what),
        };
        self
    }
}

/// A value short enough to quote in a message.
pub(crate) fn shortened(value: &str) -> String {
    const LIMIT: usize = 120;
    match value.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_owned(),
    }
}

/// The most findings that are reported.
const MOST: usize = 1000;

/// Why a configuration cannot be used: everything that was found, warnings included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Report {
    /// The findings in the order in which they were made.
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    /// Whether one of the findings keeps the instance from starting.
    pub(crate) fn has_errors(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    }

    /// Adds a finding unless the very same one is there. Beyond [`MOST`] only the first error counts.
    pub(crate) fn add(&mut self, finding: Finding) {
        if self.is_full() && (finding.severity == Severity::Warning || self.has_errors()) {
            return;
        }
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Whether there are so many findings that more say nothing more.
    pub(crate) fn is_full(&self) -> bool {
        self.findings.len() >= MOST
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
