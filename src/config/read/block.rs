//! Conditions and loops of configuration files.

use crate::config::finding::{Fault, Place};
use crate::config::table::plugins;
use crate::log::Pattern;

use super::entry::Entry;
use super::file::{contents, resolve};
use super::glob;
use super::invocation::Invocation;
use super::limits::MAX_ENTRIES;

/// An open condition or loop: the reader has read its first line, but not yet its end.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// The name of the directive that opens the block, as written (such as `if-opt`).
    pub(crate) name: String,
    /// The value of the directive: the argument of the condition's test, or the source of the loop's items.
    pub(crate) argument: String,
    /// The place of the line that opens the block.
    pub(crate) place: Place,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// A condition. As in uWSGI, the condition is tested again for every option in the block.
    Condition,
    /// The items of a loop, which are read once, when the loop begins.
    Loop(Vec<String>),
}

impl Block {
    /// Opens a block, and reads the items of a loop.
    ///
    /// # Errors
    /// When the items of a loop cannot be read (the block is then a loop without items), and when the regular
    /// expression of a condition is invalid.
    pub(crate) fn open(
        name: &str,
        argument: String,
        place: &Place,
        invocation: &Invocation,
    ) -> (Block, Option<Fault>) {
        let (kind, fault) = match items(name, &argument, invocation) {
            Some(Ok(items)) => (Kind::Loop(items), None),
            Some(Err(fault)) => (Kind::Loop(Vec::new()), Some(fault)),
            None => (Kind::Condition, None),
        };
        let fault = fault.or_else(|| {
            let reason = Pattern::new(&argument).err();
            let reason = reason.filter(|_| name.ends_with("hostname-match"))?;
            Some(
                Fault::new(format!("the regular expression is invalid: {reason}"))
                    .of(name, &argument),
            )
        });
        let block = Block {
            name: name.to_owned(),
            argument,
            place: place.clone(),
            kind,
        };
        (block, fault)
    }

    /// The name of the directive that ends the block.
    pub(crate) fn end(&self) -> &'static str {
        match self.kind {
            Kind::Loop(_) => "endfor",
            Kind::Condition => "endif",
        }
    }

    /// The name of the option that an `if-opt` or `if-not-opt` condition tests; `None` for other blocks.
    pub(crate) fn tested_option(&self) -> Option<&str> {
        let test = self.test().0;
        (matches!(self.kind, Kind::Condition) && test == "opt")
            .then(|| name_and_value(&self.argument).0)
    }

    /// The values of `%(_)`. An option in the block is added once for each value. A false condition has no values.
    ///
    /// The items of a loop are moved out; [`Block::restore`] puts them back.
    pub(crate) fn rounds(&mut self, entries: &[Entry], invocation: &Invocation) -> Vec<String> {
        let (test, expected) = self.test();
        let argument = self.argument.as_str();
        match &mut self.kind {
            Kind::Loop(items) => std::mem::take(items),
            Kind::Condition => match condition(test, argument, entries, invocation) {
                Some(found) if expected => vec![found],
                None if !expected => vec![argument.to_owned()],
                _ => Vec::new(),
            },
        }
    }

    /// Puts back the items of a loop that [`Block::rounds`] has moved out.
    pub(crate) fn restore(&mut self, rounds: Vec<String>) {
        if let Kind::Loop(items) = &mut self.kind {
            *items = rounds;
        }
    }

    /// The name of the test, and the expected outcome: false for `if-not-...`.
    fn test(&self) -> (&'static str, bool) {
        const TESTS: &[&str] = &[
            "env",
            "opt",
            "exists",
            "file",
            "dir",
            "directory",
            "plugin",
            "hostname",
            "hostname-match",
            "reload",
        ];
        let (test, expected) = match self.name.strip_prefix("if-not-") {
            Some(test) => (test, false),
            None => (
                self.name.trim_start_matches("if").trim_start_matches('-'),
                true,
            ),
        };
        let known = TESTS.iter().find(|known| **known == test);
        (known.copied().unwrap_or_default(), expected)
    }
}

/// Reads the items of a loop; `None` if `name` is a condition. At most `MAX_ENTRIES + 1` items are read, to limit the
/// memory. The item above the limit makes the configuration too large, so that an error is reported.
fn items(
    name: &str,
    argument: &str,
    invocation: &Invocation,
) -> Option<Result<Vec<String>, Fault>> {
    let items = match name {
        "for" => Ok(argument
            .split(' ')
            .filter(|item| !item.is_empty())
            .take(MAX_ENTRIES + 1)
            .map(str::to_owned)
            .collect()),
        "for-glob" => match glob::paths(&invocation.cwd, argument) {
            // as in the shell, a pattern without a match gives the pattern itself
            none if none.is_empty() => Ok(vec![argument.to_owned()]),
            paths => Ok(paths),
        },
        "for-times" => match argument.parse::<u64>() {
            Ok(times) => Ok((1..=times.min(MAX_ENTRIES as u64 + 1))
                .map(|round| round.to_string())
                .collect()),
            Err(_) => Err(Fault::new("the value is not a whole number").of(name, argument)),
        },
        "for-readline" => contents(invocation, argument).map(|bytes| {
            String::from_utf8_lossy(&bytes)
                .lines()
                .take(MAX_ENTRIES + 1)
                .map(str::to_owned)
                .collect()
        }),
        _ => return None,
    };
    Some(items)
}

/// Tests a condition. Returns the value of `%(_)` if the condition is true, otherwise `None`.
fn condition(
    test: &str,
    argument: &str,
    entries: &[Entry],
    invocation: &Invocation,
) -> Option<String> {
    let when = |is_true: bool| is_true.then(|| argument.to_owned());
    match test {
        "env" => {
            let (name, expected) = name_and_value(argument);
            let value = invocation.variable(name)?;
            equal(value, expected)
        }
        "opt" => {
            let (name, expected) = name_and_value(argument);
            let mut values = entries
                .iter()
                .filter(|entry| entry.name == name)
                .map(|entry| entry.value.as_str());
            values.find_map(|value| equal(value, expected))
        }
        "exists" => when(resolve(invocation, argument).exists()),
        "file" => when(resolve(invocation, argument).is_file()),
        "dir" | "directory" => when(resolve(invocation, argument).is_dir()),
        "plugin" => when(plugins::is_built_in(argument)),
        "hostname" => when(invocation.host.name == argument),
        "hostname-match" => {
            // an invalid expression was already reported when the block was opened
            let pattern = Pattern::new(argument);
            when(pattern.is_ok_and(|pattern| pattern.matches(&invocation.host.name)))
        }
        "reload" => invocation.reloading.then(String::new),
        _ => None,
    }
}

/// Splits `NAME` or `NAME=VALUE`.
fn name_and_value(argument: &str) -> (&str, Option<&str>) {
    match argument.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (argument, None),
    }
}

/// Returns `value` if it equals `expected`. If `expected` is `None`, every value is accepted.
fn equal(value: &str, expected: Option<&str>) -> Option<String> {
    expected
        .is_none_or(|expected| expected == value)
        .then(|| value.to_owned())
}
