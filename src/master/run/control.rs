//! What the master is asked over its control socket, or by way of the emperor.

use std::time::Instant;

use crate::control::messages::{self, Answer, Count, Instance, Request, Row, Verb};
use crate::control::server::{Desk, Host, Next};
use crate::ipc::{self, Protocol};
use crate::master::generation::Generation;
use crate::master::role::GenerationRole;
use crate::master::signals::ReloadMode;
use crate::net::Bound;
use crate::sys::backlog;
use crate::sys::memory;
use crate::sys::process::Pid;
use crate::sys::user;

use super::{Master, Phase};

/// A master's control socket.
pub(in crate::master) type Control = Desk<Pending>;

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::master) enum Pending {
    /// The reload of this number.
    Reload { number: u64 },
    /// The end of everything, which ends the connection.
    Stop,
    /// So many workers, or another wish.
    Scaled(u32),
    /// The end of a worker's process, and the start of another one.
    Replaced { number: u32, pid: Pid },
}

/// What the emperor has passed on and what is not answered yet.
#[derive(Debug)]
pub(in crate::master) struct Question {
    ticket: u32,
    pending: Pending,
}

impl Host for Master {
    type Pending = Pending;

    fn begin(&mut self, uid: u32, request: Request, now: Instant) -> Next<Pending> {
        if uid != 0 && uid != user::current_uid() {
            let owner = user::current_name();
            return refuse(format!(
                "this instance is {owner}'s: only that user and root may ask it"
            ));
        }
        if !self.is_meant(&request) {
            return match request.verb {
                Verb::Find | Verb::List => Next::Answer(Answer::default()),
                _ => refuse("another instance is meant; ruwsgi ls names them all"),
            };
        }
        self.asked(uid, &request, now)
    }

    fn go_on(
        &mut self,
        _uid: u32,
        pending: &Pending,
        _overdue: bool,
        _now: Instant,
    ) -> Option<Answer> {
        self.outcome(*pending)
    }
}

impl Master {
    /// Serves those who ask.
    pub(super) fn serve_control(&mut self, now: Instant) {
        if let Some(mut control) = self.instance.resources_mut().control.take() {
            control.serve(self, now);
            self.instance.resources_mut().control = Some(control);
        }
        for question in std::mem::take(&mut self.questions) {
            match self.outcome(question.pending) {
                Some(answer) => self.answer(question.ticket, answer),
                None => self.questions.push(question),
            }
        }
    }

    /// The emperor passes on a question.
    pub(super) fn hear_question(&mut self, question: ipc::Question, now: Instant) {
        let ticket = question.ticket;
        match self.asked(question.uid, &question.request, now) {
            Next::Answer(answer) => self.answer(ticket, answer),
            Next::Wait(pending, _) => self.questions.push(Question { ticket, pending }),
        }
    }

    fn answer(&self, ticket: u32, answer: Answer) {
        self.instance.resources().emperor.answer(ticket, answer);
    }

    /// Whether this instance is called so; a request that names nobody means who hears it.
    fn is_meant(&self, request: &Request) -> bool {
        let own = Pid::own().get();
        match (&request.name, request.pid) {
            (None, None) => true,
            (None, Some(pid)) => pid == own,
            (Some(name), _) => {
                let config = self.instance.config();
                let called = |file: &std::path::PathBuf| {
                    file == std::path::Path::new(name)
                        || file.file_name().is_some_and(|last| last == name.as_str())
                };
                config.name() == name
                    || config.procname() == Some(name)
                    || self.instance.files().iter().any(called)
            }
        }
    }

    /// A user who may has asked for something.
    fn asked(&mut self, uid: u32, request: &Request, now: Instant) -> Next<Pending> {
        let who = || format!("{}, by ruwsgi {}", user::name_of(uid), request.verb.word());
        let leaving = matches!(self.phase, Phase::Stopping { .. });
        match request.verb {
            Verb::Find => Next::Answer(Answer::of(self.row())),
            Verb::List => Next::Answer(Answer::of(self.counted_row())),
            Verb::Status => Next::Answer(Answer::of(self.full_row(now))),
            Verb::Stop => {
                // who asks again wants to see the end of it, not to hurry
                if !leaving {
                    self.stop(who(), now);
                }
                match request.wait {
                    true => Next::Wait(Pending::Stop, None),
                    false => Next::Answer(Answer::of(self.row())),
                }
            }
            _ if leaving => refuse("the instance is stopping"),
            Verb::Reload => {
                tracing::info!("{} wants a reload", user::name_of(uid));
                self.wanted = self.wanted.max(Some(ReloadMode::Graceful));
                // one that runs already may have read what is changed now
                let number = self.reloads.begun + 1;
                match request.wait {
                    true => Next::Wait(Pending::Reload { number }, None),
                    false => Next::Answer(Answer::of(self.row())),
                }
            }
            Verb::KillWorker => self.replace_worker(request, now),
            Verb::Scale => {
                let Some(count) = request.count else {
                    return refuse("say how many workers there are to be");
                };
                match self.scale(count, now) {
                    Err(sentence) => refuse(sentence),
                    Ok(wanted) if request.wait => Next::Wait(Pending::Scaled(wanted), None),
                    Ok(_) => Next::Answer(Answer::of(self.row())),
                }
            }
            Verb::Start | Verb::Retry => {
                refuse("only an emperor starts what does not run; this is an instance of its own")
            }
        }
    }

    /// Sets the number of workers; gives it.
    pub(super) fn scale(&mut self, count: Count, now: Instant) -> Result<u32, String> {
        let mut generations = self.generations.iter_mut();
        let current = generations.find(|generation| generation.role == GenerationRole::Current);
        let generation = current.ok_or("the instance does not serve yet")?;
        if generation.plan.scale.follows() {
            return Err(
                "the number of workers follows the load (cheaper): set cheaper-algo = manual to choose it"
                    .to_owned(),
            );
        }
        let most = generation.plan.app.serving.processes;
        let wanted = count.of(generation.wanted());
        let wanted = match u32::try_from(wanted) {
            Ok(wanted) if wanted <= most => wanted,
            Ok(_) => {
                return Err(format!(
                    "there are {most} workers at the most (processes): set it higher and reload"
                ));
            }
            Err(_) => return Err("there cannot be fewer workers than none".to_owned()),
        };
        tracing::info!(
            "{wanted} workers are wanted, {} until now",
            generation.wanted()
        );
        generation.scale(wanted, now);
        self.paused = None;
        Ok(wanted)
    }

    fn replace_worker(&mut self, request: &Request, now: Instant) -> Next<Pending> {
        let Some(number) = request.worker else {
            return refuse("say which worker is meant, by its number");
        };
        let mut generations = self.generations.iter_mut();
        let Some(generation) =
            generations.find(|generation| generation.role == GenerationRole::Current)
        else {
            return refuse("the instance does not serve yet");
        };
        match generation.replace(number, request.now, now) {
            Err(sentence) => refuse(sentence),
            Ok(pid) if request.wait => Next::Wait(Pending::Replaced { number, pid }, None),
            Ok(_) => Next::Answer(Answer::of(self.row())),
        }
    }

    /// What is to be answered to who waits, once it is known.
    fn outcome(&self, pending: Pending) -> Option<Answer> {
        match pending {
            Pending::Stop => None,
            Pending::Reload { number } => match self.reloads.end_of(number) {
                Some(failure) => Some(Answer::of(Row {
                    reason: failure.map(|it| {
                        let sentence = &it.sentence;
                        format!("its reload is given up, and it serves as before: {sentence}")
                    }),
                    traceback: failure
                        .map(|it| it.traceback.clone())
                        .filter(|text| !text.is_empty()),
                    ..self.row()
                })),
                None if matches!(self.phase, Phase::Stopping { .. }) => {
                    Some(Answer::refusal("the instance is stopping"))
                }
                None => None,
            },
            Pending::Scaled(wanted) => {
                let mut generations = self.generations.iter();
                let current =
                    generations.find(|generation| generation.role == GenerationRole::Current);
                let waits = current.is_some_and(|generation| {
                    generation.wanted() == wanted && generation.serving_count() != wanted as usize
                });
                (!waits).then(|| Answer::of(self.counted_row()))
            }
            Pending::Replaced { number, pid } => {
                let there = self
                    .generations
                    .iter()
                    .flat_map(Generation::pids)
                    .any(|it| it == pid.get());
                let serves = self
                    .generations
                    .iter()
                    .any(|generation| generation.serves(number));
                (!there && serves).then(|| Answer::of(self.row()))
            }
        }
    }

    /// Who and how it is, as far as that is known without asking the kernel.
    fn row(&self) -> Row {
        let reloading = self.wanted.is_some() || self.preparing.is_some() || self.is_reloading();
        let state = match self.phase {
            Phase::Starting => "starting",
            Phase::Stopping { .. } => "stopping",
            Phase::Running if reloading => "reloading",
            Phase::Running => "ready",
        };
        let files = self.instance.files();
        Row {
            name: self.instance.config().name().to_owned(),
            path: files
                .first()
                .map(|file| file.display().to_string())
                .unwrap_or_default(),
            state: state.to_owned(),
            pid: Some(Pid::own().get()),
            uptime: self.ready_since.map(|since| since.elapsed().as_secs()),
            ..Row::default()
        }
    }

    fn counted_row(&self) -> Row {
        let pids = self.generations.iter().flat_map(Generation::pids);
        let memory = pids
            .chain([Pid::own().get()])
            .filter_map(memory::proportional_kib);
        let serving: usize = self.generations.iter().map(Generation::serving_count).sum();
        Row {
            workers: u32::try_from(serving).ok(),
            requests: Some(self.generations.iter().map(Generation::requests).sum()),
            memory_kib: Some(memory.sum()),
            ..self.row()
        }
    }

    fn full_row(&self, now: Instant) -> Row {
        let sockets = self.instance.resources().sockets.iter();
        Row {
            instance: Some(Instance {
                generations: self
                    .generations
                    .iter()
                    .map(|generation| generation.told(now))
                    .collect(),
                sockets: sockets.map(|socket| socket_status(socket)).collect(),
            }),
            ..self.counted_row()
        }
    }
}

fn refuse(sentence: impl Into<String>) -> Next<Pending> {
    Next::Answer(Answer::refusal(sentence))
}

/// A listening socket as the status shows it.
fn socket_status(socket: &Bound) -> messages::Socket {
    let queue = backlog::queue(socket.fd()).ok();
    let protocol = match socket.listener.protocol {
        Protocol::Uwsgi => "uwsgi",
        Protocol::Http => "http",
    };
    messages::Socket {
        name: socket.listener.name.clone(),
        protocol: protocol.to_owned(),
        queue: queue.map(|queue| queue.waiting),
        longest_queue: queue.map(|queue| queue.longest),
    }
}
