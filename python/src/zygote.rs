//! The zygote: the interpreter that imports the application once and then only forks workers.
//!
//! It runs on the main thread of `python -c`, and blocks in one place: the channel to its master. End of file there
//! means that the master has no more use for it, or is gone; either way it exits.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use pyo3::prelude::*;
use ruwsgi::ipc::{self, AppSpec, FromZygote, LoadFailure, ToZygote};
use ruwsgi::shared::scoreboard::Scoreboard;
use ruwsgi::sys::thread;

use crate::fork::{self, Side};
use crate::load::{self, Apps};
use crate::python;
use crate::worker::{self, Birth};
use crate::{autoreload, fork_safety, uwsgi_module, warmup};

/// What the master sends first.
struct Orders {
    spec: AppSpec,
    board: OwnedFd,
    listeners: Vec<OwnedFd>,
}

/// The life of a zygote, and of each worker forked from it; returns the process's exit status.
pub fn main(py: Python<'_>, channel_fd: i32) -> i32 {
    // SAFETY: the master has handed this descriptor down for us alone.
    let channel = unsafe { OwnedFd::from_raw_fd(channel_fd) };
    ruwsgi::log::start("zygote");
    // Ctrl-C reaches every process of the terminal; the master decides what it means
    thread::ignore(libc::SIGINT);
    match live(py, channel) {
        Ok(status) => status,
        Err(error) => {
            tracing::error!("the channel to the master failed: {error}");
            ruwsgi::exit::FAILED
        }
    }
}

fn live(py: Python<'_>, channel: OwnedFd) -> io::Result<i32> {
    ruwsgi::sys::stream::close_on_exec(channel.as_fd())?;
    let Some(orders) = receive_orders(&channel)? else {
        return Ok(ruwsgi::exit::OK);
    };
    python::set_title(&orders.spec, "zygote");
    let prepared = prepare(py, &orders.spec);
    // also when it failed: the file that has to be mended may be known to nobody else
    for files in autoreload::files(py, &orders.spec, &mut HashSet::new()) {
        ipc::send(channel.as_fd(), &FromZygote::Files(files), &[])?;
    }
    let (apps, errors) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => {
            ipc::send(channel.as_fd(), &FromZygote::Failed(failure), &[])?;
            return Ok(ruwsgi::exit::NO_APP);
        }
    };
    ipc::send(channel.as_fd(), &FromZygote::Loaded, &[])?;
    loop {
        let Some((message, mut fds)) = py.detach(|| ipc::receive::<ToZygote>(channel.as_fd()))?
        else {
            return Ok(ruwsgi::exit::OK);
        };
        if message == ToZygote::Log {
            ruwsgi::sys::stdio::write_output_to_first(fds);
            continue;
        }
        let (ToZygote::Fork { slot, row, hold }, Some(leash)) = (message, fds.pop()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match fork::double(py) {
            Ok(Side::Zygote(pid)) => {
                ipc::send(channel.as_fd(), &FromZygote::Forked { row, pid }, &[])?
            }
            Ok(Side::Worker) => {
                // held here, it would hide the zygote's end from the master
                drop(channel);
                return Ok(be_worker(
                    py,
                    orders,
                    apps,
                    errors,
                    (slot, row),
                    hold,
                    leash,
                ));
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                ipc::send(channel.as_fd(), &FromZygote::ForkFailed { row, errno }, &[])?;
            }
        }
    }
}

fn receive_orders(channel: &OwnedFd) -> io::Result<Option<Orders>> {
    let Some((message, fds)) = ipc::receive::<ToZygote>(channel.as_fd())? else {
        return Ok(None);
    };
    let mut fds = fds.into_iter();
    let (ToZygote::Load(spec), Some(board)) = (message, fds.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let listeners: Vec<_> = fds.collect();
    if listeners.len() != spec.listeners.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Some(Orders {
        spec: *spec,
        board,
        listeners,
    }))
}

/// Everything that is done once for all workers.
fn prepare(py: Python<'_>, spec: &AppSpec) -> Result<(Option<Apps>, Py<PyAny>), LoadFailure> {
    let failed = |error: PyErr| LoadFailure {
        sentence: "the interpreter could not be set up".into(),
        traceback: crate::python::traceback(py, &error),
    };
    let errors = python::errors_stream(py).map_err(failed)?;
    uwsgi_module::install(py, spec, spec.is_a_reload).map_err(failed)?;
    if spec.lazy {
        return Ok((None, errors));
    }
    let apps = load::load(py, spec)?;
    python::log_warnings(&apps);
    warmup::run(py, spec, &apps, &errors);
    fork_safety::warn(py);
    python::freeze(py).map_err(failed)?;
    Ok((Some(apps), errors))
}

/// Right after the fork: what was the zygote's is the worker's own now, but for the channel, which goes.
fn be_worker(
    py: Python<'_>,
    orders: Orders,
    apps: Option<Apps>,
    errors: Py<PyAny>,
    (slot, row): (u32, u32),
    hold: bool,
    leash: OwnedFd,
) -> i32 {
    let Orders {
        spec,
        board,
        listeners,
    } = orders;
    match Scoreboard::open(board, spec.serving.rows, spec.serving.threads) {
        Ok(board) => worker::run(
            py,
            Birth {
                slot,
                row,
                hold,
                leash,
                spec,
                board,
                listeners,
                apps,
                errors,
            },
        ),
        Err(error) => {
            tracing::error!("worker {slot} cannot open the scoreboard: {error}");
            ruwsgi::exit::FAILED
        }
    }
}
