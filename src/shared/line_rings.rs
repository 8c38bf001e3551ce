//! Rings of log lines: memory in which the workers of a generation leave their request lines for the master.
//!
//! One memfd per generation holds a header and one ring per scoreboard row. A ring has one writer (the worker of the row)
//! and one reader (the master). The memory outlives the worker: the lines of a killed worker are complete, because a
//! line becomes visible to the reader with one store, after its bytes are copied.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst,
};

use super::mapping::Mapping;

/// Size of a ring, bytes. The kernel allocates a page of it when a line is written there.
const SIZE: usize = 64 << 10;

#[repr(C, align(128))]
struct Header {
    /// 1 while the reader sleeps until a writer wakes it, otherwise 0.
    awaited: AtomicU32,
}

/// The positions of a ring count the bytes since its creation; a position modulo [`SIZE`] is a place in the ring.
#[repr(C, align(128))]
struct Positions {
    /// End of the last complete line. Written by the worker.
    end: AtomicU64,
    /// Beginning of the first line that is not read. Written by the master.
    begin: AtomicU64,
}

/// The result of [`LineRings::append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The line is in the ring. The reader reads it without a wake-up.
    Quietly,
    /// The line is in the ring, and the caller must wake the reader.
    Wake,
    /// The ring has no space for the line.
    Full,
}

/// The mapped rings of one generation.
pub struct LineRings {
    mapping: Mapping,
    fd: OwnedFd,
    count: usize,
}

impl LineRings {
    /// Creates `count` rings. The size of the memfd is sealed.
    ///
    /// # Errors
    /// Those of memfd_create(2), ftruncate(2), fcntl(2) and mmap(2).
    pub fn create(count: u32) -> io::Result<Self> {
        let (mapping, fd) = Mapping::create(c"ruwsgi-request-log", size(count as usize))?;
        let rings = Self {
            mapping,
            fd,
            count: count as usize,
        };
        rings.header().awaited.store(1, SeqCst);
        Ok(rings)
    }

    /// Maps the rings behind a received descriptor. `count` must be that of [`LineRings::create`].
    ///
    /// # Errors
    /// `InvalidData` if the file has another size; those of fstat(2) and mmap(2).
    pub fn open(fd: OwnedFd, count: u32) -> io::Result<Self> {
        Ok(Self {
            mapping: Mapping::open(fd.as_fd(), size(count as usize))?,
            fd,
            count: count as usize,
        })
    }

    /// Returns the descriptor of the memfd, which the master sends to the zygote.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Returns the numbers of the rings, which are the rows of the scoreboard, from 1.
    pub fn rows(&self) -> impl Iterator<Item = u32> + use<> {
        1..=self.count as u32
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping begins with a `Header` (see `size`) and is page aligned, and zero is a valid value of its
        // atomics.
        unsafe { &*self.mapping.address().as_ptr().cast::<Header>() }
    }

    /// Returns the positions and the bytes of the ring `row`, from 1; `None` if the number is out of range.
    fn ring(&self, row: u32) -> Option<(&Positions, *mut u8)> {
        let index = (row as usize).checked_sub(1)?;
        (index < self.count).then(|| {
            let offset = size_of::<Header>() + index * RING;
            // SAFETY: the ring is within the mapping (see `size`), and is aligned because all parts are multiples of
            // 128 bytes.
            unsafe {
                let ring = self.mapping.address().as_ptr().add(offset);
                (&*ring.cast::<Positions>(), ring.add(size_of::<Positions>()))
            }
        })
    }

    /// Appends a line, with its line feed, to the ring `row`. Calls `before` with the position of the line's end right
    /// before the line becomes visible to the reader. The worker of the row calls this function, in one thread at a
    /// time.
    pub fn append(&self, row: u32, line: &[u8], before: impl FnOnce(u64)) -> Appended {
        let Some((positions, bytes)) = self.ring(row) else {
            return Appended::Full;
        };
        let end = positions.end.load(Relaxed);
        let used = used(positions.begin.load(Acquire), end);
        if line.len() > SIZE - used {
            return Appended::Full;
        }
        let place = (end % SIZE as u64) as usize;
        let (first, second) = line.split_at(line.len().min(SIZE - place));
        // SAFETY: both targets are within the ring's SIZE bytes: place + first.len() <= SIZE, and second begins at 0
        // and is shorter than the line, which fits. The reader does not read them before `end` is stored.
        unsafe {
            std::ptr::copy_nonoverlapping(first.as_ptr(), bytes.add(place), first.len());
            std::ptr::copy_nonoverlapping(second.as_ptr(), bytes, second.len());
        }
        let new_end = end.wrapping_add(line.len() as u64);
        before(new_end);
        // SeqCst: the store must come before the load of `awaited`, or the reader and the writer could both miss the
        // line
        positions.end.store(new_end, SeqCst);
        let awaited = &self.header().awaited;
        let becomes_half_full = used <= SIZE / 2 && used + line.len() > SIZE / 2;
        match awaited.load(SeqCst) != 0 && awaited.swap(0, SeqCst) != 0 {
            true => Appended::Wake,
            false if becomes_half_full => Appended::Wake,
            false => Appended::Quietly,
        }
    }

    /// Passes the unread lines of the ring `row` to `write`, and then frees their space. Returns the number of bytes.
    /// The master calls this function. After the exit of the master, the worker of the row calls it. `buffer` is
    /// overwritten.
    pub fn read(&self, row: u32, buffer: &mut Vec<u8>, write: impl FnOnce(&[u8])) -> usize {
        let Some((positions, bytes)) = self.ring(row) else {
            return 0;
        };
        let end = positions.end.load(SeqCst);
        let begin = positions.begin.load(Relaxed);
        let used = used(begin, end);
        if used == 0 {
            return 0;
        }
        let place = (begin % SIZE as u64) as usize;
        let first = used.min(SIZE - place);
        buffer.clear();
        buffer.reserve(used);
        // SAFETY: both sources are within the ring's SIZE bytes, and the buffer has room for `used` bytes. The writer
        // does not write there before `begin` is stored. If the application has changed the memory, the bytes are
        // wrong, but every byte is a valid u8.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.add(place), buffer.as_mut_ptr(), first);
            std::ptr::copy_nonoverlapping(bytes, buffer.as_mut_ptr().add(first), used - first);
            buffer.set_len(used);
        }
        write(buffer);
        positions.begin.store(end, Release);
        used
    }

    /// Whether the line that ends at `end` was appended to the ring `row`, so that the reader gets it.
    pub fn contains(&self, row: u32, end: u64) -> bool {
        self.ring(row)
            .is_some_and(|(positions, _)| positions.end.load(SeqCst) >= end)
    }

    /// Announces that the reader sleeps until [`LineRings::append`] returns [`Appended::Wake`]. The caller must read all
    /// rings once more afterwards.
    pub fn await_lines(&self) {
        self.header().awaited.store(1, SeqCst);
    }
}

/// Size of a ring with its positions, bytes.
const RING: usize = size_of::<Positions>() + SIZE;

fn size(count: usize) -> usize {
    size_of::<Header>() + count * RING
}

/// The number of bytes between two positions. The result is at most [`SIZE`], even if the application has changed the
/// positions.
fn used(begin: u64, end: u64) -> usize {
    end.wrapping_sub(begin).min(SIZE as u64) as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(rings: &LineRings, row: u32) -> Vec<u8> {
        let mut lines = Vec::new();
        rings.read(row, &mut Vec::new(), |bytes| lines.extend_from_slice(bytes));
        lines
    }

    #[test]
    fn one_process_reads_the_lines_of_another() {
        let ours = LineRings::create(2).unwrap();
        let theirs = LineRings::open(ours.fd().try_clone_to_owned().unwrap(), 2).unwrap();
        assert_eq!(theirs.append(2, b"one\n", |_| {}), Appended::Wake);
        assert_eq!(theirs.append(2, b"two\n", |_| {}), Appended::Quietly);
        assert_eq!(read(&ours, 1), b"");
        assert_eq!(read(&ours, 2), b"one\ntwo\n");
        assert_eq!(read(&ours, 2), b"");
        assert_eq!(theirs.append(3, b"no such ring\n", |_| {}), Appended::Full);
    }

    #[test]
    fn a_sleeping_reader_is_woken_once() {
        let rings = LineRings::create(1).unwrap();
        rings.await_lines();
        assert_eq!(rings.append(1, b"a\n", |_| {}), Appended::Wake);
        assert_eq!(rings.append(1, b"b\n", |_| {}), Appended::Quietly);
        rings.await_lines();
        assert_eq!(rings.append(1, b"c\n", |_| {}), Appended::Wake);
    }

    #[test]
    fn lines_go_around_the_end_of_the_ring() {
        let rings = LineRings::create(1).unwrap();
        let mut written = Vec::new();
        let mut seen = Vec::new();
        for number in 0..20_000 {
            let line = format!("line {number} {}\n", "x".repeat(number % 97));
            assert_ne!(rings.append(1, line.as_bytes(), |_| {}), Appended::Full);
            written.extend_from_slice(line.as_bytes());
            if number % 300 == 0 {
                seen.extend(read(&rings, 1));
            }
        }
        seen.extend(read(&rings, 1));
        assert!(seen == written);
    }

    #[test]
    fn a_full_ring_takes_no_line_and_a_half_full_one_wakes() {
        let rings = LineRings::create(1).unwrap();
        let line = vec![b'x'; SIZE / 4];
        let results: Vec<_> = (0..5).map(|_| rings.append(1, &line, |_| {})).collect();
        use Appended::{Full, Quietly, Wake};
        assert_eq!(results, [Wake, Quietly, Wake, Quietly, Full]);
        assert_eq!(read(&rings, 1).len(), SIZE);
        assert_eq!(rings.append(1, &vec![b'x'; SIZE + 1], |_| {}), Full);
    }

    #[test]
    fn a_line_is_contained_from_the_moment_it_is_visible() {
        let rings = LineRings::create(1).unwrap();
        let mut end = 0;
        rings.append(1, b"one\n", |position| {
            end = position;
            assert!(!rings.contains(1, position));
        });
        assert!(rings.contains(1, end) && !rings.contains(2, end));
    }
}
