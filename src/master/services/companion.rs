//! Companion processes (`attach-daemon` and its kin): the lives that `daemon.rs` decides, performed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::config::{Companion, Config};
use crate::process::pidfile;
use crate::sys::process::{self, End, Exit, Pid};
use crate::sys::signal::Signal;
use crate::sys::user::{self, Identity};
use crate::watch::PollWatch;

use super::child::{Errand, Leash, Outputs, Surroundings, leads, signal};
use super::daemon::{self, Action, Event, Nature, State};

/// One that ends well sooner than this has probably gone to the background.
const SOON: Duration = Duration::from_secs(1);

/// A companion as it is wanted, checked.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::master) struct Wanted {
    spec: Companion,
    identity: Option<Identity>,
}

/// Checks what can be known of companions before they are started.
///
/// # Errors
/// When a user does not exist, or cannot be become.
pub(in crate::master) fn wanted(config: &Config) -> Result<Vec<Wanted>> {
    config
        .companions()
        .into_iter()
        .map(|spec| {
            let identity = identity(&spec)
                .with_context(|| format!("the companion {} cannot be started", spec.name))?;
            Ok(Wanted { spec, identity })
        })
        .collect()
}

/// Who a companion runs as, where that is somebody else than we are.
fn identity(spec: &Companion) -> Result<Option<Identity>> {
    let named = spec.uid.as_deref().map(user::find_user).transpose()?;
    let group = spec.gid.as_deref().map(user::find_group).transpose()?;
    if named.is_none() && group.is_none() {
        return Ok(None);
    }
    let uid = named.as_ref().map_or_else(user::current_uid, |it| it.uid);
    let primary = named.and_then(|it| it.entry).map(|(_, gid)| gid);
    let Some(gid) = group.or(primary) else {
        bail!("user {uid} has no entry in the user database: set gid too");
    };
    if !user::is_root() {
        if uid == user::current_uid() && user::is_member(gid) {
            return Ok(None);
        }
        bail!(
            "uid and gid of a companion need a master that runs as root, and this one runs as {}",
            user::current_name()
        );
    }
    let groups = user::groups_of_user(uid, gid)?;
    Ok(Some(Identity { uid, gid, groups }))
}

/// All companions of an instance.
#[derive(Debug, Default)]
pub(super) struct Companions {
    all: Vec<Attached>,
    /// One whose end ends the instance has ended.
    last_word: Option<String>,
}

/// A companion, and what runs of it.
#[derive(Debug)]
struct Attached {
    wanted: Wanted,
    state: State,
    since: Instant,
    leash: Option<Leash>,
    touches: PollWatch,
    /// What it is asked to stop by.
    stop: Signal,
}

impl Companions {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Takes on the companions of a new generation. Those that it has no more are stopped, and those that do not
    /// outlive a reload are started again.
    pub(super) fn settle(&mut self, wanted: Vec<Wanted>, now: Instant) {
        let mut wanted: Vec<Option<Wanted>> = wanted.into_iter().map(Some).collect();
        for attached in &mut self.all {
            let same = wanted
                .iter_mut()
                .find(|it| it.as_ref() == Some(&attached.wanted));
            match same {
                Some(found) if attached.state != State::Gone => {
                    *found = None;
                    attached.reload(now);
                }
                _ => attached.dismiss(Event::Stop, now),
            }
        }
        let new = wanted.into_iter().flatten();
        self.all
            .extend(new.map(|wanted| Attached::new(wanted, now)));
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, around: &Surroundings, outputs: &mut Outputs, now: Instant) {
        for index in 0..self.all.len() {
            if !self.is_blocked(&self.all[index]) {
                self.all[index].tick(around, outputs, now);
            }
        }
        self.all.retain(|attached| attached.state != State::Gone);
    }

    /// Whether one has to wait for another of its name, whose place it takes, and whose port or file it may need.
    fn is_blocked(&self, attached: &Attached) -> bool {
        let mut others = self.all.iter();
        attached.state.is_waiting()
            && others.any(|other| other.state.is_leaving() && other.name() == attached.name())
    }

    /// When [`Companions::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let all = self.all.iter().filter(|it| !self.is_blocked(it));
        all.flat_map(|it| [it.state.deadline(), it.touches.deadline()])
            .flatten()
            .min()
    }

    /// Hears of the end of a child; false if it is not one of ours.
    pub(super) fn ended(&mut self, end: End, outputs: &mut Outputs, now: Instant) -> bool {
        for attached in &mut self.all {
            let (ours, last_word) = attached.ended(end, outputs, now);
            if let Some(sentence) = last_word {
                self.last_word = Some(sentence);
            }
            if ours {
                return true;
            }
        }
        false
    }

    /// Why the instance has to stop, if it has.
    pub(super) fn last_word(&mut self) -> Option<String> {
        self.last_word.take()
    }

    /// Asks all to stop, but for those that outlive the instance.
    pub(super) fn stop(&mut self, now: Instant) {
        for attached in &mut self.all {
            attached.dismiss(Event::Stop, now);
        }
    }

    /// Ends all at once, but for those that outlive the instance.
    pub(super) fn kill(&mut self, now: Instant) {
        for attached in &mut self.all {
            attached.dismiss(Event::Kill, now);
        }
    }
}

impl Attached {
    fn new(wanted: Wanted, now: Instant) -> Self {
        let mut touches = PollWatch::default();
        touches.watch(wanted.spec.touch.iter(), now);
        Self {
            stop: signal_of(wanted.spec.stop_signal),
            state: State::new(now),
            since: now,
            leash: None,
            touches,
            wanted,
        }
    }

    fn nature(&self) -> Nature {
        let spec = &self.wanted.spec;
        Nature {
            smart: spec.pidfile.is_some(),
            freq: spec.freq,
            longest: spec.max_throttle,
            mercy: spec.mercy,
        }
    }

    fn step(&mut self, event: Event, now: Instant) -> Action {
        let action;
        (self.state, action) = daemon::step(self.state, event, now, &self.nature());
        action
    }

    fn tick(&mut self, around: &Surroundings, outputs: &mut Outputs, now: Instant) {
        if self.touches.changed(now).is_some() {
            tracing::info!("{}: a file was touched: it is started again", self.name());
            self.stop = signal_of(self.wanted.spec.stop_signal);
            self.act(Event::Restart, now);
        }
        if self.state.child().is_none() && !matches!(self.state, State::Lingering { .. }) {
            self.leash = None;
        }
        let mut action = self.step(Event::Tick, now);
        if action == Action::Look {
            let seen = self.look(around);
            action = self.step(Event::Seen(seen), now);
        }
        match action {
            Action::Probe(pid) if process::group_lives(pid) => self.act(Event::Left, now),
            Action::Probe(_) => self.act(Event::Ended(Exit::Status(0)), now),
            Action::Spawn => self.spawn(around, outputs, now),
            other => self.perform(other),
        }
    }

    /// Follows an event after which nothing is spawned.
    fn act(&mut self, event: Event, now: Instant) {
        let action = self.step(event, now);
        self.perform(action);
    }

    fn perform(&self, action: Action) {
        match action {
            Action::Nothing | Action::Spawn | Action::Look | Action::Probe(_) => {}
            Action::Tell(pid) => {
                let (name, stop) = (self.name(), self.stop);
                match self.state {
                    State::Lingering { .. } => tracing::info!(
                        "{name}: what is left of its process group {pid} is told too, by {stop}"
                    ),
                    _ => tracing::info!("{name} (pid {pid}) is asked to stop by {stop}"),
                }
                match self.state {
                    // what it left has nobody else to tell it
                    State::Lingering { .. } => signal(self.name(), pid, self.stop),
                    // it is in a group that we did not make
                    State::Watched { .. } => self.send(pid, self.stop),
                    // its own children are its own affair: a Celery worker's finish their tasks
                    _ if leads(&self.wanted.spec.command) => self.send(pid, self.stop),
                    _ => signal(self.name(), pid, self.stop),
                }
            }
            Action::Kill(pid) => {
                tracing::warn!(
                    "{} (pid {pid}) is killed: it has not stopped in time",
                    self.name()
                );
                signal(self.name(), pid, Signal::SIGKILL);
            }
        }
    }

    fn name(&self) -> &str {
        &self.wanted.spec.name
    }

    fn spawn(&mut self, around: &Surroundings, outputs: &mut Outputs, now: Instant) {
        let spec = &self.wanted.spec;
        let errand = Errand {
            name: &spec.name,
            command: &spec.command,
            directory: spec.chdir.as_deref().map(Path::new),
            stdin: spec.stdin,
            identity: self.wanted.identity.as_ref(),
        };
        let stop = signal_of(spec.stop_signal);
        let spawned = match spec.pidfile {
            Some(_) => errand.run_for_good(around),
            None => errand.run(around, stop, outputs),
        };
        self.since = now;
        match spawned {
            Ok(pid) => {
                if self.wanted.spec.pidfile.is_none() {
                    self.leash = Some(Leash::new(pid, stop, &self.wanted.spec.command));
                }
                tracing::info!("{} is started (pid {pid})", self.name());
                self.write_pidfile(pid, around);
                self.act(Event::Spawned(pid), now);
            }
            Err(error) => {
                self.act(Event::NotSpawned, now);
                tracing::error!(
                    "{} cannot be started: {error}{}",
                    self.name(),
                    self.next(now)
                );
            }
        }
    }

    fn pidfile(&self, around: &Surroundings) -> Option<PathBuf> {
        let path = self.wanted.spec.pidfile.as_deref()?;
        Some(around.directory.join(path))
    }

    fn write_pidfile(&self, pid: Pid, around: &Surroundings) {
        if !self.wanted.spec.writes_no_pidfile {
            return;
        }
        if let Some(path) = self.pidfile(around)
            && let Err(error) = pidfile::write(&path, pid)
        {
            tracing::error!("{}: {error}", self.name());
        }
    }

    /// The process that the pidfile names, if it lives.
    fn look(&self, around: &Surroundings) -> Option<Pid> {
        let path = self.pidfile(around)?;
        let pid = pidfile::read(&path).ok()?;
        let known = matches!(self.state, State::Watched { pid: known, .. } if known == pid);
        // a pidfile of before the machine or the container was started may name us
        let lives = pid != Pid::own()
            && process::lives(pid)
            && !pidfile::names_another(&path, pid, self.name());
        if lives && !known {
            tracing::info!("{} runs already (pid {pid})", self.name());
        }
        if known && !lives {
            tracing::warn!("{} (pid {pid}) is gone; it is started again", self.name());
        }
        lives.then_some(pid)
    }

    /// Hears of the end of a child: whether it is ours, and why the instance has to stop for it.
    fn ended(&mut self, end: End, outputs: &mut Outputs, now: Instant) -> (bool, Option<String>) {
        if matches!(self.state, State::Watched { pid, .. } if pid == end.pid) {
            self.act(Event::Ended(end.exit), now);
            return (true, None);
        }
        if self.state.child() != Some(end.pid) {
            return (false, None);
        }
        outputs.ended(end.pid);
        let may_finish = matches!(
            self.state,
            State::Stopping {
                deadline: Some(_),
                ..
            }
        );
        let asked = matches!(self.state, State::Stopping { .. });
        if may_finish && process::group_lives(end.pid) {
            self.act(Event::Left, now);
        } else {
            if self.wanted.spec.pidfile.is_none() {
                // what it left of its group is nobody's any more
                signal(self.name(), end.pid, Signal::SIGKILL);
            }
            self.act(Event::Ended(end.exit), now);
        }
        let age = now - self.since;
        let sentence = format!(
            "{} (pid {}) {} after {:.1} s",
            self.name(),
            end.pid,
            end.exit,
            age.as_secs_f64()
        );
        if asked {
            tracing::info!("{sentence}");
            return (true, None);
        }
        if self.wanted.spec.control {
            self.state = State::Gone;
            return (true, Some(sentence));
        }
        self.report(&sentence, end.exit, age, now);
        (true, None)
    }

    fn report(&self, sentence: &str, exit: Exit, age: Duration, now: Instant) {
        let smart = self.wanted.spec.pidfile.is_some();
        match exit {
            Exit::Status(0) if smart => tracing::info!("{sentence}; its pidfile is looked at next"),
            Exit::Status(0) if age < SOON => tracing::warn!(
                "{sentence}{}: a companion has to stay in the foreground, or it needs a pidfile (smart-attach-daemon)",
                self.next(now)
            ),
            _ => tracing::warn!("{sentence}{}", self.next(now)),
        }
    }

    /// When it is started again.
    fn next(&self, now: Instant) -> String {
        match self.state {
            State::Waiting { due, .. } if due > now => {
                format!(
                    "; it is started again in {:.1} s",
                    (due - now).as_secs_f64()
                )
            }
            State::Waiting { .. } => "; it is started again".to_owned(),
            _ => String::new(),
        }
    }

    /// The instance has reloaded.
    fn reload(&mut self, now: Instant) {
        let spec = &self.wanted.spec;
        let reload = spec.reload_signal.map(signal_of);
        if spec.pidfile.is_some() {
            let signal = reload.unwrap_or(Signal::SIGHUP);
            return self.notify(signal);
        }
        self.stop = reload.unwrap_or(signal_of(spec.stop_signal));
        self.act(Event::Restart, now);
    }

    /// It is not wanted any more.
    fn dismiss(&mut self, event: Event, now: Instant) {
        self.stop = signal_of(self.wanted.spec.stop_signal);
        self.notify(self.stop);
        self.act(event, now);
    }

    fn send(&self, pid: Pid, word: Signal) {
        if let Err(error) = process::signal(pid, word) {
            tracing::warn!("{} (pid {pid}) cannot be sent {word}: {error}", self.name());
        }
    }

    /// Tells one that outlives the instance, if it wants to be told.
    fn notify(&self, word: Signal) {
        let spec = &self.wanted.spec;
        let (State::Watched { pid, .. } | State::Running { pid, .. }) = self.state else {
            return;
        };
        if spec.pidfile.is_some() && spec.notify {
            self.send(pid, word);
        }
    }
}

/// The signal of a number that the configuration has checked.
fn signal_of(number: i32) -> Signal {
    Signal::try_from(number).unwrap_or(Signal::SIGTERM)
}
