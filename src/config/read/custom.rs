//! Replaces custom options (`declare-option`) by the options of their templates while a configuration is read.

use crate::config::finding::{Fault, Place};

use super::limits::value_too_long;
use super::source::Source;
use super::template::{Template, with_words};

/// Maximum nesting of custom options.
const MAX_DEPTH: usize = 16;

impl Source<'_> {
    /// Adds the declaration of a custom option. The options of its template are also added after each earlier use of
    /// the custom option.
    pub(crate) fn declare(&mut self, text: &str, place: &Place) {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(fault) => return self.error(place, fault.of("declare-option", text)),
        };
        let name = template.name.clone();
        // as in uWSGI, the first declaration wins
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
            let added = self.entries.split_off(before.min(self.entries.len()));
            let next = at + added.len();
            self.entries.splice(at..at, added);
            at = next;
        }
    }

    /// Adds the options that replace the custom option `name`. Does nothing if `name` is not a custom option.
    pub(crate) fn custom(&mut self, name: &str, value: &str, place: &Place) {
        let Some(template) = self
            .customs
            .iter()
            .find(|known| known.name == name)
            .cloned()
        else {
            return;
        };
        if self.nested >= MAX_DEPTH {
            let fault = Fault::new(format!("{name} refers to itself"));
            return self.error(place, fault.hint("look at its declare-option"));
        }
        let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
        let lists = template.trusted.then(|| self.permitted.suspend());
        self.nested += 1;
        for (option, text) in &template.options {
            match with_words(text, &words) {
                Some(value) => self.add(option, &value, place),
                None => self.error(place, value_too_long().of(name, value)),
            }
        }
        self.nested -= 1;
        if let Some(lists) = lists {
            self.permitted = lists;
        }
    }
}
