//! What the emperor is asked over its control socket: who may ask for what, and the answer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::control::desk::{Desk, Host, Next};
use crate::control::talk::{Answer, Request, Row, Verb};
use crate::sys::unix_socket::{Access, PlaceError};
use crate::sys::user;

use super::realm::{Realm, Vassal};
use super::vassal::{Event, Reload, State};

/// How long vassals may take to say how they are.
const REPORT_TIME: Duration = Duration::from_secs(2);

/// The emperor's control socket.
pub(super) type Control = Desk<Pending>;

/// What a client waits for.
pub(super) enum Pending {
    /// The vassals are asked how they are; then this one is told, or all.
    Report(Option<String>),
    /// The vassal does what it was told to.
    Settled(PathBuf),
}

/// Listens at a path; the socket is everybody's, since it is the user at the other end who counts.
///
/// # Errors
/// When the socket cannot be put there: another emperor has the same vassals, say.
pub(super) fn open(path: &Path, owner: Option<u32>) -> Result<Control, PlaceError> {
    let access = Access {
        mode: Some(0o666),
        uid: owner,
        gid: None,
    };
    Desk::open(path, access)
}

impl Host for Realm {
    type Pending = Pending;

    fn begin(&mut self, uid: u32, request: Request, now: Instant) -> Next<Pending> {
        let event = match request.verb {
            Verb::List => {
                self.ask();
                return Next::Wait(Pending::Report(request.name), Some(now + REPORT_TIME));
            }
            Verb::Reload => Event::Reload,
            Verb::Stop => Event::Stop,
            Verb::Start | Verb::Retry => Event::Start,
        };
        let path = match choose(self, uid, request.name.as_deref().unwrap_or_default()) {
            Ok(vassal) => vassal.found.path.clone(),
            Err(sentence) => return Next::Answer(Answer::refusal(sentence)),
        };
        tracing::info!(
            "vassal {}: {:?} is asked for by {}",
            self.get(&path)
                .map_or("", |vassal| vassal.found.name.as_str()),
            request.verb,
            user::name_of(uid)
        );
        self.one(&path, event, now);
        self.tick(now);
        match request.wait {
            true => Next::Wait(Pending::Settled(path), None),
            false => Next::Answer(told(self.get(&path), now)),
        }
    }

    fn go_on(
        &mut self,
        uid: u32,
        pending: &Pending,
        overdue: bool,
        now: Instant,
    ) -> Option<Answer> {
        match pending {
            Pending::Report(name) => {
                let known = self.has_answered() || overdue;
                known.then(|| report(self, uid, name.as_deref(), now))
            }
            Pending::Settled(path) => match self.get(path) {
                Some(vassal) if !vassal.is_settled() => None,
                settled => Some(told(settled, now)),
            },
        }
    }
}

/// Root and the emperor's own user may do everything, others what is their own.
fn may(uid: u32, vassal: &Vassal) -> bool {
    uid == 0 || uid == user::current_uid() || vassal.owner() == Some(uid)
}

/// The one vassal that is called so, if this user may do something with it.
fn choose<'a>(realm: &'a Realm, uid: u32, name: &str) -> Result<&'a Vassal, String> {
    let called: Vec<&Vassal> = realm
        .vassals()
        .filter(|vassal| vassal.is_called(name))
        .collect();
    match called.as_slice() {
        [] => Err(format!(
            "there is no vassal {name}; ruwsgi ls names them all"
        )),
        [vassal] if may(uid, vassal) => Ok(vassal),
        [_] => Err(format!(
            "the vassal {name} is not yours: only its owner, the emperor's user and root may do that"
        )),
        _ => Err(format!(
            "several vassals are called {name}: write the path of the one that is meant"
        )),
    }
}

fn report(realm: &Realm, uid: u32, name: Option<&str>, now: Instant) -> Answer {
    let Some(name) = name else {
        let vassals = realm.vassals().filter(|vassal| may(uid, vassal));
        return Answer {
            error: None,
            vassals: vassals.map(|vassal| row(vassal, now)).collect(),
        };
    };
    match choose(realm, uid, name) {
        Ok(vassal) => told(Some(vassal), now),
        Err(sentence) => Answer::refusal(sentence),
    }
}

/// How one vassal is; nothing if it is gone.
fn told(vassal: Option<&Vassal>, now: Instant) -> Answer {
    Answer {
        error: None,
        vassals: vassal.map(|vassal| row(vassal, now)).into_iter().collect(),
    }
}

/// How a vassal is, told.
fn row(vassal: &Vassal, now: Instant) -> Row {
    let mut row = Row {
        name: vassal.found.name.clone(),
        path: vassal.found.path.display().to_string(),
        reason: vassal.trouble.clone(),
        pid: vassal.state.pid().map(|pid| pid.get()),
        ..Row::default()
    };
    let state = match vassal.state {
        State::Due { due, failures } => {
            row.failures = failures;
            let left = due.saturating_duration_since(now).as_secs_f64();
            row.next_try = (failures > 0).then_some(left);
            if failures > 0 {
                "backing off"
            } else {
                "waiting"
            }
        }
        State::Starting { failures, .. } => {
            row.failures = failures;
            "starting"
        }
        State::Ready { since, reload, .. } => {
            row.uptime = Some(now.saturating_duration_since(since).as_secs());
            row.workers = Some(vassal.report.workers);
            row.requests = Some(vassal.report.requests);
            row.memory_kib = Some(vassal.report.memory_kib);
            if reload == Reload::None {
                "ready"
            } else {
                "reloading"
            }
        }
        State::Leaving { .. } => "stopping",
        State::OnDemand => "on demand",
        State::Stopped => "stopped",
        State::Refused => "failed",
        State::Gone => "gone",
    };
    row.state = state.to_owned();
    row
}
