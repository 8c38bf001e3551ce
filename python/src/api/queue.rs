//! The functions `uwsgi.queue_*`. They exist if the queue is configured.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyModule};
use ruwsgi::shared::queue::Queue;

use super::arguments::{bytes, may_wait};
use super::shared_memory;

/// Adds the functions to the module, if the queue is configured.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter, above all `MemoryError`.
pub(super) fn add(uwsgi: &Bound<'_, PyModule>) -> PyResult<()> {
    let Ok(queue) = find() else { return Ok(()) };
    uwsgi.add("queue_size", queue.definition().slots)?;
    for function in [
        wrap_pyfunction!(queue_get, uwsgi)?,
        wrap_pyfunction!(queue_set, uwsgi)?,
        wrap_pyfunction!(queue_last, uwsgi)?,
        wrap_pyfunction!(queue_push, uwsgi)?,
        wrap_pyfunction!(queue_pull, uwsgi)?,
        wrap_pyfunction!(queue_pop, uwsgi)?,
        wrap_pyfunction!(queue_slot, uwsgi)?,
        wrap_pyfunction!(queue_pull_slot, uwsgi)?,
    ] {
        uwsgi.add_function(function)?;
    }
    Ok(())
}

fn find() -> PyResult<&'static Queue> {
    let queue = shared_memory::get().and_then(|memory| memory.queue.as_ref());
    queue.ok_or_else(|| PyValueError::new_err("there is no queue: set queue = SLOTS"))
}

type Item<'py> = Option<Bound<'py, PyBytes>>;

fn item(py: Python<'_>, item: Option<Vec<u8>>) -> Item<'_> {
    item.map(|item| PyBytes::new(py, &item))
}

/// Returns the item in a slot, or None.
#[pyfunction]
#[pyo3(signature = (slot, /))]
fn queue_get(py: Python<'_>, slot: i64) -> PyResult<Item<'_>> {
    let (queue, Ok(slot)) = (find()?, u32::try_from(slot)) else {
        return Ok(None);
    };
    Ok(item(py, may_wait(py, queue.is_busy(), || queue.get(slot))))
}

/// Writes an item into a slot. Returns True, or None if it does not fit.
#[pyfunction]
#[pyo3(signature = (slot, value, /))]
fn queue_set(py: Python<'_>, slot: i64, value: &Bound<'_, PyAny>) -> PyResult<Option<bool>> {
    let (queue, value) = (find()?, bytes(value)?);
    let Ok(slot) = u32::try_from(slot) else {
        return Ok(None);
    };
    Ok(may_wait(py, queue.is_busy(), || queue.set(slot, value)).then_some(true))
}

/// Returns the newest item, or None; with a number of items, a list of this number of slots, newest first.
#[pyfunction]
#[pyo3(signature = (count=0, /))]
fn queue_last(py: Python<'_>, count: i64) -> PyResult<Bound<'_, PyAny>> {
    let queue = find()?;
    let wanted = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    let items = may_wait(py, queue.is_busy(), || queue.last(wanted));
    if count > 0 {
        let items = items.into_iter().map(|it| item(py, it));
        return Ok(PyList::new(py, items.collect::<Vec<_>>())?.into_any());
    }
    match item(py, items.into_iter().flatten().next()) {
        Some(item) => Ok(item.into_any()),
        None => Ok(py.None().into_bound(py)),
    }
}

/// Appends an item. Returns True, or None if it is empty or too large.
#[pyfunction]
#[pyo3(signature = (value, /))]
fn queue_push(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Option<bool>> {
    let (queue, value) = (find()?, bytes(value)?);
    Ok(may_wait(py, queue.is_busy(), || queue.push(value)).then_some(true))
}

/// Removes and returns the oldest item, or None.
#[pyfunction]
fn queue_pull(py: Python<'_>) -> PyResult<Item<'_>> {
    let queue = find()?;
    Ok(item(py, may_wait(py, queue.is_busy(), || queue.pull())))
}

/// Removes and returns the newest item, or None.
#[pyfunction]
fn queue_pop(py: Python<'_>) -> PyResult<Item<'_>> {
    let queue = find()?;
    Ok(item(py, may_wait(py, queue.is_busy(), || queue.pop())))
}

/// The slot of the next push.
#[pyfunction]
fn queue_slot(py: Python<'_>) -> PyResult<u32> {
    let queue = find()?;
    Ok(may_wait(py, queue.is_busy(), || queue.push_slot()))
}

/// The slot of the next pull.
#[pyfunction]
fn queue_pull_slot(py: Python<'_>) -> PyResult<u32> {
    let queue = find()?;
    Ok(may_wait(py, queue.is_busy(), || queue.pull_slot()))
}
