//! Hooks: what is done at certain moments, one action after the other.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::ToSocketAddrs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::{Action, Awaited, Config};
use crate::sys::process::{End, Exit, Pid};
use crate::sys::signal::Signal;
use crate::sys::{environment, pipe, user};

use crate::master::services::child::{Errand, Outputs, Surroundings, signal};

/// How long something is waited for, as in uWSGI.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// A moment of the instance's life, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) enum Phase {
    Asap,
    PreJail,
    PostJail,
    InJail,
    AsRoot,
    AsUser,
    PreApp,
    PostApp,
    AtExit,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Asap => "asap",
            Self::PreJail => "pre-jail",
            Self::PostJail => "post-jail",
            Self::InJail => "in-jail",
            Self::AsRoot => "as-root",
            Self::AsUser => "as-user",
            Self::PreApp => "pre-app",
            Self::PostApp => "post-app",
            Self::AtExit => "as-user-atexit",
        }
    }

    /// What is to be done: hooks first, then commands, as in uWSGI.
    fn actions(self, config: &Config) -> [&[Action]; 2] {
        match self {
            Self::Asap => [config.hook_asap(), config.exec_asap()],
            Self::PreJail => [config.hook_pre_jail(), config.exec_pre_jail()],
            Self::PostJail => [config.hook_post_jail(), config.exec_post_jail()],
            Self::InJail => [config.hook_in_jail(), config.exec_in_jail()],
            Self::AsRoot => [config.hook_as_root(), config.exec_as_root()],
            Self::AsUser => [config.hook_as_user(), config.exec_as_user()],
            Self::PreApp => [config.hook_pre_app(), config.exec_pre_app()],
            Self::PostApp => [config.hook_post_app(), config.exec_post_app()],
            Self::AtExit => [config.hook_as_user_atexit(), config.exec_as_user_atexit()],
        }
    }

    /// Whether nothing is to be done.
    pub(in crate::master) fn is_empty(self, config: &Config) -> bool {
        self.actions(config)
            .iter()
            .all(|actions| actions.is_empty())
    }

    /// What is to be done.
    pub(in crate::master) fn jobs(self, config: &Config) -> Vec<Job> {
        let actions = self.actions(config).into_iter().flatten();
        actions
            .map(|action| Job::new(self.name(), action.clone()))
            .collect()
    }
}

/// An action, and the moment that it belongs to.
#[derive(Clone, Debug)]
pub(in crate::master) struct Job {
    moment: &'static str,
    action: Action,
}

impl Job {
    pub(in crate::master) fn new(moment: &'static str, action: Action) -> Self {
        Self { moment, action }
    }

    #[cfg(test)]
    pub(in crate::master) fn moment(&self) -> &'static str {
        self.moment
    }
}

/// Why a row of actions has come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::master) enum Outcome {
    /// Something is still being done.
    Busy,
    /// All is done.
    Done,
    /// An action failed; those behind it were left out.
    Failed(String),
    /// An action asked for the end of the instance with this status.
    Exit(i32),
}

/// Does one action after the other, without ever waiting for one.
#[derive(Debug, Default)]
pub(in crate::master) struct Runner {
    jobs: VecDeque<Job>,
    doing: Option<Doing>,
    /// Then what is being done is given up; and how long it may take altogether.
    limit: Option<(Instant, Duration)>,
    /// A failure is told and the next action follows.
    tolerant: bool,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
enum Doing {
    /// A command runs.
    Command { pid: Pid, since: Instant, job: Job },
    /// Something is waited for.
    Waiting {
        until: Instant,
        next: Instant,
        job: Job,
    },
}

impl Runner {
    /// One whose failures end nothing.
    pub(in crate::master) fn tolerant() -> Self {
        Self {
            tolerant: true,
            ..Self::default()
        }
    }

    /// Adds what is to be done.
    pub(in crate::master) fn add(&mut self, jobs: impl IntoIterator<Item = Job>) {
        self.jobs.extend(jobs);
    }

    /// Gives what is to be done so long, altogether.
    pub(in crate::master) fn limit(&mut self, limit: Option<Duration>, now: Instant) {
        self.limit = limit.map(|limit| (now + limit, limit));
    }

    /// Whether nothing is being done or to be done.
    pub(in crate::master) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.doing.is_none()
    }

    /// When [`Runner::go_on`] has something to do, if no child ends before.
    pub(in crate::master) fn deadline(&self) -> Option<Instant> {
        let limit = self.limit.map(|(due, _)| due);
        match &self.doing {
            Some(Doing::Waiting { next, .. }) => Some(limit.map_or(*next, |due| due.min(*next))),
            Some(Doing::Command { .. }) => limit,
            None => None,
        }
    }

    /// Ends what is being done and forgets the rest.
    pub(in crate::master) fn kill(&mut self) {
        self.jobs.clear();
        if let Some(Doing::Command { pid, job, .. }) = self.doing.take() {
            signal(job.moment, pid, Signal::SIGKILL);
        }
    }

    /// Does what can be done now.
    pub(in crate::master) fn go_on(
        &mut self,
        around: &Surroundings,
        outputs: &mut Outputs,
        now: Instant,
    ) -> Outcome {
        if let Some((due, limit)) = self.limit
            && due <= now
        {
            self.give_up(limit);
        }
        loop {
            if let Some(outcome) = self.outcome.take() {
                return outcome;
            }
            match self.doing.take() {
                Some(doing @ Doing::Command { .. }) => {
                    self.doing = Some(doing);
                    return Outcome::Busy;
                }
                Some(Doing::Waiting { until, next, job }) if now < next => {
                    self.doing = Some(Doing::Waiting { until, next, job });
                    return Outcome::Busy;
                }
                Some(Doing::Waiting { until, job, .. }) => self.look(job, until, now),
                None => match self.jobs.pop_front() {
                    Some(job) => self.begin(job, around, outputs, now),
                    None => return Outcome::Done,
                },
            }
        }
    }

    /// What is being done takes too long.
    fn give_up(&mut self, limit: Duration) {
        self.limit = None;
        let (job, killed) = match self.doing.take() {
            Some(Doing::Command { pid, job, .. }) => {
                signal(job.moment, pid, Signal::SIGKILL);
                (job, ", and is killed")
            }
            Some(Doing::Waiting { job, .. }) => (job, ""),
            None => return,
        };
        let seconds = limit.as_secs();
        let why = format!("it has not ended within {seconds} s (hook-harakiri){killed}");
        self.failed(&job, &why);
    }

    fn begin(&mut self, job: Job, around: &Surroundings, outputs: &mut Outputs, now: Instant) {
        match &job.action {
            Action::Exec(command) | Action::SafeExec(command) => {
                // without a terminal to stop it and without us there is nobody it could run for
                let started =
                    Errand::new(job.moment, command).run(around, Signal::SIGKILL, outputs);
                match started {
                    Ok(pid) => {
                        self.doing = Some(Doing::Command {
                            pid,
                            since: now,
                            job,
                        });
                    }
                    Err(error) => self.failed(&job, &format!("/bin/sh cannot be run: {error}")),
                }
            }
            Action::WaitFor(_, what) => {
                tracing::info!("{}: waiting for {what}", job.moment);
                self.look(job, now + PATIENCE, now);
            }
            Action::Exit(status) => {
                self.jobs.clear();
                self.outcome = Some(Outcome::Exit(*status));
            }
            action => {
                if let Err(error) = perform(action, around) {
                    self.failed(&job, &error.to_string());
                }
            }
        }
    }

    fn look(&mut self, job: Job, until: Instant, now: Instant) {
        let Action::WaitFor(what, place) = &job.action else {
            return;
        };
        if is_there(*what, place) {
            return;
        }
        if now >= until {
            let seconds = PATIENCE.as_secs();
            return self.failed(&job, &format!("it is not there after {seconds} s"));
        }
        let next = now + LOOK;
        self.doing = Some(Doing::Waiting { until, next, job });
    }

    /// Hears of the end of a child; false if it is not one of ours.
    pub(in crate::master) fn ended(
        &mut self,
        end: End,
        outputs: &mut Outputs,
        now: Instant,
    ) -> bool {
        match self.doing.take() {
            Some(Doing::Command { pid, since, job }) if pid == end.pid => {
                outputs.ended(pid);
                self.command_ended(&job, end, now - since);
                true
            }
            other => {
                self.doing = other;
                false
            }
        }
    }

    fn command_ended(&mut self, job: &Job, end: End, took: Duration) {
        let (pid, exit, took) = (end.pid, end.exit, took.as_secs_f64());
        let what = describe(&job.action);
        if exit == Exit::Status(0) {
            tracing::info!(
                "{}: {what} (pid {pid}) ended well after {took:.1} s",
                job.moment
            );
        } else if matches!(job.action, Action::SafeExec(_)) {
            tracing::warn!(
                "{}: {what} (pid {pid}) {exit} after {took:.1} s",
                job.moment
            );
        } else {
            self.failed(job, &format!("pid {pid} {exit} after {took:.1} s"));
        }
    }

    fn failed(&mut self, job: &Job, why: &str) {
        let sentence = format!("{}: {} failed: {why}", job.moment, describe(&job.action));
        if self.tolerant {
            tracing::warn!("{sentence}");
        } else {
            self.jobs.clear();
            self.outcome = Some(Outcome::Failed(sentence));
        }
    }
}

/// What an action does, for messages.
fn describe(action: &Action) -> String {
    match action {
        Action::Exec(command) | Action::SafeExec(command) => format!("the command {command:?}"),
        Action::Print(_) => "printing".to_owned(),
        Action::ChangeDirectory(path) => format!("entering {path}"),
        Action::PutEnv(name, _) => format!("setting {name}"),
        Action::Exit(status) => format!("exiting with {status}"),
        Action::UnixSignal(number, _) => format!("giving signal {number} a meaning"),
        Action::MakeDirectory(path) => format!("making the directory {path}"),
        Action::ChangeMode(path, mode) => format!("giving {path} the permissions {mode:o}"),
        Action::Sticky(path) => format!("giving {path} the sticky bit"),
        Action::ChangeOwner(path, user, group) => format!("giving {path} to {user}:{group}"),
        Action::Unlink(path) => format!("removing {path}"),
        Action::Create(path) => format!("creating {path}"),
        Action::Write(path, _) | Action::Append(path, _) | Action::WriteFifo(path, _) => {
            format!("writing {path}")
        }
        Action::WaitFor(_, what) => format!("waiting for {what}"),
    }
}

/// Does what is done at once.
fn perform(action: &Action, around: &Surroundings) -> io::Result<()> {
    let at = |path: &str| around.directory.join(path);
    match action {
        Action::Print(text) => {
            tracing::info!("{text}");
            Ok(())
        }
        Action::ChangeDirectory(path) => std::env::set_current_dir(at(path)),
        Action::PutEnv(name, value) => {
            environment::set(name, value);
            Ok(())
        }
        Action::MakeDirectory(path) => match fs::create_dir(at(path)) {
            // there since the last time
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && at(path).is_dir() => {
                Ok(())
            }
            made => made,
        },
        Action::ChangeMode(path, mode) => {
            fs::set_permissions(at(path), fs::Permissions::from_mode(*mode))
        }
        Action::Sticky(path) => {
            let mode = fs::metadata(at(path))?.permissions().mode();
            fs::set_permissions(at(path), fs::Permissions::from_mode(mode | 0o1000))
        }
        Action::ChangeOwner(path, user, group) => {
            let user = user::find_user(user).map_err(io::Error::other)?.uid;
            let group = user::find_group(group).map_err(io::Error::other)?;
            chown(at(path), Some(user), Some(group))
        }
        Action::Unlink(path) => fs::remove_file(at(path)),
        Action::Create(path) => fs::File::create(at(path)).map(drop),
        Action::Write(path, text) => fs::write(at(path), text),
        Action::Append(path, text) => OpenOptions::new()
            .append(true)
            .create(true)
            .open(at(path))?
            .write_all(text.as_bytes()),
        Action::WriteFifo(path, text) => pipe::write_fifo(&at(path), text.as_bytes()).map(drop),
        // these are not done at once, or not here
        Action::Exec(_)
        | Action::SafeExec(_)
        | Action::WaitFor(..)
        | Action::Exit(_)
        | Action::UnixSignal(..) => Ok(()),
    }
}

fn is_there(what: Awaited, place: &str) -> bool {
    let path = Path::new(place);
    match what {
        Awaited::Anything => path.exists(),
        Awaited::File => path.is_file(),
        Awaited::Directory => path.is_dir(),
        Awaited::Socket => accepts(place),
    }
}

/// Whether somebody accepts connections there: `host:port` or a path.
fn accepts(place: &str) -> bool {
    if !place.contains(':') || place.starts_with('/') {
        return UnixStream::connect(PathBuf::from(place)).is_ok();
    }
    let mut addresses = place.to_socket_addrs().into_iter().flatten();
    addresses.any(|address| std::net::TcpStream::connect_timeout(&address, LOOK).is_ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn run(actions: Vec<Action>, directory: &Path) -> Outcome {
        let mut runner = Runner::default();
        runner.add(actions.into_iter().map(|action| Job::new("test", action)));
        let around = Surroundings {
            directory: directory.to_owned(),
            environment: Vec::new(),
        };
        runner.go_on(&around, &mut Outputs::default(), Instant::now())
    }

    #[test]
    fn files_are_made_written_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let text = |text: &str| text.to_owned();
        let outcome = run(
            vec![
                Action::MakeDirectory(text("made")),
                Action::MakeDirectory(text("made")),
                Action::Sticky(text("made")),
                Action::Write(text("made/f"), text("one\n")),
                Action::Append(text("made/f"), text("two")),
                Action::ChangeMode(text("made/f"), 0o640),
                Action::Create(text("made/g")),
                Action::Unlink(text("made/g")),
            ],
            dir.path(),
        );
        assert_eq!(outcome, Outcome::Done);
        let file = dir.path().join("made/f");
        assert_eq!(fs::read_to_string(&file).unwrap(), "one\ntwo");
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o7777,
            0o640
        );
        let made = dir.path().join("made").metadata().unwrap();
        assert_eq!(made.permissions().mode() & 0o1000, 0o1000);
        assert!(!dir.path().join("made/g").exists());
    }

    #[test]
    fn a_failure_leaves_the_rest_out() {
        let dir = tempfile::tempdir().unwrap();
        let outcome = run(
            vec![
                Action::Unlink("none".to_owned()),
                Action::Create("later".to_owned()),
            ],
            dir.path(),
        );
        assert!(matches!(outcome, Outcome::Failed(why) if why.contains("removing none failed")));
        assert!(!dir.path().join("later").exists());
    }

    #[test]
    fn an_exit_ends_the_row() {
        let dir = tempfile::tempdir().unwrap();
        let actions = vec![Action::Exit(3), Action::Create("later".to_owned())];
        assert_eq!(run(actions, dir.path()), Outcome::Exit(3));
        assert!(!dir.path().join("later").exists());
    }

    #[test]
    fn what_is_waited_for_is_looked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("awaited");
        let place = path.to_str().unwrap().to_owned();
        let mut runner = Runner::default();
        runner.add([Job::new("test", Action::WaitFor(Awaited::File, place))]);
        let (around, mut outputs) = (Surroundings::default(), Outputs::default());
        let mut now = Instant::now();
        assert_eq!(runner.go_on(&around, &mut outputs, now), Outcome::Busy);
        now = runner.deadline().unwrap();
        assert_eq!(runner.go_on(&around, &mut outputs, now), Outcome::Busy);
        fs::write(&path, "").unwrap();
        now = runner.deadline().unwrap();
        assert_eq!(runner.go_on(&around, &mut outputs, now), Outcome::Done);
    }

    #[test]
    fn what_takes_longer_than_it_may_is_given_up() {
        let mut runner = Runner::default();
        let never = Action::WaitFor(Awaited::Directory, "/nonexistent".to_owned());
        runner.add([Job::new("test", never)]);
        let (around, mut outputs) = (Surroundings::default(), Outputs::default());
        let now = Instant::now();
        runner.limit(Some(Duration::from_millis(50)), now);
        runner.go_on(&around, &mut outputs, now);
        let due = runner.deadline().unwrap();
        assert_eq!(due, now + Duration::from_millis(50));
        let outcome = runner.go_on(&around, &mut outputs, due);
        assert!(matches!(outcome, Outcome::Failed(why) if why.contains("hook-harakiri")));
    }

    #[test]
    fn what_does_not_come_is_a_failure() {
        let mut runner = Runner::default();
        let never = Action::WaitFor(Awaited::Directory, "/nonexistent".to_owned());
        runner.add([Job::new("test", never)]);
        let (around, mut outputs) = (Surroundings::default(), Outputs::default());
        let now = Instant::now();
        runner.go_on(&around, &mut outputs, now);
        let outcome = runner.go_on(&around, &mut outputs, now + PATIENCE);
        assert!(matches!(outcome, Outcome::Failed(_)));
    }
}
