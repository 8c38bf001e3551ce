//! Bytes on their way between a slow peer and the application: in memory while they are few, then in a file
//! that has no name.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::input::Body;

/// Bytes that all spools of this process hold in memory.
static HELD: AtomicU64 = AtomicU64::new(0);
/// Above this, new spools go to a file early.
const HELD_MOST: u64 = 32 << 20;
/// What a spool may hold in memory when the others hold [`HELD_MOST`] already.
const SMALL: u64 = 64 << 10;

/// A growing run of bytes.
pub struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    len: u64,
    threshold: u64,
}

impl Spool {
    /// An empty one that goes to a file when it reaches `threshold` bytes.
    pub fn new(threshold: u64) -> Self {
        let threshold = if HELD.load(Relaxed) > HELD_MOST {
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

    /// As [`Spool::new`], for a run whose length is known.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn expecting(len: u64, threshold: u64) -> io::Result<Self> {
        let mut spool = Self::new(threshold);
        if len >= spool.threshold {
            spool.file = Some(tempfile::tempfile()?);
        }
        Ok(spool)
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// In memory still?
    pub fn in_memory(&self) -> bool {
        self.file.is_none()
    }

    /// Appends.
    ///
    /// # Errors
    /// Those of writing to the file: above all a full disk.
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

    /// The whole, for reading.
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
