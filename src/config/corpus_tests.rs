//! Configuration files modelled on real ones, each with its expected options.
//!
//! `UPDATE_CORPUS=1` rewrites the expected options. With `RUWSGI_UNDER_TEST=/path/to/uwsgi` the original reads the files
//! too; each difference must be in `DIFFERENT`, with the reason.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::read::source::gather;
use super::table::options;
use super::*;

/// Files that uWSGI reads differently on purpose, or cannot print.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "nested-placeholders",
        "a placeholder whose value holds placeholders is expanded to the end; uWSGI stops after one step",
    ),
    (
        "arithmetic",
        "placeholders are expanded in every option; uWSGI leaves out listen, umask, plugins and others that act at once",
    ),
    (
        "set",
        "placeholders made by set-placeholder are expanded too; in uWSGI they are expanded where they are used, one step",
    ),
    (
        "if-unclosed",
        "uWSGI's own --show-config is swallowed by the block",
    ),
    ("logging", "uWSGI opens the log before it prints"),
    (
        "tutorial-production",
        "uWSGI goes to the background before it prints",
    ),
    (
        "magic-cpus",
        "the number of CPUs and the host's name are the machine's",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[("HOME", "/home/op"), ("SITE", "blog"), ("PORT", "8000")];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/corpus")
}

fn names() -> Vec<String> {
    let files = fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = files
        .filter_map(|file| file.strip_suffix(".ini").map(str::to_owned))
        .collect();
    names.sort_unstable();
    names
}

fn invocation(name: &str) -> Invocation {
    let argv = [
        "ruwsgi".to_owned(),
        "--ini".to_owned(),
        format!("{name}.ini"),
    ]
    .to_vec();
    let env = ENVIRONMENT
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Invocation::new(argv, env, corpus())
}

/// The options of a file, without the paths of the machine.
fn options_of(name: &str) -> String {
    let gathered = gather(&invocation(name));
    let lines = gathered
        .entries
        .iter()
        .skip(1)
        .map(|entry| format!("{} = {}\n", entry.name, entry.value));
    lines
        .collect::<String>()
        .replace(corpus().to_str().unwrap(), "{DIR}")
}

/// The options of a file as uWSGI prints them.
fn options_of_original(original: &str, name: &str) -> String {
    let output = Command::new(original)
        .args([
            "--ini",
            &format!("{name}.ini"),
            "--show-config",
            "--no-server",
        ])
        .current_dir(corpus())
        .env_clear()
        .envs(ENVIRONMENT.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let from = said.split_once("[uwsgi]\nini = ").map_or("", |(_, rest)| {
        rest.split_once('\n').map_or("", |(_, rest)| rest)
    });
    let shown = from
        .split_once(";end of configuration")
        .map_or("", |(shown, _)| shown);
    let lines = shown
        .lines()
        .filter(|line| !["show-config = true", "no-server = true"].contains(line));
    lines
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        .replace(corpus().to_str().unwrap(), "{DIR}")
}

#[test]
fn every_file_of_the_corpus_options_of_what_is_expected() {
    assert!(names().len() >= 60);
    let mut wrong = BTreeMap::new();
    for name in names().iter().filter(|name| *name != "magic-cpus") {
        let expected = corpus().join(format!("{name}.expected"));
        let found = options_of(name);
        if std::env::var_os("UPDATE_CORPUS").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.insert(name.clone(), found);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_original_says_the_same_but_for_the_listed_differences() {
    let Ok(original) = std::env::var("RUWSGI_UNDER_TEST") else {
        return;
    };
    let mut wrong = BTreeMap::new();
    for name in names()
        .iter()
        .filter(|name| DIFFERENT.iter().all(|(different, _)| different != name))
    {
        let (ours, theirs) = (options_of(name), options_of_original(&original, name));
        if ours != theirs {
            wrong.insert(name.clone(), (ours, theirs));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_machines_own_facts_are_filled_in() {
    let facts = options_of("magic-cpus");
    assert!(facts.lines().all(|line| !line.contains('%')), "{facts}");
    let processes = facts
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("processes = "));
    assert!(
        processes.is_some_and(|number| number.parse::<u32>().is_ok_and(|number| number > 0)),
        "{facts}"
    );
}

#[test]
fn no_placeholder_of_the_corpus_is_called_a_typo_and_every_typo_is() {
    for name in names() {
        let findings = match load(&invocation(&name)) {
            Ok(config) => config.warnings().to_vec(),
            Err(report) => report.findings,
        };
        let typos: Vec<&str> = findings
            .iter()
            .map(|finding| finding.what.as_str())
            .filter(|what| what.starts_with("unknown option"))
            .collect();
        let expected = match name.as_str() {
            "typo-real" => 6,
            _ => 0,
        };
        assert_eq!(typos.len(), expected, "{name}: {typos:?}");
    }
}

/// A small generator of random numbers, with the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }

    /// Returns the name with one letter added, left out, changed or swapped.
    fn misspell(&mut self, name: &str) -> String {
        let mut letters: Vec<char> = name.chars().collect();
        let at = self.below(letters.len());
        let letter = char::from(b'a' + u8::try_from(self.below(26)).unwrap());
        match self.below(4) {
            0 => letters.insert(at, letter),
            1 if letters.len() > 1 => {
                letters.remove(at);
            }
            2 if at + 1 < letters.len() => letters.swap(at, at + 1),
            _ => letters[at] = letter,
        }
        letters.into_iter().collect()
    }
}

#[test]
fn ninety_five_of_a_hundred_typos_are_recognised() {
    let names: Vec<&str> = options::rows()
        .flat_map(|row| row.names)
        .copied()
        .filter(|name| name.len() > 3)
        .collect();
    let mut dice = Dice(42);
    let (mut tried, mut right, mut missed) = (0, 0, Vec::new());
    while tried < 2000 {
        let name = names[dice.below(names.len())];
        let mut typo = dice.misspell(name);
        if tried % 2 == 1 {
            typo = dice.misspell(&typo);
        }
        if options::find(&typo).is_some() {
            continue;
        }
        tried += 1;
        let hint = table::suggest::unknown_key(&typo, "")
            .hint
            .unwrap_or_default();
        let words: Vec<&str> = hint.split([' ', '?']).collect();
        let of_the_same_row = options::find(name)
            .unwrap()
            .names
            .iter()
            .any(|name| words.contains(name));
        if of_the_same_row && words.contains(&name) {
            right += 1;
        } else {
            missed.push(format!("{name} as {typo}: {hint}"));
        }
    }
    assert!(
        right * 100 >= tried * 95,
        "{right} of {tried}\n{}",
        missed.join("\n")
    );
}
