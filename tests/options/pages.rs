//! Pages that are generated from the option table, and pages that name options.

use std::fs;
use std::path::Path;

use super::{directory, output, ruwsgi, text};

#[test]
fn docs_options_md_is_generated_from_the_table() {
    let output = output(&[], &["options-page"]);
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/options.md")).unwrap();
    assert!(
        text(&output.stdout) == page,
        "regenerate it: ruwsgi options-page > docs/options.md"
    );
}

#[test]
fn docs_absent_md_is_generated_from_the_table() {
    let output = output(&[], &["absent-page"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/absent.md");
    let page = text(&output.stdout);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert!(
        page == fs::read_to_string(path).unwrap_or_default(),
        "regenerate it: ruwsgi absent-page > docs/absent.md"
    );
}

#[test]
fn docs_differences_defaults_md_is_generated_from_the_table() {
    let output = output(&[], &["defaults-page"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/differences-defaults.md");
    assert!(
        text(&output.stdout) == fs::read_to_string(path).unwrap(),
        "regenerate it: ruwsgi defaults-page > docs/differences-defaults.md"
    );
}

#[test]
fn the_examples_of_the_migration_page_are_configurations() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migration.md"))
        .unwrap();
    let mut blocks = page
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|block| block.split_once('\n').unwrap());
    let mut example = |language: &str| blocks.find(|(found, _)| *found == language).unwrap().1;
    for (name, from, content) in [
        ("site.ini", "uwsgi", example("ini")),
        ("gunicorn.conf.py", "gunicorn", example("python")),
        ("blog.conf", "supervisor", example("conf")),
    ] {
        let directory = directory(&[(name, content)]);
        let written = ruwsgi(directory.path(), &["migrate", "--from", from, name])
            .output()
            .unwrap();
        assert!(written.status.success(), "{}", text(&written.stderr));
        fs::write(directory.path().join("new.ini"), &written.stdout).unwrap();
        let read = ruwsgi(directory.path(), &["show-config", "new.ini"])
            .output()
            .unwrap();
        assert_eq!(text(&read.stderr), "", "{name}:\n{}", text(&written.stdout));
        assert!(
            text(&read.stdout).contains("module = blog.wsgi"),
            "{}",
            text(&read.stdout)
        );
    }
}

#[test]
fn every_option_of_the_page_about_limits_exists() {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/limits.md"));
    let page = page.unwrap();
    let options = text(
        &ruwsgi(Path::new("."), &["options-page"])
            .output()
            .unwrap()
            .stdout,
    );
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(3));
    let names: Vec<&str> = cells
        .filter_map(|cell| cell.trim().strip_prefix('`')?.strip_suffix('`'))
        .collect();
    assert!(names.len() > 15, "{names:?}");
    for name in &names {
        let heading = format!("\n### {name}\n");
        assert!(options.contains(&heading), "{name} is no option");
    }
    for name in [
        "limit-connections",
        "limit-buffers",
        "limit-spool",
        "limit-headers",
        "max-fd",
    ] {
        assert!(names.contains(&name), "{name} is missing");
    }
}
