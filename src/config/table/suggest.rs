//! Suggestions for misspelled names.

use crate::config::finding::{Fault, shortened};

use super::options;
use super::row::State;

/// The fault of an unknown flag.
pub(crate) fn unknown_flag(name: &str) -> Fault {
    let fault = Fault::new(format!("unknown flag --{name}"));
    match suggest(name) {
        Some(Suggestion::Spelling(known)) => fault.hint(format!("write --{known}")),
        Some(Suggestion::Similar(known)) => {
            fault.hint(format!("did you mean {}?", listed(&known, "--")))
        }
        None => fault.hint("see ruwsgi --help"),
    }
}

/// The fault of a key that is not an option and that no placeholder refers to.
pub(crate) fn unknown_key(name: &str, value: &str) -> Fault {
    let fault = Fault::new(format!(
        "unknown option {}, and no %({}) refers to it",
        shortened(name),
        shortened(name)
    ));
    if let Some((known, rest)) = option_and_rest(name) {
        let value = if value.is_empty() {
            rest.to_owned()
        } else {
            format!("{rest}={value}")
        };
        return fault.hint(format!("write {known} = {}", shortened(&value)));
    }
    match suggest(name) {
        Some(Suggestion::Spelling(known)) => fault.hint(format!("write {known}")),
        Some(Suggestion::Similar(known)) => {
            fault.hint(format!("did you mean {}?", listed(&known, "")))
        }
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

/// Splits a key such as `env NAME`, whose author meant `env = NAME=...`: returns the option and the rest of the key.
fn option_and_rest(name: &str) -> Option<(&str, &str)> {
    let (known, rest) = name.split_once([' ', '\t', ':'])?;
    let known = known.trim();
    options::find(known)?;
    Some((known, rest.trim()))
}

/// A suggestion for a misspelled name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Suggestion {
    /// The name of an option that differs only in its dashes or in the case of its letters.
    Spelling(&'static str),
    /// Similar names, the most similar first.
    Similar(Vec<&'static str>),
}

/// Maximum length of a name that gets a suggestion: longer names are not misspelled options.
const MAX_LENGTH: usize = 64;
/// Minimum length of a name that gets a suggestion: shorter names are similar to many options.
const MIN_LENGTH: usize = 3;

/// The suggestion for a name; `None` if no option is similar.
pub(crate) fn suggest(name: &str) -> Option<Suggestion> {
    if name.len() > MAX_LENGTH || name.len() < MIN_LENGTH {
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
            .map(Suggestion::Spelling);
    }
    let length = plain.chars().count();
    let letters = letters_of(plain.chars());
    // in a short name, two changed letters are too many
    let max_distance = if length < 5 { 1 } else { 2 };
    let mut similar: Vec<(usize, u8, &'static str)> = Vec::new();
    for row in options::rows() {
        for known in row.names {
            if length.abs_diff(known.len()) > max_distance
                || differing(letters, letters_of(known.chars())) > max_distance
            {
                continue;
            }
            let distance = strsim::osa_distance(&plain, known);
            if distance <= max_distance {
                similar.push((distance, rank(row.state), known));
            }
        }
    }
    similar.sort_by_key(|(distance, rank, name)| (*distance, *rank, name.len(), *name));
    let best = similar.first()?.0;
    let names: Vec<&'static str> = similar
        .into_iter()
        .filter(|(distance, ..)| *distance == best)
        .map(|(_, _, name)| name)
        .take(3)
        .collect();
    Some(Suggestion::Similar(names))
}

/// The word of `known` that is most similar to a misspelled word; `None` if no word is similar.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_LENGTH || word.len() < 2 {
        return None;
    }
    let max_distance = if word.len() < 5 { 1 } else { 2 };
    let distances = known.map(|known| (strsim::osa_distance(word, known), known));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= max_distance).then_some(nearest)
}

/// The order of suggestions: options with an effect come first.
fn rank(state: State) -> u8 {
    match state {
        State::Served | State::Directive(_) => 0,
        State::Accepted(_) | State::Ignored(_) => 1,
        State::Absent(_) => 2,
    }
}

/// The letters of a name as bits; all characters other than `a` to `z` share one bit.
fn letters_of(name: impl Iterator<Item = char>) -> u32 {
    name.fold(0, |letters, letter| match letter {
        'a'..='z' => letters | 1 << (letter as u32 - 'a' as u32),
        _ => letters | 1 << 26,
    })
}

/// A lower bound of the distance: the number of letters that occur in only one of the names.
fn differing(one: u32, other: u32) -> usize {
    let missing = (one & !other).count_ones().max((other & !one).count_ones());
    missing as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(name: &str) -> Option<&'static str> {
        match suggest(name)? {
            Suggestion::Spelling(known) => Some(known),
            Suggestion::Similar(known) => known.first().copied(),
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
    fn the_placeholders_of_real_files_get_no_suggestion() {
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
            assert_eq!(suggest(name), None, "{name}");
        }
    }

    #[test]
    fn short_names_get_few_suggestions() {
        for name in ["pony", "foot", "size", "port"] {
            assert_eq!(suggest(name), None, "{name}");
        }
        for (typo, meant) in [("vnev", "venv"), ("chmd", "chmod"), ("modle", "module")] {
            assert_eq!(first(typo), Some(meant), "{typo}");
        }
    }

    #[test]
    fn a_name_with_its_value_before_the_equals_sign_gets_the_right_form() {
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
