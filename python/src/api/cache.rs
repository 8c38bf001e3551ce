//! The functions `uwsgi.cache_*`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyModule};
use ruwsgi::shared::cache::{Cache, Lifetime, Math, Refused};
use ruwsgi::sys::clock::monotonic_micros;

use super::arguments::{bytes, may_wait};
use super::shared_memory;

/// Minimum interval between two log lines about a full cache, microseconds.
const FULL_INTERVAL: u64 = 10_000_000;

/// Size from which a value is copied without the interpreter lock, bytes.
const LARGE: usize = 1 << 18;

/// Adds the functions to the module.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter, above all `MemoryError`.
pub(super) fn add(uwsgi: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(cache_get, uwsgi)?,
        wrap_pyfunction!(cache_set, uwsgi)?,
        wrap_pyfunction!(cache_update, uwsgi)?,
        wrap_pyfunction!(cache_del, uwsgi)?,
        wrap_pyfunction!(cache_exists, uwsgi)?,
        wrap_pyfunction!(cache_clear, uwsgi)?,
        wrap_pyfunction!(cache_inc, uwsgi)?,
        wrap_pyfunction!(cache_dec, uwsgi)?,
        wrap_pyfunction!(cache_mul, uwsgi)?,
        wrap_pyfunction!(cache_div, uwsgi)?,
        wrap_pyfunction!(cache_num, uwsgi)?,
        wrap_pyfunction!(cache_keys, uwsgi)?,
        wrap_pyfunction!(_cache_add, uwsgi)?,
        wrap_pyfunction!(_cache_touch, uwsgi)?,
    ] {
        uwsgi.add_function(function)?;
    }
    Ok(())
}

type Name<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// Finds a cache by its name. Without a name, returns the first cache. `None` if there is no such cache.
fn find(name: Name<'_, '_>) -> PyResult<Option<&'static Cache>> {
    let Some(memory) = shared_memory::get() else {
        return Ok(None);
    };
    let Some(name) = name else {
        return Ok(memory.caches.first());
    };
    let name = bytes(name)?;
    let cache = memory
        .caches
        .iter()
        .find(|it| it.definition().name.as_bytes() == name);
    if cache.is_none() && name.contains(&b'@') {
        return Err(PyValueError::new_err(
            "caches of other hosts are not supported by ruwsgi: use Redis or memcached",
        ));
    }
    Ok(cache)
}

/// Converts the argument `expires`. 0 means that the item never expires; a negative number means that it expires at
/// once.
fn lifetime(expires: Option<&Bound<'_, PyAny>>) -> PyResult<Lifetime> {
    let Some(expires) = expires else {
        return Ok(Lifetime::Unlimited);
    };
    Ok(match expires.extract::<i128>()? {
        0 => Lifetime::Unlimited,
        seconds if seconds < 0 => Lifetime::Over,
        seconds => Lifetime::Seconds(u64::try_from(seconds).unwrap_or(u64::MAX)),
    })
}

/// Converts a result: `True` for success, `None` for an item that was not stored.
fn success(cache: &Cache, result: Result<(), Refused>) -> Option<bool> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    if result == Err(Refused::Full) && cache.definition().logs_full {
        let now = monotonic_micros();
        let last = LAST.load(Relaxed);
        if last == 0 || now.saturating_sub(last) > FULL_INTERVAL {
            LAST.store(now, Relaxed);
            let name = &cache.definition().name;
            tracing::warn!(
                "cache {name} is FULL: an item was not stored; increase items (or blocks), or add purge_lru"
            );
        }
    }
    result.ok().map(|()| true)
}

/// Returns the value of a key as bytes, or None.
#[pyfunction]
#[pyo3(signature = (key, cache=None, /))]
fn cache_get<'py>(
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    cache: Name<'_, 'py>,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let key = bytes(key)?;
    let Some(cache) = find(cache)? else {
        return Ok(None);
    };
    let value = may_wait(py, cache.is_busy(), || cache.get(key));
    Ok(value.map(|value| PyBytes::new(py, &value)))
}

/// Stores a value for a key that has none. Returns True, or None if the value was not stored.
#[pyfunction]
#[pyo3(signature = (key, value, expires=None, cache=None, /))]
fn cache_set<'py>(
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
    expires: Option<&Bound<'py, PyAny>>,
    cache: Name<'_, 'py>,
) -> PyResult<Option<bool>> {
    store(py, (key, value), expires, cache, Cache::add)
}

/// Stores a value. An existing value of the key is replaced. Returns True, or None if the value was not stored.
#[pyfunction]
#[pyo3(signature = (key, value, expires=None, cache=None, /))]
fn cache_update<'py>(
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
    expires: Option<&Bound<'py, PyAny>>,
    cache: Name<'_, 'py>,
) -> PyResult<Option<bool>> {
    store(py, (key, value), expires, cache, Cache::set)
}

type Put = fn(&Cache, &[u8], &[u8], Lifetime) -> Result<(), Refused>;

fn store<'py>(
    py: Python<'py>,
    (key, value): (&Bound<'py, PyAny>, &Bound<'py, PyAny>),
    expires: Option<&Bound<'py, PyAny>>,
    cache: Name<'_, 'py>,
    put: Put,
) -> PyResult<Option<bool>> {
    let (key, value, lifetime) = (bytes(key)?, bytes(value)?, lifetime(expires)?);
    let Some(cache) = find(cache)? else {
        return Ok(None);
    };
    let waits = value.len() >= LARGE || cache.is_busy();
    let result = may_wait(py, waits, || put(cache, key, value, lifetime));
    Ok(success(cache, result))
}

/// Removes the value of a key. Returns True, or None if the key has no value.
#[pyfunction]
#[pyo3(signature = (key, cache=None, /))]
fn cache_del<'py>(
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    cache: Name<'_, 'py>,
) -> PyResult<Option<bool>> {
    let key = bytes(key)?;
    let Some(cache) = find(cache)? else {
        return Ok(None);
    };
    Ok(may_wait(py, cache.is_busy(), || cache.remove(key)).then_some(true))
}

/// Returns True if the key has a value, otherwise None.
#[pyfunction]
#[pyo3(signature = (key, cache=None, /))]
fn cache_exists<'py>(
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    cache: Name<'_, 'py>,
) -> PyResult<Option<bool>> {
    let key = bytes(key)?;
    let Some(cache) = find(cache)? else {
        return Ok(None);
    };
    Ok(may_wait(py, cache.is_busy(), || cache.contains(key)).then_some(true))
}

/// Removes all values. Returns True, or None if there is no such cache.
#[pyfunction]
#[pyo3(signature = (cache=None, /))]
fn cache_clear<'py>(py: Python<'py>, cache: Name<'_, 'py>) -> PyResult<Option<bool>> {
    let Some(cache) = find(cache)? else {
        return Ok(None);
    };
    py.detach(|| cache.clear());
    Ok(Some(true))
}

fn calculate<'py>(
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    operation: (Math, i64),
    expires: Option<&Bound<'py, PyAny>>,
    cache: Name<'_, 'py>,
) -> PyResult<Option<bool>> {
    let (key, lifetime) = (bytes(key)?, lifetime(expires)?);
    let Some(cache) = find(cache)? else {
        return Ok(None);
    };
    let result = may_wait(py, cache.is_busy(), || {
        cache.calculate(key, operation, lifetime)
    });
    Ok(success(cache, result))
}

/// Adds to the number of a key.
#[pyfunction]
#[pyo3(signature = (key, n=1, expires=None, cache=None, /))]
fn cache_inc<'py>(
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    n: i64,
    expires: Option<&Bound<'py, PyAny>>,
    cache: Name<'_, 'py>,
) -> PyResult<Option<bool>> {
    calculate(py, key, (Math::Add, n), expires, cache)
}

/// Subtracts from the number of a key.
#[pyfunction]
#[pyo3(signature = (key, n=1, expires=None, cache=None, /))]
fn cache_dec<'py>(
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    n: i64,
    expires: Option<&Bound<'py, PyAny>>,
    cache: Name<'_, 'py>,
) -> PyResult<Option<bool>> {
    calculate(py, key, (Math::Subtract, n), expires, cache)
}

/// Multiplies the number of a key.
#[pyfunction]
#[pyo3(signature = (key, n=2, expires=None, cache=None, /))]
fn cache_mul<'py>(
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    n: i64,
    expires: Option<&Bound<'py, PyAny>>,
    cache: Name<'_, 'py>,
) -> PyResult<Option<bool>> {
    calculate(py, key, (Math::Multiply, n), expires, cache)
}

/// Divides the number of a key.
#[pyfunction]
#[pyo3(signature = (key, n=2, expires=None, cache=None, /))]
fn cache_div<'py>(
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    n: i64,
    expires: Option<&Bound<'py, PyAny>>,
    cache: Name<'_, 'py>,
) -> PyResult<Option<bool>> {
    calculate(py, key, (Math::Divide, n), expires, cache)
}

/// Returns the number of a key; 0 if the key has no number.
#[pyfunction]
#[pyo3(signature = (key, cache=None, /))]
fn cache_num<'py>(py: Python<'py>, key: &Bound<'py, PyAny>, cache: Name<'_, 'py>) -> PyResult<i64> {
    let key = bytes(key)?;
    let Some(cache) = find(cache)? else {
        return Ok(0);
    };
    Ok(may_wait(py, cache.is_busy(), || cache.number(key)).unwrap_or(0))
}

/// Returns a list of all keys.
#[pyfunction]
#[pyo3(signature = (cache=None, /))]
fn cache_keys<'py>(py: Python<'py>, cache: Name<'_, 'py>) -> PyResult<Bound<'py, PyList>> {
    let cache =
        find(cache)?.ok_or_else(|| PyValueError::new_err("no local uWSGI cache available"))?;
    let keys = py.detach(|| cache.keys());
    PyList::new(py, keys.iter().map(|key| PyBytes::new(py, key)))
}

/// Adds to the number of a key. Returns the sum, or None if the key has no number. For `ruwsgi.django`.
#[pyfunction]
#[pyo3(signature = (key, n, cache=None, /))]
fn _cache_add<'py>(
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    n: i64,
    cache: Name<'_, 'py>,
) -> PyResult<Option<i64>> {
    let key = bytes(key)?;
    let Some(cache) = find(cache)? else {
        return Ok(None);
    };
    Ok(may_wait(py, cache.is_busy(), || {
        cache.add_to_number(key, n)
    }))
}

/// Sets a new expiry of a value. Returns True, or None if there is no value. For `ruwsgi.django`.
#[pyfunction]
#[pyo3(signature = (key, expires=None, cache=None, /))]
fn _cache_touch<'py>(
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    expires: Option<&Bound<'py, PyAny>>,
    cache: Name<'_, 'py>,
) -> PyResult<Option<bool>> {
    let (key, lifetime) = (bytes(key)?, lifetime(expires)?);
    let Some(cache) = find(cache)? else {
        return Ok(None);
    };
    Ok(may_wait(py, cache.is_busy(), || cache.extend(key, lifetime)).then_some(true))
}
