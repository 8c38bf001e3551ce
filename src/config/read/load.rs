//! Reads configuration files, and adds their options to the options that are already gathered.

use std::sync::Arc;

use crate::config::finding::{Fault, Place, shortened};

use super::file::{Format, contents, split_section};
use super::formats;
use super::ini;
use super::magic::{FileFacts, Magic};
use super::source::Source;

/// Maximum number of files that one configuration reads.
const MAX_FILES: usize = 100;
/// Maximum nesting of files.
const MAX_DEPTH: usize = 16;

impl Source<'_> {
    /// Reads a configuration file, and adds its options at the current position. A `name` without a file, such as
    /// `:section`, refers to the file that was read last.
    pub(crate) fn load(&mut self, directive: &str, name: &str, place: &Place) {
        let (file, section) = split_section(name);
        let file = match (file, &self.last_ini) {
            ("", Some(last)) => last.clone(),
            ("", None) => {
                return self.error(
                    place,
                    Fault::new("no file was read before it, so the section has no file")
                        .of("ini", name),
                );
            }
            (file, _) => file.to_owned(),
        };
        self.files += 1;
        if self.depth >= MAX_DEPTH || self.files > MAX_FILES {
            return self.error(
                place,
                Fault::new(format!(
                    "{} is read too often or too deeply",
                    shortened(&file)
                ))
                .hint("look for a file that includes itself"),
            );
        }
        let bytes = match self.read(&file) {
            Ok(bytes) => bytes,
            Err(fault) => return self.error(place, fault),
        };
        let format = Format::of_directive(directive, &file);
        let facts = match &self.here {
            // for the output of a command, the magic variables describe the file that names the command
            Some(here) if file.contains("://") => here.renamed(&file, section),
            _ => FileFacts::new(&file, &self.invocation.cwd, section),
        };
        let before = self.here.replace(facts.clone());
        self.outermost.get_or_insert_with(|| facts.clone());
        self.last_ini = Some(file);
        self.depth += 1;
        let section = if section.is_empty() { "uwsgi" } else { section };
        match format {
            Format::Ini => self.read_ini(&bytes, &facts, section),
            format => self.read_other(format, &bytes, &facts, section),
        }
        self.depth -= 1;
        self.here = before;
    }

    /// Adds the options of a YAML, JSON, TOML or XML file.
    fn read_other(&mut self, format: Format, bytes: &[u8], facts: &FileFacts, section: &str) {
        let name: Arc<str> = facts.given.as_str().into();
        let at = |line: u32| Place::File {
            file: Arc::clone(&name),
            line: line.max(1),
        };
        let Ok(text) = std::str::from_utf8(bytes) else {
            let fault = Fault::new(format!("{name} is not UTF-8 text"));
            return self.error(&at(1), fault.hint("save the file as UTF-8"));
        };
        let pairs = match formats::read(format, text.trim_start_matches('\u{feff}'), section) {
            Ok(Some(pairs)) => pairs,
            Ok(None) => {
                let fault = no_section(section, &name);
                return self.without_section.push((at(1), fault));
            }
            Err((line, fault)) => return self.error(&at(line), fault),
        };
        let outermost = self.outermost.clone().unwrap_or_default();
        let magic = Magic::new(facts, &outermost, self.invocation);
        for pair in pairs {
            let place = at(pair.line);
            if pair.value.contains(['\0', '\n']) || pair.name.contains('\0') {
                self.error(
                    &place,
                    Fault::new(format!("the value of {} has more than one line", pair.name)),
                );
                continue;
            }
            let (value, deleted) = magic.expand(&pair.value);
            self.warn_of_deleted(&deleted, &place);
            self.pair(&magic.expand(&pair.name).0, value.trim(), &place);
        }
    }

    fn read(&self, file: &str) -> Result<Vec<u8>, Fault> {
        match file {
            "-" => Ok(self.invocation.standard_input().to_vec()),
            file => contents(self.invocation, file),
        }
    }

    fn read_ini(&mut self, bytes: &[u8], facts: &FileFacts, section: &str) {
        let name: Arc<str> = facts.given.as_str().into();
        let outermost = self.outermost.clone().unwrap_or_default();
        let magic = Magic::new(facts, &outermost, self.invocation);
        let (mut inside, mut found, mut similar) = (section.is_empty(), false, None);
        for (number, line) in ini::numbered(bytes) {
            let place = Place::File {
                file: Arc::clone(&name),
                line: number,
            };
            let Some(text) = self.decode(line, inside, &place) else {
                continue;
            };
            let (text, deleted) = magic.expand(&text);
            match ini::line(&text) {
                Some(ini::Line::Section(header)) => {
                    inside = header == section;
                    found |= inside;
                    if !inside
                        && header
                            .trim_matches([' ', ']', ';', '#'])
                            .eq_ignore_ascii_case(section)
                    {
                        similar = Some(place);
                    }
                }
                Some(ini::Line::Pair(key, value)) if inside => {
                    self.warn_of_deleted(&deleted, &place);
                    self.pair(key, value, &place);
                }
                _ => {}
            }
        }
        if !found && !section.is_empty() {
            let fault = no_section(section, &facts.given);
            let fault = match similar {
                Some(_) => fault.hint(format!("the line must be exactly [{section}]")),
                None => fault,
            };
            let first = Place::File {
                file: name,
                line: 1,
            };
            self.without_section.push((similar.unwrap_or(first), fault));
        }
    }

    fn pair(&mut self, key: &str, value: &str, place: &Place) {
        match key {
            "" => self.error(place, Fault::new("the name before = is missing")),
            key => self.add(key, value, place),
        }
    }

    /// Decodes a line. Reports an error and returns `None` if the line is an option of the section, but is not UTF-8 or
    /// has a NUL byte. Invalid bytes in other lines are replaced.
    fn decode(&mut self, line: &[u8], inside: bool, place: &Place) -> Option<String> {
        let text = String::from_utf8_lossy(line);
        let invalid = matches!(text, std::borrow::Cow::Owned(_)) || line.contains(&0);
        if invalid && inside && matches!(ini::line(&text), Some(ini::Line::Pair(..))) {
            self.error(
                place,
                Fault::new("the line is not UTF-8 text").hint("save the file as UTF-8"),
            );
            return None;
        }
        Some(text.into_owned())
    }

    /// Warns if letters after `%` were deleted because they are not magic variables. The warning names the first
    /// letter.
    fn warn_of_deleted(&mut self, deleted: &[char], place: &Place) {
        if let Some(first) = deleted.first() {
            let fault = Fault::new(format!(
                "%{first} is not a magic variable, so it is removed"
            ))
            .hint(format!("write %%{first} for a percent sign"));
            self.warn(Some(place.clone()), fault);
        }
    }
}

fn no_section(section: &str, file: &str) -> Fault {
    Fault::new(format!(
        "{file} has no section [{section}], so nothing is read from it"
    ))
}
