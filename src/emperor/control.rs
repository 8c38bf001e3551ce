//! Requests over the emperor's control socket: which user may send which request, and the answers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::control::server::{ControlServer, Host, Next};
use crate::ipc::control::{Answer, Request, Row, Verb};
use crate::net::{PlaceError, SocketPermissions};
use crate::sys::process::Pid;
use crate::sys::user;

use super::skipped::Skipped;
use super::vassal::{Event, Reload, Scheduled, State, Vassal};
use super::vassals::Vassals;

/// Time limit for a vassal to send a report or an answer.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// The emperor's control socket.
pub(super) type Control = ControlServer<Pending>;

/// The event that a client waits for before it gets its answer.
pub(super) enum Pending {
    /// All vassals have sent their reports. The reports are part of the answer to this request.
    Report(Request),
    /// The vassal with this path has completed its start, stop or reload.
    Settled(PathBuf),
    /// A vassal has answered a forwarded request.
    Forwarded {
        path: PathBuf,
        /// The process that the request was sent to.
        pid: Option<Pid>,
        ticket: u32,
    },
}

/// Listens at `path`. Every user may connect: each request is checked against the user of its connection.
///
/// # Errors
/// Fails if the socket cannot be bound, for example because another emperor has the same vassals.
pub(super) fn open(path: &Path, owner: Option<u32>) -> Result<Control, PlaceError> {
    let access = SocketPermissions {
        mode: Some(0o666),
        uid: owner,
        gid: None,
    };
    ControlServer::open(path, access)
}

impl Host for Vassals {
    type Pending = Pending;

    fn begin(&mut self, uid: u32, request: Request, now: Instant) -> Next<Pending> {
        let of_itself = request.name.is_none() && request.pid.is_none();
        let event = match request.verb {
            verb if verb == Verb::List || (verb == Verb::Status && of_itself) => {
                self.request_reports(|vassal| may_control(uid, vassal));
                return Next::Wait(Pending::Report(request), Some(now + REPORT_TIMEOUT));
            }
            Verb::Find => return Next::Answer(find(self, uid, &request, now)),
            Verb::List | Verb::Status | Verb::KillWorker | Verb::Scale => {
                return self.forward_request(uid, request, now);
            }
            Verb::Reload | Verb::Start | Verb::Retry if self.self_status.stopping => {
                return Next::Answer(Answer::refusal("the emperor is stopping"));
            }
            Verb::Reload => Event::Reload,
            Verb::Stop => Event::Stop,
            Verb::Start | Verb::Retry => Event::Start,
        };
        let path = match choose(self, uid, &request) {
            Ok(vassal) => vassal.definition.path.clone(),
            Err(sentence) => return Next::Answer(Answer::refusal(sentence)),
        };
        tracing::info!(
            "vassal {}: {} requested by {}",
            self.get(&path).map_or("", Vassal::name),
            request.verb.word(),
            user::name_of(uid)
        );
        self.apply(&path, event, now);
        self.tick(now);
        match request.wait {
            true => Next::Wait(Pending::Settled(path), None),
            false => Next::Answer(status(self.get(&path), now)),
        }
    }

    fn poll(&mut self, uid: u32, pending: &Pending, overdue: bool, now: Instant) -> Option<Answer> {
        match pending {
            Pending::Report(request) => {
                let complete = self.has_all_reports() || overdue;
                complete.then(|| report(self, uid, request, now))
            }
            Pending::Settled(path) => match self.get(path) {
                Some(vassal) if !vassal.is_settled() => None,
                settled => Some(status(settled, now)),
            },
            Pending::Forwarded { path, pid, ticket } => {
                if let Some(answer) = self.take_answer(path, *ticket) {
                    return Some(complete_answer(self.get(path), answer, now));
                }
                let vassal = self.get(path);
                let gone = vassal.is_none_or(|vassal| vassal.pid() != *pid);
                (gone || overdue).then(|| Answer::refusal(match gone {
                    true => "its process exited before it answered",
                    false => "it does not answer; perhaps it runs an earlier version of ruwsgi, which does not know the request",
                }))
            }
        }
    }
}

impl Vassals {
    /// Forwards a request that only the vassal itself can answer.
    fn forward_request(&mut self, uid: u32, request: Request, now: Instant) -> Next<Pending> {
        let vassal = match choose(self, uid, &request) {
            Ok(vassal) => vassal,
            Err(sentence) => return Next::Answer(Answer::refusal(sentence)),
        };
        let (path, pid) = (vassal.definition.path.clone(), vassal.pid());
        let verb = request.verb;
        if verb != Verb::Status && !matches!(vassal.state, State::Ready(_)) {
            let sentence = format!("the vassal {} does not serve now", vassal.name());
            return Next::Answer(Answer::refusal(sentence));
        }
        // the client of a request with `--wait` accepts any delay
        let until = (!request.wait).then(|| now + REPORT_TIMEOUT);
        let request = Request {
            name: None,
            pid: None,
            ..request
        };
        match self.forward(&path, uid, request) {
            Some(ticket) => Next::Wait(Pending::Forwarded { path, pid, ticket }, until),
            None if verb == Verb::Status => Next::Answer(status(self.get(&path), now)),
            None => Next::Answer(Answer::refusal("the vassal cannot be reached")),
        }
    }
}

/// Adds the facts that only the emperor knows to the answer of a vassal.
fn complete_answer(vassal: Option<&Vassal>, mut answer: Answer, now: Instant) -> Answer {
    let (Some(vassal), Some(own)) = (vassal, answer.vassals.pop()) else {
        return answer;
    };
    Answer::of(Row {
        workers: own.workers,
        requests: own.requests,
        memory_kib: own.memory_kib,
        instance: own.instance,
        limits: vassal.cgroup_usage(),
        ..row(vassal, now)
    })
}

/// Whether user `uid` may control a vassal. Root and the emperor's user may control every vassal; any other user may
/// control the vassals whose files the user owns.
fn may_control(uid: u32, vassal: &Vassal) -> bool {
    is_privileged(uid) || vassal.owner() == Some(uid)
}

fn is_privileged(uid: u32) -> bool {
    uid == 0 || uid == user::current_uid()
}

/// The vassal that a request names, if user `uid` may control it.
fn choose<'a>(vassals: &'a Vassals, uid: u32, request: &Request) -> Result<&'a Vassal, String> {
    let matching: Vec<&Vassal> = vassals
        .iter()
        .filter(|vassal| vassal.matches(request))
        .collect();
    let name = match (&request.name, request.pid) {
        (Some(name), _) => name.clone(),
        (None, Some(pid)) => format!("with process {pid}"),
        (None, None) => return Err("name the vassal; ruwsgi ls lists them".into()),
    };
    match matching.as_slice() {
        [] => Err(
            match vassals
                .skipped
                .iter()
                .find(|file| file.definition.is_called(&name))
            {
                Some(file) => format!(
                    "{} defines no vassal: {}",
                    file.definition.name, file.reason
                ),
                None => format!("there is no vassal {name}; ruwsgi ls lists all"),
            },
        ),
        [vassal] if may_control(uid, vassal) => Ok(vassal),
        [_] => Err(format!(
            "the vassal {name} is not yours: only its owner, the emperor's user and root may control it"
        )),
        several => {
            let own = several.iter().filter(|vassal| may_control(uid, vassal));
            let paths = own.map(|vassal| vassal.definition.path.display().to_string());
            let paths: Vec<String> = paths.collect();
            Err(format!(
                "{} vassals are called {name}; name one of them by its path: {}",
                several.len(),
                paths.join(", ")
            ))
        }
    }
}

/// The vassals that a request names and that user `uid` may control.
fn find(vassals: &Vassals, uid: u32, request: &Request, now: Instant) -> Answer {
    let matching = |vassal: &&Vassal| vassal.matches(request);
    let (own, others): (Vec<_>, Vec<_>) = vassals
        .iter()
        .filter(matching)
        .partition(|vassal| may_control(uid, vassal));
    let skipped = |name: &String| {
        let mut skipped = vassals.skipped.iter();
        skipped.any(|file| file.definition.is_called(name))
    };
    let is_known = !others.is_empty() || request.name.as_ref().is_some_and(skipped);
    let refusal = (own.is_empty() && is_known)
        .then(|| choose(vassals, uid, request).err())
        .flatten();
    Answer {
        error: refusal,
        vassals: own.into_iter().map(|vassal| row(vassal, now)).collect(),
    }
}

/// The answer to `ls`, and to `status` without a name, which describes the emperor itself.
fn report(vassals: &Vassals, uid: u32, request: &Request, now: Instant) -> Answer {
    if request.name.is_none() && request.pid.is_none() {
        let own = vassals.iter().filter(|vassal| may_control(uid, vassal));
        let mut rows: Vec<Row> = own.map(|vassal| row(vassal, now)).collect();
        let skipped = vassals.skipped.iter();
        rows.extend(
            skipped
                .filter(|file| is_privileged(uid) || file.owner == Some(uid))
                .map(Skipped::row),
        );
        return match request.verb {
            Verb::Status => Answer::of(vassals.self_status.row(
                rows.iter(),
                is_privileged(uid),
                now,
            )),
            _ => Answer {
                error: None,
                vassals: rows,
            },
        };
    }
    match choose(vassals, uid, request) {
        Ok(vassal) => status(Some(vassal), now),
        Err(sentence) => Answer::refusal(sentence),
    }
}

/// The answer about one vassal; empty if the vassal is gone.
fn status(vassal: Option<&Vassal>, now: Instant) -> Answer {
    Answer {
        error: None,
        vassals: vassal
            .map(|vassal| Row {
                limits: vassal.cgroup_usage(),
                ..row(vassal, now)
            })
            .into_iter()
            .collect(),
    }
}

/// The row of a vassal in the answers to `ls` and `status`.
fn row(vassal: &Vassal, now: Instant) -> Row {
    let problem = vassal.problem.as_ref();
    let traceback = problem.map(|problem| problem.traceback.clone());
    let mut row = Row {
        name: vassal.name().to_owned(),
        path: vassal.definition.path.display().to_string(),
        reason: problem.map(|problem| problem.sentence.clone()),
        traceback: traceback.filter(|text| !text.is_empty()),
        pid: vassal.pid().map(Pid::get),
        ..Row::default()
    };
    let state = match &vassal.state {
        State::Scheduled(Scheduled { failures: 0, .. }) => "waiting",
        State::Scheduled(scheduled) => {
            row.failures = scheduled.failures;
            row.next_try = Some(scheduled.at.saturating_duration_since(now).as_secs_f64());
            "backing off"
        }
        State::Starting(starting) => {
            row.failures = starting.failures;
            "starting"
        }
        State::Ready(ready) => {
            let report = &ready.process.report;
            row.uptime = Some(now.saturating_duration_since(ready.since).as_secs());
            row.workers = Some(report.workers);
            row.requests = Some(report.requests);
            row.memory_kib = Some(report.memory_kib);
            match ready.reload {
                Reload::None => "ready",
                Reload::Queued | Reload::Running { .. } => "reloading",
            }
        }
        State::Stopping(_) => "stopping",
        State::OnDemand => "on demand",
        State::Stopped => "stopped",
        State::Refused => "failed",
        State::Gone => "gone",
    };
    row.state = state.to_owned();
    row
}
