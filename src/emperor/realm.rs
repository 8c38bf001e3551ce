//! The vassals: what is known of each, and what is done to it.

mod facts;
mod forward;
mod group;
mod hear;
mod pulse;
mod rate_limit;
mod start_queue;
mod untrusted_input;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::control::messages::Answer;
use crate::ipc::{self, LoadFailure, Report, ToVassal};
use crate::sys::cgroup::Group;
use crate::sys::process::{self, Pid};
use crate::sys::user::{self, Identity};

use super::groups::Groups;
use super::on_demand_sockets::Keep;
use super::self_status::About;
use super::source::{Found, Stamp};
use super::spawn::{Lending, Recipe};
use super::vassal::{self, Action, Event, Limits, Pulse, State};
use rate_limit::{Pace, WAKES, WORDS};

/// One vassal.
pub(super) struct Vassal {
    pub(super) found: Found,
    pub(super) state: State,
    /// Of the file that it was last told of.
    stamp: Option<Stamp>,
    /// Since when the file is missing.
    missing: Option<Instant>,
    channel: Option<OwnedFd>,
    /// Its master's beats.
    pulse: Pulse,
    /// The sockets that are kept for it.
    keep: Keep,
    /// What its processes are in, if the emperor makes groups.
    group: Option<Group>,
    /// It is, or is to be, started to serve; else only to see whether it is on demand.
    wanted: bool,
    /// It leaves because nobody asks for anything.
    rests: bool,
    /// Who its process is; `None`: as the emperor.
    identity: Option<Identity>,
    /// What is wrong with it: why it failed, or why its last edit has no effect.
    pub(super) trouble: Option<String>,
    /// Python's traceback of that, if there is one.
    pub(super) traceback: Option<String>,
    /// What its process said before it left.
    last_words: Option<LoadFailure>,
    /// They stand in the log already.
    told: bool,
    pub(super) report: Report,
    /// It was asked how it is, and has not answered yet.
    asked: bool,
    /// Questions of others that it has not answered yet.
    tickets: VecDeque<u32>,
    /// Answers to what others asked of it, which nobody has taken yet.
    answers: VecDeque<(u32, Answer)>,
    /// How much it says.
    words: Pace,
    /// How often it is started because somebody connects.
    wakes: Pace,
    pub(super) history: History,
}

/// What befell a vassal, and when.
pub(super) struct History {
    /// Its file was found.
    pub(super) born: Instant,
    /// A process was started, for the first time and the last.
    pub(super) first_run: Option<Instant>,
    pub(super) last_run: Option<Instant>,
    /// It was ready.
    pub(super) last_ready: Option<Instant>,
    /// Its master sent a beat.
    pub(super) last_beat: Option<Instant>,
    /// Processes that were started.
    pub(super) runs: u32,
}

/// What holds for all vassals.
pub(super) struct Rule {
    pub(super) limits: Limits,
    pub(super) recipe: Recipe,
    /// Each vassal runs in one of its own.
    pub(super) groups: Option<Groups>,
    /// How long a vassal that has sent a heartbeat may be silent; zero: for ever.
    pub(super) required_heartbeat: Duration,
    /// Starts and reloads that may be under way at once.
    pub(super) turns: usize,
    /// Each vassal runs as the owner of its file.
    pub(super) tyrant: bool,
    /// Also as root.
    pub(super) tyrant_root: bool,
}

/// All vassals.
pub(super) struct Realm {
    rule: Rule,
    /// What is told of the emperor itself.
    pub(super) about: About,
    vassals: BTreeMap<PathBuf, Vassal>,
    /// Who began last of those that had to wait for their turn.
    last_turn: PathBuf,
    /// Hooks that run, and whose they are.
    hooks: HashMap<Pid, String>,
    /// Questions passed on to vassals until now.
    tickets: u32,
}

/// What it means that a descriptor is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// The vassal says something, or has gone.
    Word,
    /// Somebody connects.
    Connection,
}

/// What a look at a file showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// All is known.
    Settled,
    /// It is missing, which may be for a moment only.
    Missing,
    /// It was missing long enough.
    Removed,
}

/// So long a file must be missing before its vassal is stopped.
const ABSENCE: Duration = Duration::from_millis(190);

impl Realm {
    pub(super) fn new(rule: Rule, about: About) -> Self {
        Self {
            rule,
            about,
            vassals: BTreeMap::new(),
            last_turn: PathBuf::new(),
            hooks: HashMap::new(),
            tickets: 0,
        }
    }

    /// Takes note of a file as it is now.
    pub(super) fn look(&mut self, found: Found, stamp: Stamp, now: Instant) {
        let Some(vassal) = self.vassals.get_mut(&found.path) else {
            tracing::info!("vassal {}: found", found.name);
            let vassal = Vassal::new(found, stamp, now);
            self.vassals.insert(vassal.found.path.clone(), vassal);
            return;
        };
        vassal.missing = None;
        let before = vassal.stamp.replace(stamp);
        let who = |stamp: Stamp| (stamp.owner, stamp.guide);
        let owner_changed = before.is_some_and(|before| who(before) != who(stamp));
        if self.rule.tyrant && owner_changed {
            tracing::info!("vassal {}: has another owner", vassal.found.name);
            vassal.step(Event::Replace, now, &self.rule);
        } else if before != Some(stamp) {
            if before.is_some() {
                tracing::info!("vassal {}: has changed", vassal.found.name);
            }
            vassal.step(Event::Changed, now, &self.rule);
        }
    }

    /// Takes note that there is no file at this path.
    pub(super) fn look_at_nothing(&mut self, path: &Path, now: Instant) -> Seen {
        let Some(vassal) = self.vassals.get_mut(path) else {
            return Seen::Settled;
        };
        let since = *vassal.missing.get_or_insert(now);
        if vassal.stamp.is_none() {
            return Seen::Settled;
        }
        if now.duration_since(since) < ABSENCE {
            return Seen::Missing;
        }
        tracing::info!("vassal {}: its file is gone", vassal.found.name);
        vassal.stamp = None;
        vassal.step(Event::Remove, now, &self.rule);
        Seen::Removed
    }

    /// When [`Realm::tick`] has something to do, if nothing is heard before.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let deadlines = self.vassals.values().flat_map(|vassal| {
            let (state, beat) = (vassal.state.deadline(now), vassal.beat_deadline());
            [state, beat, vassal.pause(now)]
        });
        deadlines.flatten().min()
    }

    /// The same for every vassal.
    pub(super) fn all(&mut self, event: Event, now: Instant) {
        for vassal in self.vassals.values_mut() {
            vassal.step(event, now, &self.rule);
        }
    }

    /// For one vassal.
    pub(super) fn one(&mut self, path: &Path, event: Event, now: Instant) {
        if let Some(vassal) = self.vassals.get_mut(path) {
            vassal.step(event, now, &self.rule);
        }
    }

    /// How long it takes at the most until all have stopped.
    pub(super) fn longest_stop(&self) -> Duration {
        self.rule.limits.mercy + vassal::HURRY
    }

    /// Whether no vassal and no hook is left.
    pub(super) fn is_empty(&self) -> bool {
        self.vassals.is_empty() && self.hooks.is_empty()
    }

    /// The times that hold for all.
    pub(super) fn limits(&self) -> &Limits {
        &self.rule.limits
    }

    /// The vassals, by their paths.
    pub(super) fn vassals(&self) -> impl Iterator<Item = &Vassal> {
        self.vassals.values()
    }

    /// One of them.
    pub(super) fn get(&self, path: &Path) -> Option<&Vassal> {
        self.vassals.get(path)
    }

    /// The descriptors to wait for, each with the vassal it belongs to and what it means.
    pub(super) fn descriptors(
        &self,
        now: Instant,
    ) -> impl Iterator<Item = (&Path, Sign, BorrowedFd<'_>)> {
        self.vassals.iter().flat_map(move |(path, vassal)| {
            let waits = vassal.state == State::OnDemand && vassal.wakes.pause(WAKES, now).is_none();
            let sockets = vassal.keep.descriptors().filter(move |_| waits);
            let sockets = sockets.map(|fd| (path.as_path(), Sign::Connection, fd));
            let channel = vassal.channel.as_ref();
            let channel = channel.filter(|_| vassal.words.pause(WORDS, now).is_none());
            let channel = channel.map(|fd| (path.as_path(), Sign::Word, fd.as_fd()));
            channel.into_iter().chain(sockets)
        })
    }

    /// Somebody connects to a vassal on demand.
    pub(super) fn wanted(&mut self, path: &Path, now: Instant) {
        if let Some(vassal) = self.vassals.get_mut(path) {
            // its other sockets may have told already
            if vassal.state == State::OnDemand {
                tracing::info!(
                    "vassal {}: somebody connects: it is started",
                    vassal.found.name
                );
                vassal.wakes.note(WAKES, now);
                vassal.step(Event::Wanted, now, &self.rule);
            }
        }
    }
}

impl Vassal {
    fn new(found: Found, stamp: Stamp, now: Instant) -> Self {
        Self {
            found,
            state: State::new(now),
            stamp: Some(stamp),
            missing: None,
            channel: None,
            pulse: Pulse::default(),
            keep: Keep::default(),
            group: None,
            wanted: false,
            rests: false,
            identity: None,
            trouble: None,
            traceback: None,
            last_words: None,
            told: false,
            report: Report::default(),
            asked: false,
            tickets: VecDeque::new(),
            answers: VecDeque::new(),
            words: Pace::default(),
            wakes: Pace::default(),
            history: History {
                born: now,
                first_run: None,
                last_run: None,
                last_ready: None,
                last_beat: None,
                runs: 0,
            },
        }
    }

    fn step(&mut self, event: Event, now: Instant, rule: &Rule) {
        match event {
            Event::Wanted | Event::Start => self.wanted = true,
            Event::Waits | Event::Rested | Event::Replace => self.wanted = false,
            _ if self.state == State::OnDemand => self.wanted = false,
            _ => {}
        }
        if event == Event::Replace && self.state.pid().is_none() {
            // another user binds others
            self.release();
        }
        let (state, action) = vassal::step(self.state, event, now, &rule.limits);
        self.state = state;
        if matches!(state, State::Gone | State::Stopped) {
            self.release();
        }
        match action {
            Action::Nothing => {}
            Action::Spawn => self.spawn(now, rule),
            Action::Tell(word) => {
                if word == ToVassal::StopNow && !matches!(event, Event::Hurry) {
                    let mercy = rule.limits.mercy.as_secs();
                    let name = &self.found.name;
                    tracing::warn!(
                        "vassal {name}: has not stopped within {mercy} s, and is told to stop at once"
                    );
                }
                self.tell(word);
            }
            Action::Kill(pid) => {
                let name = &self.found.name;
                tracing::warn!("vassal {name} (pid {pid}): killed, because it does not stop");
                if let Err(error) = process::kill_hard(pid) {
                    tracing::error!("vassal {name} (pid {pid}): cannot be killed: {error}");
                }
            }
        }
    }

    fn spawn(&mut self, now: Instant, rule: &Rule) {
        self.last_words = None;
        self.told = false;
        self.asked = false;
        self.rests = false;
        self.pulse.forget();
        let identity = match self.identity(rule) {
            Ok(identity) => identity,
            Err(reason) => {
                tracing::error!("vassal {}: is not started: {reason}", self.found.name);
                self.trouble = Some(reason);
                return self.step(Event::Refuse, now, rule);
            }
        };
        let spawned = self.enter_group(rule).and_then(|group| {
            let lending = Lending {
                keep: &self.keep,
                // without sockets there is nothing to be wanted for
                serve: self.wanted && !self.keep.is_empty(),
                group,
            };
            let recipe = &rule.recipe;
            recipe.spawn(&self.found, identity.as_ref(), &lending)
        });
        self.identity = identity;
        match spawned {
            Ok((pid, channel)) => {
                self.begin_limits(rule);
                self.history.first_run.get_or_insert(now);
                self.history.last_run = Some(now);
                self.history.runs = self.history.runs.saturating_add(1);
                self.hang_up();
                self.channel = Some(channel);
                self.step(Event::Spawned(pid), now, rule);
            }
            Err(error) => {
                let reason = format!("its process cannot be started: {error}");
                self.step(Event::NotSpawned, now, rule);
                let name = &self.found.name;
                tracing::error!("vassal {name}: {reason}{}", self.next_try(now));
                self.trouble = Some(reason);
            }
        }
    }

    /// Who it runs as; `None`: as the emperor does.
    fn identity(&self, rule: &Rule) -> Result<Option<Identity>, String> {
        let Some(stamp) = self.stamp.filter(|_| rule.tyrant) else {
            return Ok(None);
        };
        let (uid, gid) = stamp.owner;
        if (uid == 0 || gid == 0) && !rule.tyrant_root {
            return Err(format!(
                "its file belongs to uid {uid} and gid {gid}, and would run as root; give it to another user and group, or set emperor-tyrant-root"
            ));
        }
        if let Some(guide) = stamp.guide {
            return Err(format!(
                "its file belongs to uid {uid}, but a link on the way to it to uid {guide}, who may not choose what runs as another; let root or the owner make the link, or set emperor-tyrant-nofollow"
            ));
        }
        let groups = user::groups_of_user(uid, gid).map_err(|error| error.to_string())?;
        Ok(Some(Identity { uid, gid, groups }))
    }

    /// Keeps no sockets any more, and removes their files.
    fn release(&mut self) {
        let name = &self.found.name;
        self.keep.release(name, self.identity.as_ref());
    }

    /// Until when it is not listened to, because it was too busy.
    fn pause(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::OnDemand => self.wakes.pause(WAKES, now),
            _ => self.words.pause(WORDS, now),
        }
    }

    fn tell(&self, word: ToVassal) -> bool {
        // one that cannot be told is gone, and its exit tells the rest, or does not listen, and is killed in the end
        let channel = self.channel.as_ref();
        channel.is_some_and(|channel| ipc::send(channel.as_fd(), &word, &[]).is_ok())
    }

    /// `; it is tried again …`, if it is.
    fn next_try(&self, now: Instant) -> String {
        match self.state {
            State::Due { due, .. } if due > now => {
                let pause = due.duration_since(now).as_secs_f64();
                format!("; it is tried again in {pause:.1} s, or when its file changes")
            }
            State::Due { .. } => "; it is started again at once".to_owned(),
            _ => String::new(),
        }
    }
}
