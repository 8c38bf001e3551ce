//! The functions `uwsgi.lock`, `unlock` and `is_locked`.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyModule;
use ruwsgi::shared::robust_lock::RobustLock;

use super::shared_memory;

/// Interval in which a waiting thread looks for signals of the interpreter.
const SIGNALS: Duration = Duration::from_millis(100);

/// Adds the functions to the module.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter, above all `MemoryError`.
pub(super) fn add(uwsgi: &Bound<'_, PyModule>) -> PyResult<()> {
    uwsgi.add_function(wrap_pyfunction!(lock, uwsgi)?)?;
    uwsgi.add_function(wrap_pyfunction!(unlock, uwsgi)?)?;
    uwsgi.add_function(wrap_pyfunction!(is_locked, uwsgi)?)
}

fn find(number: i64) -> PyResult<&'static RobustLock> {
    let locks = shared_memory::get().map(|memory| &memory.locks);
    let number = u32::try_from(number).ok();
    let lock = locks
        .zip(number)
        .and_then(|(locks, number)| locks.get(number));
    lock.ok_or_else(|| PyValueError::new_err("Invalid lock number"))
}

/// Takes a lock of the instance, and waits for it if necessary. Handlers of signals run meanwhile.
///
/// # Errors
/// The exception of a handler of a signal.
pub(super) fn wait_for(py: Python<'_>, lock: &RobustLock) -> PyResult<()> {
    if lock.try_lock() {
        return Ok(());
    }
    while py.detach(|| lock.lock_within(SIGNALS)).is_none() {
        py.check_signals()?;
    }
    Ok(())
}

/// Takes a lock of the instance, and waits for it if necessary.
#[pyfunction]
#[pyo3(signature = (number=0, /))]
fn lock(py: Python<'_>, number: i64) -> PyResult<()> {
    wait_for(py, find(number)?)
}

/// Releases a lock that this process holds.
#[pyfunction]
#[pyo3(signature = (number=0, /))]
fn unlock(number: i64) -> PyResult<()> {
    find(number)?.unlock();
    Ok(())
}

/// Whether a running process holds a lock.
#[pyfunction]
#[pyo3(signature = (number=0, /))]
fn is_locked(number: i64) -> PyResult<bool> {
    Ok(find(number)?.owner().is_some())
}
