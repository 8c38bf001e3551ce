//! Where options come from: environment, command line and files, gathered into one ordered list.

use std::collections::HashSet;

use crate::config::finding::{Fault, Finding, Place, Report, shortened};
use crate::config::read::custom::Template;
use crate::config::read::expand;
use crate::config::read::file::{Format, split_section};
use crate::config::read::flags::{self, Typed};
use crate::config::read::invocation::Invocation;
use crate::config::read::logic::{Block, is_reserved_variable};
use crate::config::read::magic::FileFacts;
use crate::config::table::directives::{self, Act};
use crate::config::table::options;
use crate::config::table::permitted::Permitted;

/// The most text that options may hold together, in bytes.
pub(crate) const MOST_TEXT: usize = 16 << 20;
/// The most text one value may hold, in bytes, before and after expansion.
pub(crate) const LONGEST: usize = 64 << 10;
/// The most options, repeated ones counted each time.
pub(crate) const MOST_ENTRIES: usize = 10_000;
/// The most lines that are looked at, those in conditions that do not hold included.
const MOST_LINES: usize = 100_000;

/// One option as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name as it was written.
    pub(crate) name: String,
    /// The value, after expansion once loading is complete.
    pub(crate) value: String,
    /// Where it was written.
    pub(crate) place: Place,
    /// A placeholder made by `set-placeholder`, never an option.
    pub(crate) placeholder: bool,
}

/// Everything that was gathered.
pub(crate) struct Gathered {
    pub(crate) entries: Vec<Entry>,
    /// Names that some `%(...)` or condition refers to.
    pub(crate) referenced: HashSet<String>,
    /// Names that `declare-option` made options.
    pub(crate) customs: HashSet<String>,
    /// The first configuration file.
    pub(crate) outermost: Option<FileFacts>,
    pub(crate) report: Report,
}

/// Gathers all options of an invocation and expands their values.
pub(crate) fn gather(invocation: &Invocation) -> Gathered {
    let mut source = Source::new(invocation);
    source.environment();
    source.command_line();
    source.finish();
    expand::expand(&mut source.entries, invocation, &mut source.report);
    Gathered {
        entries: source.entries,
        referenced: source.referenced,
        customs: source
            .customs
            .into_iter()
            .map(Template::into_name)
            .collect(),
        outermost: source.outermost,
        report: source.report,
    }
}

pub(crate) struct Source<'a> {
    pub(crate) invocation: &'a Invocation,
    pub(crate) entries: Vec<Entry>,
    pub(crate) report: Report,
    referenced: HashSet<String>,
    pub(crate) outermost: Option<FileFacts>,
    /// The file being read.
    pub(crate) here: Option<FileFacts>,
    /// The file `:section` speaks of.
    pub(crate) last_ini: Option<String>,
    inherited: Vec<(String, Place)>,
    pub(crate) customs: Vec<Template>,
    pub(crate) permitted: Permitted,
    block: Option<Block>,
    pub(crate) depth: usize,
    pub(crate) files: usize,
    /// How many custom options stand inside each other.
    pub(crate) nested: usize,
    text: usize,
    lines: usize,
    full: bool,
}

impl<'a> Source<'a> {
    fn new(invocation: &'a Invocation) -> Source<'a> {
        Source {
            invocation,
            entries: Vec::new(),
            report: Report::default(),
            referenced: HashSet::new(),
            outermost: None,
            here: None,
            last_ini: None,
            inherited: Vec::new(),
            customs: Vec::new(),
            permitted: Permitted::default(),
            block: None,
            depth: 0,
            files: 0,
            nested: 0,
            text: 0,
            lines: 0,
            full: false,
        }
    }

    fn environment(&mut self) {
        let invocation = self.invocation;
        for (variable, value) in &invocation.env {
            let name = ["UWSGI_", "RUWSGI_"]
                .iter()
                .find_map(|prefix| variable.strip_prefix(prefix));
            if let Some(name) = name.filter(|_| !is_reserved_variable(variable)) {
                let name = name.to_ascii_lowercase().replace('_', "-");
                self.add(&name, value, &Place::Environment);
            }
        }
    }

    fn command_line(&mut self) {
        let invocation = self.invocation;
        for typed in flags::read(invocation.argv.get(1..).unwrap_or_default()) {
            match typed {
                Typed::Flag(name, value) => self.add(name, &value, &Place::CommandLine),
                Typed::File(file) => self.positional(&file),
                Typed::Mistake(fault) => self.error(&Place::CommandLine, fault),
            }
        }
    }

    /// A file that was named without a flag; its extension says what it is.
    fn positional(&mut self, file: &str) {
        let (path, _) = split_section(file);
        if let Some(format) = Format::of_file(path) {
            return self.add(format.directive(), file, &Place::CommandLine);
        }
        let fault = Fault::new(format!("{} is not a configuration file", shortened(file)));
        let hint = match path.rsplit_once('.') {
            Some((_, "py" | "wsgi")) => format!(
                "to serve this Python file write --wsgi-file {}",
                shortened(file)
            ),
            _ => "a configuration file ends in .ini; see ruwsgi --help".to_owned(),
        };
        self.error(&Place::CommandLine, fault.hint(hint));
    }

    /// Adds an option where the reading has come to; within a block it may not count, or count several times.
    pub(crate) fn add(&mut self, name: &str, value: &str, place: &Place) {
        self.lines += 1;
        if self.lines > MOST_LINES {
            self.stop(place);
        }
        if self.full {
            return;
        }
        if value.len() > LONGEST {
            return self.error(place, too_long().of(name, value));
        }
        if let Some(fault) = self.permitted.forbids(name) {
            return self.error(place, fault);
        }
        self.refer(value);
        let act = directives::act(name);
        if act == Some(Act::End) {
            self.block = None;
            return self.push(name, value, place, false);
        }
        let Some(mut block) = self.block.take() else {
            return self.add_here(name, value, place);
        };
        if matches!(act, Some(Act::If | Act::For)) {
            self.error(
                place,
                Fault::new(format!("{name} stands inside {}", block.name)).hint(format!(
                    "end that with {} first: blocks do not nest",
                    block.end()
                )),
            );
            self.block = Some(block);
            return;
        }
        let rounds = block.rounds(self);
        for item in &rounds {
            if self.full {
                break;
            }
            match expand::with_item(value, item) {
                Some(value) => self.add_here(name, &value, place),
                None => self.error(place, too_long().of(name, value)),
            }
        }
        block.give_back(rounds);
        // a file read within the block may have ended it; uWSGI has one block at a time
        self.block = Some(block);
    }

    pub(crate) fn add_here(&mut self, name: &str, value: &str, place: &Place) {
        if self.full {
            return;
        }
        self.push(name, value, place, false);
        let Some(act) = directives::act(name) else {
            return self.custom(name, value, place);
        };
        match act {
            Act::Load => self.load(name, &self.known(value), place),
            Act::Inherit => self.inherited.push((self.known(value), place.clone())),
            Act::Set => self.set(name, value, place, false),
            Act::SetPlaceholder => self.set(name, value, place, true),
            Act::If | Act::For => {
                let block = Block::new(name, self.known(value), place, self);
                self.block = Some(block);
            }
            Act::Declare => self.declare(value, place),
            Act::Permit => self.permitted.apply(name, value),
            Act::End | Act::Print | Act::Fallback => {}
        }
    }

    /// A directive's argument with what is known so far.
    fn known(&self, value: &str) -> String {
        expand::known(value, &self.entries, self.invocation)
    }

    fn set(&mut self, directive: &str, text: &str, place: &Place, placeholder: bool) {
        let Some((name, value)) = text
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()))
        else {
            return self.error(
                place,
                Fault::new("there is no = in it")
                    .hint("write name=value")
                    .of(directive, text),
            );
        };
        if let Some(fault) = self.permitted.forbids(name) {
            return self.error(place, fault);
        }
        if !placeholder {
            return self.add_here(name, value, place);
        }
        if options::find(name).is_some() {
            return self.error(
                place,
                Fault::new(format!("{name} is an option, not a placeholder"))
                    .hint("write set instead")
                    .of(directive, text),
            );
        }
        self.push(name, value, place, true);
    }

    fn push(&mut self, name: &str, value: &str, place: &Place, placeholder: bool) {
        self.text += name.len() + value.len() + size_of::<Entry>();
        if self.text > MOST_TEXT || self.entries.len() >= MOST_ENTRIES {
            return self.stop(place);
        }
        self.entries.push(Entry {
            name: name.to_owned(),
            value: value.to_owned(),
            place: place.clone(),
            placeholder,
        });
    }

    /// Takes nothing more, and says so once.
    fn stop(&mut self, place: &Place) {
        if !std::mem::replace(&mut self.full, true) {
            let fault = Fault::new("the configuration is too large");
            self.error(place, fault.hint("look for a loop that repeats too much"));
        }
    }

    /// Remembers the names a text refers to, so that they are not taken for typos.
    fn refer(&mut self, text: &str) {
        let mut rest = text;
        while let Some((inside, behind)) = rest
            .split_once("%(")
            .and_then(|(_, after)| after.split_once(')'))
        {
            for word in inside.split_whitespace().chain([inside]) {
                if word.len() < 200 && !self.referenced.contains(word) {
                    self.referenced.insert(word.to_owned());
                }
            }
            rest = behind;
        }
    }

    pub(crate) fn refer_to(&mut self, name: &str) {
        self.referenced.insert(name.to_owned());
    }

    pub(crate) fn error(&mut self, place: &Place, fault: Fault) {
        self.report.add(Finding::error(Some(place.clone()), fault));
    }

    pub(crate) fn warn(&mut self, place: Option<Place>, fault: Fault) {
        self.report.add(Finding::warning(place, fault));
    }

    fn finish(&mut self) {
        let mut at = 0;
        while let Some((file, place)) = self.inherited.get(at).cloned() {
            at += 1;
            self.load("inherit", &file, &place);
        }
        if let Some(block) = self.block.take() {
            let fault = Fault::new(format!(
                "{} is never ended, so everything behind it belongs to it",
                block.name
            ))
            .hint(format!("write {} where it ends", block.end()));
            self.warn(Some(block.place), fault);
        }
    }
}

/// What is said about a value that is more than a value can be.
pub(crate) fn too_long() -> Fault {
    Fault::new(format!("the value has more than {LONGEST} bytes"))
        .hint("look for placeholders that multiply each other")
}
