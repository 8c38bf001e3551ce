//! Values made of `key=value` pairs between commas, as `attach-daemon2` and `cron2` have them.

use crate::config::finding::{Fault, shortened};

/// The pairs of a text, in their order. A comma that belongs to a value is written `\,`.
///
/// # Errors
/// When a piece between commas is no pair.
pub(crate) fn pairs(text: &str) -> Result<Vec<(String, String)>, Fault> {
    pieces(text)
        .into_iter()
        .filter(|piece| !piece.trim().is_empty())
        .map(|piece| match piece.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_ascii_lowercase(), value.trim().to_owned())),
            None => Err(
                Fault::new(format!("{} is no key=value", shortened(piece.trim())))
                    .hint("a comma that belongs to a value is written \\,"),
            ),
        })
        .collect()
}

/// What stands between the commas.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.next_if_eq(&',').is_some() => push(&mut pieces, ','),
            ',' => pieces.push(String::new()),
            other => push(&mut pieces, other),
        }
    }
    pieces
}

fn push(pieces: &mut [String], character: char) {
    if let Some(last) = pieces.last_mut() {
        last.push(character);
    }
}

/// What is said about a key that is not served.
pub(crate) fn unknown(key: &str, served: &[&str]) -> Fault {
    Fault::new(format!("there is no key {}", shortened(key)))
        .hint(format!("the keys are {}", served.join(", ")))
}

/// A command's name for the log: its first word without directories, leaving out `exec` and assignments.
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
    // "python" says little: what it runs says more
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
        assert_eq!(fault.what, "b is no key=value");
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
