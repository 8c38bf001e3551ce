//! Methods of [`Config`] that combine several options, or that list the given, the effective and the default options.

use crate::config::finding::{Finding, Place};
use crate::config::values::cache::default_cache;
use crate::config::values::companion::Companion;
use crate::config::values::schedule::Task;
use crate::shared::cache::CacheDefinition;

use super::directives;
use super::options::{self, Config};
use super::row::{Directive, Row, State};

impl Config {
    /// The findings that do not prevent the start.
    pub(crate) fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// The given options in their order: the name, the value after its placeholders are replaced, and the place.
    pub(crate) fn entries(&self) -> &[(String, String, Option<Place>)] {
        &self.entries
    }

    /// The options that have an effect: the given options without overridden options and without directives.
    pub(crate) fn effective(&self) -> Vec<&(String, String, Option<Place>)> {
        let overridden = |at: usize, name: &str| match options::find(name) {
            Some(row) if row.many => false,
            Some(row) => self
                .entries
                .iter()
                .skip(at + 1)
                .any(|(later, ..)| row.names.contains(&later.as_str())),
            None => self
                .entries
                .iter()
                .take(at)
                .any(|(earlier, ..)| earlier == name),
        };
        let entries = self.entries.iter().enumerate();
        entries
            .filter(|(at, (name, ..))| directives::find(name).is_none() && !overridden(*at, name))
            .map(|(_, entry)| entry)
            .collect()
    }

    /// The given options that ruwsgi accepts without effect, because it always behaves as they demand. Each item has
    /// the name, the reason and the place. An option that is given several times is listed once.
    pub(crate) fn without_effect(&self) -> Vec<(&str, &'static str, &Option<Place>)> {
        let mut found: Vec<(&str, &'static str, &Option<Place>)> = Vec::new();
        for (name, _, place) in &self.entries {
            if let Some(State::Accepted(why)) = options::find(name).map(|row| row.state)
                && !found.iter().any(|(known, ..)| known == name)
            {
                found.push((name, why, place));
            }
        }
        found
    }

    /// The options that were not given, with their defaults.
    pub(crate) fn defaulted(&self) -> Vec<(&'static str, &'static str)> {
        let given = |row: &Row| {
            self.entries
                .iter()
                .any(|(name, ..)| row.names.contains(&name.as_str()))
        };
        options::SERVED
            .iter()
            .filter(|row| !given(row))
            .filter_map(|row| Some((row.name(), row.default?)))
            .collect()
    }

    /// The configuration to use if the start with this configuration fails.
    pub(crate) fn fallback(&self) -> Option<&str> {
        let mut entries = self.entries.iter().rev();
        let named = entries.find(|(name, ..)| directives::find(name) == Some(Directive::Fallback));
        named.map(|(_, file, _)| file.as_str())
    }

    /// The base name of the configuration file without its extension; without a file the name of the application.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// All caches. The cache of the option `cache` comes first, because the functions of the application use it by
    /// default.
    pub(crate) fn caches(&self) -> Vec<CacheDefinition> {
        let first = self.cache().filter(|items| *items > 0).map(|items| {
            let store = self
                .cache_store()
                .map(|path| (path, self.cache_store_sync()));
            default_cache(
                items,
                self.cache_blocksize(),
                store,
                !self.cache_no_expire(),
            )
        });
        first
            .into_iter()
            .chain(self.cache2().iter().cloned())
            .collect()
    }

    /// All companion processes. A name that occurs again gets a number.
    pub(crate) fn companions(&self) -> Vec<Companion> {
        let lists = [
            self.attach_daemon(),
            self.attach_control_daemon(),
            self.smart_attach_daemon(),
            self.smart_attach_daemon2(),
            self.attach_daemon2(),
        ];
        let mut companions: Vec<Companion> = Vec::new();
        for companion in lists.into_iter().flatten() {
            let mut companion = companion.clone();
            let name = companion.name.clone();
            for number in 2.. {
                if companions.iter().all(|other| other.name != companion.name) {
                    break;
                }
                companion.name = format!("{name} {number}");
            }
            companion.stdin |= self.daemons_honour_stdin();
            companions.push(companion);
        }
        companions
    }

    /// Whether an option of the configuration names an application.
    pub(crate) fn has_application(&self) -> bool {
        let others = [
            self.module(),
            self.wsgi_file(),
            self.eval(),
            self.paste(),
            self.pecan(),
            self.python_worker_override(),
        ];
        others.iter().any(Option::is_some) || !self.mount().is_empty()
    }

    /// Whether processes of the application have the standard input of the instance.
    pub(crate) fn gives_stdin(&self) -> bool {
        self.honour_stdin() || self.pyshell().is_some() || self.pyshell_oneshot().is_some()
    }

    /// Whether the configuration names a listening socket.
    pub(crate) fn has_socket(&self) -> bool {
        !self.socket().is_empty() || !self.http().is_empty() || !self.http_socket().is_empty()
    }

    /// Whether the instance has work without a socket: services, or commands on a schedule.
    pub(crate) fn works_without_socket(&self) -> bool {
        !self.companions().is_empty() || !self.tasks().is_empty()
    }

    /// All commands on a schedule.
    pub(crate) fn tasks(&self) -> Vec<Task> {
        let lists = [
            self.cron(),
            self.unique_cron(),
            self.cron2(),
            self.curl_cron(),
        ];
        lists.into_iter().flatten().cloned().collect()
    }
}
