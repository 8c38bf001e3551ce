//! The zygote: the process that imports the application once, and then only forks workers.
//!
//! The zygote runs on the main thread of `python -c` and blocks in one place: the channel to the master. End of file on
//! the channel means that the master has retired the zygote or has exited. The zygote then exits.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use pyo3::prelude::*;
use ruwsgi::ipc::{
    self, AppSpec, FromWorker, FromZygote, LoadFailure, ToWorker, ToZygote, WorkerProgram,
};
use ruwsgi::shared::line_rings::LineRings;
use ruwsgi::shared::scoreboard::Scoreboard;
use ruwsgi::sys::fork_guard;
use ruwsgi::sys::private_fd::PrivateFd;
use ruwsgi::sys::rlimit;
use ruwsgi::sys::thread;

use crate::api::{master, mules, shared_memory, uwsgi_module};
use crate::fork;
use crate::load::{self, Apps};
use crate::mule_main::{self, MuleStart};
use crate::python;
use crate::worker::{Rings, Setup, WorkerStart};
use crate::wsgi::streams;
use crate::{autoreload, fork_safety, import_resources, start_watch, trial, warmup, worker_main};

/// Runs the zygote and, in each process that the zygote forks, a worker. Returns the exit status of the process.
pub fn main(py: Python<'_>, channel_fd: i32) -> i32 {
    // SAFETY: the master has created this descriptor for this process, and nothing else here uses it.
    let channel = PrivateFd::from(unsafe { OwnedFd::from_raw_fd(channel_fd) });
    ruwsgi::log::start("zygote");
    // Ctrl-C sends SIGINT to every process of the terminal; the master decides how the instance reacts
    thread::discard(libc::SIGINT);
    if let Err(error) = fork_guard::install() {
        tracing::error!("cannot prepare for forks of the application: {error}");
        return ruwsgi::exit::FAILED;
    }
    match serve_forks(py, channel) {
        Ok(status) => status,
        Err(error) => {
            tracing::error!("the zygote cannot serve its master: {error}");
            ruwsgi::exit::FAILED
        }
    }
}

fn serve_forks(py: Python<'_>, mut channel: PrivateFd) -> io::Result<i32> {
    ruwsgi::sys::stream::close_on_exec(channel.as_fd())?;
    master::use_zygote(&channel);
    let Some(setup) = receive_setup(&channel)? else {
        return Ok(ruwsgi::exit::OK);
    };
    receive_queues(&channel, &setup.spec)?;
    let Some((apps, errors)) = load_apps(py, &channel, &setup.spec)? else {
        return Ok(ruwsgi::exit::NO_APP);
    };
    let mut shell_has_run = false;
    loop {
        let Some((message, mut fds)) = py.detach(|| ipc::receive::<ToZygote>(channel.as_fd()))?
        else {
            return Ok(ruwsgi::exit::OK);
        };
        if message == ToZygote::Log {
            ruwsgi::sys::stdio::write_output_to_first(fds);
            continue;
        }
        let (kind, row) = match message {
            ToZygote::Fork {
                worker_id: id,
                row,
                hold,
            } => {
                let program = program_of(&setup.spec, id, &mut shell_has_run);
                (Kind::Worker { id, hold, program }, row)
            }
            ToZygote::ForkMule { mule_id: id, row } => (Kind::Mule { id }, row),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        let Some(link) = fds.pop() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let link = PrivateFd::from(link);
        let mut inherited = Some(channel);
        let forked = fork::double(py, || {
            master::use_worker(&link);
            // this closes the worker's copy of the zygote's channel, so that the channel ends when the zygote exits
            inherited = None;
            begin(&link, &kind)
        });
        let Some(kept) = inherited else {
            return Ok(run_child(py, (kind, row), (link, setup), (apps, errors)));
        };
        channel = kept;
        match forked {
            Ok(pid) => ipc::send(channel.as_fd(), &FromZygote::Forked { row, pid }, &[])?,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                ipc::send(channel.as_fd(), &FromZygote::ForkFailed { row, errno }, &[])?;
            }
        }
    }
}

/// The program that the next worker with this id runs instead of serving requests. `shell_has_run` is true if a worker
/// with the id 1 was forked before.
fn program_of(spec: &AppSpec, worker_id: u32, shell_has_run: &mut bool) -> Option<WorkerProgram> {
    let is_first = worker_id == 1 && !std::mem::replace(shell_has_run, true);
    let program = spec.program.as_ref()?;
    let applies = match program {
        WorkerProgram::File(_) => true,
        WorkerProgram::Shell(_) => worker_id == 1,
        WorkerProgram::ShellOnce(_) => is_first,
    };
    applies.then(|| program.clone())
}

/// Receives the queues of the mules, which the master sends after the first message.
fn receive_queues(channel: &PrivateFd, spec: &AppSpec) -> io::Result<()> {
    let count = mules::queue_descriptors(spec);
    let mut descriptors = Vec::new();
    while descriptors.len() < count {
        match ipc::receive::<ToZygote>(channel.as_fd())? {
            Some((ToZygote::Queues, fds)) => descriptors.extend(fds),
            Some((ToZygote::Log, fds)) => ruwsgi::sys::stdio::write_output_to_first(fds),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    match count {
        0 => Ok(()),
        _ => mules::keep_queues(spec, descriptors),
    }
}

/// The process that the master wants the zygote to fork.
enum Kind {
    Worker {
        id: u32,
        hold: bool,
        program: Option<WorkerProgram>,
    },
    Mule {
        id: u32,
    },
}

/// The applications (`None` with `lazy-apps`), and the stream `wsgi.errors`.
type Loaded = (Option<Apps>, Py<PyAny>);

/// Loads the applications and reports the result to the master; `None` after a failure.
fn load_apps(py: Python<'_>, channel: &PrivateFd, spec: &AppSpec) -> io::Result<Option<Loaded>> {
    if spec.worker.max_fd.is_none_or(|most| most == 0) {
        // the workers inherit the raised limit; on failure the limit stays as it is
        let _ = rlimit::raise_descriptors();
    }
    python::set_title(spec, "zygote");
    python::log_version(py);
    let prepared = prepare(py, spec);
    // after a failure the master gets the files too, because a user may correct one of them
    for files in autoreload::files(py, spec, &mut HashSet::new()) {
        ipc::send(channel.as_fd(), &FromZygote::Files(files), &[])?;
    }
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => {
            ipc::send(channel.as_fd(), &FromZygote::Failed(failure), &[])?;
            return Ok(None);
        }
    };
    let taken = match spec.lazy {
        true => Vec::new(),
        false => import_resources::record(),
    };
    if !taken.is_empty() {
        ipc::send(channel.as_fd(), &FromZygote::Taken(taken), &[])?;
    }
    ipc::send(channel.as_fd(), &FromZygote::Loaded, &[])?;
    Ok(Some(prepared))
}

/// Receives the master's first message; `None` if the master has retired the zygote.
fn receive_setup(channel: &PrivateFd) -> io::Result<Option<Setup>> {
    let Some((message, fds)) = ipc::receive::<ToZygote>(channel.as_fd())? else {
        return Ok(None);
    };
    let mut fds = fds.into_iter();
    let (
        ToZygote::Load {
            app: spec,
            has_rings,
        },
        Some(board),
    ) = (message, fds.next())
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let rings = match has_rings {
        true => Some(receive_rings(&mut fds, spec.serving.rows)?),
        false => None,
    };
    if spec.serving.request_log.json {
        ruwsgi::log::use_json();
    }
    let count = spec.listeners.len();
    let listeners: Vec<_> = fds.by_ref().take(count).map(PrivateFd::from).collect();
    let board = Scoreboard::open(board, spec.all_rows(), spec.worker.threads)?;
    shared_memory::open(&spec.shared_memory, &board, fds.by_ref())?;
    if let Some(channel) = fds.next() {
        ruwsgi::log::open_channel(channel);
    }
    if listeners.len() != spec.listeners.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Some(Setup {
        spec: *spec,
        board,
        rings,
        listeners,
    }))
}

/// Takes the descriptors of the rings of request lines.
fn receive_rings(fds: &mut impl Iterator<Item = OwnedFd>, count: u32) -> io::Result<Rings> {
    let (Some(rings), Some(wakeup)) = (fds.next(), fds.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    Ok(Rings {
        memory: LineRings::open(rings, count)?,
        wakeup: wakeup.into(),
    })
}

/// Prepares the state that all workers share: imports the application, unless `lazy-apps` is set, and opens
/// `wsgi.errors`.
fn prepare(py: Python<'_>, spec: &AppSpec) -> Result<Loaded, LoadFailure> {
    let failed = |error: PyErr| LoadFailure {
        sentence: "the interpreter could not be set up".into(),
        traceback: crate::python::traceback(py, &error),
    };
    let errors = streams::install(py).map_err(failed)?;
    uwsgi_module::install(py, spec, spec.is_a_reload).map_err(failed)?;
    load::import_shared(py, spec)?;
    if spec.lazy {
        if spec.is_a_reload {
            trial::run(py, spec)?;
        }
        return Ok((None, errors));
    }
    start_watch::install(py).map_err(failed)?;
    let apps = load::load(py, spec)?;
    load::log_warnings(&apps);
    warmup::run(py, spec, &apps, &errors);
    start_watch::remove(py).map_err(failed)?;
    fork_safety::warn(py);
    python::freeze(py).map_err(failed)?;
    Ok((Some(apps), errors))
}

/// Runs a worker or a mule in a process that the zygote has forked. Returns the exit status.
fn run_child(
    py: Python<'_>,
    (kind, row): (Kind, u32),
    (link, setup): (PrivateFd, Setup),
    (apps, errors): Loaded,
) -> i32 {
    match kind {
        Kind::Worker { id, hold, program } => {
            let start = WorkerStart {
                id,
                row,
                hold,
                link,
                program,
                setup,
            };
            worker_main::run(py, start, apps, &errors)
        }
        Kind::Mule { id } => {
            let start = MuleStart {
                id,
                row,
                link,
                setup,
            };
            mule_main::run(py, start, apps)
        }
    }
}

/// Waits until the worker's id is free, and gives the id to this process. Runs right after the fork, before any Python
/// code runs. Returns false if the master is gone.
fn begin(link: &PrivateFd, kind: &Kind) -> bool {
    loop {
        match ipc::receive::<ToWorker>(link.as_fd()) {
            Ok(Some((ToWorker::Begin, _))) => break,
            Ok(Some((ToWorker::Log, fds))) => ruwsgi::sys::stdio::write_output_to_first(fds),
            Ok(Some((ToWorker::Release, _))) => {
                import_resources::release();
                // an error means that the master is gone, which the next receive reports
                let _ = ipc::send(link.as_fd(), &FromWorker::Released, &[]);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return false,
        }
    }
    match kind {
        Kind::Worker { id, .. } => uwsgi_module::become_worker(*id),
        Kind::Mule { .. } => uwsgi_module::become_worker(0),
    }
    true
}
