//! Guesses at what a misspelled name was meant to be.

use crate::config::finding::Fault;
use crate::config::table::options;
use crate::config::table::row::State;

/// What is said about a flag that does not exist.
pub(crate) fn unknown_flag(name: &str) -> Fault {
    let fault = Fault::new(format!("there is no flag --{name}"));
    match guess(name) {
        Some(Guess::Surely(known)) => fault.hint(format!("write --{known}")),
        Some(Guess::Perhaps(known)) => {
            fault.hint(format!("did you mean {}?", listed(&known, "--")))
        }
        None => fault.hint("see ruwsgi --help"),
    }
}

/// What is said about a key that is no option and that nothing refers to.
pub(crate) fn unknown_key(name: &str, value: &str) -> Fault {
    let fault = Fault::new(format!(
        "there is no option {}, and no %({}) uses it",
        crate::config::finding::shortened(name),
        crate::config::finding::shortened(name)
    ));
    if let Some((known, rest)) = option_and_more(name) {
        let value = if value.is_empty() {
            rest.to_owned()
        } else {
            format!("{rest}={value}")
        };
        return fault.hint(format!(
            "write {known} = {}",
            crate::config::finding::shortened(&value)
        ));
    }
    match guess(name) {
        Some(Guess::Surely(known)) => fault.hint(format!("write {known}")),
        Some(Guess::Perhaps(known)) => fault.hint(format!("did you mean {}?", listed(&known, ""))),
        None => fault,
    }
}

fn listed(names: &[&str], prefix: &str) -> String {
    names
        .iter()
        .map(|name| format!("{prefix}{name}"))
        .collect::<Vec<_>>()
        .join(" or ")
}

/// An option with something behind it that belongs to its value: `env NAME` for `env = NAME=...`.
fn option_and_more(name: &str) -> Option<(&str, &str)> {
    let (known, rest) = name.split_once([' ', '\t', ':'])?;
    let known = known.trim();
    options::find(known)?;
    Some((known, rest.trim()))
}

/// What a name may have been meant to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Guess {
    /// The same name in another spelling.
    Surely(&'static str),
    /// Names that are nearly the same, the likeliest first.
    Perhaps(Vec<&'static str>),
}

/// The longest name worth a guess; everything longer is no option with a typo.
const LONGEST: usize = 64;
/// The shortest one; anything shorter is near to many.
const SHORTEST: usize = 3;

/// Guesses at a name; nothing when nothing is near.
pub(crate) fn guess(name: &str) -> Option<Guess> {
    if name.len() > LONGEST || name.len() < SHORTEST {
        return None;
    }
    let plain = name
        .trim_start_matches('-')
        .to_ascii_lowercase()
        .replace(['_', ' '], "-");
    if let Some(row) = options::find(&plain) {
        return row
            .names
            .iter()
            .find(|known| **known == plain)
            .copied()
            .map(Guess::Surely);
    }
    let typed: Vec<char> = plain.chars().collect();
    let letters = letters_of(plain.chars());
    // two letters of four are half of the name
    let furthest = if typed.len() < 5 { 1 } else { 2 };
    let mut near: Vec<(usize, u8, &'static str)> = Vec::new();
    for row in options::rows() {
        for known in row.names {
            if typed.len().abs_diff(known.len()) > furthest
                || foreign(letters, letters_of(known.chars())) > furthest
            {
                continue;
            }
            let distance = distance(&typed, known);
            if distance <= furthest {
                near.push((distance, rank(row.state), known));
            }
        }
    }
    near.sort_by_key(|(distance, rank, name)| (*distance, *rank, name.len(), *name));
    let best = near.first()?.0;
    let names: Vec<&'static str> = near
        .into_iter()
        .filter(|(distance, ..)| *distance == best)
        .map(|(_, _, name)| name)
        .take(3)
        .collect();
    Some(Guess::Perhaps(names))
}

/// Options that do something come first.
fn rank(state: State) -> u8 {
    match state {
        State::Served | State::Directive => 0,
        State::Accepted(_) => 1,
        State::Absent(_) => 2,
    }
}

/// The letters that occur, a bit for each; all that are no small letters share one.
fn letters_of(name: impl Iterator<Item = char>) -> u32 {
    name.fold(0, |letters, letter| match letter {
        'a'..='z' => letters | 1 << (letter as u32 - 'a' as u32),
        _ => letters | 1 << 26,
    })
}

/// How many letters occur in one of two names only: at least so many, on either side, were changed.
fn foreign(one: u32, other: u32) -> usize {
    let missing = (one & !other).count_ones().max((other & !one).count_ones());
    missing as usize
}

/// How many letters were added, left out, changed or swapped with their neighbour.
fn distance(typed: &[char], known: &str) -> usize {
    // what is compared is at most two letters longer than the longest name
    const WIDEST: usize = LONGEST + 4;
    let (mut before_last, mut last) = ([0; WIDEST], [0; WIDEST]);
    last.iter_mut()
        .enumerate()
        .for_each(|(at, cell)| *cell = at);
    let mut previous = None;
    for (row, &letter) in typed.iter().enumerate() {
        let mut current = [0; WIDEST];
        current[0] = row + 1;
        let mut left = None;
        for (column, other) in known.chars().take(WIDEST - 1).enumerate() {
            let changed = last[column] + usize::from(letter != other);
            let mut best = changed.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && Some(letter) == left && previous == Some(other) {
                best = best.min(before_last[column - 1] + 1);
            }
            current[column + 1] = best;
            left = Some(other);
        }
        (before_last, last) = (last, current);
        previous = Some(letter);
    }
    last[known.chars().count().min(WIDEST - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(name: &str) -> Option<&'static str> {
        match guess(name)? {
            Guess::Surely(known) => Some(known),
            Guess::Perhaps(known) => known.first().copied(),
        }
    }

    #[test]
    fn the_typos_of_real_files_are_recognised() {
        for (typo, meant) in [
            ("harakari", "harakiri"),
            ("vaccum", "vacuum"),
            ("proesses", "processes"),
            ("process", "processes"),
            ("chmod_socket", "chmod-socket"),
            ("max_requests", "max-requests"),
            ("thread", "threads"),
            ("Master", "master"),
            ("wsgi_file", "wsgi-file"),
            ("modul", "module"),
            ("scoket", "socket"),
        ] {
            assert_eq!(first(typo), Some(meant), "{typo}");
        }
    }

    #[test]
    fn the_placeholders_of_real_files_are_near_nothing() {
        for name in [
            "project",
            "projectname",
            "homedir",
            "sitename",
            "workonhome",
            "reponame",
            "app-name",
            "base-dir",
        ] {
            assert_eq!(guess(name), None, "{name}");
        }
    }

    #[test]
    fn short_names_are_near_to_few() {
        for name in ["pony", "foot", "size", "port"] {
            assert_eq!(guess(name), None, "{name}");
        }
        for (typo, meant) in [("vnev", "venv"), ("chmd", "chmod"), ("mdule", "module")] {
            assert_eq!(first(typo), Some(meant), "{typo}");
        }
    }

    #[test]
    fn a_name_with_its_value_in_front_of_the_equals_sign_is_put_right() {
        assert_eq!(
            unknown_key("env DJANGO_SETTINGS_MODULE", "a.b")
                .hint
                .as_deref(),
            Some("write env = DJANGO_SETTINGS_MODULE=a.b")
        );
        assert_eq!(
            unknown_key("processes: 4", "").hint.as_deref(),
            Some("write processes = 4")
        );
    }
}
