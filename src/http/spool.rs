//! Request bodies on their way to the application: in memory while they are small, then in an unnamed file.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A complete request body.
#[derive(Default)]
pub enum Body {
    /// The request has no body.
    #[default]
    Empty,
    /// A body in memory.
    Memory(Vec<u8>),
    /// A spooled body: the first `len` bytes of the file. The file's own position has no meaning.
    File {
        /// The file; nothing writes to it any more.
        file: File,
        /// The body's length, bytes.
        len: u64,
    },
}

/// Bytes that all spools of this process hold in memory.
static HELD: AtomicU64 = AtomicU64::new(0);
/// Limit for [`HELD`], above which new spools get the threshold [`SMALL`].
const HELD_LIMIT: u64 = 32 << 20;
/// Threshold of a spool while the others hold more than [`HELD_LIMIT`].
const SMALL: u64 = 64 << 10;

/// A request body that is being received.
pub struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    len: u64,
    threshold: u64,
}

impl Spool {
    /// An empty spool that moves to a file when it reaches `threshold` bytes.
    pub fn new(threshold: u64) -> Self {
        let threshold = if HELD.load(Relaxed) > HELD_LIMIT {
            threshold.min(SMALL)
        } else {
            threshold
        };
        Self {
            memory: Vec::new(),
            file: None,
            len: 0,
            threshold,
        }
    }

    /// As [`Spool::new`], for a body of known length: a long one goes to a file from its first byte.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn with_length(len: u64, threshold: u64) -> io::Result<Self> {
        let mut spool = Self::new(threshold);
        if len >= spool.threshold {
            spool.file = Some(tempfile::tempfile()?);
        }
        Ok(spool)
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.len
    }

    /// Whether the body is still in memory.
    pub fn in_memory(&self) -> bool {
        self.file.is_none()
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Those of creating and writing the file, above all a full disk.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let after = self.len + bytes.len() as u64;
        if self.file.is_none() && after >= self.threshold && after > 0 {
            let mut file = tempfile::tempfile()?;
            file.write_all(&self.memory)?;
            self.release();
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes)?,
            None => {
                self.memory.extend_from_slice(bytes);
                HELD.fetch_add(bytes.len() as u64, Relaxed);
            }
        }
        self.len = after;
        Ok(())
    }

    /// The received bytes as a complete body.
    pub fn into_body(mut self) -> Body {
        let memory = self.release();
        match self.file.take() {
            Some(file) => Body::File {
                file,
                len: self.len,
            },
            None if memory.is_empty() => Body::Empty,
            None => Body::Memory(memory),
        }
    }

    /// Takes the bytes out of memory and out of [`HELD`].
    fn release(&mut self) -> Vec<u8> {
        HELD.fetch_sub(self.memory.len() as u64, Relaxed);
        std::mem::take(&mut self.memory)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.release();
    }
}
