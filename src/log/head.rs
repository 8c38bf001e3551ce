//! The head of a log line: time, level and process. For the systemd journal: priority and process.

use std::fmt::Write;
use std::sync::{PoisonError, RwLock};

use tracing::Level;

use crate::sys::clock::LocalTime;

use super::environment::{Environment, environment};
use super::escape::push_printable;
use super::journal;
use super::json::{Object, Scope};

/// The name of this process in its log lines; empty until [`rename`] sets it.
static PROCESS_NAME: RwLock<String> = RwLock::new(String::new());

/// Sets the process name in the log lines written from now on, for example after a fork.
pub fn rename(name: impl Into<String>) {
    *PROCESS_NAME.write().unwrap_or_else(PoisonError::into_inner) = name.into();
}

/// Returns the process name in log lines; `ruwsgi` if none is set.
pub(super) fn name() -> String {
    let name = PROCESS_NAME.read().unwrap_or_else(PoisonError::into_inner);
    match &**name {
        "" => "ruwsgi".to_owned(),
        name => name.to_owned(),
    }
}

/// Begins a record of the JSON log for a line of this process. The caller adds the text (`body`).
pub(super) fn own_record(level: Level) -> Object {
    let mut record = Object::record(level, Scope::Server);
    record.number("process.pid", std::process::id());
    record.text("process.title", name().as_bytes());
    record.some_text("service.name", environment().vassal.trim_end().as_bytes());
    record
}

/// The head of a log line.
pub(super) struct Head {
    level: Level,
    /// The time of the line; `None` if the line goes to the systemd journal, which records the time itself.
    time: Option<LocalTime>,
}

impl Head {
    /// Returns the head for a line written now.
    pub(super) fn now(level: Level, environment: &Environment) -> Self {
        let time = (!environment.is_journal()).then(LocalTime::now);
        Self { level, time }
    }

    /// Appends the head with the name and id of this process.
    pub(super) fn push(&self, out: &mut String) {
        self.push_as(out, &name(), std::process::id());
    }

    /// Appends the head with the name and id of another process.
    pub(super) fn push_as(&self, out: &mut String, name: &str, pid: u32) {
        match &self.time {
            Some(time) => {
                let _ = write!(out, "{time} [{}] ", level_name(self.level));
                push_process(out, name);
                let _ = write!(out, "[{pid}]: ");
            }
            None => {
                let _ = write!(out, "<{}>", journal::priority(self.level));
                push_process(out, name);
                out.push_str(": ");
            }
        }
    }

    /// Appends the beginning of a further line of the same event: two spaces. For the journal, also appends the
    /// priority, which each line needs.
    pub(super) fn push_continuation(&self, out: &mut String) {
        if self.time.is_none() {
            let _ = write!(out, "<{}>", journal::priority(self.level));
        }
        out.push_str("  ");
    }
}

fn push_process(out: &mut String, name: &str) {
    push_printable(out, &environment().vassal);
    push_printable(out, name);
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_level_and_process() {
        rename("worker 2");
        let mut out = String::new();
        let time = LocalTime {
            year: 2026,
            month: 11,
            day: 21,
            weekday: 6,
            hour: 6,
            minute: 18,
            second: 0,
            millisecond: 7,
            offset: 0,
        };
        let head = Head {
            level: Level::WARN,
            time: Some(time),
        };
        head.push(&mut out);
        let pid = std::process::id();
        assert_eq!(
            out,
            format!("2026-11-21 06:18:00.007 [warn] worker 2[{pid}]: ")
        );
    }

    #[test]
    fn every_line_for_the_journal_begins_with_its_priority() {
        let head = Head {
            level: Level::ERROR,
            time: None,
        };
        let mut out = String::new();
        head.push(&mut out);
        assert!(out.starts_with("<3>") && out.ends_with(": "));
        out.clear();
        head.push_continuation(&mut out);
        assert_eq!(out, "<3>  ");
    }
}
