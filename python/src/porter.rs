//! The porter: a native thread of each worker, never attached to the interpreter. It holds the leash, reads the
//! requests of slow peers, sends the answers they are slow to take, and calls threads out of their wait.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ruwsgi::ipc::{self, FromWorker, ToWorker};
use ruwsgi::sys::clock::monotonic_micros;
use ruwsgi::sys::stream::{self, Epoll, Interest};
use ruwsgi::sys::thread;

use crate::deadline;
use crate::gate::{gone, refuse, take_announced};
use crate::intake::{Connection, Intake, Step};
use crate::outlet::Flow;
use crate::parked::Parked;
use crate::worker::{Arrival, Phase, Worker};

const LEASH: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;
/// How often deadlines are looked at while there are any.
const SWEEP: Duration = Duration::from_millis(250);
/// A request's head has to be complete after this, however busily its bytes trickle.
const HEAD: Duration = Duration::from_secs(60);
/// Bytes are read from one peer before it is the others' turn.
const TURN: usize = 1 << 20;

struct Entry {
    parked: Parked,
    since: Instant,
    deadline: Instant,
}

/// What becomes of a parked connection after some progress.
enum Fate {
    Stays(Parked),
    Leaves,
}

/// The porter's own state; everything else is the worker's.
pub struct Porter {
    worker: Arc<Worker>,
    epoll: Epoll,
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    count: usize,
    scratch: Vec<u8>,
    next_sweep: Instant,
    leash_gone: Option<Instant>,
}

impl Porter {
    /// Starts the worker's porter.
    ///
    /// # Errors
    /// Those of epoll and of starting a thread.
    pub fn start(worker: &Arc<Worker>) -> io::Result<JoinHandle<()>> {
        let epoll = Epoll::new()?;
        epoll.add(worker.leash.as_raw_fd(), Interest::Read, LEASH)?;
        epoll.add(worker.bell.fd(), Interest::Read, BELL)?;
        let mut porter = Self {
            worker: worker.clone(),
            epoll,
            entries: Vec::new(),
            free: Vec::new(),
            count: 0,
            scratch: Vec::new(),
            next_sweep: Instant::now(),
            leash_gone: None,
        };
        thread::without_signals(|| {
            std::thread::Builder::new()
                .name("porter".into())
                .stack_size(256 << 10)
                .spawn(move || porter.run())
        })
    }

    fn run(&mut self) {
        let mut tokens = Vec::with_capacity(64);
        while !self.is_done() {
            let timeout = self.timeout();
            if let Err(error) = self.epoll.wait(&mut tokens, 64, timeout) {
                tracing::error!("the porter cannot wait: {error}");
                std::thread::sleep(SWEEP);
            }
            for token in &tokens {
                match *token {
                    LEASH => self.hear(),
                    BELL => self.answer_bell(),
                    index => self.drive(index as usize),
                }
            }
            self.take_in();
            self.sweep();
            self.call_threads();
            self.count_parked();
        }
    }

    /// The master kills no worker that still has somebody to talk to.
    fn count_parked(&self) {
        if self.worker.is_leaving()
            && let Some(row) = self.worker.board.worker(self.worker.row)
        {
            row.parked.store(self.count as u32, SeqCst);
        }
    }

    fn is_done(&self) -> bool {
        self.count == 0
            && self.worker.is_leaving()
            && self.worker.seats.iter().all(|seat| seat.gone.load(SeqCst))
            && self
                .worker
                .inbox
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_empty()
    }

    fn timeout(&self) -> i32 {
        if self.is_calling() {
            1
        } else if self.count > 0 || self.leash_gone.is_some() || self.worker.porter_must_tick() {
            SWEEP.as_millis() as i32
        } else {
            -1
        }
    }

    // ── the leash and the bell ──

    fn hear(&mut self) {
        match ipc::receive::<ToWorker>(self.worker.leash.as_fd()) {
            Ok(Some((ToWorker::Serve, _))) => self.worker.advance(Phase::Serving),
            Ok(Some((ToWorker::Retire, _))) => {
                self.retire(Phase::Retiring);
                take_announced(&self.worker);
            }
            Ok(Some((ToWorker::Stop, _))) => self.retire(Phase::Stopping),
            Ok(Some((ToWorker::Expire { thread, since }, _))) => {
                deadline::expire(&self.worker, thread, since);
            }
            Ok(Some((ToWorker::Log, fds))) => ruwsgi::sys::stdio::write_output_to_first(fds),
            Ok(None) => self.lose_master("its master is gone"),
            Err(error) => self.lose_master(&error.to_string()),
        }
    }

    fn lose_master(&mut self, why: &str) {
        self.epoll.remove(self.worker.leash.as_raw_fd());
        tracing::info!("finishing and leaving: {why}");
        self.leash_gone = Some(Instant::now());
        self.retire(Phase::Stopping);
    }

    /// The worker leaves on its own account: it accepts no more when the master hears of it.
    fn answer_bell(&mut self) {
        self.worker.bell.hush();
        if self.worker.large.swap(false, SeqCst) {
            self.retire(Phase::Retiring);
            self.worker.say(&FromWorker::Large);
        }
        let thread = self.worker.stuck.swap(0, SeqCst);
        if thread != 0 && !self.worker.is_leaving() {
            self.retire(Phase::Retiring);
            self.worker.say(&FromWorker::Stuck { thread });
        }
        let asked = self.worker.exit_asked.swap(false, SeqCst) | thread::take_asked();
        if asked && !self.worker.is_leaving() {
            self.retire(Phase::Retiring);
            self.worker.say(&FromWorker::Retiring);
        }
    }

    fn retire(&mut self, phase: Phase) {
        self.worker.advance(phase);
        if let Some(epoll) = &self.worker.epoll {
            for (fd, _) in &self.worker.ports {
                epoll.remove(*fd);
            }
        }
        if phase == Phase::Stopping {
            self.worker.close_idle(u64::MAX);
            self.drop_unbegun();
        }
    }

    /// Stopping: peers whose request has not even a complete head are not waited for.
    fn drop_unbegun(&mut self) {
        for index in 0..self.entries.len() {
            let unbegun = self.entries[index]
                .as_ref()
                .is_some_and(|entry| match &entry.parked {
                    Parked::Reading(arrival) => !arrival.intake.in_body(),
                    Parked::Lingering(_) => true,
                    Parked::Writing(_) => false,
                });
            if unbegun {
                self.remove(index);
            }
        }
    }

    /// Signals threads out of their wait: for a complete request, or because the worker leaves.
    fn call_threads(&mut self) {
        let worker = self.worker.clone();
        let leaving = worker.is_leaving();
        let mut wanted = if leaving {
            usize::MAX
        } else {
            worker.ready_count.load(SeqCst)
        };
        for seat in &worker.seats {
            if wanted > 0 && seat.waiting.load(SeqCst) {
                thread::signal(seat.tid.load(SeqCst), crate::worker::KICK);
                wanted -= 1;
            }
        }
        let out =
            worker.epoll.is_some() || worker.seats.iter().all(|seat| !seat.waiting.load(SeqCst));
        if leaving && out {
            let listeners = &mut *worker
                .listeners
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if !std::mem::take(listeners).is_empty() {
                worker.say(&FromWorker::Closed);
            }
        }
    }

    /// A thread has been called and may have missed it (the signal came just before its system call).
    fn is_calling(&self) -> bool {
        let worker = &self.worker;
        let reason =
            worker.ready_count.load(SeqCst) > 0 || (worker.is_leaving() && worker.epoll.is_none());
        reason && worker.seats.iter().any(|seat| seat.waiting.load(SeqCst))
    }

    // ── parked connections ──

    fn take_in(&mut self) {
        let arrived = std::mem::take(
            &mut *self
                .worker
                .inbox
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for parked in arrived {
            let stops = self.worker.phase() == Phase::Stopping;
            match &parked {
                Parked::Reading(arrival) if stops && !arrival.intake.in_body() => {
                    self.worker.reading.fetch_sub(1, SeqCst);
                }
                Parked::Lingering(_) if stops => {}
                _ => self.add(parked),
            }
        }
    }

    fn add(&mut self, parked: Parked) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        let fd = parked.connection().fd.as_raw_fd();
        if let Err(error) = self.epoll.add(fd, parked.interest(), index as u64) {
            tracing::error!("cannot wait for a connection: {error}");
            self.free.push(index);
            self.forget(&parked);
            return;
        }
        let now = Instant::now();
        self.entries[index] = Some(Entry {
            parked,
            since: now,
            deadline: now + self.patience(),
        });
        self.count += 1;
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.worker.spec.serving.socket_timeout_ms)
    }

    fn forget(&self, parked: &Parked) {
        if matches!(parked, Parked::Reading(_)) {
            self.worker.reading.fetch_sub(1, SeqCst);
        }
    }

    fn take_out(&mut self, index: usize) -> Option<Entry> {
        let entry = self.entries.get_mut(index)?.take()?;
        self.epoll.remove(entry.parked.connection().fd.as_raw_fd());
        self.free.push(index);
        self.count -= 1;
        Some(entry)
    }

    fn remove(&mut self, index: usize) {
        if let Some(entry) = self.take_out(index) {
            self.forget(&entry.parked);
        }
    }

    /// A peer has moved.
    fn drive(&mut self, index: usize) {
        let deadline = Instant::now() + self.patience();
        let Some(entry) = self.entries.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let worker = self.worker.clone();
        let step = match &mut entry.parked {
            Parked::Reading(arrival) => {
                entry.deadline = deadline;
                match arrival.intake.read(
                    &arrival.connection,
                    &worker.spec.serving,
                    &mut self.scratch,
                    TURN,
                ) {
                    Step::More => return,
                    step => Some(step),
                }
            }
            Parked::Writing(departure) => {
                entry.deadline = deadline;
                match departure.outlet.flush(departure.connection.fd.as_raw_fd()) {
                    Flow::Blocked => return,
                    Flow::Broken => {
                        departure.next = None;
                        None
                    }
                    Flow::Done => None,
                }
            }
            Parked::Lingering(connection) => {
                self.scratch.clear();
                match stream::recv_into(connection.fd.as_raw_fd(), &mut self.scratch, 64 << 10) {
                    Ok(1..) => return,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                    _ => None,
                }
            }
        };
        let Some(entry) = self.take_out(index) else {
            return;
        };
        if let Fate::Stays(parked) = self.conclude(entry.parked, step) {
            self.add(parked);
        }
    }

    fn conclude(&self, parked: Parked, step: Option<Step>) -> Fate {
        match parked {
            Parked::Reading(arrival) => {
                let fate = self.conclude_reading(arrival, step);
                self.worker.reading.fetch_sub(1, SeqCst);
                fate
            }
            Parked::Writing(departure) => match departure.next {
                Some(next) => self.keep(departure.connection, *next),
                None => Fate::Leaves,
            },
            Parked::Lingering(_) => Fate::Leaves,
        }
    }

    fn conclude_reading(&self, arrival: Box<Arrival>, step: Option<Step>) -> Fate {
        match step {
            Some(Step::Complete) => self.worker.deliver(arrival),
            Some(Step::Refused(refusal)) => {
                refuse(&self.worker, &arrival.connection, refusal);
                return Fate::Stays(Parked::lingering(arrival.connection));
            }
            Some(Step::Gone(reason)) => gone(&arrival.connection, reason),
            Some(Step::More) | None => {}
        }
        Fate::Leaves
    }

    /// An HTTP connection whose answer has been taken at last: it waits for its next request.
    fn keep(&self, connection: Connection, mut intake: Intake) -> Fate {
        let connection = self.worker.unwatch(connection);
        if !intake.has_pipelined() {
            self.worker.keep(connection);
            return Fate::Leaves;
        }
        intake.restart(connection.protocol, true);
        let step = intake.resume(&connection, &self.worker.spec.serving);
        let arrival = Box::new(Arrival { connection, intake });
        if matches!(step, Step::More) {
            self.worker.reading.fetch_add(1, SeqCst);
            return Fate::Stays(Parked::Reading(arrival));
        }
        self.conclude_reading(arrival, Some(step))
    }

    // ── time ──

    fn sweep(&mut self) {
        let now = Instant::now();
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP;
        for index in 0..self.entries.len() {
            let late = self.entries[index]
                .as_ref()
                .is_some_and(|entry| is_late(entry, now));
            if late && let Some(entry) = self.take_out(index) {
                if let Parked::Reading(arrival) = &entry.parked {
                    let begun = !arrival.intake.is_empty();
                    gone(
                        &arrival.connection,
                        begun.then_some("it was silent in the middle of its request"),
                    );
                }
                self.forget(&entry.parked);
            }
        }
        let stops = self.worker.phase() == Phase::Stopping;
        self.worker
            .close_idle(if stops { u64::MAX } else { monotonic_micros() });
        let mercy = Duration::from_millis(self.worker.spec.serving.mercy_ms);
        if self.leash_gone.is_some_and(|since| now > since + mercy) {
            tracing::error!(
                "a request did not end within the mercy after the master was gone; leaving"
            );
            thread::exit_now(ruwsgi::exit::FAILED);
        }
    }
}

fn is_late(entry: &Entry, now: Instant) -> bool {
    let trickles = matches!(&entry.parked, Parked::Reading(arrival) if !arrival.intake.in_body() && now > entry.since + HEAD);
    now > entry.deadline || trickles
}
