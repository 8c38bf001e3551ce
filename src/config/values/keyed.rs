//! Comma-separated `key=value` pairs: the syntax of `attach-daemon2`, `cron2` and `cache2`.

use crate::config::finding::{Fault, shortened};

/// Parses the pairs of a text, in order. A comma in a value is written `\,`.
///
/// # Errors
/// When a part between commas is not `key=value`.
pub(crate) fn pairs(text: &str) -> Result<Vec<(String, String)>, Fault> {
    parts(text)
        .into_iter()
        .filter(|part| !part.trim().is_empty())
        .map(|part| match part.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_ascii_lowercase(), value.trim().to_owned())),
            None => Err(
                Fault::new(format!("{} is not key=value", shortened(part.trim())))
                    .hint("write a comma in a value as \\,"),
            ),
        })
        .collect()
}

/// Parses comma-separated settings, in order. A setting without `=` is a flag, and has no value.
pub(crate) fn settings(text: &str) -> Vec<(String, Option<String>)> {
    parts(text)
        .into_iter()
        .filter(|part| !part.trim().is_empty())
        .map(|part| {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key, Some(value.trim().to_owned())),
                None => (part.as_str(), None),
            };
            (key.trim().to_ascii_lowercase(), value)
        })
        .collect()
}

/// Splits a text at the commas that are not escaped, and replaces `\,` by a comma.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.next_if_eq(&',').is_some() => push(&mut parts, ','),
            ',' => parts.push(String::new()),
            other => push(&mut parts, other),
        }
    }
    parts
}

fn push(parts: &mut [String], character: char) {
    if let Some(last) = parts.last_mut() {
        last.push(character);
    }
}

/// The fault for an unknown key.
pub(crate) fn unknown_key(key: &str, known: &[&str]) -> Fault {
    Fault::new(format!("unknown key {}", shortened(key)))
        .hint(format!("the keys are {}", known.join(", ")))
}

/// The name of a command in log messages: the base name of its first word. `exec`, `env`, `nohup` and assignments are
/// skipped. For `python`, the name is the base name of the script.
pub(crate) fn name_of_command(command: &str) -> String {
    let mut words = command.split_whitespace().filter(|word| {
        let assigns = word
            .split_once('=')
            .is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        !assigns && !["exec", "env", "nohup"].contains(word)
    });
    let first = words.next().unwrap_or("command");
    let base = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
    let name = base(first);
    // the first word that is not a flag is the script
    let script = words.find(|word| !word.starts_with('-'));
    match script {
        Some(script) if name.starts_with("python") => base(script),
        _ => name,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_split_at_commas_that_are_not_escaped() {
        let read = pairs(r"cmd=celery -Q a\,b --n=2, FREQ=3,").unwrap();
        let expected = [("cmd", "celery -Q a,b --n=2"), ("freq", "3")];
        assert_eq!(read, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let fault = pairs("cmd=celery -Q a,b,freq=3").unwrap_err();
        assert_eq!(fault.what, "b is not key=value");
    }

    #[test]
    fn a_command_is_named_after_what_it_runs() {
        for (command, name) in [
            ("/usr/bin/redis-server /etc/redis.conf", "redis-server"),
            ("exec celery -A site worker", "celery"),
            ("LANG=C env A=b ./run.sh", "run.sh"),
            ("/venv/bin/python3 -u manage.py clearsessions", "manage.py"),
            ("python -m celery worker", "celery"),
            ("python", "python"),
            ("", "command"),
        ] {
            assert_eq!(name_of_command(command), name, "{command}");
        }
    }
}
