//! The tables in the memory of a cache. Every number from the memory is checked before its use, because each process of
//! the application can write anything into the memory.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

use super::definition::{CHUNK, CHUNK_WORDS, Layout, SLOT};
use crate::shared::mapping::{Atomics, Mapping};
use crate::shared::robust_lock::RobustLock;

/// The header of a cache's memory. Only the owner of the lock writes its fields; `lock` is the exception.
#[repr(C, align(128))]
pub(super) struct Header {
    pub(super) magic: AtomicU64,
    /// The secret of the hash function.
    pub(super) seed: AtomicU64,
    pub(super) lock: RobustLock,
    /// First unused slot of the list of unused slots, plus 1.
    pub(super) free_slot: AtomicU32,
    /// Number of slots that were ever used.
    pub(super) slots_used: AtomicU32,
    /// First unused chunk of the list of unused chunks, plus 1.
    pub(super) free_chunk: AtomicU32,
    /// Number of chunks that were ever used.
    pub(super) chunks_used: AtomicU32,
    /// Number of chunks in the list of unused chunks.
    pub(super) free_chunks: AtomicU32,
    pub(super) items: AtomicU32,
    pub(super) blocks: AtomicU32,
    /// The least and most recently used slot, plus 1.
    pub(super) oldest: AtomicU32,
    pub(super) newest: AtomicU32,
    /// The slot at which the next search for expired items begins.
    pub(super) cursor: AtomicU32,
    /// Number of uses of items. It gives each use a number, from which `recovery` computes the order of the slots.
    pub(super) uses: AtomicU64,
    /// No item expires before this time, milliseconds since 1970.
    pub(super) next_expiry: AtomicU64,
    /// The earliest expiry that the running search has seen.
    pub(super) seen_expiry: AtomicU64,
    /// Number of changes.
    pub(super) changes: AtomicU64,
    /// Number of items that were refused because the cache was full.
    pub(super) full: AtomicU64,
    /// Time of the last change, seconds since 1970.
    pub(super) modified: AtomicU64,
}

// SAFETY: atomics, and a RobustLock, which is one atomic.
unsafe impl Atomics for Header {}

/// The version and the counters of a part of the buckets.
#[repr(C, align(64))]
pub(super) struct Stripe {
    /// Odd while the owner of the lock changes a bucket of this stripe, or a process has died there.
    pub(super) version: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
}

// SAFETY: atomics; the padding is not read.
unsafe impl Atomics for Stripe {}

/// The place of an item in the tables.
#[repr(C)]
pub(super) struct Slot {
    /// First chunk of the item, plus 1; 0 if the slot is unused. Writing this word publishes or removes the item.
    pub(super) head: AtomicU32,
    /// Next slot of the bucket, or of the list of unused slots, plus 1.
    pub(super) next: AtomicU32,
    /// The slots used before and after this slot, plus 1.
    pub(super) older: AtomicU32,
    pub(super) newer: AtomicU32,
    pub(super) hash: AtomicU64,
    /// The value of [`Header::uses`] at the last use.
    pub(super) used: AtomicU64,
}

// SAFETY: atomics without padding.
unsafe impl Atomics for Slot {}

const _: () = assert!(size_of::<Slot>() == SLOT && size_of::<Header>() <= 4096);

/// Converts a stored number, which is an index plus 1, to the index; `None` for 0.
#[inline]
pub(super) fn index(stored: u32) -> Option<u32> {
    stored.checked_sub(1)
}

/// The tables in a cache's memory.
pub(super) struct Memory {
    mapping: Mapping,
    pub(super) layout: Layout,
}

impl Memory {
    pub(super) fn new(mapping: Mapping, layout: Layout) -> Self {
        Self { mapping, layout }
    }

    #[inline]
    pub(super) fn header(&self) -> Option<&Header> {
        self.mapping.at(0)
    }

    #[inline]
    pub(super) fn stripe(&self, bucket: u32) -> Option<&Stripe> {
        self.stripes()?
            .get(bucket as usize % super::definition::STRIPES)
    }

    #[inline]
    pub(super) fn stripes(&self) -> Option<&[Stripe]> {
        self.mapping.slice(4096, super::definition::STRIPES)
    }

    #[inline]
    pub(super) fn bucket(&self, bucket: u32) -> Option<&AtomicU32> {
        self.mapping
            .at(self.layout.bucket_table + bucket as usize * 4)
            .filter(|_| bucket < self.layout.buckets)
    }

    #[inline]
    pub(super) fn slot(&self, slot: u32) -> Option<&Slot> {
        if slot >= self.layout.items {
            return None;
        }
        self.mapping
            .at(self.layout.slot_table + slot as usize * SLOT)
    }

    /// The link of a chunk: the next chunk of the item or of the list of unused chunks, plus 1.
    #[inline]
    pub(super) fn link(&self, chunk: u32) -> Option<&AtomicU32> {
        if chunk >= self.layout.chunks {
            return None;
        }
        self.mapping.at(self.layout.link_table + chunk as usize * 4)
    }

    #[inline]
    pub(super) fn chunk(&self, chunk: u32) -> Option<&[AtomicU64]> {
        if chunk >= self.layout.chunks {
            return None;
        }
        self.mapping.slice(
            self.layout.chunk_table + chunk as usize * CHUNK,
            CHUNK_WORDS,
        )
    }

    /// Returns the memory of all items to the system.
    pub(super) fn discard_chunks(&self) {
        let len = self.layout.len - self.layout.chunk_table;
        self.mapping.discard(self.layout.chunk_table, len);
    }

    /// The bucket of a hash.
    #[inline]
    pub(super) fn bucket_of(&self, hash: u64) -> u32 {
        (hash % u64::from(self.layout.buckets)) as u32
    }
}

/// A change of a stripe's buckets. Readers of the stripe repeat their reads until the change has ended.
pub(super) struct Change<'a>(&'a Stripe);

impl<'a> Change<'a> {
    #[inline]
    pub(super) fn begin(stripe: &'a Stripe) -> Self {
        let version = stripe.version.load(Relaxed);
        stripe.version.store(version | 1, Relaxed);
        // the odd version must be visible before any other store of the change
        fence(Release);
        Self(stripe)
    }
}

impl Drop for Change<'_> {
    #[inline]
    fn drop(&mut self) {
        let version = self.0.version.load(Relaxed);
        self.0.version.store((version | 1).wrapping_add(1), Release);
    }
}

impl Stripe {
    /// The version for a read that [`Stripe::is_still`] confirms; `None` during a change.
    #[inline]
    pub(super) fn begin_read(&self) -> Option<u64> {
        let version = self.version.load(Acquire);
        (version & 1 == 0).then_some(version)
    }

    /// Whether no bucket of the stripe has changed since `version` was read. All data that was read since then is
    /// consistent if so.
    #[inline]
    pub(super) fn is_still(&self, version: u64) -> bool {
        fence(Acquire);
        self.version.load(Relaxed) == version
    }
}

/// The hash of a key.
#[inline]
pub(super) fn hash(seed: u64, key: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ (product >> 64) as u64
    };
    let mut state = seed ^ (key.len() as u64).wrapping_mul(FACTOR);
    for part in key.chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        state = fold(
            state ^ u64::from_ne_bytes(word),
            FACTOR ^ seed.rotate_left(32) | 1,
        );
    }
    fold(state, FACTOR)
}
