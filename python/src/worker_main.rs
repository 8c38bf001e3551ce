//! The life of a worker on its main thread, from the fork to the exit.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};
use ruwsgi::http::engine::Engine;
use ruwsgi::http::io_thread::IoThread;
use ruwsgi::ipc::{self, AppSpec, FromWorker};
use ruwsgi::sys::affinity;
use ruwsgi::sys::exclusive;

use crate::api::{signals, uwsgi_module};
use crate::load::{self, Apps};
use crate::parent_link::ParentLink;
use crate::worker::{Worker, WorkerStart};
use crate::{deadline, fork, python, stacks, start_watch, thread, worker_program};

/// Signals that ask a worker to finish its requests and exit.
const EXIT_SIGNALS: [i32; 4] = [libc::SIGHUP, libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];

/// Number of descriptors for which the kernel's descriptor table has room from the start.
const DESCRIPTORS: i32 = 1024;

/// Runs a worker on the process's main thread, right after the fork; returns the exit status. If `apps` is `None` the
/// worker loads the application itself (`lazy-apps`). `errors` is the stream `wsgi.errors`.
pub fn run(py: Python<'_>, mut start: WorkerStart, apps: Option<Apps>, errors: &Py<PyAny>) -> i32 {
    let (id, lazy) = (start.id, apps.is_none());
    ruwsgi::log::rename(format!("worker {id}"));
    python::set_title(&start.setup.spec, &format!("worker {id}"));
    if let Some(row) = start.setup.board.worker(start.row) {
        row.pid.store(std::process::id() as i32, Relaxed);
        row.id.store(id, Relaxed);
        row.started.store(uwsgi_module::seconds_now(), Relaxed);
    }
    if let Err(error) = start_watch::install(py) {
        tracing::warn!("worker {id}: a slow start cannot be explained by its stack: {error}");
    }
    confine(&start.setup.spec, id);
    let apps = match apps.map_or_else(|| load::load(py, &start.setup.spec), Ok) {
        Ok(apps) => apps,
        Err(failure) => {
            // a failure means that the master is gone
            let _ = ipc::send(start.link.as_fd(), &FromWorker::Failed(failure), &[]);
            return ruwsgi::exit::NO_APP;
        }
    };
    if lazy {
        load::log_warnings(&apps);
    }
    if let Some(program) = start.program.take() {
        return worker_program::run(py, start, &program);
    }
    match Worker::new(start) {
        Ok(worker) => serve(py, &Arc::new(worker), &Arc::new(apps), errors),
        Err(error) => {
            tracing::error!("worker {id} cannot start: {error}");
            ruwsgi::exit::FAILED
        }
    }
}

/// Confines the worker to its CPUs (`cpu-affinity`).
fn confine(spec: &AppSpec, id: u32) {
    let count = spec.worker.cpu_affinity;
    if count == 0 {
        return;
    }
    match affinity::confine(id, count) {
        Ok(cpus) => tracing::info!("worker {id} runs on CPUs {cpus:?} (cpu-affinity = {count})"),
        Err(error) => tracing::warn!(
            "worker {id}: cpu-affinity = {count} cannot be set: {error}; it runs on all CPUs"
        ),
    }
}

/// Starts the worker's threads, serves requests until the worker has retired, and ends the application. Returns the
/// exit status.
fn serve(py: Python<'_>, worker: &Arc<Worker>, apps: &Arc<Apps>, errors: &Py<PyAny>) -> i32 {
    let id = worker.id;
    ruwsgi::sys::thread::reserve_descriptors(DESCRIPTORS);
    let io_thread = match IoThread::start(&worker.engine, ParentLink::new(worker)) {
        Ok(io_thread) => io_thread,
        Err(error) => {
            tracing::error!("worker {id} cannot start its I/O thread: {error}");
            return ruwsgi::exit::FAILED;
        }
    };
    ruwsgi::sys::thread::record_signals(worker.engine.wakeup_descriptor(), &EXIT_SIGNALS);
    prepare(py, worker);
    let threads = match start_threads(py, worker, apps, errors) {
        Ok(threads) => threads,
        Err(error) => {
            tracing::error!("worker {id} cannot start its threads: {error}");
            return ruwsgi::exit::FAILED;
        }
    };
    let ready = stacks::with_descriptor(|stacks| {
        ipc::send(worker.link().as_fd(), &FromWorker::Ready, stacks.as_slice())
    });
    if ready.is_err() {
        return ruwsgi::exit::FAILED;
    }
    if let Err(error) = start_watch::remove(py) {
        tracing::warn!("worker {id}: the signals of its start keep their handlers: {error}");
    }
    crate::autoreload::start(worker);
    let tracebacker = crate::tracebacker::start(worker);
    thread::run(py, worker, apps, 0, errors);
    for other in threads {
        // `join` fails only if the application has sent an exception to this thread; the thread then waits again
        while other.call_method0(py, "join").is_err() {}
    }
    worker.engine.wake();
    let sends = py.detach(|| !ends_soon(&io_thread));
    run_exit_hook(py, id);
    if sends {
        finish_application(py, worker);
    }
    drop(tracebacker);
    // this thread keeps the GIL while it waits, so that no code of the application runs
    if io_thread.join().is_err() {
        tracing::error!("worker {id}: its I/O thread panicked; this is a bug in ruwsgi");
    }
    if sends {
        ruwsgi::sys::thread::exit_now(ruwsgi::exit::RETIRED);
    }
    ruwsgi::exit::RETIRED
}

/// Waits at most 20 ms for the I/O thread, and returns whether it has ended. An I/O thread that has not ended still
/// sends responses to clients that read slowly.
fn ends_soon(io_thread: &JoinHandle<()>) -> bool {
    for _ in 0..100 {
        if io_thread.is_finished() {
            return true;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    false
}

/// Ends the application while the I/O thread still sends responses: waits for the application's threads, calls its
/// `atexit` functions, and releases its ports and locks for the next worker with the same id.
fn finish_application(py: Python<'_>, worker: &Worker) {
    python::shutdown_interpreter(py);
    for it in exclusive::all() {
        if let Err(error) = it.release() {
            tracing::warn!(
                "worker {}: the {} cannot be given up: {error}",
                worker.id,
                it.name
            );
        }
    }
    worker.send(&FromWorker::Finished);
}

fn run_exit_hook(py: Python<'_>, id: u32) {
    let hooked = uwsgi_module::call_atexit(py);
    fork::end_child(py, hooked.as_ref().err());
    if let Err(error) = hooked {
        python::log_hook_failure(py, id, "atexit", &error);
    }
}

/// Prepares the interpreter for requests, and calls the application's post-fork hook.
fn prepare(py: Python<'_>, worker: &Arc<Worker>) {
    let id = worker.id;
    count_for_application(&worker.engine);
    signals::become_worker(worker);
    let link = worker.clone();
    // in a process that the application has forked from a worker, the function is already set and `set` fails
    let _ = uwsgi_module::ALARM.set(Box::new(move |name, message| {
        link.send(&FromWorker::Alarm { name, message });
    }));
    if let Err(error) = stacks::prepare(py) {
        tracing::warn!("worker {id}: the log of a crash will have no stacks: {error}");
    }
    if let Err(error) = deadline::prepare(py, worker) {
        tracing::warn!("worker {id}: harakiri cannot interrupt requests: {error}");
    }
    if let Err(error) = fork::restore_in_children(py) {
        tracing::warn!("worker {id}: its children will keep some signal handlers: {error}");
    }
    let hooked = uwsgi_module::call_post_fork_hook(py);
    fork::end_child(py, hooked.as_ref().err());
    if let Err(error) = hooked {
        python::log_hook_failure(py, id, "post-fork", &error);
    }
}

/// Sets the counters whose values `uwsgi.total_requests()` and `uwsgi.request_id()` return.
fn count_for_application(engine: &Arc<Engine>) {
    let (total, own) = (engine.clone(), engine.clone());
    let counters = uwsgi_module::Counters {
        total: Box::new(move || total.total_requests()),
        own: Box::new(move || own.requests()),
    };
    // in a process that the application has forked from a worker, the counters are already set and `set` fails
    let _ = uwsgi_module::COUNTERS.set(counters);
}

/// Starts the serving threads other than the main thread. They are Python threads, so that thread-locals and
/// `threading` know them.
fn start_threads(
    py: Python<'_>,
    worker: &Arc<Worker>,
    apps: &Arc<Apps>,
    errors: &Py<PyAny>,
) -> PyResult<Vec<Py<PyAny>>> {
    if worker.spec.worker.threads < 2 {
        // `threading` is not imported here, because the import would cost a small application memory
        return Ok(Vec::new());
    }
    let threading = py.import("threading")?;
    let class = threading.getattr("Thread")?;
    let size = u64::from(worker.spec.worker.thread_stacksize) << 10;
    let usual = match size {
        0 => None,
        size => Some(threading.call_method1("stack_size", (size,))?),
    };
    let threads = (1..worker.spec.worker.threads)
        .map(|core| {
            let (worker, apps, errors) = (worker.clone(), apps.clone(), errors.clone_ref(py));
            let name = format!("uWSGIWorker{}Core{core}", worker.id);
            let target = PyCFunction::new_closure(py, None, None, move |args, _| {
                thread::run(args.py(), &worker, &apps, core, &errors);
            })?;
            let options = PyDict::new(py);
            options.set_item("target", target)?;
            options.set_item("name", name)?;
            options.set_item("daemon", true)?;
            let thread = class.call((), Some(&options))?;
            thread.call_method0("start")?;
            Ok(thread.unbind())
        })
        .collect();
    if let Some(usual) = usual {
        // the stack size is restored, so that threads of the application have the usual size
        threading.call_method1("stack_size", (usual,))?;
    }
    threads
}
