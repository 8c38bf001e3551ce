//! Gathers the options of all sources in order: environment, command line and files.

use std::collections::HashSet;

use crate::config::finding::{Fault, Finding, Place, Report, shortened};
use crate::config::table::directives;
use crate::config::table::options;
use crate::config::table::permitted::Permitted;
use crate::config::table::row::Directive;
use crate::config::values::envdir::FileVariable;

use super::block::Block;
use super::entry::Entry;
use super::env;
use super::envdir;
use super::expand;
use super::file::{Format, split_section};
use super::flags::{self, Typed};
use super::habits;
use super::invocation::Invocation;
use super::limits::{MAX_ENTRIES, MAX_LINES, MAX_TEXT, MAX_VALUE, value_too_long};
use super::magic::FileFacts;
use super::template::Template;

/// The gathered options.
pub(crate) struct RawOptions {
    pub(crate) entries: Vec<Entry>,
    /// Names that a `%(...)` or a condition refers to. These names are not reported as typing mistakes.
    pub(crate) referenced: HashSet<String>,
    /// Names of custom options (`declare-option`).
    pub(crate) customs: HashSet<String>,
    /// The first configuration file.
    pub(crate) outermost: Option<FileFacts>,
    pub(crate) report: Report,
    /// The variables of `early-envdir`.
    pub(crate) early: Vec<FileVariable>,
}

/// Gathers all options of an invocation and expands their values.
pub(crate) fn gather(invocation: &Invocation) -> RawOptions {
    let mut source = Source::new(invocation);
    source.environment();
    source.command_line();
    source.finish();
    let known = source.extended.take();
    let known = known.as_deref().unwrap_or(invocation);
    expand::expand(&mut source.entries, known, &mut source.report);
    RawOptions {
        early: source.early,
        entries: source.entries,
        referenced: source.referenced,
        customs: source
            .customs
            .into_iter()
            .map(|template| template.name)
            .collect(),
        outermost: source.outermost,
        report: source.report,
    }
}

/// The state while the options of an invocation are gathered.
pub(crate) struct Source<'a> {
    pub(crate) invocation: &'a Invocation,
    /// The invocation with the variables of `early-envdir`, if there are any.
    extended: Option<Box<Invocation>>,
    early: Vec<FileVariable>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) report: Report,
    referenced: HashSet<String>,
    pub(crate) outermost: Option<FileFacts>,
    /// The file that is read now.
    pub(crate) here: Option<FileFacts>,
    /// The file that `:section` without a file name refers to.
    pub(crate) last_ini: Option<String>,
    inherited: Vec<(String, Place)>,
    /// The files that do not have the requested section: the place and the fault for each file.
    pub(crate) without_section: Vec<(Place, Fault)>,
    pub(crate) customs: Vec<Template>,
    pub(crate) permitted: Permitted,
    block: Option<Block>,
    pub(crate) depth: usize,
    pub(crate) files: usize,
    /// Current nesting of custom options.
    pub(crate) nested: usize,
    text: usize,
    lines: usize,
    full: bool,
}

impl<'a> Source<'a> {
    fn new(invocation: &'a Invocation) -> Source<'a> {
        Source {
            invocation,
            extended: None,
            early: Vec::new(),
            entries: Vec::new(),
            report: Report::default(),
            referenced: HashSet::new(),
            outermost: None,
            here: None,
            last_ini: None,
            inherited: Vec::new(),
            without_section: Vec::new(),
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
            if let Some(name) = env::option_name(variable) {
                self.add(&name, value, &Place::Environment);
            }
        }
    }

    fn command_line(&mut self) {
        let invocation = self.invocation;
        let arguments = invocation.argv.get(1..).unwrap_or_default();
        let foreign = habits::configuration_flag(arguments);
        if let Some(fault) = &foreign {
            self.error(&Place::CommandLine, fault.clone());
        }
        for typed in flags::read(arguments) {
            match typed {
                Typed::Flag("cgi-mode", _) | Typed::File(_) if foreign.is_some() => {}
                Typed::Flag(name, value) => self.add(name, &value, &Place::CommandLine),
                Typed::File(file) => self.positional(&file),
                Typed::Invalid(fault) => self.error(&Place::CommandLine, fault),
            }
        }
    }

    /// Adds a configuration file that is given without a flag. The extension selects the format; another extension is
    /// an error.
    fn positional(&mut self, file: &str) {
        let (path, _) = split_section(file);
        if let Some(format) = Format::of_file(path) {
            return self.add(format.directive(), file, &Place::CommandLine);
        }
        let fault = Fault::new(format!("{} is not a configuration file", shortened(file)));
        let hint = habits::command_for(self.invocation, file).unwrap_or_else(|| {
            "the name of a configuration file ends in .ini; see ruwsgi --help".to_owned()
        });
        self.error(&Place::CommandLine, fault.hint(hint));
    }

    /// Adds an option at the current position. Inside a block, the option is added once per round. A false condition
    /// has no rounds.
    pub(crate) fn add(&mut self, name: &str, value: &str, place: &Place) {
        self.lines += 1;
        if self.lines > MAX_LINES {
            self.stop(place);
        }
        if self.full {
            return;
        }
        if value.len() > MAX_VALUE {
            return self.error(place, value_too_long().of(name, value));
        }
        if let Some(fault) = self.permitted.forbids(name) {
            return self.error(place, fault);
        }
        self.record_references(value);
        let directive = directives::find(name);
        if directive == Some(Directive::End) {
            self.block = None;
            return self.push(name, value, place, false);
        }
        let Some(mut block) = self.block.take() else {
            return self.add_here(name, value, place);
        };
        if matches!(directive, Some(Directive::If | Directive::For)) {
            self.error(
                place,
                Fault::new(format!("{name} is inside {}", block.name)).hint(format!(
                    "write {} before it: blocks cannot be nested",
                    block.end()
                )),
            );
            self.block = Some(block);
            return;
        }
        if let Some(option) = block.tested_option() {
            self.referenced.insert(option.to_owned());
        }
        let rounds = block.rounds(&self.entries, self.surroundings());
        for item in &rounds {
            if self.full {
                break;
            }
            match expand::with_item(value, item) {
                Some(value) => self.add_here(name, &value, place),
                None => self.error(place, value_too_long().of(name, value)),
            }
        }
        block.restore(rounds);
        // as in uWSGI, only one block is open at a time: this block stays open even if a file that it includes has
        // ended a block
        self.block = Some(block);
    }

    /// Adds an option at the current position, without regard to an open block. A directive takes effect at once. For a
    /// custom option, the options of its template are added too.
    pub(crate) fn add_here(&mut self, name: &str, value: &str, place: &Place) {
        if self.full {
            return;
        }
        self.push(name, value, place, false);
        let Some(directive) = directives::find(name) else {
            return self.custom(name, value, place);
        };
        match directive {
            Directive::Load => {
                let file = self.known_file(name, value, place);
                self.load(name, &file, place);
            }
            Directive::Inherit => {
                let file = self.known_file(name, value, place);
                self.inherited.push((file, place.clone()));
            }
            Directive::Set => self.set(name, value, place, false),
            Directive::SetPlaceholder => self.set(name, value, place, true),
            Directive::If | Directive::For => {
                let argument = self.known(value);
                let (block, fault) = Block::open(name, argument, place, self.surroundings());
                if let Some(fault) = fault {
                    self.error(place, fault);
                }
                self.block = Some(block);
            }
            Directive::EnvironmentDirectory => self.environment_directory(name, value, place),
            Directive::Paste => self.paste(name, value, place),
            Directive::Declare => self.declare(value, place),
            Directive::Permit => self.permitted.apply(name, value),
            Directive::End | Directive::Print | Directive::Fallback => {}
        }
    }

    /// Expands the argument of a directive with the options before the directive.
    fn known(&self, value: &str) -> String {
        expand::known(value, &self.entries, self.surroundings())
    }

    /// The invocation, with the variables of the `early-envdir` directories that were read so far.
    fn surroundings(&self) -> &Invocation {
        self.extended.as_deref().unwrap_or(self.invocation)
    }

    /// Reads the variables of a directory, and sets them for the following options and for the instance.
    fn environment_directory(&mut self, directive: &str, name: &str, place: &Place) {
        let directory = self.invocation.cwd.join(self.known(name));
        match envdir::variables(&directory) {
            Ok(variables) => {
                let extended = self
                    .extended
                    .get_or_insert_with(|| Box::new(self.invocation.clone()));
                for (name, value) in &variables {
                    extended.env.retain(|(known, _)| known != name);
                    if let Some(value) = value {
                        extended.env.push((name.clone(), value.clone()));
                    }
                }
                self.early.extend(variables);
            }
            Err(unreadable) => self.error(place, unreadable.fault.of(directive, name)),
        }
    }

    /// Reads an ini file as configuration, and adds the options that load the PasteDeploy application from the same
    /// file.
    fn paste(&mut self, directive: &str, name: &str, place: &Place) {
        let name = self.known(name);
        self.load("ini", &name, place);
        let path = self.invocation.cwd.join(&name);
        self.push("paste", &format!("config:{}", path.display()), place, false);
        if directive == "ini-paste-logged" {
            self.push("paste-logger", "true", place, false);
        }
    }

    /// Expands the name of a file, and warns if the name refers to an environment variable that is not set.
    fn known_file(&mut self, directive: &str, value: &str, place: &Place) -> String {
        let file = self.known(value);
        if let Some(fault) = expand::missing_variable(&file) {
            self.warn(Some(place.clone()), fault.of(directive, value));
        }
        file
    }

    fn set(&mut self, directive: &str, text: &str, place: &Place, placeholder: bool) {
        let Some((name, value)) = text
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()))
        else {
            return self.error(
                place,
                Fault::new("the value has no =")
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
        if self.text > MAX_TEXT || self.entries.len() >= MAX_ENTRIES {
            return self.stop(place);
        }
        self.entries.push(Entry {
            name: name.to_owned(),
            value: value.to_owned(),
            place: place.clone(),
            placeholder,
        });
    }

    /// Stops the gathering because a limit is exceeded. Only the first call reports an error.
    fn stop(&mut self, place: &Place) {
        if !std::mem::replace(&mut self.full, true) {
            let fault = Fault::new("the configuration is too large");
            self.error(place, fault.hint("look for a loop with too many rounds"));
        }
    }

    /// Records the names that the placeholders of a text refer to. An unknown option with such a name is not reported
    /// as a typing mistake.
    fn record_references(&mut self, text: &str) {
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

    pub(crate) fn error(&mut self, place: &Place, fault: Fault) {
        self.report.add(Finding::error(Some(place.clone()), fault));
    }

    pub(crate) fn warn(&mut self, place: Option<Place>, fault: Fault) {
        self.report.add(Finding::warning(place, fault));
    }

    /// Reports the files that do not have the requested section: as errors if only directives were gathered, otherwise
    /// as warnings.
    fn report_missing_sections(&mut self) {
        let is_empty = (self.entries.iter()).all(|entry| directives::find(&entry.name).is_some());
        for (place, fault) in std::mem::take(&mut self.without_section) {
            match is_empty {
                true => self.error(&place, fault),
                false => self.warn(Some(place), fault),
            }
        }
    }

    fn finish(&mut self) {
        let mut at = 0;
        while let Some((file, place)) = self.inherited.get(at).cloned() {
            at += 1;
            self.load("inherit", &file, &place);
        }
        self.report_missing_sections();
        if let Some(block) = self.block.take() {
            let fault = Fault::new(format!(
                "{} has no end, so everything after it is inside the block",
                block.name
            ))
            .hint(format!("write {} at the end of the block", block.end()));
            self.warn(Some(block.place), fault);
        }
    }
}
