//! Options of one's own: `declare-option = site=chdir=/srv/$1;processes=$2` makes `site = blog 4` two options.

use crate::config::finding::{Fault, Place};
use crate::config::read::source::{LONGEST, Source, too_long};
use crate::config::table::options;

/// How deep custom options may stand inside each other.
const DEEPEST: usize = 16;

/// An option that was declared, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    name: String,
    /// Names and values, in which `$1` to `$9` are the words of the custom option's value.
    options: Vec<(String, String)>,
    /// It was declared where every option was permitted, so what it stands for is permitted too.
    trusted: bool,
}

impl Template {
    /// The name of the option.
    pub(crate) fn into_name(self) -> String {
        self.name
    }

    /// Reads `name=option=value;option=value`.
    fn parse(text: &str) -> Result<Template, Fault> {
        let fault = |what: String| {
            Err(Fault::new(what)
                .hint("write name=option=value;option=value, with $1 and $2 for the words given"))
        };
        let Some((name, options)) = text.split_once('=') else {
            return fault("there is no = in it".to_owned());
        };
        let name = name.trim();
        if name.is_empty() {
            return fault("there is no name before the equals sign".to_owned());
        }
        if options::find(name).is_some() {
            return fault(format!("{name} is an option already"));
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

/// The value with `$1` to `$9` replaced where there is such a word; nothing when that is more than a value can be.
fn with_words(text: &str, words: &[&str]) -> Option<String> {
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
        if value.len() > LONGEST {
            return None;
        }
    }
    value.push_str(rest);
    Some(value)
}

impl Source<'_> {
    /// Takes a declaration, and applies it to what stands before it.
    pub(crate) fn declare(&mut self, text: &str, place: &Place) {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(fault) => return self.error(place, fault.of("declare-option", text)),
        };
        let name = template.name.clone();
        // as in uWSGI, the first declaration counts
        if self.customs.iter().any(|known| known.name == name) {
            return;
        }
        let trusted = !self.permitted.restricts();
        self.customs.push(Template {
            trusted,
            ..template
        });
        let mut at = 0;
        while at < self.entries.len() {
            let before = self.entries.len();
            let entry = &self.entries[at];
            at += 1;
            if entry.name != name {
                continue;
            }
            let (value, place) = (entry.value.clone(), entry.place.clone());
            self.custom(&name, &value, &place);
            let made = self.entries.split_off(before.min(self.entries.len()));
            let next = at + made.len();
            self.entries.splice(at..at, made);
            at = next;
        }
    }

    /// Adds what a custom option stands for; does nothing for a name that is none.
    pub(crate) fn custom(&mut self, name: &str, value: &str, place: &Place) {
        let Some(template) = self
            .customs
            .iter()
            .find(|known| known.name == name)
            .cloned()
        else {
            return;
        };
        if self.nested >= DEEPEST {
            let fault = Fault::new(format!("{name} leads back to itself"));
            return self.error(place, fault.hint("look at what declare-option makes of it"));
        }
        let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
        let lists = template.trusted.then(|| self.permitted.suspend());
        self.nested += 1;
        for (option, text) in &template.options {
            match with_words(text, &words) {
                Some(value) => self.add(option, &value, place),
                None => self.error(place, too_long().of(name, value)),
            }
        }
        self.nested -= 1;
        if let Some(lists) = lists {
            self.permitted = lists;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_are_put_in_and_what_has_none_stays() {
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
    fn a_template_is_names_and_values() {
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
