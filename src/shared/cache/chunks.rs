//! The allocation of chunks and slots. Only the owner of the lock calls these functions. If a process dies between two
//! calls, some chunks and slots are lost until `recovery` finds them.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::memory::{Header, Memory, index};

/// Takes `count` unused chunks, and returns the first chunk of their chain. `None` if there are not enough unused
/// chunks.
pub(super) fn take(memory: &Memory, header: &Header, count: u64) -> Option<u32> {
    let chunks = memory.layout.chunks;
    let never_used = chunks.saturating_sub(header.chunks_used.load(Relaxed));
    let listed = header.free_chunks.load(Relaxed);
    if count == 0 || u64::from(never_used) + u64::from(listed) < count {
        return None;
    }
    let mut first = 0;
    for _ in 0..count {
        let chunk = match index(header.free_chunk.load(Relaxed)) {
            Some(chunk) => {
                let next = memory.link(chunk)?.load(Relaxed);
                header.free_chunk.store(next, Relaxed);
                count_down(&header.free_chunks);
                chunk
            }
            None => bump(&header.chunks_used, chunks)?,
        };
        memory.link(chunk)?.store(first, Relaxed);
        first = chunk + 1;
    }
    index(first)
}

/// Makes the `count` chunks of a chain unused. The number of steps is limited by `count`, because a process of the
/// application may have written a cycle into the memory.
pub(super) fn give_back(memory: &Memory, header: &Header, first: u32, count: u64) {
    let mut next = first + 1;
    for _ in 0..count.min(memory.layout.chunks.into()) {
        let Some(chunk) = index(next) else { return };
        let Some(link) = memory.link(chunk) else {
            return;
        };
        next = link.load(Relaxed);
        link.store(header.free_chunk.load(Relaxed), Relaxed);
        header.free_chunk.store(chunk + 1, Relaxed);
        header
            .free_chunks
            .store(header.free_chunks.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

/// Takes an unused slot.
pub(super) fn take_slot(memory: &Memory, header: &Header) -> Option<u32> {
    match index(header.free_slot.load(Relaxed)) {
        Some(slot) => {
            let next = memory.slot(slot)?.next.load(Relaxed);
            header.free_slot.store(next, Relaxed);
            Some(slot)
        }
        None => bump(&header.slots_used, memory.layout.items),
    }
}

/// Makes a slot that holds no item unused.
pub(super) fn give_back_slot(memory: &Memory, header: &Header, slot: u32) {
    if let Some(it) = memory.slot(slot) {
        it.next.store(header.free_slot.load(Relaxed), Relaxed);
        header.free_slot.store(slot + 1, Relaxed);
    }
}

fn bump(used: &AtomicU32, all: u32) -> Option<u32> {
    let next = used.load(Relaxed);
    (next < all).then(|| {
        used.store(next + 1, Relaxed);
        next
    })
}

/// Subtracts 1 from a counter; a counter of 0 stays 0.
pub(super) fn count_down(counter: &AtomicU32) {
    counter.store(counter.load(Relaxed).saturating_sub(1), Relaxed);
}
