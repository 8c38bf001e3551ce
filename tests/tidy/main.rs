//! The invariants of docs/architecture.md that can be read from the source: layers, import cycles, where `unsafe` may
//! stand, sizes of files and functions, and links of the documentation.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod graph;
mod sizes;

use std::fs;
use std::path::{Path, PathBuf};

use graph::Graph;

/// A Rust file of the artefacts.
struct Source {
    /// From the workspace's root, such as `src/sys/mod.rs`.
    path: String,
    /// The text before the file's unit tests.
    code: String,
    /// The text of the whole file.
    text: String,
}

impl Source {
    /// The syntax tree of the whole file. Each call parses the file, which takes longer than all else in these tests.
    fn syntax(&self) -> syn::File {
        syn::parse_file(&self.text).unwrap()
    }

    fn is_below(&self, place: &str) -> bool {
        is_below(&self.path, place)
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

    /// Whether the code names this crate in a path or an import.
    fn names_crate(&self, name: &str) -> bool {
        self.lines().any(|(_, line)| {
            line.match_indices(&format!("{name}::")).any(|(at, _)| {
                !line[..at].ends_with(|last: char| last.is_alphanumeric() || "_:".contains(last))
            })
        })
    }
}

fn is_below(path: &str, place: &str) -> bool {
    path == format!("{place}.rs") || path.starts_with(&format!("{place}/"))
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

/// The files that are built into the artefacts, without unit tests.
fn sources() -> Vec<Source> {
    let files = ["src", "python/src"]
        .into_iter()
        .flat_map(|place| files_below(place, "rs"));
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        Source {
            path: file.strip_prefix(root()).unwrap().display().to_string(),
            code: code.to_owned(),
            text,
        }
    };
    let found: Vec<Source> = files
        .map(read)
        .filter(|source| !source.path.ends_with("tests.rs") && !source.path.contains("/tests/"))
        .collect();
    assert!(found.len() > 10, "no sources below {}", root().display());
    found
}

#[track_caller]
fn none(offences: Vec<String>) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn no_file_takes_part_in_an_import_cycle() {
    let sources = sources();
    let graph = Graph::of(&sources);
    let uses: usize = graph.uses.values().map(|files| files.len()).sum();
    assert!(uses > sources.len(), "the graph is not read: {uses} edges");
    let cycles = graph.cycles();
    none(cycles.iter().map(|files| files.join(" <-> ")).collect());
}

/// The layers from the lowest to the highest. A file uses its own folder and lower layers only.
const LAYERS: &[&[&str]] = &[
    &["src/exit", "src/sys"],
    &["src/protocol"],
    &["src/log", "src/shared"],
    &["src/routing"],
    &["src/config", "src/static_files"],
    &["src/ipc"],
    &["src/http"],
    &["src/net", "src/process", "src/watch"],
    &["src/control", "src/stats"],
    &["src/emperor", "src/master"],
    &["src/cli", "src/fuzz"],
    &["src/main", "src/lib"],
];

/// Files of the library that the extension module uses.
const FOR_PYTHON: &[&str] = &[
    "src/exit",
    "src/http",
    "src/ipc",
    "src/log",
    "src/protocol",
    "src/routing",
    "src/shared",
    "src/static_files",
    "src/sys",
];

#[test]
fn files_use_their_own_folder_and_lower_layers_only() {
    let layer = |file: &str| {
        LAYERS.iter().enumerate().find_map(|(height, folders)| {
            let folder = folders.iter().find(|folder| is_below(file, folder))?;
            Some((height, *folder))
        })
    };
    let mut offences = Vec::new();
    for (file, uses) in Graph::of(&sources()).uses {
        for used in &uses {
            let allowed = match (layer(&file), layer(used)) {
                _ if is_below(&file, "python/src") => {
                    is_below(used, "python/src")
                        || FOR_PYTHON.iter().any(|folder| is_below(used, folder))
                }
                (Some((own, folder)), Some((height, other))) => height < own || folder == other,
                _ => false,
            };
            if !allowed {
                offences.push(format!("{file}: uses {used}"));
            }
        }
    }
    none(offences);
}

#[test]
fn unsafe_code_is_in_sys_shared_and_python_only() {
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
        let used = banned.iter().filter(|name| source.names_crate(name));
        offences.extend(used.map(|name| format!("{}: uses {name}", source.path)));
    }
    none(offences);
}

#[test]
fn no_unwrap_and_no_unfinished_code_is_left() {
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

/// Files that are tables; the limit does not apply to them.
const TABLES: [&str; 2] = ["/options.rs", "/absent.rs"];

#[test]
fn files_have_at_most_450_lines_before_their_tests() {
    const LIMIT: usize = 450;
    let offences = sources()
        .into_iter()
        .filter(|source| !TABLES.iter().any(|table| source.path.ends_with(table)))
        .map(|source| (source.code.lines().count(), source.path))
        .filter(|(lines, _)| *lines > LIMIT);
    none(
        offences
            .map(|(lines, path)| format!("{path}: {lines} lines"))
            .collect(),
    );
}

#[test]
fn functions_have_at_most_60_lines_and_5_parameters() {
    let limits = sizes::Limits {
        lines: 60,
        parameters: 5,
    };
    none(
        sources()
            .iter()
            .flat_map(|source| sizes::offences(source, limits))
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
fn links_between_the_pages_have_targets() {
    let mut offences = Vec::new();
    let top = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"];
    let pages = files_below("docs", "md")
        .into_iter()
        .chain(top.map(|name| root().join(name)));
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

#[test]
fn paths_that_the_pages_name_exist() {
    let tops = [
        "src/", "python/", "tests/", "benches/", "fuzz/", "docs/", "contrib/", "scripts/",
    ];
    let top = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"];
    let pages = files_below("docs", "md")
        .into_iter()
        .chain(top.map(|name| root().join(name)));
    let mut offences = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let quoted = text.split('`').skip(1).step_by(2);
        let paths =
            quoted.filter(|it| tops.iter().any(|top| it.starts_with(top)) && !it.contains(' '));
        for path in paths.filter(|path| !root().join(path).exists()) {
            offences.push(format!("{}: no {path}", page.display()));
        }
    }
    none(offences);
}
