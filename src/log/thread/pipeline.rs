//! The pipeline: the way of an event through filters, routes and encoders to the sinks.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::log::encoder::Encoder;
use crate::log::json;
use crate::log::pattern::Pattern;
use crate::log::settings::{Engine, Flow, LogThreadSettings, Logger};
use crate::log::sinks::sink::Sink;
use crate::log::sinks::{Source, open};

use super::alarms::AlarmQueue;

/// All loggers of the instance and their sinks.
pub(super) struct Pipeline {
    sinks: Vec<Box<dyn Sink>>,
    lines: Branch,
    requests: Branch,
    filters: Vec<Pattern>,
    drains: Vec<Pattern>,
    /// The alarms that lines raise; `None` if no alarm is configured.
    alarms: Option<Arc<AlarmQueue>>,
    /// The index of the default sink, which the log uses if no logger is configured.
    default: usize,
}

/// The loggers and routes for one kind of lines.
struct Branch {
    routes: Vec<(Pattern, Vec<Target>)>,
    /// The loggers for a line that matches no route.
    others: Vec<Target>,
    /// Whether neither a logger nor a route is configured for this kind of lines.
    is_empty: bool,
}

/// A logger: its encoders and the index of its sink in `Pipeline::sinks`.
#[derive(Debug, Clone)]
struct Target {
    encoders: Vec<Encoder>,
    sink: usize,
}

/// The open sinks. `engines[i]` is the engine of `sinks[i]`; loggers with the same engine share a sink.
#[derive(Default)]
struct Opened {
    engines: Vec<Engine>,
    sinks: Vec<Box<dyn Sink>>,
}

impl Pipeline {
    /// Opens the sinks of all loggers. `original` is descriptor 2 as it was before the log thread started.
    ///
    /// # Errors
    /// The error of the first sink that cannot be opened, with the sink's name.
    pub(super) fn open(
        settings: &LogThreadSettings,
        original: &OwnedFd,
        alarms: Option<Arc<AlarmQueue>>,
    ) -> io::Result<Self> {
        let mut opened = Opened::default();
        let lines = opened.branch(&settings.lines, &[], settings, original)?;
        // as in uWSGI, `log-req-route` may name a logger of the option `logger`
        let others = &settings.lines.loggers;
        let requests = opened.branch(&settings.requests, others, settings, original)?;
        let default = opened.sink(&Engine::Stdio, settings, original)?;
        Ok(Self {
            default,
            sinks: opened.sinks,
            lines,
            requests,
            filters: settings.filters.clone(),
            drains: settings.drains.clone(),
            alarms,
        })
    }

    /// Distributes a record from the channel: lines of ruwsgi itself.
    pub(super) fn record(&mut self, source: Source, text: &[u8]) {
        match source {
            Source::Request if !self.requests.is_empty => {
                distribute(&mut self.sinks, &self.requests, text);
            }
            Source::Request | Source::Server => self.line(text),
            Source::Alarm => self.pass(text),
            Source::Thread => self.report(text),
        }
    }

    /// Distributes a report about a failing sink. The default sink also gets the report, because the loggers may have
    /// no other sink than the failing one.
    fn report(&mut self, text: &[u8]) {
        self.line(text);
        let is_default = |target: &Target| target.sink == self.default;
        if !self.lines.others.iter().any(is_default)
            && let Some(sink) = self.sinks.get_mut(self.default)
        {
            sink.write(text);
        }
    }

    /// Distributes an event that the process `pid` wrote to its standard output or error.
    pub(super) fn output(&mut self, pid: i32, text: &[u8]) {
        match json::is_on() {
            true => self.line(&json::output(pid, text)),
            false => self.line(text),
        }
    }

    /// Raises the alarms of an event, and passes the event on.
    pub(super) fn line(&mut self, text: &[u8]) {
        if let Some(alarms) = &self.alarms {
            alarms.check(text);
        }
        self.pass(text);
    }

    /// Applies `log-filter` and `log-drain` to an event, and distributes the event to the loggers for lines of the
    /// server and the application.
    fn pass(&mut self, text: &[u8]) {
        if passes(&self.filters, &self.drains, text) {
            distribute(&mut self.sinks, &self.lines, text);
        }
    }

    /// Flushes the buffers of all sinks, without waiting.
    pub(super) fn flush(&mut self) {
        self.sinks.iter_mut().for_each(|sink| sink.flush());
    }

    /// Returns the descriptors that must become writable before sinks can write the rest of their buffers.
    pub(super) fn waiting(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sinks.iter().filter_map(|sink| sink.waits_for())
    }

    /// Reopens all log files; logs an error for each that cannot be opened.
    pub(super) fn reopen(&mut self) {
        for sink in &mut self.sinks {
            if let Err(error) = sink.reopen() {
                tracing::error!("a log file cannot be reopened: {error}");
            }
        }
    }

    /// Rotates all log files.
    pub(super) fn rotate(&mut self) {
        self.sinks.iter_mut().for_each(|sink| sink.rotate());
    }
}

impl Opened {
    fn branch(
        &mut self,
        flow: &Flow,
        routed: &[Logger],
        settings: &LogThreadSettings,
        original: &OwnedFd,
    ) -> io::Result<Branch> {
        let mut loggers = Vec::new();
        let routed = routed.iter().filter(|logger| logger.name.is_some());
        for logger in flow.loggers.iter().chain(routed) {
            let sink = self.sink(&logger.engine, settings, original)?;
            let encoders = encoders(flow, logger.name.as_deref());
            loggers.push((logger, Target { encoders, sink }));
        }
        let named = |name: Option<&str>| -> Vec<Target> {
            let same = |(logger, _): &&(&Logger, Target)| logger.name.as_deref() == name;
            loggers
                .iter()
                .filter(same)
                .map(|(_, it)| it.clone())
                .collect()
        };
        let mut others = named(None);
        if others.is_empty() {
            let sink = self.sink(&Engine::Stdio, settings, original)?;
            let encoders = encoders(flow, None);
            others.push(Target { encoders, sink });
        }
        let routes = flow.routes.iter();
        Ok(Branch {
            routes: routes
                .map(|route| (route.pattern.clone(), named(Some(&route.logger))))
                .collect(),
            others,
            is_empty: flow.loggers.is_empty() && flow.routes.is_empty(),
        })
    }

    /// Returns the index of the sink of an engine. Opens the sink if no open sink has the same engine or file.
    fn sink(
        &mut self,
        engine: &Engine,
        settings: &LogThreadSettings,
        original: &OwnedFd,
    ) -> io::Result<usize> {
        let engine = canonical(engine, settings);
        let same = |known: &Engine| match (known, &engine) {
            (Engine::File(known), Engine::File(engine)) => known.path == engine.path,
            (known, engine) => known == engine,
        };
        if let Some(index) = self.engines.iter().position(same) {
            return Ok(index);
        }
        let sink = open::open(&engine, settings, original)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", name(&engine))))?;
        self.sinks.push(sink);
        self.engines.push(engine);
        Ok(self.sinks.len() - 1)
    }
}

/// Returns the engine that identifies a sink. Descriptors 1 and 2 and the default log file become [`Engine::Stdio`];
/// other file paths become absolute.
fn canonical(engine: &Engine, settings: &LogThreadSettings) -> Engine {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match engine {
        Engine::Descriptor(1 | 2) => Engine::Stdio,
        Engine::File(file) => {
            let mut file = file.clone();
            file.path = absolute(&file.path);
            let default = settings.default_file.as_ref();
            match default.is_some_and(|default| absolute(&default.path) == file.path) {
                true => Engine::Stdio,
                false => Engine::File(file),
            }
        }
        engine => engine.clone(),
    }
}

/// Returns the name of an engine for error messages.
fn name(engine: &Engine) -> String {
    match engine {
        Engine::Stdio => "the log".to_owned(),
        Engine::Descriptor(number) => format!("logger fd:{number}"),
        Engine::File(file) => format!("logger file:{}", file.path.display()),
        Engine::Socket { address, .. } => format!("logger socket:{address}"),
        Engine::Syslog(_) => "logger syslog".to_owned(),
        Engine::Rsyslog { address, .. } => format!("logger rsyslog:{address}"),
        Engine::Pipe(command) => format!("logger pipe:{command}"),
        Engine::Journal => "logger systemd".to_owned(),
    }
}

/// Whether an event passes `log-filter` and `log-drain`: it matches no drain, and matches a filter if there is any.
fn passes(filters: &[Pattern], drains: &[Pattern], text: &[u8]) -> bool {
    if filters.is_empty() && drains.is_empty() {
        return true;
    }
    let text = String::from_utf8_lossy(text);
    let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(&text));
    !any(drains) && (filters.is_empty() || any(filters))
}

/// Writes an event to the loggers of all matching routes. If no route matches, writes it to `branch.others`.
fn distribute(sinks: &mut [Box<dyn Sink>], branch: &Branch, text: &[u8]) {
    let mut is_routed = false;
    if !branch.routes.is_empty() {
        let lossy = String::from_utf8_lossy(text);
        for (pattern, targets) in &branch.routes {
            if !targets.is_empty() && pattern.matches(&lossy) {
                is_routed = true;
                targets.iter().for_each(|target| put(sinks, target, text));
            }
        }
    }
    if !is_routed {
        let others = &branch.others;
        others.iter().for_each(|target| put(sinks, target, text));
    }
}

fn put(sinks: &mut [Box<dyn Sink>], target: &Target, text: &[u8]) {
    let Some(sink) = sinks.get_mut(target.sink) else {
        return;
    };
    if target.encoders.is_empty() {
        return sink.write(text);
    }
    let now = SystemTime::now();
    let mut event = text.to_vec();
    for encoder in &target.encoders {
        event = encoder.encode(event, now);
    }
    sink.write(&event);
}

/// Returns the encoders for loggers named `name`: the encoders with this name, and the encoders for all loggers.
fn encoders(flow: &Flow, name: Option<&str>) -> Vec<Encoder> {
    let own = flow.encoders.iter();
    let own = own.filter(|it| it.logger.is_none() || it.logger.as_deref() == name);
    own.map(|it| it.encoder.clone()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_drained_line_is_dropped_and_an_unfiltered_one_too() {
        let patterns = |texts: &[&str]| -> Vec<Pattern> {
            texts.iter().map(|it| Pattern::new(it).unwrap()).collect()
        };
        let (filters, drains) = (patterns(&["GET", "POST"]), patterns(&["healthz"]));
        assert!(passes(&filters, &drains, b"GET /\n"));
        assert!(!passes(&filters, &drains, b"GET /healthz\n"));
        assert!(!passes(&filters, &drains, b"ready\n"));
        assert!(passes(&[], &drains, b"ready \xff\n"));
    }
}
