//! Recognizes command lines that are written for gunicorn, and suggests the corresponding ruwsgi command.

use std::path::Path;

use crate::config::finding::{Fault, shortened};

use super::file::Format;
use super::flags::{self, Typed};
use super::invocation::Invocation;

/// Flags of gunicorn that do not exist in ruwsgi, or have another meaning in ruwsgi.
const FLAGS: &[&str] = &["-b", "--bind", "-k", "--worker-class", "-D", "--preload"];
/// Options that bind a listening socket.
const SOCKETS: &[&str] = &["socket", "http", "http-socket"];
/// The address that gunicorn binds by default.
const ADDRESS: &str = "127.0.0.1:8000";

/// The fault for `-c FILE`, which is gunicorn's flag for its configuration file; `None` if the flag is not given.
pub(crate) fn configuration_flag(arguments: &[String]) -> Option<Fault> {
    let mut rest = arguments.iter();
    let file = loop {
        match rest.next()?.as_str() {
            "--" => return None,
            "-c" => break rest.next()?,
            "--config" => break rest.next().filter(|file| file.ends_with(".py"))?,
            _ => {}
        }
    };
    let file = quoted(file);
    if Format::of_file(&file).is_some() {
        let fault = Fault::new("-c is no flag of ruwsgi");
        return Some(fault.hint(format!("write ruwsgi {file}")));
    }
    if !file.ends_with(".py") {
        return None;
    }
    let fault = Fault::new(format!(
        "{file} is a configuration of gunicorn, not of ruwsgi"
    ));
    Some(fault.hint(format!(
        "convert it: ruwsgi migrate --from gunicorn {file} > site.ini && ruwsgi site.ini"
    )))
}

/// The hint with the command that serves `word`, an argument that is neither a flag nor a configuration file. Returns
/// `None` if `word` does not look like a Python file or module.
pub(crate) fn command_for(invocation: &Invocation, word: &str) -> Option<String> {
    let option = option_for(&invocation.cwd, word)?;
    let arguments = invocation.argv.get(1..).unwrap_or_default();
    let words = arguments.iter().map(|argument| quoted(argument));
    let is_foreign = |argument: &String| {
        let flag = argument.split('=').next().unwrap_or_default();
        FLAGS.contains(&flag) || (flag.starts_with("-b") && !flag.starts_with("--"))
    };
    if option == "--module" && arguments.iter().any(is_foreign) {
        let words: Vec<String> = words.collect();
        return Some(format!(
            "these are flags of gunicorn; convert them: ruwsgi migrate --from gunicorn \"gunicorn {}\" > site.ini && ruwsgi site.ini",
            words.join(" ")
        ));
    }
    let mut command = String::from("write ruwsgi");
    let typed = flags::read(arguments);
    let has_socket =
        |typed: &Typed| matches!(typed, Typed::Flag(name, _) if SOCKETS.contains(name));
    if !typed.iter().any(has_socket) {
        command.push_str(&format!(" --http-socket {ADDRESS}"));
    }
    for argument in words {
        match argument == quoted(word) {
            true => command.push_str(&format!(" {option} {argument}")),
            false => command.push_str(&format!(" {argument}")),
        }
    }
    Some(shortened(&command))
}

/// The option that loads `word`: `--wsgi-file` or `--module`; `None` if `word` does not look like a Python file or
/// module.
fn option_for(cwd: &Path, word: &str) -> Option<&'static str> {
    let is_file = cwd.join(word).is_file();
    let (name, callable) = match word.split_once(':') {
        Some((name, callable)) => (name, Some(callable)),
        None => (word, None),
    };
    let is_name = |text: &str| {
        let mut chars = text.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && chars.all(|c| c.is_alphanumeric() || c == '_')
    };
    let is_module = name.split('.').all(is_name);
    let path = cwd.join(name.replace('.', "/"));
    let is_there = path.with_extension("py").is_file() || path.join("__init__.py").is_file();
    match name.rsplit_once('.') {
        Some((_, "py")) => Some("--wsgi-file"),
        Some((_, "wsgi")) if is_file => Some("--wsgi-file"),
        _ if is_module && !is_file && (is_there || callable.is_some_and(is_name)) => {
            Some("--module")
        }
        Some((_, "wsgi")) if is_module => Some("--module"),
        _ => None,
    }
}

/// Quotes a word for the shell if it is empty or has special characters.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_file_or_module_gets_the_command_that_serves_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("project")).unwrap();
        std::fs::write(directory.path().join("project/wsgi.py"), "").unwrap();
        std::fs::write(directory.path().join("site.conf"), "").unwrap();
        let command = |line: &str, word: &str| {
            let argv = words(&format!("ruwsgi {line}"));
            let invocation = Invocation::new(argv, vec![], directory.path().to_owned());
            command_for(&invocation, word)
        };
        for (line, word, expected) in [
            (
                "app.py",
                "app.py",
                "write ruwsgi --http-socket 127.0.0.1:8000 --wsgi-file app.py",
            ),
            (
                "project.wsgi",
                "project.wsgi",
                "write ruwsgi --http-socket 127.0.0.1:8000 --module project.wsgi",
            ),
            (
                "--http :80 -p 2 app:app",
                "app:app",
                "write ruwsgi --http :80 -p 2 --module app:app",
            ),
            (
                "-w 4 -b :80 app:app",
                "app:app",
                "these are flags of gunicorn; convert them: ruwsgi migrate --from gunicorn \"gunicorn -w 4 -b :80 app:app\" > site.ini && ruwsgi site.ini",
            ),
        ] {
            assert_eq!(command(line, word).as_deref(), Some(expected));
        }
        for word in ["site.conf", "nothing", "a b.c:d"] {
            assert_eq!(command(word, word), None, "{word}");
        }
    }

    #[test]
    fn the_configuration_flag_of_gunicorn_is_recognised() {
        let hint = |line: &str| configuration_flag(&words(line)).and_then(|fault| fault.hint);
        assert!(
            hint("-c gunicorn.conf.py app:app")
                .unwrap()
                .contains("migrate --from gunicorn gunicorn.conf.py")
        );
        assert_eq!(hint("-c site.ini").unwrap(), "write ruwsgi site.ini");
        assert_eq!(hint("--config site.ini"), None);
        assert_eq!(hint("-c"), None);
    }
}
