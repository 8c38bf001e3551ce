//! The free space that the temporary files of requests and responses leave to other programs.
//!
//! `limit-spool` limits the files of one worker, but several workers and instances share a file system. Therefore the
//! free space of the file system is read after every [`STEP`] bytes.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::sys::statvfs::fstatvfs;

/// Bytes that are written between two reads of the file system's free space.
const STEP: u64 = 8 << 20;
/// Maximum number of bytes that are left free for other programs.
const RESERVE: u64 = 1 << 30;
/// The divisor for small file systems: one twentieth of the file system is left free, if that is less than [`RESERVE`].
const PART: u64 = 20;

/// The file system of the directory for temporary files.
pub static DISK: Disk = Disk {
    room: AtomicU64::new(0),
    written: AtomicU64::new(0),
};

/// The room for temporary files in a file system, as this process knows it.
pub struct Disk {
    /// Bytes that may be written: the room that was read last, less the bytes written since.
    room: AtomicU64,
    /// Bytes written since the room was read last.
    written: AtomicU64,
}

impl Disk {
    /// Whether `file`, which has `own` bytes, may grow by `more` bytes. A file must leave as many bytes free as it has,
    /// so that there is always room for another file.
    pub fn admits(&self, file: &File, own: u64, more: u64) -> bool {
        let needed = own.saturating_add(more).saturating_add(more);
        if self.written.load(Relaxed) > STEP || self.room.load(Relaxed) < needed {
            self.written.store(0, Relaxed);
            self.room.store(look(file), Relaxed);
        }
        self.room.load(Relaxed) >= needed
    }

    /// Counts written bytes.
    pub fn count(&self, bytes: u64) {
        self.written.fetch_add(bytes, Relaxed);
        let left = self.room.load(Relaxed).saturating_sub(bytes);
        self.room.store(left, Relaxed);
    }
}

/// Bytes that may be written to the file system of `file`. A file system that does not report its size is not limited.
fn look(file: &File) -> u64 {
    let Ok(status) = fstatvfs(file) else {
        return u64::MAX;
    };
    let unit = status.fragment_size();
    room(
        status.blocks().saturating_mul(unit),
        status.blocks_available().saturating_mul(unit),
    )
}

/// Bytes that may be written to a file system of `size` bytes of which `free` bytes are free.
fn room(size: u64, free: u64) -> u64 {
    if size == 0 {
        return u64::MAX;
    }
    free.saturating_sub((size / PART).min(RESERVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_disk_is_left_to_others() {
        const MIB: u64 = 1 << 20;
        assert_eq!(room(100 * MIB, 100 * MIB), 95 * MIB);
        assert_eq!(room(100 * MIB, 4 * MIB), 0);
        // never more than 1 GiB
        assert_eq!(room(1 << 40, 3 << 30), 2 << 30);
        // the file system reports no size
        assert_eq!(room(0, 0), u64::MAX);
    }
}
