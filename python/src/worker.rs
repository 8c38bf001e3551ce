//! A worker: the process in which requests are served. What its threads and its porter share, and its life from
//! the fork to the exit.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst,
};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyCFunction;
use ruwsgi::ipc::{self, AppSpec, FromWorker, Protocol};
use ruwsgi::shared::scoreboard::Scoreboard;
use ruwsgi::sys::stream::{Bell, Epoll};

use crate::intake::{Connection, Intake};
use crate::load::{self, Apps};
use crate::parked::Parked;
use crate::porter::Porter;
use crate::{python, thread, uwsgi_module};

/// Calls a thread out of its wait. Ignored by whoever does not know it, so that a stray one does no harm.
pub const KICK: i32 = libc::SIGURG;
/// These ask a worker to finish and leave.
const LEAVE: [i32; 4] = [libc::SIGHUP, libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];

/// Where a worker is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
#[repr(u8)]
pub enum Phase {
    /// Ready, and told to wait until its generation takes over.
    Held,
    /// Accepting.
    Serving,
    /// Accepting no more; what was begun is finished, idle connections keep their time.
    Retiring,
    /// The same, and idle connections are closed.
    Stopping,
}

impl Phase {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Held,
            1 => Self::Serving,
            2 => Self::Retiring,
            _ => Self::Stopping,
        }
    }
}

/// A request that is complete, or a connection that has to be waited for, with what was read of it.
pub struct Arrival {
    /// The connection.
    pub connection: Connection,
    /// What was read.
    pub intake: Intake,
}

/// A thread as the porter sees it.
#[derive(Default)]
pub struct Seat {
    /// Its kernel id, for signals.
    pub tid: AtomicI32,
    /// It waits in a system call that a signal may end.
    pub waiting: AtomicBool,
    /// It serves no more.
    pub gone: AtomicBool,
    /// What is needed to end its request from outside.
    pub sentence: crate::deadline::Sentence,
}

/// What the threads of a worker and its porter share.
pub struct Worker {
    /// Settings.
    pub spec: AppSpec,
    /// Its slot, from 1.
    pub slot: u32,
    /// Its row of the scoreboard, from 1.
    pub row: u32,
    /// The generation's scoreboard.
    pub board: Scoreboard,
    /// The worker's end of its leash.
    pub leash: OwnedFd,
    /// The listening sockets, until it retires.
    pub listeners: Mutex<Vec<OwnedFd>>,
    /// Their numbers and what they speak.
    pub ports: Vec<(RawFd, Protocol)>,
    /// The threads' epoll, where one listener's accept is not all there is to wait for.
    pub epoll: Option<Epoll>,
    /// HTTP connections between two requests; their index is their token in `epoll`.
    pub idle: Mutex<crate::idle::Idle>,
    /// Connections for the porter.
    pub inbox: Mutex<Vec<Parked>>,
    /// Wakes the porter.
    pub bell: Bell,
    /// Parked connections whose request is not complete.
    pub reading: AtomicUsize,
    ready: Mutex<VecDeque<Box<Arrival>>>,
    /// How many requests are complete and wait for a thread.
    pub ready_count: AtomicUsize,
    changed: Condvar,
    phase: AtomicU8,
    /// One per thread.
    pub seats: Vec<Seat>,
    /// The application asked for the worker's end.
    pub exit_asked: AtomicBool,
    /// It has grown too large, which the porter has not said yet.
    pub large: AtomicBool,
    /// When it was born, microseconds of the monotonic clock.
    pub born: u64,
    /// The number of a thread that cannot be reached, while the porter has not said so yet; 0: none.
    pub stuck: AtomicU32,
    /// The porter waits without a time-out.
    porter_sleeps: AtomicBool,
    /// What the log has been told and is not to be told again.
    said: Mutex<HashSet<String>>,
}

/// Connections a worker is prepared for without a growing table of descriptors.
const DESCRIPTORS: i32 = 1024;
/// More than this many different things are not remembered: a peer chooses some of them.
const SAID_MOST: usize = 300;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker {
    /// Its phase.
    #[inline]
    pub fn phase(&self) -> Phase {
        Phase::from_u8(self.phase.load(SeqCst))
    }

    /// It accepts no more.
    pub fn is_leaving(&self) -> bool {
        self.phase() >= Phase::Retiring
    }

    /// Goes on to a later phase; never back.
    pub fn advance(&self, phase: Phase) {
        let _guard = lock(&self.ready);
        self.phase.fetch_max(phase as u8, SeqCst);
        self.changed.notify_all();
    }

    /// Says something to the master; `false` when it is gone, which is noticed on the leash.
    pub fn say(&self, message: &FromWorker) -> bool {
        ipc::send(self.leash.as_fd(), message, &[]).is_ok()
    }

    /// Hands a connection to the porter.
    pub fn park(&self, parked: Parked) {
        if matches!(parked, Parked::Reading(_)) {
            self.reading.fetch_add(1, SeqCst);
        }
        lock(&self.inbox).push(parked);
        self.bell.ring();
    }

    /// The porter's: a request is complete.
    pub fn deliver(&self, arrival: Box<Arrival>) {
        let mut ready = lock(&self.ready);
        ready.push_back(arrival);
        self.ready_count.store(ready.len(), SeqCst);
        self.changed.notify_one();
    }

    /// A complete request, if one waits.
    pub fn take_ready(&self) -> Option<Box<Arrival>> {
        if self.ready_count.load(SeqCst) == 0 {
            return None;
        }
        let mut ready = lock(&self.ready);
        let arrival = ready.pop_front();
        self.ready_count.store(ready.len(), SeqCst);
        arrival
    }

    /// The porter's, before it waits: are there deadlines it has to look at? If not, it will have to be woken.
    pub fn porter_must_tick(&self) -> bool {
        self.porter_sleeps.store(true, SeqCst);
        let must = self.idle().len() > 0;
        if must {
            self.porter_sleeps.store(false, SeqCst);
        }
        must
    }

    /// Wakes the porter if it waits without a time-out: there is a deadline now.
    pub fn wake_sleeping_porter(&self) {
        if self.porter_sleeps.swap(false, SeqCst) {
            self.bell.ring();
        }
    }

    /// Whether this is to be said, being said for the first time.
    pub fn says_first(&self, what: String) -> bool {
        let mut said = lock(&self.said);
        said.len() < SAID_MOST && said.insert(what)
    }

    /// Waits, without accepting, for a change of phase or a complete request.
    pub fn wait_for_change(&self, phase: Phase) {
        let ready = lock(&self.ready);
        if ready.is_empty() && self.phase() == phase {
            // bounded, because the last parked connection may go without a word
            let _ = self.changed.wait_timeout(ready, Duration::from_millis(100));
        }
    }
}

/// What a worker is born with.
pub struct Birth {
    /// Its slot, from 1.
    pub slot: u32,
    /// Its row of the scoreboard, from 1.
    pub row: u32,
    /// It waits for the word to serve.
    pub hold: bool,
    /// Its end of the leash.
    pub leash: OwnedFd,
    /// Settings.
    pub spec: AppSpec,
    /// The generation's scoreboard.
    pub board: Scoreboard,
    /// The listening sockets.
    pub listeners: Vec<OwnedFd>,
    /// The application, unless it is to be loaded here.
    pub apps: Option<Apps>,
    /// `wsgi.errors`.
    pub errors: Py<PyAny>,
}

/// The worker's life; returns the exit status. Runs on the process's main thread, right after the fork.
pub fn run(py: Python<'_>, birth: Birth) -> i32 {
    let (slot, lazy) = (birth.slot, birth.apps.is_none());
    ruwsgi::log::rename(format!("worker {slot}"));
    python::set_title(&birth.spec, &format!("worker {slot}"));
    uwsgi_module::WORKER.store(slot, Relaxed);
    let Birth {
        row,
        hold,
        leash,
        spec,
        board,
        listeners,
        apps,
        errors,
        ..
    } = birth;
    if let Some(row) = board.worker(row) {
        row.pid.store(std::process::id() as i32, Relaxed);
    }
    let apps = match apps.map_or_else(|| load::load(py, &spec), Ok) {
        Ok(apps) => apps,
        Err(failure) => {
            // if the master is gone there is nobody to tell
            let _ = ipc::send(
                std::os::fd::AsFd::as_fd(&leash),
                &FromWorker::Failed(failure),
                &[],
            );
            return ruwsgi::exit::NO_APP;
        }
    };
    if lazy {
        python::log_warnings(&apps);
    }
    let phase = if hold { Phase::Held } else { Phase::Serving };
    match Worker::new((slot, row), leash, spec, board, listeners, phase) {
        Ok(worker) => serve(py, Arc::new(worker), Arc::new(apps), &errors),
        Err(error) => {
            tracing::error!("worker {slot} cannot start: {error}");
            ruwsgi::exit::FAILED
        }
    }
}

impl Worker {
    fn new(
        (slot, row): (u32, u32),
        leash: OwnedFd,
        spec: AppSpec,
        board: Scoreboard,
        listeners: Vec<OwnedFd>,
        phase: Phase,
    ) -> io::Result<Self> {
        let ports: Vec<_> = listeners
            .iter()
            .zip(&spec.listeners)
            .map(|(fd, listener)| (fd.as_raw_fd(), listener.protocol))
            .collect();
        let direct = matches!(ports[..], [(_, Protocol::Uwsgi)]);
        let epoll = if direct {
            None
        } else {
            // threads that share an epoll may be told of the same connection: the slower one must not wait for another
            for listener in &listeners {
                ruwsgi::sys::socket::set_nonblocking(listener, true)?;
            }
            Some(crate::gate::watch(&ports)?)
        };
        Ok(Self {
            seats: (0..spec.serving.threads).map(|_| Seat::default()).collect(),
            spec,
            slot,
            row,
            board,
            leash,
            listeners: Mutex::new(listeners),
            ports,
            epoll,
            idle: Mutex::default(),
            inbox: Mutex::default(),
            bell: Bell::new(false)?,
            reading: AtomicUsize::new(0),
            ready: Mutex::default(),
            ready_count: AtomicUsize::new(0),
            changed: Condvar::new(),
            phase: AtomicU8::new(phase as u8),
            exit_asked: AtomicBool::new(false),
            stuck: AtomicU32::new(0),
            large: AtomicBool::new(false),
            born: ruwsgi::sys::clock::monotonic_micros(),
            porter_sleeps: AtomicBool::new(false),
            said: Mutex::default(),
        })
    }
}

fn serve(py: Python<'_>, worker: Arc<Worker>, apps: Arc<Apps>, errors: &Py<PyAny>) -> i32 {
    ruwsgi::sys::thread::reserve_descriptors(DESCRIPTORS);
    let porter = match Porter::start(&worker) {
        Ok(porter) => porter,
        Err(error) => {
            tracing::error!("worker {} cannot start its porter: {error}", worker.slot);
            return ruwsgi::exit::FAILED;
        }
    };
    ruwsgi::sys::thread::interrupt_by(KICK);
    ruwsgi::sys::thread::note_signals(worker.bell.fd(), &LEAVE);
    count_for_application(&worker);
    if let Err(error) = crate::stacks::prepare(py) {
        tracing::warn!(
            "worker {slot}: a crash will not show its stacks: {error}",
            slot = worker.slot
        );
    }
    if let Err(error) = crate::deadline::prepare(py, &worker) {
        tracing::warn!(
            "worker {slot}: harakiri cannot interrupt requests: {error}",
            slot = worker.slot
        );
    }
    if let Err(error) = uwsgi_module::call_post_fork_hook(py) {
        let heading = format!(
            "worker {}: the post-fork hook raised an exception",
            worker.slot
        );
        ruwsgi::log::block(
            tracing::Level::ERROR,
            &heading,
            &crate::python::traceback(py, &error),
        );
    }
    let threads = match start_threads(py, &worker, &apps, errors) {
        Ok(threads) => threads,
        Err(error) => {
            tracing::error!("worker {} cannot start its threads: {error}", worker.slot);
            return ruwsgi::exit::FAILED;
        }
    };
    let told = crate::stacks::with_descriptor(|stacks| {
        ipc::send(worker.leash.as_fd(), &FromWorker::Ready, stacks.as_slice())
    });
    if told.is_err() {
        return ruwsgi::exit::FAILED;
    }
    crate::autoreload::start(&worker);
    thread::run(py, &worker, &apps, 0, errors);
    for other in threads {
        // only an interrupt (KeyboardInterrupt of the application's own making) ends this early
        while other.call_method0(py, "join").is_err() {}
    }
    worker.bell.ring();
    if py.detach(|| porter.join()).is_err() {
        tracing::error!(
            "worker {}: its porter died of a panic; this is a bug in ruwsgi",
            worker.slot
        );
    }
    if let Err(error) = uwsgi_module::call_atexit(py) {
        let heading = format!(
            "worker {}: the atexit hook raised an exception",
            worker.slot
        );
        ruwsgi::log::block(
            tracing::Level::ERROR,
            &heading,
            &crate::python::traceback(py, &error),
        );
    }
    ruwsgi::exit::RETIRED
}

/// Gives `uwsgi.total_requests()` and `uwsgi.request_id()` their counters.
fn count_for_application(worker: &Arc<Worker>) {
    let (of_all, own) = (worker.clone(), worker.clone());
    let counters = uwsgi_module::Counters {
        total: Box::new(move || of_all.board.total_requests()),
        own: Box::new(move || own.board.worker_requests(own.row)),
    };
    // a fork of the application's that came back here would find them set already
    let _ = uwsgi_module::COUNTERS.set(counters);
}

/// The threads beside the main one: Python's own, so that thread-locals and `threading` know them.
fn start_threads(
    py: Python<'_>,
    worker: &Arc<Worker>,
    apps: &Arc<Apps>,
    errors: &Py<PyAny>,
) -> PyResult<Vec<Py<PyAny>>> {
    if worker.spec.serving.threads < 2 {
        // `threading` brings more along than a small application has
        return Ok(Vec::new());
    }
    let class = py.import("threading")?.getattr("Thread")?;
    (1..worker.spec.serving.threads)
        .map(|core| {
            let (worker, apps, errors) = (worker.clone(), apps.clone(), errors.clone_ref(py));
            let name = format!("uWSGIWorker{}Core{core}", worker.slot);
            let target = PyCFunction::new_closure(py, None, None, move |args, _| {
                thread::run(args.py(), &worker, &apps, core, &errors);
            })?;
            let options = pyo3::types::PyDict::new(py);
            options.set_item("target", target)?;
            options.set_item("name", name)?;
            options.set_item("daemon", true)?;
            let thread = class.call((), Some(&options))?;
            thread.call_method0("start")?;
            Ok(thread.unbind())
        })
        .collect()
}
