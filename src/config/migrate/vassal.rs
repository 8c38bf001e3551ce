//! Writes the ini file of a vassal.

use crate::config::table::options;
use crate::config::table::row::State;

/// A converted configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Migrated {
    /// The name of the file without its extension; empty if the input has one result only.
    pub(crate) name: String,
    /// The ini file.
    pub(crate) text: String,
}

impl Migrated {
    /// The result for an input that gives one file only. The file has no name.
    pub(super) fn only(text: String) -> Migrated {
        let name = String::new();
        Migrated { name, text }
    }
}

/// A writer of an ini file. Options that are not supported or have no effect become comments.
pub(super) struct Vassal {
    text: String,
}

impl Vassal {
    /// Creates a file that begins with a comment about its source.
    pub(super) fn new(from: &str) -> Vassal {
        Vassal {
            text: format!("# {from}\n[uwsgi]\n"),
        }
    }

    /// Adds an option below a comment. The text of the comment is `from`, the setting that the option replaces.
    pub(super) fn option(&mut self, name: &str, value: &str, from: &str) {
        let value = one_line(value);
        match options::find(name).map(|row| row.state) {
            Some(State::Absent(instead)) => self.comment(&format!(
                "{from}: {name} = {value} is not supported; {instead}"
            )),
            Some(State::Accepted(why) | State::Ignored(why)) => {
                self.comment(&format!("{from}: {why}"))
            }
            _ => {
                self.comment(from);
                self.text
                    .push_str(&format!("{name} = {}\n", value.replace('%', "%%")));
            }
        }
    }

    /// Adds a line unchanged: `%` is not escaped, so the line can contain placeholders.
    pub(super) fn raw(&mut self, line: &str) {
        self.text.push_str(&one_line(line));
        self.text.push('\n');
    }

    /// Adds a comment.
    pub(super) fn comment(&mut self, text: &str) {
        self.text.push_str(&format!("# {}\n", one_line(text)));
    }

    /// Whether the file has a line that begins with this text.
    pub(super) fn has(&self, text: &str) -> bool {
        self.text.lines().any(|line| line.starts_with(text))
    }

    /// The text of the file.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// Replaces control characters by blanks, because a line feed would begin a new option.
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
