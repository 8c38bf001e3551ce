//! `wsgi.file_wrapper` (PEP 3333): an iterable over a file-like object. The kernel sends the content of regular files.

use std::fs::File;
use std::os::fd::BorrowedFd;

use pyo3::prelude::*;

/// The iterable that the application returns for a file.
#[pyclass(frozen, module = "_ruwsgi", name = "FileWrapper")]
pub struct FileWrapper {
    /// The file-like object.
    #[pyo3(get)]
    filelike: Py<PyAny>,
    /// Number of bytes that are read at a time, if the kernel cannot send the file.
    #[pyo3(get)]
    blksize: usize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize=65536))]
    fn new(py: Python<'_>, filelike: Py<PyAny>, blksize: usize) -> PyResult<Self> {
        filelike.getattr(py, pyo3::intern!(py, "read"))?;
        Ok(Self {
            filelike,
            blksize: blksize.max(1),
        })
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let block = self
            .filelike
            .call_method1(py, pyo3::intern!(py, "read"), (self.blksize,))?;
        Ok(block.is_truthy(py)?.then_some(block))
    }

    /// Closes the file-like object if it can be closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.filelike.bind(py).getattr_opt("close")? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }
}

/// A range of a regular file.
pub struct FileRange {
    /// A duplicate descriptor, because the application may close its file.
    pub file: File,
    /// Offset of the first byte in the file.
    pub offset: u64,
    /// Number of bytes in the range.
    pub len: u64,
}

impl FileWrapper {
    /// Returns the part of the file after its current position. `None` if the object is no regular file, because the
    /// kernel cannot send it.
    pub fn range(&self, py: Python<'_>) -> Option<FileRange> {
        let filelike = self.filelike.bind(py);
        let attempt = || -> PyResult<Option<FileRange>> {
            // a text file yields str, which must fail as any other block that is not bytes
            if filelike.hasattr("encoding")? {
                return Ok(None);
            }
            let fd: i32 = filelike
                .call_method0(pyo3::intern!(py, "fileno"))?
                .extract()?;
            let offset: u64 = filelike
                .call_method0(pyo3::intern!(py, "tell"))?
                .extract()?;
            if fd < 0 {
                return Ok(None);
            }
            // SAFETY: the application's file keeps the descriptor open during this call.
            let file = File::from(unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?);
            let meta = file.metadata()?;
            Ok((meta.is_file() && meta.len() >= offset).then(|| FileRange {
                len: meta.len() - offset,
                offset,
                file,
            }))
        };
        // an object without a descriptor or a position is read as any other iterable
        attempt().ok().flatten()
    }
}
