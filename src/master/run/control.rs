//! Event source: the control socket, and the requests that the emperor forwards.

use std::time::Instant;

use crate::control::server::{Host, Next};
use crate::ipc::control::{self as messages, Answer, Count, Instance, Request, Row, Verb};
use crate::ipc::{self, Protocol};
use crate::master::control_socket::{ControlSocket, ForwardedRequest, PendingRequest};
use crate::master::generation::Generation;
use crate::master::signals::ReloadMode;
use crate::net::BoundSocket;
use crate::sys::backlog;
use crate::sys::memory;
use crate::sys::process::Pid;
use crate::sys::user;

use super::event_source::{Descriptor, EventSource};
use super::master::{Master, Phase};

pub(super) struct Source;

impl EventSource for Source {
    fn descriptors<'a>(&self, master: &'a Master) -> Vec<Descriptor<'a>> {
        let control = master.instance.resources().control.iter();
        control
            .flat_map(ControlSocket::descriptors)
            .map(Descriptor::from)
            .collect()
    }

    fn deadline(&self, master: &Master, _now: Instant) -> Option<Instant> {
        master.instance.resources().control.as_ref()?.deadline()
    }

    // a pending request may wait for any event of the master, so each turn of the loop serves the socket and its
    // clients
    fn tick(&self, master: &mut Master, now: Instant) {
        master.serve_control(now);
    }
}

impl Host for Master {
    type Pending = PendingRequest;

    fn begin(&mut self, uid: u32, request: Request, now: Instant) -> Next<PendingRequest> {
        if uid != 0 && uid != user::current_uid() {
            let owner = user::current_name();
            return refuse(format!(
                "this instance belongs to {owner}: only that user and root may control it"
            ));
        }
        if !self.is_meant(&request) {
            return match request.verb {
                Verb::Find | Verb::List => Next::Answer(Answer::default()),
                _ => refuse("the request names another instance; ruwsgi ls lists them"),
            };
        }
        self.handle_request(uid, &request, now)
    }

    fn poll(
        &mut self,
        _uid: u32,
        pending: &PendingRequest,
        _overdue: bool,
        _now: Instant,
    ) -> Option<Answer> {
        self.outcome(*pending)
    }
}

impl Master {
    /// Serves the clients of the control socket, and answers the forwarded requests whose result is known.
    fn serve_control(&mut self, now: Instant) {
        if let Some(mut control) = self.instance.resources_mut().control.take() {
            control.serve(self, now);
            self.instance.resources_mut().control = Some(control);
        }
        for request in std::mem::take(&mut self.forwarded) {
            match self.outcome(request.pending) {
                Some(answer) => self.answer(request.ticket, answer),
                None => self.forwarded.push(request),
            }
        }
    }

    /// Handles a request that the emperor has forwarded.
    pub(super) fn handle_forwarded(&mut self, question: ipc::Question, now: Instant) {
        let ticket = question.ticket;
        match self.handle_request(question.uid, &question.request, now) {
            Next::Answer(answer) => self.answer(ticket, answer),
            Next::Wait(pending, _) => {
                self.forwarded.push(ForwardedRequest { ticket, pending });
            }
        }
    }

    fn answer(&self, ticket: u32, answer: Answer) {
        self.instance.resources().emperor.answer(ticket, answer);
    }

    /// Whether a request addresses this instance: by its name or process name, a configuration file, or the master's
    /// pid. A request without a name and a pid addresses every instance.
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

    /// Handles a request of the user `uid`. The caller has checked that this user may control the instance.
    fn handle_request(
        &mut self,
        uid: u32,
        request: &Request,
        now: Instant,
    ) -> Next<PendingRequest> {
        let who = || format!("{}, by ruwsgi {}", user::name_of(uid), request.verb.word());
        let leaving = self.phase.is_stopping();
        match request.verb {
            Verb::Find => Next::Answer(Answer::of(self.row())),
            Verb::List => Next::Answer(Answer::of(self.counted_row())),
            Verb::Status => Next::Answer(Answer::of(self.full_row(now))),
            Verb::Stop => {
                // a second request to stop only waits for the exit; it does not kill the processes, as a second signal
                // does
                if !leaving {
                    self.stop(who(), now);
                }
                match request.wait {
                    true => Next::Wait(PendingRequest::Stop, None),
                    false => Next::Answer(Answer::of(self.row())),
                }
            }
            _ if leaving => refuse("the instance is stopping"),
            Verb::Reload => {
                tracing::info!("reload requested by {}", user::name_of(uid));
                self.reloads.request(ReloadMode::Graceful);
                let number = self.reloads.next_number();
                match request.wait {
                    true => Next::Wait(PendingRequest::Reload { number }, None),
                    false => Next::Answer(Answer::of(self.row())),
                }
            }
            Verb::KillWorker => self.replace_worker(request, now),
            Verb::Scale => {
                let Some(count) = request.count else {
                    return refuse("the number of workers is missing");
                };
                match self.scale(count, now) {
                    Err(sentence) => refuse(sentence),
                    Ok(wanted) if request.wait => Next::Wait(PendingRequest::Scaled(wanted), None),
                    Ok(_) => Next::Answer(Answer::of(self.row())),
                }
            }
            Verb::Start | Verb::Retry => refuse(
                "only an emperor starts an instance that does not run; this one has no emperor",
            ),
        }
    }

    /// Sets the number of workers of all generations, and ends a pause. Returns the new number, or a sentence for the
    /// operator if the number cannot be set.
    pub(super) fn scale(&mut self, count: Count, now: Instant) -> Result<u32, String> {
        let generation = self
            .current_mut()
            .ok_or("the instance does not serve yet")?;
        if generation.plan.sockets.is_empty() {
            return Err("the instance has no socket, so it has no workers".to_owned());
        }
        if generation.plan.scale.follows_load() {
            return Err(
                "the number of workers follows the load (cheaper): set cheaper-algo = manual to set it"
                    .to_owned(),
            );
        }
        let most = generation.plan.app.worker.processes;
        let wanted = count.of(generation.wanted());
        let wanted = match u32::try_from(wanted) {
            Ok(wanted) if wanted <= most => wanted,
            Ok(_) => {
                return Err(format!(
                    "there can be at most {most} workers (processes): raise that option and reload"
                ));
            }
            Err(_) => return Err("the number of workers cannot be negative".to_owned()),
        };
        tracing::info!("workers: {} -> {wanted}", generation.wanted());
        for generation in &mut self.generations {
            generation.scale(wanted, now);
        }
        if matches!(self.phase, Phase::Paused { .. }) {
            self.phase = Phase::Running;
        }
        Ok(wanted)
    }

    fn replace_worker(&mut self, request: &Request, now: Instant) -> Next<PendingRequest> {
        let Some(worker_id) = request.worker else {
            return refuse("the number of the worker is missing");
        };
        let Some(generation) = self.current_mut() else {
            return refuse("the instance does not serve yet");
        };
        match generation.replace(worker_id, request.now, now) {
            Err(sentence) => refuse(sentence),
            Ok(pid) if request.wait => {
                Next::Wait(PendingRequest::Replaced { worker_id, pid }, None)
            }
            Ok(_) => Next::Answer(Answer::of(self.row())),
        }
    }

    /// The answer to a pending request; `None` while its result is not known.
    fn outcome(&self, pending: PendingRequest) -> Option<Answer> {
        match pending {
            PendingRequest::Stop => None,
            PendingRequest::Reload { number } => match self.reloads.result(number) {
                Some(failure) => Some(Answer::of(Row {
                    reason: failure.map(|it| {
                        let sentence = &it.sentence;
                        format!("its reload failed, and it serves as before: {sentence}")
                    }),
                    traceback: failure
                        .map(|it| it.traceback.clone())
                        .filter(|text| !text.is_empty()),
                    ..self.row()
                })),
                None if self.phase.is_stopping() => {
                    Some(Answer::refusal("the instance is stopping"))
                }
                None => None,
            },
            PendingRequest::Scaled(wanted) => {
                let waits = self.current().is_some_and(|generation| {
                    generation.wanted() == wanted && generation.serving_count() != wanted as usize
                });
                (!waits).then(|| Answer::of(self.counted_row()))
            }
            PendingRequest::Replaced { worker_id, pid } => {
                let there = self
                    .generations
                    .iter()
                    .flat_map(Generation::pids)
                    .any(|it| it == pid.get());
                let serves = self
                    .generations
                    .iter()
                    .any(|generation| generation.serves(worker_id));
                (!there && serves).then(|| Answer::of(self.row()))
            }
        }
    }

    /// The name and the state of the instance. Figures that must be read from the kernel, such as the memory, are left
    /// out.
    fn row(&self) -> Row {
        let reloading = self.reloads.is_active();
        let state = match self.phase {
            Phase::Starting => "starting",
            Phase::Stopping { .. } => "stopping",
            Phase::Running | Phase::Paused { .. } if reloading => "reloading",
            Phase::Running | Phase::Paused { .. } => "ready",
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
                    .map(|generation| generation.status(now))
                    .collect(),
                sockets: sockets.map(|socket| socket_status(socket)).collect(),
                skipped_signals: self.app_signals.skipped(),
            }),
            ..self.counted_row()
        }
    }
}

fn refuse(sentence: impl Into<String>) -> Next<PendingRequest> {
    Next::Answer(Answer::refusal(sentence))
}

/// The status of a listening socket.
fn socket_status(socket: &BoundSocket) -> messages::Socket {
    let queue = backlog::queue(socket.fd()).ok();
    let protocol = match socket.listener.protocol {
        Protocol::Uwsgi => "uwsgi",
        Protocol::Http => "http",
    };
    messages::Socket {
        name: socket.listener.name.clone(),
        protocol: protocol.to_owned(),
        queue: queue.map(|queue| queue.waiting),
        longest_queue: queue.map(|queue| queue.limit),
    }
}
