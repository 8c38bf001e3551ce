//! Conditions and loops of configuration files.

use crate::config::finding::{Fault, Place};
use crate::config::read::file::{contents, path_of};
use crate::config::read::glob;
use crate::config::read::source::{MOST_ENTRIES, Source};
use crate::log;

/// A condition or a loop that was begun and not yet ended.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// Its name as it was written.
    pub(crate) name: String,
    /// What is tested or gone through.
    pub(crate) argument: String,
    /// Where it began.
    pub(crate) place: Place,
    /// What a loop goes through; a condition is tested anew for every option, as in uWSGI.
    items: Vec<String>,
}

impl Block {
    /// Begins a block.
    pub(crate) fn new(
        name: &str,
        argument: String,
        place: &Place,
        source: &mut Source<'_>,
    ) -> Block {
        let mut block = Block {
            name: name.to_owned(),
            argument,
            place: place.clone(),
            items: Vec::new(),
        };
        block.items = block.loops_over(source);
        block
    }

    /// The directive that ends it.
    pub(crate) fn end(&self) -> &'static str {
        if self.loops() { "endfor" } else { "endif" }
    }

    fn loops(&self) -> bool {
        self.name.starts_with("for")
    }

    /// What `%(_)` is for each time an option inside counts: nothing for a condition that does not hold.
    ///
    /// A loop lends its items, which [`Block::give_back`] returns.
    pub(crate) fn rounds(&mut self, source: &mut Source<'_>) -> Vec<String> {
        if self.loops() {
            std::mem::take(&mut self.items)
        } else {
            self.tested(source).into_iter().collect()
        }
    }

    /// Takes back what was lent.
    pub(crate) fn give_back(&mut self, rounds: Vec<String>) {
        if self.loops() {
            self.items = rounds;
        }
    }

    /// What the condition found, when it holds.
    fn tested(&self, source: &mut Source<'_>) -> Option<String> {
        let argument = self.argument.as_str();
        let name = self.name.as_str();
        let (test, wanted) = match name.strip_prefix("if-not-") {
            Some(test) => (test, false),
            None => (name.trim_start_matches("if").trim_start_matches('-'), true),
        };
        match condition(test, argument, source) {
            Some(tested) if wanted => Some(tested),
            None if !wanted => Some(argument.to_owned()),
            _ => None,
        }
    }

    /// The items of a loop; one more than can count is enough to be noticed.
    fn loops_over(&self, source: &mut Source<'_>) -> Vec<String> {
        let argument = self.argument.as_str();
        match self.name.as_str() {
            "for" => argument
                .split(' ')
                .filter(|item| !item.is_empty())
                .take(MOST_ENTRIES + 1)
                .map(str::to_owned)
                .collect(),
            "for-glob" => match glob::paths(&source.invocation.cwd, argument) {
                // as in the shell, a pattern that matches nothing stands for itself
                none if none.is_empty() => vec![argument.to_owned()],
                paths => paths,
            },
            "for-times" => self.times(source),
            "for-readline" => self.lines(source),
            _ => Vec::new(),
        }
    }

    fn times(&self, source: &mut Source<'_>) -> Vec<String> {
        match self.argument.parse::<u64>() {
            Ok(times) => (1..=times.min(MOST_ENTRIES as u64 + 1))
                .map(|round| round.to_string())
                .collect(),
            Err(_) => {
                source.error(
                    &self.place,
                    Fault::new("it is not a whole number").of(&self.name, &self.argument),
                );
                Vec::new()
            }
        }
    }

    fn lines(&self, source: &mut Source<'_>) -> Vec<String> {
        match contents(source.invocation, &self.argument) {
            Ok(bytes) => String::from_utf8_lossy(&bytes)
                .lines()
                .take(MOST_ENTRIES + 1)
                .map(str::to_owned)
                .collect(),
            Err(fault) => {
                source.error(&self.place, fault);
                Vec::new()
            }
        }
    }
}

/// Tests a condition; when it holds, what `%(_)` stands for.
fn condition(test: &str, argument: &str, source: &mut Source<'_>) -> Option<String> {
    match test {
        "env" => {
            let (name, wanted) = name_and_value(argument);
            let value = source.invocation.variable(name)?;
            holds(value, wanted)
        }
        "opt" => {
            let (name, wanted) = name_and_value(argument);
            source.refer_to(name);
            let mut values = source
                .entries
                .iter()
                .filter(|entry| entry.name == name)
                .map(|entry| entry.value.as_str());
            values.find_map(|value| holds(value, wanted))
        }
        "exists" => path_of(source.invocation, argument)
            .exists()
            .then(|| argument.to_owned()),
        "file" => path_of(source.invocation, argument)
            .is_file()
            .then(|| argument.to_owned()),
        "dir" | "directory" => path_of(source.invocation, argument)
            .is_dir()
            .then(|| argument.to_owned()),
        "plugin" => has_counterpart(argument).then(|| argument.to_owned()),
        "hostname" => (source.invocation.host.name == argument).then(|| argument.to_owned()),
        "reload" => source.invocation.reloading.then(String::new),
        _ => None,
    }
}

fn name_and_value(argument: &str) -> (&str, Option<&str>) {
    match argument.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (argument, None),
    }
}

fn holds(value: &str, wanted: Option<&str>) -> Option<String> {
    wanted
        .is_none_or(|wanted| wanted == value)
        .then(|| value.to_owned())
}

/// Whether what this plugin of uWSGI's does is here without one.
pub(crate) fn has_counterpart(plugin: &str) -> bool {
    let plugin = plugin.trim().rsplit('/').next().unwrap_or_default();
    let plugin = plugin.strip_suffix(".so").unwrap_or(plugin);
    let plugin = plugin.strip_suffix("_plugin").unwrap_or(plugin);
    plugin.starts_with("python")
        || plugin.starts_with("router_")
        || WITHOUT_EFFECT.contains(&plugin)
}

/// Plugins whose options, where they have any, are rows of the table themselves.
const WITHOUT_EFFECT: &[&str] = &[
    "0",
    "http",
    "corerouter",
    "ping",
    "logfile",
    "logsocket",
    "logpipe",
    "syslog",
    "rsyslog",
    "systemd_logger",
    "cheaper_busyness",
    "cheaper_backlog2",
    "signal",
    "rpc",
    "cache",
    "carbon",
    "stats_pusher_statsd",
    "stats_pusher_file",
    "stats_pusher_socket",
    "transformation_gzip",
    "transformation_chunked",
    "transformation_offload",
    "transformation_tofile",
    "transformation_toupper",
    "zabbix",
    "notfound",
    "graylog2",
    "sslrouter",
    "rawrouter",
    "fastrouter",
    "emperor_pg",
    "alarm_curl",
    "alarm_speech",
    "spooler",
    "echo",
    "dummy",
    "nagios",
    "rrdtool",
    "ugreen",
    "symcall",
    "dumbloop",
];

/// Variables that begin like options and are uWSGI's or ours for other ends.
pub(crate) fn is_reserved_variable(name: &str) -> bool {
    const UWSGIS: &[&str] = &[
        "UWSGI_RELOADS",
        "UWSGI_VASSALS_DIR",
        "UWSGI_EMPEROR_FD",
        "UWSGI_BROODLORD_NUM",
        "UWSGI_EMPEROR_FD_CONFIG",
        "UWSGI_EMPEROR_PROXY",
        "UWSGI_JAIL_PID",
        "UWSGI_ORIGINAL_PROC_NAME",
    ];
    // variables of our own processes; a vassal removes those of its emperor before it reads its configuration
    const OURS: &[&str] = &[
        "RUWSGI_FALLBACK",
        "RUWSGI_LOG",
        "RUWSGI_MODULE",
        "RUWSGI_RUNTIME_DIRECTORY",
        "RUWSGI_UNDER_TEST",
        log::VASSAL_NAME,
    ];
    let ours = OURS.contains(&name) || name.starts_with("RUWSGI_TEST_");
    ours || UWSGIS.contains(&name) || name.starts_with("UWSGI_VASSAL_")
}
