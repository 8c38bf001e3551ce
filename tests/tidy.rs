//! The lines that docs/architecture.md draws, held: who may use whom, where `unsafe` may stand, how long a
//! file may be, what is not left behind.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file of the project.
struct Source {
    /// From the workspace's root, e.g. `src/sys/mod.rs`.
    path: String,
    /// What stands before the file's tests.
    code: String,
}

impl Source {
    fn is_below(&self, place: &str) -> bool {
        self.path == format!("{place}.rs") || self.path.starts_with(&format!("{place}/"))
    }

    /// The numbered lines that are not comments.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .code
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim()));
        lines.filter(|(_, line)| !line.starts_with("//"))
    }

    /// The modules named right after `root::`, those in braces too.
    fn uses(&self, root: &str) -> Vec<String> {
        let code: Vec<&str> = self.lines().map(|(_, line)| line).collect();
        let code = code.join("\n");
        let prefix = format!("{root}::");
        let mut found = Vec::new();
        for (at, _) in code.match_indices(&prefix) {
            let inside_a_word = code[..at]
                .ends_with(|last: char| last.is_alphanumeric() || last == '_' || last == ':');
            if !inside_a_word {
                found.extend(first_segments(&code[at + prefix.len()..]));
            }
        }
        found
    }
}

/// `sys::poll` gives `sys`; `{channel::{self, Protocol}, exit}` gives `channel` and `exit`.
fn first_segments(text: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(list) = text.strip_prefix('{') else {
        return vec![word(text)];
    };
    let mut depth = 0;
    let mut entries = vec![String::new()];
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => entries.push(String::new()),
            _ => entries.last_mut().unwrap().push(c),
        }
    }
    entries
        .iter()
        .map(|entry| word(entry))
        .filter(|word| !word.is_empty())
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(place: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut places = vec![root().join(place)];
    while let Some(place) = places.pop() {
        for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                places.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What is built into the artefacts.
fn sources() -> Vec<Source> {
    let files = ["src", "python/src"]
        .into_iter()
        .flat_map(|place| files_below(place, "rs"));
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
        Source {
            path: file.strip_prefix(root()).unwrap().display().to_string(),
            code,
        }
    };
    let found: Vec<Source> = files
        .map(read)
        .filter(|source| !source.path.ends_with("tests.rs"))
        .collect();
    assert!(
        found.len() > 10,
        "the sources are not where they are looked for"
    );
    found
}

#[track_caller]
fn none(offences: Vec<String>) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn config_and_protocol_use_nothing_else_of_ours() {
    // the formats of log lines are values of options
    let vocabulary = "log";
    let mut offences = Vec::new();
    for source in sources() {
        for subject in ["config", "protocol"] {
            if source.is_below(&format!("src/{subject}")) {
                let others = source
                    .uses("crate")
                    .into_iter()
                    .filter(|used| used != subject && used != vocabulary);
                offences.extend(others.map(|used| format!("{}: uses crate::{used}", source.path)));
            }
        }
    }
    none(offences);
}

#[test]
fn roles_do_not_import_each_other_and_nothing_below_imports_a_role() {
    let roles = ["emperor", "master"];
    let mut offences = Vec::new();
    for source in sources() {
        let may = |role: &str| {
            source.is_below(&format!("src/{role}"))
                || ["src/lib.rs", "src/cli.rs"].contains(&&*source.path)
                || source.is_below("src/cli")
        };
        let used = source
            .uses("crate")
            .into_iter()
            .filter(|used| roles.contains(&&**used) && !may(used));
        offences.extend(used.map(|used| format!("{}: uses crate::{used}", source.path)));
    }
    none(offences);
}

#[test]
fn the_interpreters_side_uses_no_role_and_no_configuration() {
    let shared = ["protocol", "ipc", "shared", "sys", "log", "exit"];
    let mut offences = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| source.is_below("python/src"))
    {
        let others = source
            .uses("ruwsgi")
            .into_iter()
            .filter(|used| !shared.contains(&&**used));
        offences.extend(others.map(|used| format!("{}: uses ruwsgi::{used}", source.path)));
    }
    none(offences);
}

#[test]
fn unsafe_code_stands_in_sys_the_scoreboard_and_python_only() {
    let fenced = ["src/sys", "src/shared", "python/src"];
    let mut offences = Vec::new();
    for source in sources() {
        for (number, line) in source.lines() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| word == "unsafe")
                && !fenced.iter().any(|place| source.is_below(place))
            {
                offences.push(format!("{}:{number}: {line}", source.path));
            }
        }
    }
    none(offences);
}

#[test]
fn python_is_behind_the_extension_module_and_protocol_knows_no_kernel() {
    let mut offences = Vec::new();
    for source in sources() {
        let banned: &[&str] = if source.is_below("python/src") {
            &[]
        } else if source.is_below("src/protocol") {
            &["pyo3", "nix", "libc"]
        } else {
            &["pyo3"]
        };
        let used = banned.iter().filter(|root| !source.uses(root).is_empty());
        offences.extend(used.map(|root| format!("{}: uses {root}", source.path)));
    }
    none(offences);
}

#[test]
fn nothing_unfinished_and_no_unwrap_is_left() {
    let code = [
        ".unwrap()",
        ".expect(\"",
        "todo!(",
        "unimplemented!(",
        "dbg!(",
    ];
    let anywhere = ["TODO", "FIXME", "XXX"];
    let mut offences = Vec::new();
    for source in sources() {
        for (number, line) in source.lines() {
            let found = code.iter().filter(|word| line.contains(**word));
            offences.extend(found.map(|word| format!("{}:{number}: {word}", source.path)));
        }
        for (index, line) in source.code.lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_alphanumeric());
            if words.any(|word| anywhere.contains(&word)) {
                offences.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    none(offences);
}

#[test]
fn files_are_short_enough_to_be_read_in_one_go() {
    const MOST: usize = 450;
    // the table of options and the list of those that are not here: one row after the other
    let tables = ["/options.rs", "/absent.rs"];
    let long = sources()
        .into_iter()
        .filter(|source| !tables.iter().any(|table| source.path.ends_with(table)));
    let offences = long
        .map(|source| (source.code.lines().count(), source.path))
        .filter(|(lines, _)| *lines > MOST);
    none(
        offences
            .map(|(lines, path)| {
                format!("{path}: {lines} lines before its tests, of at most {MOST}")
            })
            .collect(),
    );
}

#[test]
fn every_page_of_the_documentation_is_linked_from_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let pages = files_below("docs", "md");
    let names = pages
        .iter()
        .map(|page| page.strip_prefix(root()).unwrap().display().to_string());
    let unlinked = names.filter(|name| !readme.contains(&format!("({name})")));
    none(
        unlinked
            .map(|name| format!("README.md does not link {name}"))
            .collect(),
    );
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let mut offences = Vec::new();
    let pages = files_below("docs", "md")
        .into_iter()
        .chain([root().join("README.md"), root().join("CHANGELOG.md")]);
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap();
            if !page.parent().unwrap().join(file).exists() {
                offences.push(format!("{}: no {target}", page.display()));
            }
        }
    }
    none(offences);
}
