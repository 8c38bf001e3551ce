//! Messages to and from mules, for the module `uwsgi`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyRuntimeError, PySystemExit, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyModule};
use ruwsgi::ipc::{AppSpec, Farm};
use ruwsgi::sys::private_fd::PrivateFd;
use ruwsgi::sys::wakeup::Wakeup;
use ruwsgi::sys::{datagram, poll};

use super::signals;

/// The queues of the instance's mules; not set in an instance without mules.
static QUEUES: OnceLock<Queues> = OnceLock::new();
/// The mule id of this process; 0 in a process that is no mule.
static MULE: AtomicU32 = AtomicU32::new(0);
/// Wakes this mule when a signal has arrived or the mule has to stop.
static WAKEUP: OnceLock<Arc<Wakeup>> = OnceLock::new();
/// Whether this mule has to stop.
static STOPS: AtomicBool = AtomicBool::new(false);

/// Interval at which a waiting mule runs the handlers of Unix signals.
const CHECK: Duration = Duration::from_millis(500);

/// One queue of messages.
struct Queue {
    reader: PrivateFd,
    writer: PrivateFd,
}

/// The queues of an instance.
struct Queues {
    /// The queues of single mules, in the order of their ids.
    mules: Vec<Queue>,
    /// The queue of messages for any mule.
    shared: Queue,
    farms: Vec<(Farm, Queue)>,
    /// Maximum size of a message, bytes.
    limit: usize,
}

/// Number of descriptors of the queues of an instance.
pub fn queue_descriptors(spec: &AppSpec) -> usize {
    match spec.mules.is_empty() {
        true => 0,
        false => 2 * (spec.mules.len() + 1 + spec.farms.len()),
    }
}

/// Stores the descriptors of the queues. The order is: each mule's queue, the shared queue, each farm's queue. Each
/// queue has two descriptors: first the reading end, then the writing end.
pub fn keep_queues(spec: &AppSpec, descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let mut descriptors = descriptors.into_iter().map(PrivateFd::from);
    let mut next = || -> io::Result<Queue> {
        match (descriptors.next(), descriptors.next()) {
            (Some(reader), Some(writer)) => Ok(Queue { reader, writer }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    };
    let mules = spec.mules.iter().map(|_| next());
    let mules = mules.collect::<io::Result<Vec<_>>>()?;
    let shared = next()?;
    let farms = spec.farms.iter().map(|farm| Ok((farm.clone(), next()?)));
    let queues = Queues {
        mules,
        shared,
        farms: farms.collect::<io::Result<Vec<_>>>()?,
        limit: spec.worker.mule_msg_size as usize,
    };
    // `set` cannot fail, because a zygote gets its queues only once
    let _ = QUEUES.set(queues);
    Ok(())
}

/// Records that this process is the mule `id`. `wakeup` wakes the mule when it waits.
pub fn become_mule(id: u32, wakeup: &Arc<Wakeup>) {
    MULE.store(id, Relaxed);
    // `set` cannot fail, because a process becomes a mule only once
    let _ = WAKEUP.set(wakeup.clone());
}

/// Asks this mule to stop.
pub fn stop() {
    STOPS.store(true, SeqCst);
    wake();
}

/// Whether this mule has to stop.
pub fn stops() -> bool {
    STOPS.load(SeqCst)
}

/// Wakes this mule if it waits for messages.
pub fn wake() {
    if let Some(wakeup) = WAKEUP.get() {
        wakeup.wake();
    }
}

/// The mule id of this process; 0 in a process that is no mule.
pub fn id() -> u32 {
    MULE.load(Relaxed)
}

/// Adds the functions of this file to the module `uwsgi`.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn install(uwsgi: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(mule_id, uwsgi)?,
        wrap_pyfunction!(mule_msg, uwsgi)?,
        wrap_pyfunction!(mule_get_msg, uwsgi)?,
        wrap_pyfunction!(farm_msg, uwsgi)?,
        wrap_pyfunction!(farm_get_msg, uwsgi)?,
        wrap_pyfunction!(in_farm, uwsgi)?,
        wrap_pyfunction!(install_mule_msg_hook, uwsgi)?,
    ] {
        uwsgi.add_function(function)?;
    }
    Ok(())
}

/// The mule id of this process, from 1; 0 in a process that is no mule.
#[pyfunction]
fn mule_id() -> u32 {
    id()
}

fn bytes(message: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    match message.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.as_bytes().to_vec()),
        Err(_) => Ok(message.extract::<String>()?.into_bytes()),
    }
}

/// Returns the queues. Fails in a process that the application has forked.
fn queues() -> PyResult<&'static Queues> {
    if ruwsgi::sys::fork_guard::is_forked() {
        return Err(PyRuntimeError::new_err(
            "this process was forked by the application: it has no queues of mules",
        ));
    }
    QUEUES
        .get()
        .ok_or_else(|| PyValueError::new_err("no mule configured"))
}

/// Sends a message to any mule, to the mule with an id, or to one mule of a farm. Returns False if the message is not
/// sent: the queue is full, there is no such mule, or the message is longer than `mule-msg-size`.
#[pyfunction]
#[pyo3(signature = (message, target=None, /))]
fn mule_msg(message: &Bound<'_, PyAny>, target: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
    let queues = queues()?;
    let message = bytes(message)?;
    let queue = match target {
        None => &queues.shared,
        Some(target) => match target.extract::<String>() {
            Ok(name) => queues
                .farm(&name)
                .ok_or_else(|| PyValueError::new_err(format!("there is no farm {name:?}")))?,
            Err(_) => match target.extract::<u32>()? {
                0 => &queues.shared,
                id => match queues.mules.get(id as usize - 1) {
                    Some(queue) => queue,
                    None => {
                        tracing::warn!("a message to mule {id} is lost: there is no such mule");
                        return Ok(false);
                    }
                },
            },
        },
    };
    Ok(queues.send(queue, &message))
}

impl Queues {
    fn farm(&self, name: &str) -> Option<&Queue> {
        let mut farms = self.farms.iter();
        farms.find(|(farm, _)| farm.name == name).map(|(_, it)| it)
    }

    fn send(&self, queue: &Queue, message: &[u8]) -> bool {
        if message.len() > self.limit {
            tracing::warn!(
                "a message of {} bytes to a mule is lost: mule-msg-size is {}",
                message.len(),
                self.limit
            );
            return false;
        }
        match datagram::send_now(queue.writer.as_fd(), message) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tracing::warn!("a message to a mule is lost: its queue is full");
                false
            }
            Err(error) => {
                tracing::warn!("a message to a mule is lost: {error}");
                false
            }
        }
    }

    /// The queues from which this mule reads.
    fn of_mule(&self, id: u32, farms: bool) -> Vec<&Queue> {
        let own = self.mules.get(id as usize - 1);
        let farms = self.farms.iter().filter(|_| farms);
        let farms = farms.filter(|(farm, _)| farm.mules.contains(&id));
        own.into_iter()
            .chain([&self.shared])
            .chain(farms.map(|(_, queue)| queue))
            .collect()
    }
}

/// Sends a message to one mule of a farm.
#[pyfunction]
fn farm_msg(name: &str, message: &Bound<'_, PyAny>) -> PyResult<()> {
    let Ok(queues) = queues() else { return Ok(()) };
    match queues.farm(name) {
        Some(queue) => {
            queues.send(queue, &bytes(message)?);
        }
        None => tracing::warn!("a message to the farm {name:?} is lost: there is no such farm"),
    }
    Ok(())
}

/// Returns True if this mule is in a farm, otherwise `None`. With a name, only the farm with this name counts.
#[pyfunction]
#[pyo3(signature = (name=None, /))]
fn in_farm(name: Option<&str>) -> Option<bool> {
    let farms = QUEUES.get().map_or(&[][..], |queues| &queues.farms);
    let is_in = farms
        .iter()
        .any(|(farm, _)| farm.mules.contains(&id()) && name.is_none_or(|name| name == farm.name));
    is_in.then_some(true)
}

/// Waits for a message to this mule. Handlers of signals run during the wait. The result is empty after `timeout`
/// seconds.
#[pyfunction]
#[pyo3(signature = (signals=true, farms=true, buffer_size=65536, timeout=-1.0))]
fn mule_get_msg(
    py: Python<'_>,
    signals: bool,
    farms: bool,
    buffer_size: usize,
    timeout: f64,
) -> PyResult<Bound<'_, PyBytes>> {
    let id = id();
    if id == 0 {
        return Err(PyValueError::new_err(
            "you can receive mule messages only in a mule",
        ));
    }
    let queues = queues()?.of_mule(id, farms);
    let until = Duration::try_from_secs_f64(timeout).ok();
    let until = until.and_then(|timeout| Instant::now().checked_add(timeout));
    let message = receive(py, &queues, signals, until)?;
    let message = message.unwrap_or_default();
    let len = message.len().min(buffer_size);
    Ok(PyBytes::new(py, &message[..len]))
}

/// Waits for a message to a farm of this mule.
#[pyfunction]
fn farm_get_msg(py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
    let id = id();
    if id == 0 {
        return Err(PyValueError::new_err(
            "you can receive farm messages only in a mule",
        ));
    }
    let farms = &queues()?.farms;
    let farms = farms.iter().filter(|(farm, _)| farm.mules.contains(&id));
    let queues: Vec<&Queue> = farms.map(|(_, queue)| queue).collect();
    let message = receive(py, &queues, true, None)?;
    Ok(PyBytes::new(py, &message.unwrap_or_default()))
}

/// Sets the function that handles the messages of mules without a program: `uwsgi.mule_msg_hook`.
#[pyfunction]
fn install_mule_msg_hook(py: Python<'_>, function: Py<PyAny>) -> PyResult<()> {
    py.import("uwsgi")?.setattr("mule_msg_hook", function)
}

/// Receives the next message for a mule without a program.
///
/// # Errors
/// SystemExit if the mule has to stop; exceptions of the handlers of Unix signals.
pub fn next_message(py: Python<'_>) -> PyResult<Option<Vec<u8>>> {
    let queues = queues()?.of_mule(id(), true);
    receive(py, &queues, true, None)
}

/// Receives a message. Returns `None` if no message has come before the time `until`.
fn receive(
    py: Python<'_>,
    queues: &[&Queue],
    with_signals: bool,
    until: Option<Instant>,
) -> PyResult<Option<Vec<u8>>> {
    let wakeup = WAKEUP.get();
    let limit = QUEUES.get().map_or(0, |queues| queues.limit);
    loop {
        if with_signals {
            signals::run_all_in_mule(py)?;
        }
        for queue in queues {
            match datagram::receive_now(queue.reader.as_fd(), limit) {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if stops() {
            return Err(PySystemExit::new_err(0));
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        py.detach(|| {
            // SAFETY: the wakeup is never dropped (`WAKEUP`), so its descriptor stays open.
            let wakeup = wakeup.map(|it| unsafe { BorrowedFd::borrow_raw(it.fd()) });
            let fds = queues.iter().map(|queue| queue.reader.as_fd());
            let fds: Vec<_> = fds.chain(wakeup).collect();
            let wait = left.map_or(CHECK, |left| left.min(CHECK));
            // the result is not needed, because the loop looks at the queues again
            let _ = poll::wait(&fds, Some(wait));
        });
        if let Some(wakeup) = wakeup {
            wakeup.clear();
        }
        py.check_signals()?;
    }
}
