//! An ini file being written.

use crate::config::table::options;
use crate::config::table::row::State;

/// An ini file in the making; what cannot be served becomes a comment that says so.
pub(super) struct Vassal {
    text: String,
}

impl Vassal {
    /// A file that begins with a comment about where it comes from.
    pub(super) fn new(from: &str) -> Vassal {
        Vassal {
            text: format!("# {from}\n[uwsgi]\n"),
        }
    }

    /// An option, and the setting it comes from.
    pub(super) fn option(&mut self, name: &str, value: &str, from: &str) {
        let value = one_line(value);
        match options::find(name).map(|row| row.state) {
            Some(State::Absent(instead)) => self.comment(&format!(
                "{from}: {name} = {value} is not supported; {instead}"
            )),
            Some(State::Accepted(why)) => self.comment(&format!("{from}: {why}")),
            _ => {
                self.comment(from);
                self.text
                    .push_str(&format!("{name} = {}\n", value.replace('%', "%%")));
            }
        }
    }

    /// A line as it is, for values that are calculated.
    pub(super) fn raw(&mut self, line: &str) {
        self.text.push_str(&one_line(line));
        self.text.push('\n');
    }

    /// A comment.
    pub(super) fn comment(&mut self, text: &str) {
        self.text.push_str(&format!("# {}\n", one_line(text)));
    }

    /// The file.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// A text without line ends, which would begin a new option.
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
