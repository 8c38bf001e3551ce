//! The list of slots in the order of their last use (`purge_lru`). Only the owner of the lock calls these functions.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::memory::{Header, Memory, index};

/// Adds a slot at the end of the list, as the most recently used slot.
pub(super) fn add(memory: &Memory, header: &Header, slot: u32) {
    let Some(it) = memory.slot(slot) else { return };
    let uses = header.uses.load(Relaxed).wrapping_add(1);
    header.uses.store(uses, Relaxed);
    it.used.store(uses, Relaxed);
    let newest = header.newest.load(Relaxed);
    it.newer.store(0, Relaxed);
    it.older.store(newest, Relaxed);
    match neighbour(memory, newest) {
        Some(before) => before.newer.store(slot + 1, Relaxed),
        None => header.oldest.store(slot + 1, Relaxed),
    }
    header.newest.store(slot + 1, Relaxed);
}

/// Removes a slot from the list.
pub(super) fn remove(memory: &Memory, header: &Header, slot: u32) {
    let Some(it) = memory.slot(slot) else { return };
    let (older, newer) = (it.older.load(Relaxed), it.newer.load(Relaxed));
    let set = |word: &AtomicU32, value| word.store(value, Relaxed);
    match neighbour(memory, older) {
        Some(before) => set(&before.newer, newer),
        None => set(&header.oldest, newer),
    }
    match neighbour(memory, newer) {
        Some(after) => set(&after.older, older),
        None => set(&header.newest, older),
    }
}

fn neighbour(memory: &Memory, stored: u32) -> Option<&super::memory::Slot> {
    memory.slot(index(stored)?)
}
