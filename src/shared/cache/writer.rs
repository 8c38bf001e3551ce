//! Changes the items of a cache. Only the owner of the lock has a `Writer`.

use std::cell::Cell;
use std::sync::atomic::Ordering::{Relaxed, Release};

use super::chunks;
use super::definition::{CacheDefinition, Expiry, WhenFull, chunks_of};
use super::item::{self, ItemHead};
use super::memory::{Change, Header, Memory, Slot, index};
use super::{recency, recovery};
use crate::shared::robust_lock::Taken;

/// Number of slots in which each change looks for expired items.
const SWEPT_BY_A_CHANGE: u32 = 64;

/// Why an item was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The key or the value is empty or too large.
    Size,
    /// The key already has a value.
    Exists,
    /// The value is not a number.
    NotANumber,
    /// The cache is full.
    Full,
    /// The memory of the cache is damaged.
    Damaged,
}

/// An item to store.
#[derive(Clone, Copy)]
pub(super) struct NewItem<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) hash: u64,
    /// Time at which the item expires, milliseconds since 1970; 0 means never.
    pub(super) expires: u64,
}

/// The cache while this thread holds its lock.
pub(super) struct Writer<'a> {
    pub(super) memory: &'a Memory,
    pub(super) header: &'a Header,
    pub(super) definition: &'a CacheDefinition,
    /// The current time, milliseconds since 1970.
    pub(super) now: u64,
    /// Whether an item was dropped because the application has overwritten it. The tables still count it.
    damaged: Cell<bool>,
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if self.damaged.get() {
            recovery::rebuild(self.memory, self.header, self.definition);
        }
        self.header.lock.unlock();
    }
}

/// An item that was found: its slot, the slot before it in the bucket, and its chain.
pub(super) struct Found<'a> {
    pub(super) slot: u32,
    pub(super) it: &'a Slot,
    before: Option<&'a Slot>,
    pub(super) first: u32,
    pub(super) head: ItemHead,
}

impl<'a> Writer<'a> {
    /// Creates a writer for a cache whose lock this thread has taken.
    pub(super) fn new(
        memory: &'a Memory,
        header: &'a Header,
        definition: &'a CacheDefinition,
        taken: Taken,
        now: u64,
    ) -> Self {
        if taken == Taken::Abandoned {
            recovery::rebuild(memory, header, definition);
        }
        Self {
            memory,
            header,
            definition,
            now,
            damaged: Cell::new(false),
        }
    }

    /// The first chunk and the head of the item of a slot. If the application has overwritten the head with sizes that no
    /// item can have, the item is dropped: the head is not used for anything, and `recovery` frees the chunks.
    pub(super) fn item_of(&self, slot: u32) -> Option<(u32, ItemHead)> {
        let it = self.memory.slot(slot)?;
        let first = index(it.head.load(Relaxed))?;
        let head = ItemHead::read(self.memory, first).filter(|head| head.fits(self.definition));
        if head.is_none() {
            self.drop_damaged(it);
        }
        Some((first, head?))
    }

    fn drop_damaged(&self, it: &Slot) {
        it.head.store(0, Release);
        self.damaged.set(true);
    }

    /// Finds the item of a key, even if the item has expired.
    pub(super) fn find(&self, key: &[u8], hash: u64) -> Option<Found<'a>> {
        let mut next = self
            .memory
            .bucket(self.memory.bucket_of(hash))?
            .load(Relaxed);
        let mut before = None;
        for _ in 0..self.memory.layout.items {
            let slot = index(next)?;
            let it = self.memory.slot(slot)?;
            if it.hash.load(Relaxed) == hash
                && let Some((first, head)) = self.item_of(slot)
                && item::has_key(self.memory, first, &head, key)
            {
                return Some(Found {
                    slot,
                    it,
                    before,
                    first,
                    head,
                });
            }
            before = Some(it);
            next = it.next.load(Relaxed);
        }
        None
    }

    /// Finds the item of a key that has not expired.
    pub(super) fn find_valid(&self, key: &[u8], hash: u64) -> Option<Found<'a>> {
        self.find(key, hash)
            .filter(|found| !found.head.is_expired(self.now))
    }

    /// Marks an item as used.
    pub(super) fn touch(&self, found: &Found<'_>) {
        if self.definition.when_full == WhenFull::RemoveOldest
            && self.header.newest.load(Relaxed) != found.slot + 1
        {
            recency::remove(self.memory, self.header, found.slot);
            recency::add(self.memory, self.header, found.slot);
        }
    }

    /// Stores an item. An existing item of the key is replaced.
    pub(super) fn store(&self, item: NewItem<'_>) -> Result<(), Refused> {
        if let Some(found) = self.find(item.key, item.hash) {
            let blocks = self.blocks_without(&found) + self.blocks_of(item.value);
            if blocks <= self.definition.blocks.into()
                && let Some(chain) = self.build(&item)
            {
                self.replace(&found, chain, &item);
                return Ok(());
            }
            self.remove(&found);
        }
        self.make_room(&item)?;
        let chain = self.build(&item).ok_or(Refused::Damaged)?;
        self.insert(&item, chain).ok_or(Refused::Damaged)
    }

    fn blocks_of(&self, value: &[u8]) -> u64 {
        self.definition.blocks_of(value.len() as u64).into()
    }

    fn blocks_without(&self, found: &Found<'_>) -> u64 {
        let all = self.header.blocks.load(Relaxed);
        all.saturating_sub(self.definition.blocks_of(found.head.value))
            .into()
    }

    /// Writes an item into unused chunks. No reader sees it yet.
    fn build(&self, item: &NewItem<'_>) -> Option<u32> {
        let count = chunks_of(item.key.len() as u64, item.value.len() as u64);
        let first = chunks::take(self.memory, self.header, count)?;
        let head = ItemHead {
            hash: item.hash,
            expires: item.expires,
            value: item.value.len() as u64,
            key: item.key.len() as u64,
        };
        item::write(self.memory, first, &head, item.key, item.value)?;
        if item.expires != 0 {
            self.expires_at(item.expires);
        }
        Some(first)
    }

    fn expires_at(&self, time: u64) {
        for earliest in [&self.header.next_expiry, &self.header.seen_expiry] {
            let known = earliest.load(Relaxed);
            if known == 0 || time < known {
                earliest.store(time, Relaxed);
            }
        }
    }

    fn replace(&self, found: &Found<'_>, chain: u32, item: &NewItem<'_>) {
        let blocks = self.blocks_without(found) + self.blocks_of(item.value);
        if let Some(stripe) = self.memory.stripe(self.memory.bucket_of(item.hash)) {
            let change = Change::begin(stripe);
            // this single store replaces the item
            found.it.head.store(chain + 1, Release);
            drop(change);
        }
        self.header.blocks.store(blocks as u32, Relaxed);
        self.give_back(found);
        self.touch(found);
        self.changed();
    }

    fn insert(&self, item: &NewItem<'_>, chain: u32) -> Option<()> {
        let slot = chunks::take_slot(self.memory, self.header)?;
        let it = self.memory.slot(slot)?;
        let number = self.memory.bucket_of(item.hash);
        let bucket = self.memory.bucket(number)?;
        it.hash.store(item.hash, Relaxed);
        it.next.store(bucket.load(Relaxed), Relaxed);
        let change = Change::begin(self.memory.stripe(number)?);
        // this single store creates the item
        it.head.store(chain + 1, Release);
        bucket.store(slot + 1, Relaxed);
        drop(change);
        recency::add(self.memory, self.header, slot);
        let header = self.header;
        header
            .items
            .store(header.items.load(Relaxed).wrapping_add(1), Relaxed);
        let blocks = u64::from(header.blocks.load(Relaxed)) + self.blocks_of(item.value);
        header.blocks.store(blocks as u32, Relaxed);
        self.changed();
        Some(())
    }

    /// Removes an item.
    pub(super) fn remove(&self, found: &Found<'_>) {
        let number = self.memory.bucket_of(found.it.hash.load(Relaxed));
        let (Some(stripe), Some(bucket)) = (self.memory.stripe(number), self.memory.bucket(number))
        else {
            return;
        };
        let change = Change::begin(stripe);
        // this single store removes the item
        found.it.head.store(0, Release);
        let next = found.it.next.load(Relaxed);
        found
            .before
            .map_or(bucket, |before| &before.next)
            .store(next, Relaxed);
        drop(change);
        let blocks = self.blocks_without(found);
        self.header.blocks.store(blocks as u32, Relaxed);
        chunks::count_down(&self.header.items);
        recency::remove(self.memory, self.header, found.slot);
        self.give_back(found);
        chunks::give_back_slot(self.memory, self.header, found.slot);
        self.changed();
    }

    fn give_back(&self, found: &Found<'_>) {
        let count = chunks_of(found.head.key, found.head.value);
        chunks::give_back(self.memory, self.header, found.first, count);
    }

    /// Removes the item of a slot. `None` if the memory is damaged, so that the item is not found in its bucket; the item
    /// is dropped in this case too.
    fn remove_slot(&self, slot: u32) -> Option<()> {
        let it = self.memory.slot(slot)?;
        let (first, head) = self.item_of(slot)?;
        let found = item::key(self.memory, first, &head)
            .and_then(|key| self.find(&key, it.hash.load(Relaxed)))
            .filter(|found| found.slot == slot);
        match &found {
            Some(found) => self.remove(found),
            None => self.drop_damaged(it),
        }
        found.map(|_| ())
    }

    /// Removes items until `item` fits, as [`WhenFull`](super::definition::WhenFull) of the definition demands.
    fn make_room(&self, item: &NewItem<'_>) -> Result<(), Refused> {
        if self.fits(item) {
            return Ok(());
        }
        self.sweep(u32::MAX);
        // each step removes at least one item, unless the memory is damaged
        for _ in 0..=self.memory.layout.items {
            if self.fits(item) {
                return Ok(());
            }
            match self.definition.when_full {
                WhenFull::Refuse => {
                    let full = &self.header.full;
                    full.store(full.load(Relaxed).wrapping_add(1), Relaxed);
                    return Err(Refused::Full);
                }
                WhenFull::RemoveOldest => {
                    let oldest = index(self.header.oldest.load(Relaxed)).ok_or(Refused::Damaged)?;
                    self.remove_slot(oldest).ok_or(Refused::Damaged)?;
                }
                WhenFull::Clear if self.header.items.load(Relaxed) == 0 => {
                    return Err(Refused::Damaged);
                }
                WhenFull::Clear => self.clear(),
            }
        }
        Err(Refused::Damaged)
    }

    fn fits(&self, item: &NewItem<'_>) -> bool {
        let header = self.header;
        let blocks = u64::from(header.blocks.load(Relaxed)) + self.blocks_of(item.value);
        let never_used = self
            .memory
            .layout
            .chunks
            .saturating_sub(header.chunks_used.load(Relaxed));
        let chunks = u64::from(never_used) + u64::from(header.free_chunks.load(Relaxed));
        header.items.load(Relaxed) < self.definition.items
            && blocks <= self.definition.blocks.into()
            && chunks >= chunks_of(item.key.len() as u64, item.value.len() as u64)
    }

    /// Removes all items, and returns their memory to the system.
    pub(super) fn clear(&self) {
        for slot in 0..self
            .header
            .slots_used
            .load(Relaxed)
            .min(self.memory.layout.items)
        {
            if let Some(it) = self.memory.slot(slot) {
                it.head.store(0, Relaxed);
            }
        }
        self.header.slots_used.store(0, Relaxed);
        self.header.chunks_used.store(0, Relaxed);
        recovery::rebuild(self.memory, self.header, self.definition);
        self.memory.discard_chunks();
        self.changed();
    }

    /// Removes the expired items among the next `slots` slots, unless no item can have expired. Returns whether the
    /// search has reached the last slot.
    pub(super) fn sweep(&self, slots: u32) -> bool {
        let header = self.header;
        let due = header.next_expiry.load(Relaxed);
        if due == 0 || due > self.now || self.definition.expiry == Expiry::Never {
            return true;
        }
        let used = header
            .slots_used
            .load(Relaxed)
            .min(self.memory.layout.items);
        let begin = match slots {
            u32::MAX => 0,
            _ => header.cursor.load(Relaxed),
        };
        if begin == 0 {
            header.seen_expiry.store(0, Relaxed);
        }
        let end = begin.saturating_add(slots).min(used);
        for slot in begin..end {
            let expires = self.expiry_of(slot);
            if expires != 0 && expires <= self.now {
                self.remove_slot(slot);
            } else if expires != 0 {
                let seen = header.seen_expiry.load(Relaxed);
                if seen == 0 || expires < seen {
                    header.seen_expiry.store(expires, Relaxed);
                }
            }
            if self.damaged.get() {
                // the next search begins after the repair, because each search in a damaged bucket can take long
                return true;
            }
        }
        let done = end >= used;
        header.cursor.store(if done { 0 } else { end }, Relaxed);
        if done {
            header
                .next_expiry
                .store(header.seen_expiry.load(Relaxed), Relaxed);
        }
        done
    }

    fn expiry_of(&self, slot: u32) -> u64 {
        self.item_of(slot).map_or(0, |(_, head)| head.expires)
    }

    /// Counts a change.
    pub(super) fn changed(&self) {
        let header = self.header;
        header
            .changes
            .store(header.changes.load(Relaxed).wrapping_add(1), Relaxed);
        header.modified.store(self.now / 1000, Relaxed);
    }

    /// Looks for expired items in a few slots.
    pub(super) fn sweep_a_little(&self) {
        self.sweep(SWEPT_BY_A_CHANGE);
    }
}
