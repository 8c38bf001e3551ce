//! Where the bytes of a request body are.

use std::fs::File;
use std::sync::Arc;

use ruwsgi::http::budget::Share;
use ruwsgi::http::spool::Body;

/// The bytes of a request body, with their part of the worker's limits.
pub enum Source {
    /// A body in memory.
    Memory {
        /// The body.
        bytes: Vec<u8>,
        /// Its part of the memory.
        _share: Share,
    },
    /// A body in a file.
    File {
        /// The file.
        file: Arc<File>,
        /// The body's length.
        len: u64,
        /// Its part of the room for files.
        _share: Share,
    },
    /// The application has closed the object.
    Closed,
}

impl Source {
    /// The length of the body.
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
