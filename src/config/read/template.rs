//! Custom options: `declare-option = site=chdir=/srv/$1;processes=$2` makes `site = blog 4` two options.

use crate::config::finding::Fault;
use crate::config::table::options;

use super::limits::MAX_VALUE;

/// A custom option: its name, and the options that replace it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) name: String,
    /// Names and values; `$1` to `$9` are the words of the custom option's value.
    pub(crate) options: Vec<(String, String)>,
    /// Whether the declaration was outside of `blacklist` and `whitelist`. These lists then do not apply to the
    /// replacement.
    pub(crate) trusted: bool,
}

impl Template {
    /// Parses `name=option=value;option=value`.
    pub(crate) fn parse(text: &str) -> Result<Template, Fault> {
        let fault = |what: String| {
            Err(Fault::new(what)
                .hint("write name=option=value;option=value; $1 and $2 are the words of the value"))
        };
        let Some((name, options)) = text.split_once('=') else {
            return fault("the value has no =".to_owned());
        };
        let name = name.trim();
        if name.is_empty() {
            return fault("the name before = is missing".to_owned());
        }
        if options::find(name).is_some() {
            return fault(format!("{name} is already an option"));
        }
        let options = options.split(';').map(|option| {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            (name.trim().to_owned(), value.trim().to_owned())
        });
        Ok(Template {
            name: name.to_owned(),
            options: options.filter(|(name, _)| !name.is_empty()).collect(),
            trusted: false,
        })
    }
}

/// Replaces `$1` to `$9` by the words of a value. A number without a word stays unchanged. Returns `None` if the result
/// is longer than `MAX_VALUE`.
pub(crate) fn with_words(text: &str, words: &[&str]) -> Option<String> {
    let mut value = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        value.push_str(before);
        let number = after.chars().next().and_then(|digit| digit.to_digit(10));
        let word = number.and_then(|number| words.get((number as usize).checked_sub(1)?));
        match word {
            Some(word) => {
                value.push_str(word);
                rest = &after[1..];
            }
            None => {
                value.push('$');
                rest = after;
            }
        }
        if value.len() > MAX_VALUE {
            return None;
        }
    }
    value.push_str(rest);
    Some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn existing_words_are_replaced_and_the_rest_stays() {
        let with = |text| with_words(text, &["a", "b"]).unwrap();
        assert_eq!(with("$1/$2"), "a/b");
        assert_eq!(with("$0 $3 $$ $12 $(HOME) $"), "$0 $3 $$ a2 $(HOME) $");
    }

    #[test]
    fn a_value_cannot_grow_without_end() {
        let long = "x".repeat(10_000);
        assert_eq!(with_words(&"$1".repeat(10), &[&long]), None);
    }

    #[test]
    fn a_template_is_a_list_of_names_and_values() {
        let template = Template::parse("site = chdir=/srv/$1 ; master;; env=A=$2").unwrap();
        let options: Vec<(&str, &str)> = template
            .options
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            options,
            [("chdir", "/srv/$1"), ("master", ""), ("env", "A=$2")]
        );
        for wrong in ["site", "=chdir=a", "processes=threads=$1"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
