//! Values that are right each by itself and cannot hold together: what keeps the instance from starting.

use crate::config::finding::{Fault, Finding, Place};
use crate::config::table::options::Config;

type Entry = crate::config::read::source::Entry;

/// Looks for conflicts; every finding is an error.
pub(crate) fn find(config: &Config, entries: &[Entry]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut error = |option: &str, what: String, hint: String| {
        let place = place(entries, option);
        found.push(Finding::error(place, Fault::new(what).hint(hint)));
    };
    let most = config.processes();
    let least = config.cheaper().unwrap_or_default();
    if least == 0 {
        return found;
    }
    if least >= most {
        error(
            "cheaper",
            format!("cheaper = {least} is not below processes = {most}"),
            "cheaper is the smallest number of workers, processes the largest".to_owned(),
        );
    }
    if let Some(initial) = config.cheaper_initial()
        && least < most
        && !(least..=most).contains(&initial)
    {
        error(
            "cheaper-initial",
            format!(
                "cheaper-initial = {initial} is not between cheaper = {least} and processes = {most}"
            ),
            format!("write a number from {least} to {most}"),
        );
    }
    let (min, max) = (config.cheaper_busyness_min(), config.cheaper_busyness_max());
    if min >= max {
        error(
            "cheaper-busyness-min",
            format!("cheaper-busyness-min = {min} is not below cheaper-busyness-max = {max}"),
            "between the two the number of workers stays as it is".to_owned(),
        );
    }
    found
}

/// Where an option was given last.
fn place(entries: &[Entry], option: &str) -> Option<Place> {
    let last = entries.iter().rev().find(|entry| entry.name == option);
    last.map(|entry| entry.place.clone())
}
