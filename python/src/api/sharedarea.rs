//! The functions `uwsgi.sharedarea_*`. They exist if a shared area is configured.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyModule};
use ruwsgi::shared::area::SharedArea;

use super::arguments::bytes;
use super::locks::wait_for;
use super::shared_memory;

/// The flag `PyBUF_WRITE` of the interpreter: a view that can be written to.
const WRITABLE: i32 = 0x200;

/// Adds the functions to the module, if a shared area is configured.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter, above all `MemoryError`.
pub(super) fn add(uwsgi: &Bound<'_, PyModule>) -> PyResult<()> {
    if shared_memory::get().is_none_or(|memory| memory.areas.is_empty()) {
        return Ok(());
    }
    for function in [
        wrap_pyfunction!(sharedarea_read, uwsgi)?,
        wrap_pyfunction!(sharedarea_write, uwsgi)?,
        wrap_pyfunction!(sharedarea_read8, uwsgi)?,
        wrap_pyfunction!(sharedarea_read16, uwsgi)?,
        wrap_pyfunction!(sharedarea_read32, uwsgi)?,
        wrap_pyfunction!(sharedarea_read64, uwsgi)?,
        wrap_pyfunction!(sharedarea_write8, uwsgi)?,
        wrap_pyfunction!(sharedarea_write16, uwsgi)?,
        wrap_pyfunction!(sharedarea_write32, uwsgi)?,
        wrap_pyfunction!(sharedarea_write64, uwsgi)?,
        wrap_pyfunction!(sharedarea_inc32, uwsgi)?,
        wrap_pyfunction!(sharedarea_inc64, uwsgi)?,
        wrap_pyfunction!(sharedarea_dec32, uwsgi)?,
        wrap_pyfunction!(sharedarea_dec64, uwsgi)?,
        wrap_pyfunction!(sharedarea_rlock, uwsgi)?,
        wrap_pyfunction!(sharedarea_wlock, uwsgi)?,
        wrap_pyfunction!(sharedarea_unlock, uwsgi)?,
        wrap_pyfunction!(sharedarea_memoryview, uwsgi)?,
    ] {
        uwsgi.add_function(function)?;
    }
    for (older, name) in [
        ("sharedarea_readbyte", "sharedarea_read8"),
        ("sharedarea_writebyte", "sharedarea_write8"),
        ("sharedarea_readlong", "sharedarea_read64"),
        ("sharedarea_writelong", "sharedarea_write64"),
        ("sharedarea_inclong", "sharedarea_inc64"),
        ("sharedarea_object", "sharedarea_memoryview"),
    ] {
        uwsgi.add(older, uwsgi.getattr(name)?)?;
    }
    Ok(())
}

fn error(function: &str) -> PyErr {
    PyValueError::new_err(format!("error calling uwsgi_sharedarea_{function}()"))
}

fn find(area: i64) -> Option<&'static SharedArea> {
    let areas = &shared_memory::get()?.areas;
    areas.get(usize::try_from(area).ok()?)
}

/// Finds an area and checks a position, which must not be negative.
fn at(area: i64, position: i64) -> Option<(&'static SharedArea, u64)> {
    Some((find(area)?, u64::try_from(position).ok()?))
}

/// Returns bytes of an area; without a length, up to the end.
#[pyfunction]
#[pyo3(signature = (area, position, len=0, /))]
fn sharedarea_read(
    py: Python<'_>,
    area: i64,
    position: i64,
    len: i64,
) -> PyResult<Bound<'_, PyBytes>> {
    let len = (len != 0).then(|| u64::try_from(len).unwrap_or(u64::MAX));
    let read = at(area, position).and_then(|(area, position)| area.read(position, len));
    let read = read.ok_or_else(|| error("read"))?;
    Ok(PyBytes::new(py, &read))
}

/// Writes bytes into an area.
#[pyfunction]
#[pyo3(signature = (area, position, value, /))]
fn sharedarea_write(area: i64, position: i64, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let value = bytes(value)?;
    let written = at(area, position).and_then(|(area, position)| area.write(position, value));
    written.ok_or_else(|| error("write"))
}

fn read<const N: usize>(area: i64, position: i64, function: &str) -> PyResult<[u8; N]> {
    let read = at(area, position).and_then(|(area, position)| area.number(position));
    read.ok_or_else(|| error(function))
}

fn write(area: i64, position: i64, value: &[u8], function: &str) -> PyResult<()> {
    let written = at(area, position).and_then(|(area, position)| area.write(position, value));
    written.ok_or_else(|| error(function))
}

fn change<const N: usize>(
    area: i64,
    position: i64,
    function: &str,
    change: impl FnOnce([u8; N]) -> [u8; N],
) -> PyResult<()> {
    let changed = at(area, position).and_then(|(area, position)| area.change(position, change));
    changed.ok_or_else(|| error(function))
}

/// Returns a signed number of 1 byte.
#[pyfunction]
#[pyo3(signature = (area, position, /))]
fn sharedarea_read8(area: i64, position: i64) -> PyResult<i8> {
    read(area, position, "read8").map(i8::from_ne_bytes)
}

/// Returns a signed number of 2 bytes.
#[pyfunction]
#[pyo3(signature = (area, position, /))]
fn sharedarea_read16(area: i64, position: i64) -> PyResult<i16> {
    read(area, position, "read16").map(i16::from_ne_bytes)
}

/// Returns a signed number of 4 bytes.
#[pyfunction]
#[pyo3(signature = (area, position, /))]
fn sharedarea_read32(area: i64, position: i64) -> PyResult<i32> {
    read(area, position, "read32").map(i32::from_ne_bytes)
}

/// Returns a signed number of 8 bytes.
#[pyfunction]
#[pyo3(signature = (area, position, /))]
fn sharedarea_read64(area: i64, position: i64) -> PyResult<i64> {
    read(area, position, "read64").map(i64::from_ne_bytes)
}

/// Writes the lowest byte of a number.
#[pyfunction]
#[pyo3(signature = (area, position, value, /))]
fn sharedarea_write8(area: i64, position: i64, value: i64) -> PyResult<()> {
    write(area, position, &(value as u8).to_ne_bytes(), "write8")
}

/// Writes the lowest 2 bytes of a number.
#[pyfunction]
#[pyo3(signature = (area, position, value, /))]
fn sharedarea_write16(area: i64, position: i64, value: i64) -> PyResult<()> {
    write(area, position, &(value as i16).to_ne_bytes(), "write16")
}

/// Writes the lowest 4 bytes of a number.
#[pyfunction]
#[pyo3(signature = (area, position, value, /))]
fn sharedarea_write32(area: i64, position: i64, value: i64) -> PyResult<()> {
    write(area, position, &(value as i32).to_ne_bytes(), "write32")
}

/// Writes a number of 8 bytes.
#[pyfunction]
#[pyo3(signature = (area, position, value, /))]
fn sharedarea_write64(area: i64, position: i64, value: i64) -> PyResult<()> {
    write(area, position, &value.to_ne_bytes(), "write64")
}

/// Adds to a number of 4 bytes.
#[pyfunction]
#[pyo3(signature = (area, position, value=1, /))]
fn sharedarea_inc32(area: i64, position: i64, value: i64) -> PyResult<()> {
    change(area, position, "inc32", |old| {
        i32::from_ne_bytes(old)
            .wrapping_add(value as i32)
            .to_ne_bytes()
    })
}

/// Adds to a number of 8 bytes.
#[pyfunction]
#[pyo3(signature = (area, position, value=1, /))]
fn sharedarea_inc64(area: i64, position: i64, value: i64) -> PyResult<()> {
    change(area, position, "inc64", |old| {
        i64::from_ne_bytes(old).wrapping_add(value).to_ne_bytes()
    })
}

/// Subtracts from a number of 4 bytes.
#[pyfunction]
#[pyo3(signature = (area, position, value=1, /))]
fn sharedarea_dec32(area: i64, position: i64, value: i64) -> PyResult<()> {
    change(area, position, "dec32", |old| {
        i32::from_ne_bytes(old)
            .wrapping_sub(value as i32)
            .to_ne_bytes()
    })
}

/// Subtracts from a number of 8 bytes.
#[pyfunction]
#[pyo3(signature = (area, position, value=1, /))]
fn sharedarea_dec64(area: i64, position: i64, value: i64) -> PyResult<()> {
    change(area, position, "dec64", |old| {
        i64::from_ne_bytes(old).wrapping_sub(value).to_ne_bytes()
    })
}

/// Takes the lock of an area. Readers exclude each other too.
#[pyfunction]
#[pyo3(signature = (area, /))]
fn sharedarea_rlock(py: Python<'_>, area: i64) -> PyResult<()> {
    let lock = find(area).and_then(SharedArea::user_lock);
    wait_for(py, lock.ok_or_else(|| error("rlock"))?)
}

/// Takes the lock of an area.
#[pyfunction]
#[pyo3(signature = (area, /))]
fn sharedarea_wlock(py: Python<'_>, area: i64) -> PyResult<()> {
    let lock = find(area).and_then(SharedArea::user_lock);
    wait_for(py, lock.ok_or_else(|| error("wlock"))?)
}

/// Releases the lock of an area, if this process holds it.
#[pyfunction]
#[pyo3(signature = (area, /))]
fn sharedarea_unlock(area: i64) -> PyResult<()> {
    let lock = find(area).and_then(SharedArea::user_lock);
    lock.ok_or_else(|| error("unlock"))?.unlock();
    Ok(())
}

/// Returns a writable memoryview of an area.
#[pyfunction]
#[pyo3(signature = (area, /))]
fn sharedarea_memoryview(py: Python<'_>, area: i64) -> PyResult<Bound<'_, PyAny>> {
    let found = find(area).and_then(|it| Some((it.address()?, isize::try_from(it.size()).ok()?)));
    let Some((address, size)) = found else {
        let message = format!("cannot get a memoryview object from sharedarea {area}");
        return Err(PyValueError::new_err(message));
    };
    // SAFETY: the area is in a static, so it is mapped as long as the process runs; its memory is shared with other
    // processes and only accessed as bytes, by atomics here and by the interpreter through the view.
    unsafe {
        let view = pyo3::ffi::PyMemoryView_FromMemory(address.cast(), size, WRITABLE);
        Bound::from_owned_ptr_or_err(py, view)
    }
}
