//! Finds conflicts: each option is valid alone, but the options contradict each other. The instance does not start.

use crate::config::finding::{Fault, Finding, Place, shortened};
use crate::config::read::entry::Entry;
use crate::config::table::options::Config;
use crate::shared::cache::CacheDefinition;

/// Finds the conflicts; every finding is an error.
pub(crate) fn find(config: &Config, entries: &[Entry]) -> Vec<Finding> {
    let mut found: Vec<Finding> = cache_conflict(config, entries).into_iter().collect();
    let mut error = |option: &str, what: String, hint: String| {
        let place = place(entries, option);
        found.push(Finding::error(place, Fault::new(what).hint(hint)));
    };
    find_dangling(config, &mut error);
    let max_workers = config.processes();
    let min_workers = config.cheaper().unwrap_or_default();
    if min_workers == 0 {
        return found;
    }
    if min_workers >= max_workers {
        error(
            "cheaper",
            format!("cheaper = {min_workers} must be less than processes = {max_workers}"),
            "cheaper is the minimum number of workers, processes the maximum".to_owned(),
        );
    }
    if let Some(initial) = config.cheaper_initial()
        && min_workers < max_workers
        && !(min_workers..=max_workers).contains(&initial)
    {
        error(
            "cheaper-initial",
            format!(
                "cheaper-initial = {initial} is not between cheaper = {min_workers} and processes = {max_workers}"
            ),
            format!("write a number from {min_workers} to {max_workers}"),
        );
    }
    let (min, max) = (config.cheaper_busyness_min(), config.cheaper_busyness_max());
    if min >= max {
        error(
            "cheaper-busyness-min",
            format!("cheaper-busyness-min = {min} must be less than cheaper-busyness-max = {max}"),
            "set cheaper-busyness-min below cheaper-busyness-max".to_owned(),
        );
    }
    found
}

/// Maximum number of caches: the descriptors of all caches are sent in one message.
const MAX_CACHES: usize = 32;

/// A conflict between caches: too many, or two with the same name or file.
fn cache_conflict(config: &Config, entries: &[Entry]) -> Option<Finding> {
    let caches = config.caches();
    let error = |what: String, hint: &str| {
        Finding::error(place(entries, "cache2"), Fault::new(what).hint(hint))
    };
    if caches.len() > MAX_CACHES {
        let count = caches.len();
        let what = format!("there are {count} caches, at most {MAX_CACHES} are possible");
        return Some(error(what, "put the items of several caches into one"));
    }
    let path = |it: &CacheDefinition| it.store.clone().map(|store| store.path);
    let twice = caches.iter().enumerate().find(|(position, cache)| {
        caches.iter().take(*position).any(|other| {
            other.name == cache.name || (path(other).is_some() && path(other) == path(cache))
        })
    });
    let (_, cache) = twice?;
    let name = &cache.name;
    let what = format!("the cache {name} has the name or the file of another cache");
    Some(error(
        what,
        "give each cache its own name and its own store",
    ))
}

/// Finds names that lead nowhere. `error` gets the option, the conflict and the advice.
fn find_dangling(config: &Config, error: &mut impl FnMut(&str, String, String)) {
    if let Some(label) = config.unknown_route_label() {
        error(
            "route",
            format!("goto:{label} leads nowhere: no route-label has this name"),
            format!("write route-label = {label} before the rule to continue with"),
        );
    }
    let needs_vhost = !config.vhost() && !config.vhost_host();
    let with_host = config.mount().iter().find(|(point, _)| point.contains('|'));
    if let Some((point, _)) = with_host.filter(|_| needs_vhost) {
        error(
            "mount",
            format!("the mount point {} begins with a host", shortened(point)),
            "set vhost = true, or begin the mount point with a slash".to_owned(),
        );
    }
    let foreign = config
        .http_to()
        .iter()
        .find(|to| !config.socket().contains(to));
    if let Some(address) = foreign {
        error(
            "http-to",
            format!("http-to = {address} is no socket of this instance"),
            "remove it, because the workers serve http themselves; to reach another server, use nginx".to_owned(),
        );
    }
}

/// The place where an option was given last.
fn place(entries: &[Entry], option: &str) -> Option<Place> {
    let last = entries.iter().rev().find(|entry| entry.name == option);
    last.map(|entry| entry.place.clone())
}
