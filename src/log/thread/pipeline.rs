//! From an event to the sinks: filters, routes, encoders.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use crate::log::encoder::Encoder;
use crate::log::json;
use crate::log::pattern::Pattern;
use crate::log::settings::{Engine, Flow, LogThreadSettings, Logger};
use crate::log::sinks::sink::Sink;
use crate::log::sinks::{Source, open};

/// The loggers of the instance with their sinks.
pub(super) struct Pipeline {
    sinks: Vec<Box<dyn Sink>>,
    lines: Branch,
    requests: Branch,
    filters: Vec<Pattern>,
    drains: Vec<Pattern>,
    /// The sink that the log has without loggers.
    default: usize,
}

/// The loggers of one kind of lines.
struct Branch {
    routes: Vec<(Pattern, Vec<Target>)>,
    /// Those that get a line that no route takes.
    others: Vec<Target>,
    /// There is no logger of this kind, and no route.
    is_empty: bool,
}

/// A logger: its encoders and the index of its sink.
#[derive(Debug, Clone)]
struct Target {
    encoders: Vec<Encoder>,
    sink: usize,
}

/// The sinks that are open, each with the engine by which it is found again.
#[derive(Default)]
struct Opened {
    engines: Vec<Engine>,
    sinks: Vec<Box<dyn Sink>>,
}

impl Pipeline {
    /// Opens the sinks of all loggers.
    ///
    /// # Errors
    /// When one cannot be opened, with its name.
    pub(super) fn open(settings: &LogThreadSettings, original: &OwnedFd) -> io::Result<Self> {
        let mut opened = Opened::default();
        let lines = opened.branch(&settings.lines, &[], settings, original)?;
        // as in uWSGI, log-req-route may name a logger of the other lines
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
        })
    }

    /// Distributes a record of ruwsgi.
    pub(super) fn record(&mut self, source: Source, text: &[u8]) {
        match source {
            Source::Request if !self.requests.is_empty => {
                distribute(&mut self.sinks, &self.requests, text);
            }
            Source::Request | Source::Server => self.line(text),
            Source::Thread => self.report(text),
        }
    }

    /// Distributes a report about a sink. It also goes where the log goes without loggers, because that sink may be the
    /// only other one.
    fn report(&mut self, text: &[u8]) {
        self.line(text);
        let is_default = |target: &Target| target.sink == self.default;
        if !self.lines.others.iter().any(is_default)
            && let Some(sink) = self.sinks.get_mut(self.default)
        {
            sink.write(text);
        }
    }

    /// Distributes an event of the output of the process `pid`.
    pub(super) fn output(&mut self, pid: i32, text: &[u8]) {
        match json::is_on() {
            true => self.line(&json::output(pid, text)),
            false => self.line(text),
        }
    }

    /// Distributes an event that is no request of a `req-logger`.
    pub(super) fn line(&mut self, text: &[u8]) {
        if passes(&self.filters, &self.drains, text) {
            distribute(&mut self.sinks, &self.lines, text);
        }
    }

    /// Passes on what the sinks have kept.
    pub(super) fn flush(&mut self) {
        self.sinks.iter_mut().for_each(|sink| sink.flush());
    }

    /// The descriptors that sinks wait for.
    pub(super) fn waiting(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sinks.iter().filter_map(|sink| sink.waits_for())
    }

    /// Opens the files again.
    pub(super) fn reopen(&mut self) {
        for sink in &mut self.sinks {
            if let Err(error) = sink.reopen() {
                tracing::error!("a log file cannot be reopened: {error}");
            }
        }
    }

    /// Rotates the files.
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

    /// The index of the sink of an engine; loggers of the same file share one.
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

/// The engine by which a sink is found: the default one for standard output, and for the file that is the default.
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

/// The name of an engine in messages.
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

/// Whether `log-filter` and `log-drain` let an event pass.
fn passes(filters: &[Pattern], drains: &[Pattern], text: &[u8]) -> bool {
    if filters.is_empty() && drains.is_empty() {
        return true;
    }
    let text = String::from_utf8_lossy(text);
    let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(&text));
    !any(drains) && (filters.is_empty() || any(filters))
}

/// Writes an event to the loggers of its routes; if it has none, to those without a name.
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

/// The encoders of the loggers of a name.
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
