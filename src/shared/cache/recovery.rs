//! Repairs the tables after a process has died while it held the lock.
//!
//! An item exists if the head of a slot refers to a complete chain. Each change of an item is one store of such a head,
//! so the change has happened completely or not at all. Everything else (buckets, lists, counters) is computed from the
//! slots and their chains.

use std::sync::atomic::Ordering::Relaxed;

use super::chunks;
use super::definition::{CacheDefinition, chunks_of};
use super::item::{self, ItemHead};
use super::memory::{Change, Header, Memory, hash, index};
use super::recency;

/// Computes the tables from the slots and their chains. Readers wait meanwhile.
pub(super) fn rebuild(memory: &Memory, header: &Header, definition: &CacheDefinition) {
    let changes: Vec<_> = memory
        .stripes()
        .into_iter()
        .flatten()
        .map(Change::begin)
        .collect();
    for bucket in 0..memory.layout.buckets {
        if let Some(bucket) = memory.bucket(bucket).filter(|it| it.load(Relaxed) != 0) {
            bucket.store(0, Relaxed);
        }
    }
    for word in [&header.free_slot, &header.free_chunk, &header.free_chunks] {
        word.store(0, Relaxed);
    }
    for word in [
        &header.items,
        &header.blocks,
        &header.oldest,
        &header.newest,
    ] {
        word.store(0, Relaxed);
    }
    // this time is in the past, so the next search looks at all items and finds the earliest expiry
    header.next_expiry.store(1, Relaxed);
    header.cursor.store(0, Relaxed);
    let used = header.chunks_used.load(Relaxed).min(memory.layout.chunks);
    let mut seen = Seen(vec![0; (used as usize).div_ceil(64)]);
    let slots = header.slots_used.load(Relaxed).min(memory.layout.items);
    header.slots_used.store(slots, Relaxed);
    header.chunks_used.store(used, Relaxed);
    let mut items = Vec::new();
    for slot in (0..slots).rev() {
        match check(memory, header, definition, slot, &mut seen) {
            Some((used, blocks)) => items.push((used, slot, blocks)),
            None => {
                if let Some(it) = memory.slot(slot) {
                    it.head.store(0, Relaxed);
                }
                chunks::give_back_slot(memory, header, slot);
            }
        }
    }
    items.sort_unstable();
    for (_, slot, blocks) in items {
        link(memory, header, slot, blocks);
    }
    for chunk in (0..used).rev().filter(|chunk| !seen.contains(*chunk)) {
        if let Some(link) = memory.link(chunk) {
            link.store(0, Relaxed);
            chunks::give_back(memory, header, chunk, 1);
        }
    }
    drop(changes);
}

/// Adds the item of a slot to its bucket, the list of uses, and the counters.
fn link(memory: &Memory, header: &Header, slot: u32, blocks: u32) {
    let Some(it) = memory.slot(slot) else { return };
    let Some(bucket) = memory.bucket(memory.bucket_of(it.hash.load(Relaxed))) else {
        return;
    };
    it.next.store(bucket.load(Relaxed), Relaxed);
    bucket.store(slot + 1, Relaxed);
    recency::add(memory, header, slot);
    let items = header.items.load(Relaxed).saturating_add(1);
    header.items.store(items, Relaxed);
    let sum = header.blocks.load(Relaxed).saturating_add(blocks);
    header.blocks.store(sum, Relaxed);
}

/// Checks the item of a slot, and marks its chunks. Returns the time of its last use and its number of blocks; `None` if
/// the slot holds no complete item.
fn check(
    memory: &Memory,
    header: &Header,
    definition: &CacheDefinition,
    slot: u32,
    seen: &mut Seen,
) -> Option<(u64, u32)> {
    let it = memory.slot(slot)?;
    let first = index(it.head.load(Relaxed))?;
    let head = ItemHead::read(memory, first)?;
    if !head.fits(definition) || !seen.add_chain(memory, first, chunks_of(head.key, head.value)) {
        return None;
    }
    let key = item::key(memory, first, &head)?;
    it.hash
        .store(hash(header.seed.load(Relaxed), &key), Relaxed);
    Some((it.used.load(Relaxed), definition.blocks_of(head.value)))
}

/// The chunks of complete items, one bit for each.
struct Seen(Vec<u64>);

impl Seen {
    fn contains(&self, chunk: u32) -> bool {
        self.0
            .get(chunk as usize / 64)
            .is_some_and(|bits| bits & (1 << (chunk % 64)) != 0)
    }

    /// Marks the chunks of a chain. Returns false, and marks no chunk, if the chain has more or fewer than `count`
    /// chunks, or contains a chunk of another chain.
    fn add_chain(&mut self, memory: &Memory, first: u32, count: u64) -> bool {
        let mut added = Vec::new();
        let mut next = first + 1;
        while let Some(chunk) = index(next) {
            let bits = self.0.get_mut(chunk as usize / 64);
            let mark = 1 << (chunk % 64);
            match (bits, memory.link(chunk)) {
                (Some(bits), Some(link)) if *bits & mark == 0 && (added.len() as u64) < count => {
                    *bits |= mark;
                    added.push(chunk);
                    next = link.load(Relaxed);
                }
                _ => break,
            }
        }
        let complete = next == 0 && added.len() as u64 == count;
        if !complete {
            for chunk in added {
                self.0[chunk as usize / 64] &= !(1 << (chunk % 64));
            }
        }
        complete
    }
}
