//! The configuration of the built binary: flags, files and messages.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod messages;
mod pages;
mod sources;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The command `ruwsgi ARGUMENTS` in a directory, not started. It has no environment variable that is an option, and a
/// runtime directory without other instances.
fn ruwsgi(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ruwsgi"));
    command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("UWSGI_")
            || name.to_string_lossy().starts_with("RUWSGI_")
        {
            command.env_remove(name);
        }
    }
    command.env("RUWSGI_RUNTIME_DIRECTORY", directory.join(".run"));
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A temporary directory with these files.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

fn output(files: &[(&str, &str)], arguments: &[&str]) -> Output {
    let directory = directory(files);
    ruwsgi(directory.path(), arguments).output().unwrap()
}

/// The output of `ruwsgi check` for a file with this content, an application and a socket; and whether it succeeds.
fn check(content: &str) -> (String, bool) {
    const REST: &str = "\n[uwsgi]\nmodule = a\nsocket = 127.0.0.1:1\nuid = www-data\n";
    let content = format!("{content}{REST}");
    let output = output(&[("site.ini", &content)], &["check", "site.ini"]);
    assert_eq!(text(&output.stderr), "");
    (text(&output.stdout), output.status.success())
}

/// The lines of `--show-config`, without the first and the last line.
fn shown(files: &[(&str, &str)], arguments: &[&str]) -> Vec<String> {
    let arguments: Vec<&str> = ["--show-config", "--no-server"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    let output = output(files, &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let text = text(&output.stdout);
    let lines = text
        .strip_prefix(
            ";uWSGI instance configuration\n[uwsgi]\nshow-config = true\nno-server = true\n",
        )
        .unwrap();
    lines
        .strip_suffix(";end of configuration\n")
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}
