//! What the emperor is asked over its control socket: who may ask for what, and the answer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::control::messages::{Answer, Request, Row, Verb};
use crate::control::server::{Desk, Host, Next};
use crate::sys::process::Pid;
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
    /// The vassals are asked how they are; then those that are meant are told.
    Report(Request),
    /// The vassal does what it was told to.
    Settled(PathBuf),
    /// The vassal, this process of it, was asked with this ticket.
    Passed {
        path: PathBuf,
        pid: Option<Pid>,
        ticket: u32,
    },
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
        let of_itself = request.name.is_none() && request.pid.is_none();
        let event = match request.verb {
            verb if verb == Verb::List || (verb == Verb::Status && of_itself) => {
                self.ask(|vassal| may(uid, vassal));
                return Next::Wait(Pending::Report(request), Some(now + REPORT_TIME));
            }
            Verb::Find => return Next::Answer(find(self, uid, &request, now)),
            Verb::List | Verb::Status | Verb::KillWorker | Verb::Scale => {
                return self.ask_vassal(uid, request, now);
            }
            Verb::Reload => Event::Reload,
            Verb::Stop => Event::Stop,
            Verb::Start | Verb::Retry => Event::Start,
        };
        let path = match choose(self, uid, &request) {
            Ok(vassal) => vassal.found.path.clone(),
            Err(sentence) => return Next::Answer(Answer::refusal(sentence)),
        };
        tracing::info!(
            "vassal {}: {} is asked for by {}",
            self.get(&path)
                .map_or("", |vassal| vassal.found.name.as_str()),
            request.verb.word(),
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
            Pending::Report(request) => {
                let known = self.has_answered() || overdue;
                known.then(|| report(self, uid, request, now))
            }
            Pending::Settled(path) => match self.get(path) {
                Some(vassal) if !vassal.is_settled() => None,
                settled => Some(told(settled, now)),
            },
            Pending::Passed { path, pid, ticket } => {
                if let Some(answer) = self.take_answer(path, *ticket) {
                    return Some(passed_back(self.get(path), answer, now));
                }
                let vassal = self.get(path);
                let gone = vassal.is_none_or(|vassal| vassal.state.pid() != *pid);
                (gone || overdue).then(|| Answer::refusal(match gone {
                    true => "it ended before it answered",
                    false => "it does not answer; a ruwsgi of an earlier version does not know the question",
                }))
            }
        }
    }
}

impl Realm {
    /// What only the vassal itself can answer or do.
    fn ask_vassal(&mut self, uid: u32, request: Request, now: Instant) -> Next<Pending> {
        let vassal = match choose(self, uid, &request) {
            Ok(vassal) => vassal,
            Err(sentence) => return Next::Answer(Answer::refusal(sentence)),
        };
        let (path, pid) = (vassal.found.path.clone(), vassal.state.pid());
        let verb = request.verb;
        if verb != Verb::Status && !matches!(vassal.state, State::Ready { .. }) {
            let sentence = format!("the vassal {} does not serve now", vassal.found.name);
            return Next::Answer(Answer::refusal(sentence));
        }
        // one that waits may take as long as it takes
        let until = (!request.wait).then(|| now + REPORT_TIME);
        let request = Request {
            name: None,
            pid: None,
            ..request
        };
        match self.pass_on(&path, uid, request) {
            Some(ticket) => Next::Wait(Pending::Passed { path, pid, ticket }, until),
            None if verb == Verb::Status => Next::Answer(told(self.get(&path), now)),
            None => Next::Answer(Answer::refusal("the vassal cannot be told")),
        }
    }
}

/// A vassal's own answer, under the name that it has here, with what only the emperor knows.
fn passed_back(vassal: Option<&Vassal>, mut answer: Answer, now: Instant) -> Answer {
    let (Some(vassal), Some(told)) = (vassal, answer.vassals.pop()) else {
        return answer;
    };
    Answer::of(Row {
        workers: told.workers,
        requests: told.requests,
        memory_kib: told.memory_kib,
        instance: told.instance,
        limits: vassal.limits_in_use(),
        ..row(vassal, now)
    })
}

/// Root and the emperor's own user may do everything, others what is their own.
fn may(uid: u32, vassal: &Vassal) -> bool {
    may_all(uid) || vassal.owner() == Some(uid)
}

fn may_all(uid: u32) -> bool {
    uid == 0 || uid == user::current_uid()
}

/// The one vassal that is meant, if this user may do something with it.
fn choose<'a>(realm: &'a Realm, uid: u32, request: &Request) -> Result<&'a Vassal, String> {
    let meant: Vec<&Vassal> = realm
        .vassals()
        .filter(|vassal| vassal.is_meant(request))
        .collect();
    let name = match (&request.name, request.pid) {
        (Some(name), _) => name.clone(),
        (None, Some(pid)) => format!("with process {pid}"),
        (None, None) => return Err("say which vassal is meant; ruwsgi ls names them".into()),
    };
    match meant.as_slice() {
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

/// Those that are meant and that this user may do something with.
fn find(realm: &Realm, uid: u32, request: &Request, now: Instant) -> Answer {
    let meant = |vassal: &&Vassal| vassal.is_meant(request);
    let (yours, others): (Vec<_>, Vec<_>) = realm
        .vassals()
        .filter(meant)
        .partition(|vassal| may(uid, vassal));
    let refusal = (yours.is_empty() && !others.is_empty())
        .then(|| choose(realm, uid, request).err())
        .flatten();
    Answer {
        error: refusal,
        vassals: yours.into_iter().map(|vassal| row(vassal, now)).collect(),
    }
}

fn report(realm: &Realm, uid: u32, request: &Request, now: Instant) -> Answer {
    if request.name.is_none() && request.pid.is_none() {
        let vassals = realm.vassals().filter(|vassal| may(uid, vassal));
        let vassals: Vec<Row> = vassals.map(|vassal| row(vassal, now)).collect();
        return match request.verb {
            Verb::Status => Answer::of(realm.about.row(vassals.iter(), may_all(uid), now)),
            _ => Answer {
                error: None,
                vassals,
            },
        };
    }
    match choose(realm, uid, request) {
        Ok(vassal) => told(Some(vassal), now),
        Err(sentence) => Answer::refusal(sentence),
    }
}

/// How one vassal is; nothing if it is gone.
fn told(vassal: Option<&Vassal>, now: Instant) -> Answer {
    Answer {
        error: None,
        vassals: vassal
            .map(|vassal| Row {
                limits: vassal.limits_in_use(),
                ..row(vassal, now)
            })
            .into_iter()
            .collect(),
    }
}

/// How a vassal is, told.
fn row(vassal: &Vassal, now: Instant) -> Row {
    let mut row = Row {
        name: vassal.found.name.clone(),
        path: vassal.found.path.display().to_string(),
        reason: vassal.trouble.clone(),
        traceback: vassal.traceback.clone(),
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
