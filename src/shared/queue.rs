//! The queue of an instance (`queue`): a ring of slots. A push into a full ring overwrites the oldest item.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, Release},
};

use serde::{Deserialize, Serialize};

use super::mapping::{Atomics, Mapping};
use super::robust_lock::{RobustLock, Taken};

/// Space of the header.
const SLOTS_START: usize = 4096;

/// The definition of the queue.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDefinition {
    /// Number of slots.
    pub slots: u32,
    /// Maximum size of an item, bytes.
    pub block_size: u32,
}

impl QueueDefinition {
    fn stride(self) -> usize {
        8 + (self.block_size as usize).next_multiple_of(8)
    }

    fn len(self) -> Option<usize> {
        let slots = self.stride().checked_mul(self.slots as usize)?;
        slots.checked_add(SLOTS_START)
    }
}

#[repr(C)]
struct Header {
    lock: RobustLock,
    /// The slot of the next push.
    push: AtomicU32,
    /// The slot of the next pull.
    pull: AtomicU32,
    /// The slot that is being emptied by a pull, plus 1.
    pulling: AtomicU32,
    /// The slot that is being emptied by a pop, plus 1.
    popping: AtomicU32,
}

// SAFETY: atomics, and a RobustLock, which is one atomic.
unsafe impl Atomics for Header {}

/// A mapped queue.
pub struct Queue {
    definition: QueueDefinition,
    mapping: Mapping,
    /// The memfd, in the process that has created the queue.
    fd: Option<OwnedFd>,
}

impl Queue {
    /// Creates an empty queue.
    ///
    /// # Errors
    /// `InvalidInput` if the queue is too large or has no slot; those of memfd_create(2), ftruncate(2) and mmap(2).
    pub fn create(definition: QueueDefinition) -> io::Result<Self> {
        let len = definition.len().filter(|_| definition.slots > 0);
        let len = len.ok_or(io::ErrorKind::InvalidInput)?;
        let (mapping, fd) = Mapping::create(c"ruwsgi-queue", len)?;
        Ok(Self {
            definition,
            mapping,
            fd: Some(fd),
        })
    }

    /// Maps the queue behind a received descriptor.
    ///
    /// # Errors
    /// `InvalidData` if the file has another size; those of fstat(2) and mmap(2).
    pub fn open(fd: BorrowedFd<'_>, definition: QueueDefinition) -> io::Result<Self> {
        let len = definition.len().filter(|_| definition.slots > 0);
        let mapping = Mapping::open(fd, len.ok_or(io::ErrorKind::InvalidData)?)?;
        Ok(Self {
            definition,
            mapping,
            fd: None,
        })
    }

    /// The descriptor of the memfd, which the master sends to the zygote; `None` in other processes.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// The definition of the queue.
    pub fn definition(&self) -> QueueDefinition {
        self.definition
    }

    /// Whether an operation would wait for another process.
    pub fn is_busy(&self) -> bool {
        self.mapping
            .at::<Header>(0)
            .is_some_and(|it| it.lock.is_taken())
    }

    fn locked(&self) -> Option<Locked<'_>> {
        let header: &Header = self.mapping.at(0)?;
        let taken = header.lock.lock();
        let locked = Locked {
            queue: self,
            header,
        };
        if taken == Taken::Abandoned {
            locked.finish_removal();
        }
        Some(locked)
    }

    /// Appends an item. Returns false if it is empty or too large.
    pub fn push(&self, item: &[u8]) -> bool {
        self.locked()
            .is_some_and(|locked| locked.push(item).is_some())
    }

    /// Removes and returns the oldest item.
    pub fn pull(&self) -> Option<Vec<u8>> {
        self.locked()?.pull()
    }

    /// Removes and returns the newest item.
    pub fn pop(&self) -> Option<Vec<u8>> {
        self.locked()?.pop()
    }

    /// Returns the item in a slot.
    pub fn get(&self, slot: u32) -> Option<Vec<u8>> {
        self.locked()?.read(slot)
    }

    /// Writes an item into a slot. Returns false if there is no such slot, or the item is empty or too large.
    pub fn set(&self, slot: u32, item: &[u8]) -> bool {
        self.locked()
            .is_some_and(|locked| locked.write(slot, item).is_some())
    }

    /// Returns the contents of the `count` slots before the next push, newest first.
    pub fn last(&self, count: u32) -> Vec<Option<Vec<u8>>> {
        let Some(locked) = self.locked() else {
            return Vec::new();
        };
        let mut slot = locked.position(&locked.header.push);
        let count = count.min(self.definition.slots);
        let items = (0..count).map(|_| {
            slot = locked.before(slot);
            locked.read(slot)
        });
        items.collect()
    }

    /// The slot of the next push.
    pub fn push_slot(&self) -> u32 {
        self.locked().map_or(0, |it| it.position(&it.header.push))
    }

    /// The slot of the next pull.
    pub fn pull_slot(&self) -> u32 {
        self.locked().map_or(0, |it| it.position(&it.header.pull))
    }
}

/// The queue while this thread holds its lock.
struct Locked<'a> {
    queue: &'a Queue,
    header: &'a Header,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.header.lock.unlock();
    }
}

impl Locked<'_> {
    fn position(&self, word: &AtomicU32) -> u32 {
        word.load(Relaxed) % self.queue.definition.slots
    }

    fn before(&self, slot: u32) -> u32 {
        slot.checked_sub(1)
            .unwrap_or(self.queue.definition.slots - 1)
    }

    fn after(&self, slot: u32) -> u32 {
        (slot + 1) % self.queue.definition.slots
    }

    /// The word with the size of a slot's item, and the words of the item. A size of 0 means that the slot is empty.
    fn slot(&self, slot: u32) -> Option<(&AtomicU64, &[AtomicU64])> {
        let definition = self.queue.definition;
        if slot >= definition.slots {
            return None;
        }
        let offset = SLOTS_START + definition.stride() * slot as usize;
        let words = self.queue.mapping.slice(offset, definition.stride() / 8)?;
        words.split_first()
    }

    fn read(&self, slot: u32) -> Option<Vec<u8>> {
        let (size, words) = self.slot(slot)?;
        let size = size
            .load(Relaxed)
            .min(self.queue.definition.block_size.into()) as usize;
        let words = words.iter().take(size.div_ceil(8));
        let mut item: Vec<u8> = words
            .flat_map(|it| it.load(Relaxed).to_ne_bytes())
            .collect();
        item.truncate(size);
        (size > 0).then_some(item)
    }

    /// Writes an item. A process that dies before the end leaves an empty slot.
    fn write(&self, slot: u32, item: &[u8]) -> Option<()> {
        let (size, words) = self.slot(slot)?;
        if item.is_empty() || item.len() > self.queue.definition.block_size as usize {
            return None;
        }
        size.store(0, Relaxed);
        for (word, part) in words.iter().zip(item.chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..part.len()].copy_from_slice(part);
            word.store(u64::from_ne_bytes(bytes), Release);
        }
        size.store(item.len() as u64, Release);
        Some(())
    }

    fn push(&self, item: &[u8]) -> Option<()> {
        let slot = self.position(&self.header.push);
        let is_full = self.read(slot).is_some() && slot == self.position(&self.header.pull);
        if item.is_empty() || item.len() > self.queue.definition.block_size as usize {
            return None;
        }
        if is_full {
            // the oldest item is overwritten
            self.header.pull.store(self.after(slot), Release);
        }
        self.write(slot, item)?;
        self.header.push.store(self.after(slot), Release);
        Some(())
    }

    fn pull(&self) -> Option<Vec<u8>> {
        let slot = self.position(&self.header.pull);
        let item = self.read(slot)?;
        self.header.pulling.store(slot + 1, Release);
        self.finish_removal();
        Some(item)
    }

    fn pop(&self) -> Option<Vec<u8>> {
        let slot = self.before(self.position(&self.header.push));
        let item = self.read(slot)?;
        self.header.popping.store(slot + 1, Release);
        self.finish_removal();
        Some(item)
    }

    /// Performs the removal that is noted in the header, also one that a dead process has begun.
    fn finish_removal(&self) {
        let header = self.header;
        if let Some(slot) = header.pulling.load(Relaxed).checked_sub(1) {
            self.empty(slot);
            header
                .pull
                .store(slot.wrapping_add(1) % self.queue.definition.slots, Release);
            header.pulling.store(0, Release);
        }
        if let Some(slot) = header.popping.load(Relaxed).checked_sub(1) {
            self.empty(slot);
            header
                .push
                .store(slot % self.queue.definition.slots, Release);
            header.popping.store(0, Release);
        }
    }

    fn empty(&self, slot: u32) {
        if let Some((size, _)) = self.slot(slot) {
            size.store(0, Release);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_pulled_in_order_and_popped_in_reverse() {
        let queue = Queue::create(QueueDefinition {
            slots: 4,
            block_size: 10,
        })
        .unwrap();
        assert_eq!((queue.pull(), queue.pop()), (None, None));
        for item in [b"a", b"b", b"c"] {
            assert!(queue.push(item));
        }
        assert_eq!(queue.pull().unwrap(), b"a");
        assert_eq!(queue.pop().unwrap(), b"c");
        assert_eq!(queue.last(9), [Some(b"b".to_vec()), None, None, None]);
        for number in 0..9_u8 {
            assert!(queue.push(&[number; 10]));
        }
        let pulled: Vec<u8> = std::iter::from_fn(|| queue.pull())
            .map(|it| it[0])
            .collect();
        assert_eq!(pulled, [5, 6, 7, 8]);
        assert!(!queue.push(b"") && !queue.push(&[1; 11]) && !queue.set(4, b"x"));
        assert!(queue.set(3, b"x") && queue.get(3).is_some());
    }

    #[test]
    fn a_removal_that_was_cut_off_is_finished() {
        let queue = Queue::create(QueueDefinition {
            slots: 4,
            block_size: 10,
        })
        .unwrap();
        queue.push(b"a");
        queue.push(b"b");
        queue.locked().unwrap().header.pulling.store(1, Relaxed);
        queue.locked().unwrap().finish_removal();
        assert_eq!(queue.pull().unwrap(), b"b");
    }
}
