//! The page docs/differences.md: it lists each sentence of a test about a difference under the area of the test's
//! file, and no other sentence.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/differences.md";
const BEGIN: &str = "<!-- from the tests: UPDATE_DOCS=1 cargo test --test suite differences -->\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The string literals of all calls in a source text, without line breaks.
fn sentences(source: &str) -> Vec<String> {
    let call = concat!("differs", "(");
    let literals = source
        .split(call)
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix('"'));
    let mut found: Vec<String> = Vec::new();
    for text in literals.map(|rest| rest.split('"').next().unwrap_or_default()) {
        let joined = text.split("\\\n").map(str::trim_start).collect::<String>();
        if !found.contains(&joined) {
            found.push(joined);
        }
    }
    found
}

/// The area of a file: its first line up to the colon.
fn area(source: &str) -> String {
    let line = source
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("//! ");
    line.split(':').next().unwrap_or_default().to_owned()
}

/// The generated part of the page.
fn expected() -> String {
    let mut files: Vec<_> = fs::read_dir(root().join("tests/suite"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let areas: BTreeSet<(String, Vec<String>)> = files
        .iter()
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "differences"))
        .map(|path| fs::read_to_string(path).unwrap())
        .map(|source| (area(&source), sentences(&source)))
        .filter(|(_, sentences)| !sentences.is_empty())
        .collect();
    let mut text = String::new();
    for (area, sentences) in areas {
        writeln!(text, "\n## {area}\n").unwrap();
        for sentence in sentences {
            writeln!(text, "- {sentence}").unwrap();
        }
    }
    text
}

#[test]
fn the_page_lists_the_sentences_of_the_tests() {
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path).unwrap();
    let (intro, generated) = page
        .split_once(BEGIN)
        .expect("the page has the marker of its generated part");
    let expected = expected();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{intro}{BEGIN}{expected}")).unwrap();
        return;
    }
    assert_eq!(
        generated, expected,
        "{PAGE} is out of date: UPDATE_DOCS=1 cargo test --test suite differences"
    );
}

#[test]
fn every_difference_is_one_sentence() {
    for sentence in expected()
        .lines()
        .filter_map(|line| line.strip_prefix("- "))
    {
        assert!(
            sentence.ends_with('.') && sentence.starts_with(|c: char| !c.is_whitespace()),
            "{sentence}"
        );
        assert!(sentence.len() < 300, "{sentence}");
    }
}

#[test]
fn the_links_of_the_page_exist() {
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let links = page
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.contains("://")) {
        assert!(
            Path::new(&root().join("docs").join(link)).exists(),
            "{link}"
        );
    }
}
