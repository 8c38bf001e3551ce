//! `wsgi.input`: the request body as a file-like object that behaves like `io.BytesIO`.
//!
//! The body is complete before the application is called, so reading never waits for the client. A small body is in
//! memory. A large body is in a spooled file that is read in pieces.

use std::fs::File;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyList, PyMemoryView, PySlice};
use ruwsgi::http::budget::Share;
use ruwsgi::http::spool::Body;

use super::memory::{new_bytes, reserve};
use super::source::Source;

/// Maximum number of bytes of a spooled file that are read at once into the cache. Longer reads bypass the cache.
const WINDOW: u64 = 64 * 1024;

/// The file-like object. Threads may share it; each call sees one consistent position.
#[pyclass(name = "Input", module = "_ruwsgi")]
pub struct Input {
    // This lock is held only while the GIL is neither released nor acquired. Otherwise a thread could hold this lock
    // and wait for the GIL, while another thread holds the GIL and waits for this lock.
    state: Mutex<State>,
    /// Serialises the reads of a spooled body, because each read moves the position. `None` for a body in memory.
    /// Threads wait for this lock without the GIL, so a thread may hold the lock while it releases and acquires the
    /// GIL.
    turn: Option<Mutex<()>>,
}

struct State {
    source: Source,
    /// Position of the next read, in bytes; it may be after the end of the body.
    at: u64,
    window: Window,
}

/// Cache of the part of a spooled file that was read last.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Returns the cached bytes from file position `at` on; empty if there are none.
    fn from(&self, at: u64) -> &[u8] {
        at.checked_sub(self.start)
            .and_then(|skip| self.bytes.get(usize::try_from(skip).ok()?..))
            .unwrap_or_default()
    }
}

/// A range of a file, which is read while `state` is not locked.
struct FileRange {
    file: Arc<File>,
    start: u64,
    len: u64,
}

impl FileRange {
    fn read(&self, py: Python<'_>, buffer: &mut [u8]) -> PyResult<()> {
        Ok(py.detach(|| self.file.read_exact_at(buffer, self.start))?)
    }
}

impl State {
    fn len(&self) -> u64 {
        self.source.len()
    }

    /// Returns the number of bytes between the position and the end, at most `size` (negative: no limit).
    fn left(&self, size: isize) -> u64 {
        let left = self.len().saturating_sub(self.at);
        u64::try_from(size).map_or(left, |size| size.min(left))
    }

    /// Returns the bytes from `at` on that are available without reading a file.
    fn available(&self, at: u64) -> &[u8] {
        match &self.source {
            Source::Memory { bytes, .. } => usize::try_from(at)
                .ok()
                .and_then(|at| bytes.get(at..))
                .unwrap_or_default(),
            _ => self.window.from(at),
        }
    }

    /// Returns the next `n` bytes, which must exist, and advances the position. `None` if they are not available
    /// without reading a file.
    fn take<'py>(&mut self, py: Python<'py>, n: u64) -> Option<PyResult<Bound<'py, PyBytes>>> {
        let bytes = self.available(self.at).get(..usize::try_from(n).ok()?)?;
        let bytes = new_bytes(py, bytes);
        if bytes.is_ok() {
            self.at += n;
        }
        Some(bytes)
    }

    fn range(&self, start: u64, len: u64) -> PyResult<FileRange> {
        match &self.source {
            Source::File { file, .. } => Ok(FileRange {
                file: file.clone(),
                start,
                len,
            }),
            _ => Err(closed()),
        }
    }
}

impl Input {
    /// Creates the input of a request without a body.
    pub fn empty() -> Self {
        Self::new(Body::Empty)
    }

    /// Creates the input of a request with this body.
    pub fn new(body: Body) -> Self {
        Self::of(body.into())
    }

    fn of(source: Source) -> Self {
        let turn = matches!(source, Source::File { .. }).then(Mutex::default);
        Self {
            state: Mutex::new(State {
                source,
                at: 0,
                window: Window::default(),
            }),
            turn,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> PyResult<MutexGuard<'_, State>> {
        let state = self.lock();
        match state.source {
            Source::Closed => Err(closed()),
            _ => Ok(state),
        }
    }

    fn turn(&self, py: Python<'_>) -> Option<MutexGuard<'_, ()>> {
        let turn = self.turn.as_ref()?;
        Some(
            turn.lock_py_attached(py)
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn read_bytes<'py>(&self, py: Python<'py>, size: isize) -> PyResult<Bound<'py, PyBytes>> {
        let _turn = self.turn(py);
        let range = {
            let mut state = self.open()?;
            let n = state.left(size);
            if let Some(bytes) = state.take(py, n) {
                return bytes;
            }
            state.range(state.at, n)?
        };
        let end = range.start + range.len;
        let bytes = if range.len < WINDOW {
            let window = self.slide(py, range.start)?;
            let len = usize::try_from(range.len)?;
            let bytes = new_bytes(py, window.bytes.get(..len).unwrap_or_default());
            self.lock().window = window;
            bytes?
        } else {
            PyBytes::new_with(py, usize::try_from(range.len)?, |buffer| {
                range.read(py, buffer)
            })?
        };
        self.lock().at = end;
        Ok(bytes)
    }

    /// Reads a window of the spooled file that begins at `start`; the window is empty at the end of the file. Takes the
    /// memory of the cached window for the result. The caller stores the result as the cached window.
    fn slide(&self, py: Python<'_>, start: u64) -> PyResult<Window> {
        let (mut window, range) = {
            let mut state = self.open()?;
            let len = state.len().saturating_sub(start).min(WINDOW);
            (std::mem::take(&mut state.window), state.range(start, len)?)
        };
        window.start = start;
        let len = usize::try_from(range.len)?;
        reserve(&mut window.bytes, len)?;
        window.bytes.resize(len, 0);
        range.read(py, &mut window.bytes)?;
        Ok(window)
    }

    fn read_line<'py>(&self, py: Python<'py>, size: isize) -> PyResult<Bound<'py, PyBytes>> {
        let _turn = self.turn(py);
        let mut line = Vec::new();
        let (start, limit) = {
            let mut state = self.open()?;
            let limit = state.left(size);
            let (n, whole) = line_length(state.available(state.at), limit);
            if whole && let Some(bytes) = state.take(py, n) {
                return bytes;
            }
            (state.at, limit)
        };
        loop {
            let at = start + line.len() as u64;
            let window = self.slide(py, at)?;
            let (n, whole) = line_length(&window.bytes, limit - line.len() as u64);
            let part = window.bytes.get(..usize::try_from(n)?).unwrap_or_default();
            reserve(&mut line, part.len())?;
            line.extend_from_slice(part);
            let mut state = self.lock();
            state.window = window;
            if whole || n == 0 {
                state.at = start + line.len() as u64;
                break;
            }
        }
        new_bytes(py, &line)
    }
}

#[pymethods]
impl Input {
    /// A body from `bytes`, or from an open file (its whole content, independent of its position).
    #[new]
    #[pyo3(signature = (body = None, /))]
    fn from_python(body: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(body) = body else {
            return Ok(Self::empty());
        };
        if let Ok(bytes) = body.cast::<PyBytes>() {
            let mut copy = Vec::new();
            reserve(&mut copy, bytes.as_bytes().len())?;
            copy.extend_from_slice(bytes.as_bytes());
            return Ok(Self::new(Body::Memory {
                bytes: copy,
                share: Share::default(),
            }));
        }
        let fd: RawFd = body
            .call_method0("fileno")
            .map_err(|_| PyTypeError::new_err("Input() takes bytes or an open file"))?
            .extract()?;
        if fd < 0 {
            return Err(PyValueError::new_err(format!(
                "{fd} is not a file descriptor"
            )));
        }
        // SAFETY: `body` owns the descriptor, is alive during this call, and the clone is ours.
        let file = File::from(unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?);
        let len = file.metadata()?.len();
        Ok(Self::new(Body::File {
            file,
            len,
            share: Share::default(),
        }))
    }

    #[pyo3(signature = (size = None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.read_bytes(py, size.unwrap_or(-1))
    }

    #[pyo3(signature = (size = None, /))]
    fn read1<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.read_bytes(py, size.unwrap_or(-1))
    }

    #[pyo3(signature = (size = None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.read_line(py, size.unwrap_or(-1))
    }

    #[pyo3(signature = (hint = None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<isize>) -> PyResult<Bound<'py, PyList>> {
        let enough = hint
            .and_then(|hint| usize::try_from(hint).ok())
            .filter(|hint| *hint > 0);
        // SAFETY: the result is a new reference to a list, or null with an exception set.
        let lines = unsafe {
            Bound::from_owned_ptr_or_err(py, ffi::PyList_New(0))?.cast_into_unchecked::<PyList>()
        };
        let mut total = 0_usize;
        loop {
            let line = self.read_line(py, -1)?;
            let len = line.as_bytes().len();
            if len == 0 {
                return Ok(lines);
            }
            lines.append(line)?;
            total += len;
            if enough.is_some_and(|enough| total >= enough) {
                return Ok(lines);
            }
        }
    }

    #[pyo3(signature = (buffer, /))]
    fn readinto(&self, py: Python<'_>, buffer: &Bound<'_, PyAny>) -> PyResult<usize> {
        drop(self.open()?);
        let view = PyMemoryView::from(buffer)?;
        if view.getattr(intern!(py, "readonly"))?.extract()? {
            return Err(PyTypeError::new_err("readinto() needs a writable buffer"));
        }
        let view = view.call_method1(intern!(py, "cast"), (intern!(py, "B"),))?;
        let bytes = self.read_bytes(py, view.len()?.try_into()?)?;
        let n = bytes.as_bytes().len();
        let part = py.get_type::<PySlice>().call1((0, isize::try_from(n)?))?;
        view.set_item(part, bytes)?;
        Ok(n)
    }

    #[pyo3(signature = (buffer, /))]
    fn readinto1(&self, py: Python<'_>, buffer: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.readinto(py, buffer)
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.read_line(py, -1)?;
        Ok((!line.as_bytes().is_empty()).then_some(line))
    }

    #[pyo3(signature = (offset, whence = 0, /))]
    fn seek(&self, offset: isize, whence: i32) -> PyResult<u64> {
        let mut state = self.open()?;
        let from = match whence {
            0 if offset < 0 => {
                return Err(PyValueError::new_err(format!(
                    "negative seek value {offset}"
                )));
            }
            0 => 0,
            1 => state.at,
            2 => state.len(),
            _ => {
                return Err(PyValueError::new_err(format!(
                    "invalid whence ({whence}, should be 0, 1 or 2)"
                )));
            }
        };
        let to = isize::try_from(from)
            .ok()
            .and_then(|from| from.checked_add(offset))
            .ok_or_else(|| PyOverflowError::new_err("new position too large"))?;
        state.at = u64::try_from(to).unwrap_or(0);
        Ok(state.at)
    }

    fn tell(&self) -> PyResult<u64> {
        Ok(self.open()?.at)
    }

    fn readable(&self) -> PyResult<bool> {
        self.open().map(|_| true)
    }

    fn seekable(&self) -> PyResult<bool> {
        self.open().map(|_| true)
    }

    fn writable(&self) -> PyResult<bool> {
        self.open().map(|_| false)
    }

    fn isatty(&self) -> PyResult<bool> {
        self.open().map(|_| false)
    }

    fn flush(&self) -> PyResult<()> {
        self.open().map(|_| ())
    }

    /// Always raises `io.UnsupportedOperation`. A descriptor would have a separate position. Code that takes the
    /// descriptor, such as `os.fdopen` and `subprocess`, would close it or read from the wrong position.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        drop(self.open()?);
        let unsupported = py.import("io")?.getattr("UnsupportedOperation")?;
        Err(PyErr::from_value(unsupported.call1(("fileno",))?))
    }

    fn close(&self) {
        let mut state = self.lock();
        state.source = Source::Closed;
        state.window = Window::default();
    }

    #[getter]
    fn closed(&self) -> bool {
        matches!(self.lock().source, Source::Closed)
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        drop(slf.borrow().open()?);
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyAny>) {
        self.close();
    }
}

fn closed() -> PyErr {
    PyValueError::new_err("I/O operation on closed file.")
}

/// Returns the length of the line at the start of `bytes`, at most `limit`, and whether the line ends there (by a
/// newline or by `limit`).
fn line_length(bytes: &[u8], limit: u64) -> (u64, bool) {
    let limited = bytes
        .get(..usize::try_from(limit).unwrap_or(usize::MAX))
        .unwrap_or(bytes);
    match newline(limited) {
        Some(at) => (at as u64 + 1, true),
        None => (limited.len() as u64, limited.len() as u64 == limit),
    }
}

fn newline(bytes: &[u8]) -> Option<usize> {
    // SAFETY: memchr reads at most `bytes.len()` bytes from the start of the slice.
    let found = unsafe { libc::memchr(bytes.as_ptr().cast(), i32::from(b'\n'), bytes.len()) };
    (!found.is_null()).then(|| found.addr() - bytes.as_ptr().addr())
}
