//! Request bodies that are being received. A small body is in memory, a larger body in an unnamed file.

use std::fs::File;
use std::io::{self, Write};

use super::budget::{Budget, FILES, MEMORY, Share};
use super::disk::DISK;

/// A complete request body.
#[derive(Default)]
pub enum Body {
    /// The request has no body.
    #[default]
    Empty,
    /// A body in memory.
    Memory {
        /// The bytes of the body.
        bytes: Vec<u8>,
        /// The body's share of the memory budget.
        share: Share,
    },
    /// A body in a file: the first `len` bytes of the file. The position of the descriptor has no meaning.
    File {
        /// The file; nothing writes to it any more.
        file: File,
        /// The body's length, bytes.
        len: u64,
        /// The body's share of the budget of files.
        share: Share,
    },
}

/// Why a body cannot be stored.
pub enum SpoolError {
    /// The body is longer than half of `limit-spool`, the maximum for one body.
    TooLarge,
    /// Other bodies and responses use the space (`limit-spool`).
    Full,
    /// The body would take more than half of the free space of the disk that is not left to other programs.
    DiskShort,
    /// The file cannot be created or written. The usual reason is a full disk.
    Io(io::Error),
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Maximum size of a body in memory, in bytes, while more than a quarter of the memory budget is used.
const SMALL: u64 = 64 << 10;

/// A request body that is being received.
pub struct Spool {
    memory: Vec<u8>,
    in_memory: Share,
    file: Option<File>,
    in_file: Share,
    len: u64,
    threshold: u64,
}

impl Spool {
    /// Creates an empty spool, which moves to a file when it reaches `threshold` bytes.
    pub fn new(threshold: u64) -> Self {
        Self {
            memory: Vec::new(),
            in_memory: Share::of(&MEMORY),
            file: None,
            in_file: Share::of(&FILES),
            len: 0,
            threshold,
        }
    }

    /// Creates a spool as [`Spool::new`] does, for a body of `len` bytes. A long body goes to a file from its first
    /// byte.
    ///
    /// The body is longer than half of `limit-spool`, the disk has too little room, or the file cannot be created.
    pub fn with_length(len: u64, threshold: u64) -> Result<Self, SpoolError> {
        let mut spool = Self::new(threshold);
        if len >= spool.threshold() {
            if len > FILES.largest_share() {
                return Err(SpoolError::TooLarge);
            }
            let file = tempfile::tempfile()?;
            if !DISK.admits(&file, 0, len) {
                return Err(SpoolError::DiskShort);
            }
            spool.file = Some(file);
        }
        Ok(spool)
    }

    /// The length in bytes from which the body goes to a file. It depends on the memory that is in use now.
    fn threshold(&self) -> u64 {
        effective_threshold(self.threshold, &MEMORY)
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.len
    }

    /// Whether the body is still in memory.
    pub fn in_memory(&self) -> bool {
        self.file.is_none()
    }

    /// Appends bytes to the body. Moves the body to a file if it reaches the threshold.
    ///
    /// # Errors
    /// The body is too long, the budget of files has no room, or the file cannot be created or written.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        let more = bytes.len() as u64;
        let after = self.len + more;
        if self.file.is_none() && after > 0 && after >= self.threshold() {
            self.move_to_file()?;
        }
        match &mut self.file {
            Some(file) => {
                check_room(self.len, more)?;
                write(file, self.len, bytes)?;
                self.in_file.add(more);
            }
            None => {
                self.memory.extend_from_slice(bytes);
                self.in_memory.add(more);
            }
        }
        self.len = after;
        Ok(())
    }

    fn move_to_file(&mut self) -> Result<(), SpoolError> {
        check_room(0, self.len)?;
        let mut file = tempfile::tempfile()?;
        write(&mut file, 0, &self.memory)?;
        self.in_file.add(self.len);
        self.file = Some(file);
        self.memory = Vec::new();
        self.in_memory.set(0);
        Ok(())
    }

    /// Returns the received bytes as a complete body.
    pub fn into_body(self) -> Body {
        match self.file {
            Some(file) => Body::File {
                file,
                len: self.len,
                share: self.in_file,
            },
            None if self.memory.is_empty() => Body::Empty,
            None => Body::Memory {
                bytes: self.memory,
                share: self.in_memory,
            },
        }
    }
}

/// The length in bytes from which bodies go to a file: `configured`, or less when much of the memory budget is used.
fn effective_threshold(configured: u64, memory: &Budget) -> u64 {
    if memory.is_beyond(2) {
        0
    } else if memory.is_beyond(4) {
        configured.min(SMALL)
    } else {
        configured
    }
}

/// Appends `bytes` to a file of `own` bytes.
fn write(file: &mut File, own: u64, bytes: &[u8]) -> Result<(), SpoolError> {
    let more = bytes.len() as u64;
    if !DISK.admits(file, own, more) {
        return Err(SpoolError::DiskShort);
    }
    file.write_all(bytes)?;
    DISK.count(more);
    Ok(())
}

/// Checks that a file of `own` bytes may grow by `more` bytes.
fn check_room(own: u64, more: u64) -> Result<(), SpoolError> {
    if own + more > FILES.largest_share() {
        Err(SpoolError::TooLarge)
    } else if FILES.admits(own, more) {
        Ok(())
    } else {
        FILES.refused(own);
        Err(SpoolError::Full)
    }
}
