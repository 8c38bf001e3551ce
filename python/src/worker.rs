//! The state that the threads of a worker share.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ruwsgi::http::budget;
use ruwsgi::http::crowding;
use ruwsgi::http::dispatch::Phase;
use ruwsgi::http::engine::Engine;
use ruwsgi::http::header_rules::HeaderRules;
use ruwsgi::http::listeners::Listener;
use ruwsgi::http::request_lines::RequestLines;
use ruwsgi::http::scoreboard_rows::ScoreboardRows;
use ruwsgi::http::settings::{Limits, Settings, Timeouts};
use ruwsgi::http::write_queue;
use ruwsgi::ipc::{self, AppSpec, FromWorker, WorkerProgram};
use ruwsgi::routing::{Router, Rule};
use ruwsgi::shared::line_rings::LineRings;
use ruwsgi::shared::scoreboard::Scoreboard;
use ruwsgi::sys::private_fd::PrivateFd;
use ruwsgi::sys::rlimit;

use crate::thread_deadline::ThreadDeadline;
use crate::wsgi::current_environ::CurrentEnviron;

/// The state that the threads of a worker share.
pub struct Worker {
    /// The configuration.
    pub spec: AppSpec,
    /// The worker's id, from 1 (`uwsgi.worker_id()`).
    pub id: u32,
    /// The connection engine.
    pub engine: Arc<Engine>,
    /// Deadlines of the serving threads' requests.
    pub deadlines: Vec<ThreadDeadline>,
    /// The environs of the serving threads' current requests.
    pub environs: Vec<CurrentEnviron>,
    /// Reasons for the worker to exit on its own.
    pub exit_reasons: ExitReasons,
    /// The socket to the master.
    link: PrivateFd,
    /// The time at which the worker has begun.
    pub started: Instant,
}

/// Reasons for a worker to exit on its own. The I/O thread reports them to the master.
#[derive(Default)]
pub struct ExitReasons {
    /// The application has called `sys.exit` or raised an exception of `reload-on-exception`, or a thread cannot serve.
    pub requested: AtomicBool,
    /// The worker has reached `reload-on-rss`.
    pub memory: AtomicBool,
    /// The number of a thread whose expired request cannot be interrupted; 0 means none. (Thread 0 is interrupted by a
    /// signal.)
    pub stuck_thread: AtomicU32,
}

impl Worker {
    /// Whether the worker accepts no more connections.
    pub fn is_leaving(&self) -> bool {
        self.engine.is_leaving()
    }

    /// The number of the serving thread that calls this function; `None` in another thread.
    pub fn serving_thread(&self) -> Option<u32> {
        self.engine.calling_thread()
    }

    /// The socket to the master.
    pub fn link(&self) -> &PrivateFd {
        &self.link
    }

    /// Sends a message to the master. A failure means that the master is gone, which the I/O thread notices.
    pub fn send(&self, message: &FromWorker) {
        let _ = ipc::send(self.link.as_fd(), message, &[]);
    }

    /// Asks the I/O thread to retire the worker, which then finishes the requests that have begun, and exits. Returns
    /// at once.
    pub fn request_exit(&self) {
        self.exit_reasons.requested.store(true, Relaxed);
        self.engine.wake();
    }

    /// Creates a worker. Its threads are not started.
    ///
    /// # Errors
    /// Returns the error of [`Engine::new`].
    pub fn new(start: WorkerStart) -> io::Result<Self> {
        let Setup {
            spec,
            board,
            rings,
            listeners,
        } = start.setup;
        let listeners = listeners.into_iter().zip(&spec.listeners);
        let listeners = listeners.map(|(fd, listener)| Listener {
            fd,
            protocol: listener.protocol,
            name: listener.name.clone(),
        });
        set_budgets(&spec);
        if spec.worker.disable_sendfile {
            write_queue::disable_sendfile();
        }
        let engine = Engine::new(
            settings(&spec),
            listeners.collect(),
            ScoreboardRows {
                board,
                row: start.row,
                worker_id: start.id,
                lines: rings.map(|it| RequestLines::new(it.memory, it.wakeup, start.row)),
            },
            if start.hold {
                Phase::Held
            } else {
                Phase::Serving
            },
        )?;
        let threads = 0..spec.worker.threads;
        Ok(Self {
            environs: threads.clone().map(|_| CurrentEnviron::default()).collect(),
            deadlines: threads.map(|_| ThreadDeadline::default()).collect(),
            spec,
            id: start.id,
            engine: Arc::new(engine),
            exit_reasons: ExitReasons::default(),
            link: start.link,
            started: Instant::now(),
        })
    }
}

/// Sets the limits on bytes that wait in memory and in temporary files. The limits apply to the whole process.
fn set_budgets(spec: &AppSpec) {
    const SPOOL: u64 = 2 << 30;
    let options = &spec.worker;
    let default = SPOOL.max(options.limit_post.saturating_mul(2));
    budget::MEMORY.set_limit(options.limit_buffers);
    budget::FILES.set_limit(options.limit_spool.unwrap_or(default));
}

/// The default of `post-buffering`: a longer request body goes to a file.
const POST_BUFFERING: u64 = 1 << 20;

/// The engine's settings.
fn settings(spec: &AppSpec) -> Settings {
    let options = &spec.worker;
    Settings {
        threads: options.threads,
        limits: Limits {
            buffer_size: options.buffer_size as usize,
            headers: options.limit_headers as usize,
            connections: crowding::limit(options.limit_connections, rlimit::descriptors()),
            post_buffering: options
                .post_buffering
                .filter(|bytes| *bytes > 0)
                .unwrap_or(POST_BUFFERING),
            limit_post: options.limit_post,
            http_variables: options.http_var.as_slice().into(),
            names_application: options.vhost || options.vhost_host,
        },
        timeouts: Timeouts {
            socket: options.socket_timeout,
            head: patience(options.client_header_timeout, 60, options.socket_timeout),
            body: patience(options.client_body_timeout, 300, options.socket_timeout),
            send: patience(options.client_send_timeout, 300, options.socket_timeout),
            keep_alive: options.http_keepalive,
        },
        header_rules: header_rules(spec),
        static_files: crate::static_files::settings(spec),
        mount_points: crate::static_files::mounts(spec),
        routes: router(&spec.routing.request),
        final_routes: router(&spec.routing.last),
        request_log: spec.serving.request_log.clone(),
    }
}

/// The rules of route options; `None` if there are none.
fn router(rules: &[Rule]) -> Option<Arc<Router>> {
    (!rules.is_empty()).then(|| Arc::new(Router::new(rules)))
}

/// The changes to response headers; `None` if none are configured.
fn header_rules(spec: &AppSpec) -> Option<Arc<HeaderRules>> {
    let options = &spec.worker;
    let logged = spec.serving.request_log.response_headers();
    let rules = HeaderRules::new(&options.add_header, &options.del_header)
        .collecting(&options.collect_header, &options.pull_header)
        .collecting(&logged, &[]);
    (!rules.is_empty()).then(|| Arc::new(rules))
}

/// Returns the timeout for clients that the I/O thread waits for. `given` is the configured timeout, where 0 means
/// none. If `given` is `None`, the timeout is `default` seconds, or `socket` (`socket-timeout`) if that is longer.
fn patience(given: Option<Duration>, default: u64, socket: Duration) -> Duration {
    match given {
        Some(Duration::ZERO) => Duration::from_secs(u32::MAX.into()),
        Some(given) => given,
        None => Duration::from_secs(default).max(socket),
    }
}

/// State that all workers of a zygote share. The master sends it in its first message.
pub struct Setup {
    /// The configuration.
    pub spec: AppSpec,
    /// The scoreboard of the generation.
    pub board: Scoreboard,
    /// The rings of request lines; `None` if each worker writes its lines itself.
    pub rings: Option<Rings>,
    /// The listening sockets.
    pub listeners: Vec<PrivateFd>,
}

/// The rings of request lines that the workers share with the master.
pub struct Rings {
    /// The shared memory.
    pub memory: LineRings,
    /// The eventfd that wakes the master.
    pub wakeup: PrivateFd,
}

/// Parameters of a new worker.
pub struct WorkerStart {
    /// The worker's id, from 1 (`uwsgi.worker_id()`).
    pub id: u32,
    /// The worker's row of the scoreboard, from 1.
    pub row: u32,
    /// Whether the worker waits for [`ToWorker::Serve`](ipc::ToWorker::Serve) before it accepts connections.
    pub hold: bool,
    /// The socket to the master.
    pub link: PrivateFd,
    /// The program that the worker runs instead of serving requests.
    pub program: Option<WorkerProgram>,
    /// State that the worker shares with the other workers.
    pub setup: Setup,
}
