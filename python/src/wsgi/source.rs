//! The storage of a request body: memory or a temporary file.

use std::fs::File;
use std::sync::Arc;

use ruwsgi::http::budget::Share;
use ruwsgi::http::spool::Body;

/// The storage of a request body, with the body's share of the worker's limits.
pub enum Source {
    /// A body in memory.
    Memory {
        /// The body.
        bytes: Vec<u8>,
        /// The body's share of the memory limit (`limit-buffers`).
        _share: Share,
    },
    /// A body in a file.
    File {
        /// The file.
        file: Arc<File>,
        /// The body's length.
        len: u64,
        /// The body's share of the limit on temporary files (`limit-spool`).
        _share: Share,
    },
    /// The application has closed `wsgi.input`.
    Closed,
}

impl Source {
    /// Returns the length of the body, bytes; 0 after the application has closed it.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory { bytes, .. } => bytes.len() as u64,
            Self::File { len, .. } => *len,
            Self::Closed => 0,
        }
    }
}

impl From<Body> for Source {
    fn from(body: Body) -> Self {
        match body {
            Body::Empty => Self::Memory {
                bytes: Vec::new(),
                _share: Share::default(),
            },
            Body::Memory { bytes, share } => Self::Memory {
                bytes,
                _share: share,
            },
            Body::File { file, len, share } => Self::File {
                file: Arc::new(file),
                len,
                _share: share,
            },
        }
    }
}
